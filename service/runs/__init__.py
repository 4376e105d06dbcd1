"""Runs: active ones, how they are recorded, replays and comparisons."""
