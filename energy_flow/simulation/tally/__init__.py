"""The scores of ended flows, folded into the outputs of a run."""
