"""Measurements of Energy Flow; ``python -m benchmarks --list`` lists them.

The docstring of each benchmark states what it measures, in which unit, and against which baseline.
The baseline is measured in the same run, in turns. A benchmark prints a table for people; the last
line of the output is one JSON object with the figures of all.
"""
