"""The rules of a step, one a file: pure functions from columns to masks and columns.

Rules do not import each other. ``decide`` applies them in the order of docs/simulation.md §3. Shape
legend in all of them: N flows, B samples.
"""
