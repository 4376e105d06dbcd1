"""Datasets as they are sent: each format read a piece at a time, checked as it arrives."""
