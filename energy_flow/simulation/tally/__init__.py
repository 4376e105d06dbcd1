"""Scores of ended flows, and the outputs of a run that are made from them."""
