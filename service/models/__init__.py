"""Named models and their checkpoints."""
