"""What a CPU does in one compiled pass that takes many as tensor operations, and twice the time.

Whoever calls a kernel can say the same in tensor operations, for other devices and for gradients;
tests compare the two. A kernel uses nothing of another file but ``Kernel`` and ``part``, because its
machine code on disk is renewed only when the file changes that the kernel is in.
"""
