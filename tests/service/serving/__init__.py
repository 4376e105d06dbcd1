"""Tests of the server process and its connections."""
