"""Multiply each channel by a gain and add an offset, in one pass, with the roundings of two float32 operations."""

import numba
import numpy as np

from steadyspike.kernels.biquads import as_kernel_array, unsigned


def scale_channels(traces, gain, offset, out, rounded=False) -> None:
    """Write `gain * traces + offset`; product and sum are each rounded to float32.

    Parameters
    ----------
    traces : array, (num_samples, num_channels)
        Integers, float32 or float64.
    gain, offset : array of float32 or float64, (num_channels,)
        With float64, product and sum are calculated in float64 before they are rounded to float32.
    out : array of float32, (num_samples, num_channels)
        Overwritten; C-contiguous.
    rounded : bool, default: False
        Round to integers, halves to even.
    """
    if traces.dtype.itemsize > 2 and traces.dtype != "float32":
        traces = traces.astype("float32")
    _scale(as_kernel_array(traces), gain, offset, out)
    if rounded:
        np.rint(out, out=out)


@numba.njit(nogil=True, cache=True)
def _scale(traces, gain, offset, out):
    num_samples, num_channels = traces.shape
    for sample in range(unsigned(num_samples)):
        for channel in range(unsigned(num_channels)):
            product = np.float32(np.float32(traces[sample, channel]) * gain[channel])
            out[sample, channel] = np.float32(product + offset[channel])
