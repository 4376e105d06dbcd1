"""Datasets: the formats in which they are sent."""
