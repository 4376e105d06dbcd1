"""Requests to simulate: decoded and validated."""
