"""Faster implementations of single phases of a step for single kinds of devices."""
