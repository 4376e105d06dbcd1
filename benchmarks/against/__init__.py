"""Measures this version against another commit: ``python -m benchmarks against COMMIT``.

Modules may have other names in the other commit. So what runs inside a version is one script,
``inside.py``, which uses only what users use: the package's public names and the program. All else
is measured from outside, over HTTP and from the system.
"""
