"""Compiled kernels: arrays in, arrays out. Nothing here knows SpikeInterface."""

from contextlib import suppress
from importlib import import_module

# a numba that keeps its caches in another way than those we know does so by itself
with suppress(ImportError, AttributeError):
    import_module(f"{__name__}.caching").install()
