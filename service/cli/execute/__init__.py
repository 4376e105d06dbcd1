"""How commands reach what they work on: an engine in this process, or a server."""
