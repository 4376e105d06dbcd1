"""Experiments: named, durable pieces of work that expand into trials and survive a crash."""
