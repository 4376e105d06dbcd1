"""Migrations of the index, one a version."""
