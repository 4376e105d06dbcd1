"""Files whose bytes are compared with digests when they are read."""
