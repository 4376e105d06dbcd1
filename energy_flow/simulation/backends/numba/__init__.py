"""Noise and the writing of records, survivors and children as passes that Numba compiles for CPUs.

Whoever calls a kernel can compute the same with tensor operations, for other devices and for
gradients; tests compare the two. Apart from constants, a kernel uses nothing of another file but
``Kernel`` and ``part``: its machine code on disk is renewed when its own file changes, and only
then.
"""
