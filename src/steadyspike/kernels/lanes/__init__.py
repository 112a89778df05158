"""Arrays, memory and vector registers that compiled kernels share."""
