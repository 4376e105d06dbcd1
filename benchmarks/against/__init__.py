"""``against``: this version against another commit, ``python -m benchmarks against COMMIT``.

Modules may have other names in the other commit. So only one script runs inside a version,
``inside.py``, and it uses only the public names of the package and the program. Everything else is
measured from outside, over HTTP and from the system.
"""
