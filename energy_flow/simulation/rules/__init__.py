"""The rules of a step, one a file: pure functions from columns to masks and columns.

Rules do not know one another; the processor composes them in the order of the simulation's
numbered list. Shape legend in all of them: N flows, B samples, C children.
"""
