"""Faster implementations of the networks for single kinds of devices."""
