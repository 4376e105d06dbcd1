"""Processes in which files are parsed by native code, which can end the process that calls it."""
