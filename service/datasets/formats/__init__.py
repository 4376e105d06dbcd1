"""Formats of uploaded datasets: each is read in pieces and checked while it arrives."""
