"""Experiments: named, durable work that expands into trials and survives a crash."""
