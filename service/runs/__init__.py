"""Runs: submitted, recorded, replayed and compared."""
