"""The process that a simulation runs in: device, threads, heap and compiled kernels."""
