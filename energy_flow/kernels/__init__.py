"""What a CPU does in one compiled pass, and tensor operations in many.

Whoever calls a kernel can say the same in tensor operations, for other devices and for gradients;
tests compare the two. Apart from constants, a kernel uses nothing of another file but ``Kernel``
and ``part``: its machine code on disk is renewed when its own file changes, and only then.
"""
