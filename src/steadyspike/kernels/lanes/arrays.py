"""Arrays as compiled kernels take them."""

from __future__ import annotations

import numpy as np

KERNEL_DTYPES = ("int16", "float32", "float64")


# Unsigned indices spare the compiled loops a test for indices counted from the end, so that they vectorize.
unsigned = np.uint64


def as_kernel_array(traces):
    """Read-only traces in one of the few types that the kernels are compiled for, rows contiguous."""
    if traces.dtype.name not in KERNEL_DTYPES or not traces.dtype.isnative:
        # float32 where it holds every value of the type, else float64
        traces = traces.astype(np.promote_types(traces.dtype, np.float32))
    # always read-only, as files are, so that the kernels are not compiled a second time for what is writable
    traces = np.ascontiguousarray(traces).view(np.ndarray)
    traces.flags.writeable = False
    return traces


def one_range(work, size, smallest=1, multiple=1):
    """Call `work(0, size)`: what stands for threads where there are none.

    Kernels take such a function as `over_ranges`: it calls `work(start, stop)` for ranges that cover `size` samples or
    channels, each of at least `smallest` and all but the last of a multiple of `multiple`; perhaps in threads, which
    change no result. Returns what they return, in order.
    """
    return [work(0, size)]
