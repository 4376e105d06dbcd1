"""Counters, the ledger, memory, time by step and phase, and log lines of runs."""
