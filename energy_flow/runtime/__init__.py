"""The process that a simulation runs in: device, threads, memory allocator, compiled kernels."""
