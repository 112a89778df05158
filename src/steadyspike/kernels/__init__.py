"""Compiled kernels: arrays in, arrays out. Nothing here knows SpikeInterface."""
