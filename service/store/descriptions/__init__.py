"""What files state about their rows, so that a lost index can be rebuilt."""
