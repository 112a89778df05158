"""SpikeInterface's own classes and functions, run by our kernels."""
