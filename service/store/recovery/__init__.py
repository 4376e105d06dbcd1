"""What keeps the data directory and its index together, and repairs them when they are not."""
