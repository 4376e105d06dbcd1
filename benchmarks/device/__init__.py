"""One device in a few minutes: whether it computes correctly, then how fast."""
