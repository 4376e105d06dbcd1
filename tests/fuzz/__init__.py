"""Mutated files and bodies, sent to a server in a process of its own.

``python -m tests.fuzz FORMAT --seconds 600`` runs a campaign. The tests send a few of each format.
"""
