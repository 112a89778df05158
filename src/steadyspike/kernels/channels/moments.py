"""Standard deviations and root mean squares of channels, and channels scaled, with the digits that numpy gives.

Sums go from sample to sample in the type of the values, with each term rounded before it is added, without arrays of
differences or squares.
"""

import numba
import numpy as np

from steadyspike.kernels.lanes.arrays import as_kernel_array, one_range, unsigned

# columns whose sums stay in the first-level cache, and are worth a thread
TOGETHER = 64


def column_standard_deviations(traces, over_ranges=one_range):
    """Standard deviation of each column, as `numpy.std(traces, axis=0)`.

    `traces` (num_samples, num_channels) are integers, float32 or float64, with one sample at least; `over_ranges` is
    of columns (see `lanes.arrays.one_range`). float64 for integers, else of the type of the traces.
    """
    sums = _sums_of(traces, over_ranges, centred=True)
    return np.sqrt(sums / sums.dtype.type(len(traces)))


def root_mean_squares(traces, over_ranges=one_range):
    """Root of the mean square of each column, `sqrt(mean(traces**2, axis=0))`.

    Arguments and type as of `column_standard_deviations`.
    """
    sums = _sums_of(traces, over_ranges, centred=False)
    return np.sqrt(sums / sums.dtype.type(len(traces)))


def _sums_of(traces, over_ranges, centred):
    """Sums of squares, of the differences from the mean if `centred`."""
    dtype = "float64" if traces.dtype.kind in "iu" else traces.dtype.name
    traces = as_kernel_array(traces)
    squares, means = np.zeros(traces.shape[1], dtype), np.zeros(traces.shape[1], dtype)

    def work(start, stop):
        for first in range(start, stop, TOGETHER):
            last = min(first + TOGETHER, stop)
            if centred:
                _add_values(traces, first, means[first:last])
                means[first:last] /= means.dtype.type(len(traces))
            _add_squares(traces, first, means[first:last], squares[first:last])

    over_ranges(work, traces.shape[1], TOGETHER, TOGETHER)
    return squares


@numba.njit(nogil=True, cache=True)
def _add_values(traces, first, sums):
    for sample in range(unsigned(traces.shape[0])):
        for column in range(unsigned(sums.size)):
            sums[column] += sums.dtype.type(traces[sample, unsigned(first) + column])


@numba.njit(nogil=True, cache=True)
def _add_squares(traces, first, means, sums):
    for sample in range(unsigned(traces.shape[0])):
        for column in range(unsigned(sums.size)):
            difference = sums.dtype.type(traces[sample, unsigned(first) + column]) - means[column]
            sums[column] += difference * difference


def scale_channels(traces, gain, offset, out, rounded=False) -> None:
    """Write `gain * traces + offset`; product and sum are each rounded to float32.

    `traces` (num_samples, num_channels) are integers, float32 or float64; `gain` and `offset` (num_channels,) float32,
    or float64: product and sum are then calculated in float64 before they are rounded. `out`, C-contiguous float32 of
    the shape of the traces, is overwritten; `rounded` to integers, halves to even.
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
