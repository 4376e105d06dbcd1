# Generated from energy_flow/client/_async/__init__.py by scripts/unasync.py; edit that file.
"""The blocking client."""
