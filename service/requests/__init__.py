"""Requests to simulate: parsed and validated."""
