"""Measures Energy Flow: ``python -m benchmarks --list`` names what there is to measure.

Every benchmark takes its baseline in the same process, in turns with what is measured, prints a
table for people, and puts its figures into one JSON object, the last line of the output.
"""
