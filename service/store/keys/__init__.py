"""API keys: their rows in the index, and those that can be used, in memory."""
