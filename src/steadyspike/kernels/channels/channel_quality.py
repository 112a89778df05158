"""What tells a bad channel beside its power: its likeness to all channels, and to its neighbours."""

import itertools

import numba
import numpy as np

from steadyspike.kernels.channels.column_statistics import column_medians, set_keys
from steadyspike.kernels.channels.counting import key_of, key_type, median_of
from steadyspike.kernels.channels.median import subtract_reference
from steadyspike.kernels.lanes.arrays import as_kernel_array, one_range, unsigned

# samples whose products are summed at a time, and that are worth a thread
BLOCK_SAMPLES = 1024


def scaled_means(traces, gains, offsets):
    """Mean over time of `traces * gains + offsets`, of which both steps are in float32, summed in float64.

    `traces` (num_samples, num_channels) are int16, uint16 or float32, with one sample at least; `gains` and `offsets`
    are float32, one for each channel.
    """
    means = np.zeros(traces.shape[1])
    _add_scaled(as_kernel_array(traces), gains, offsets, means)
    return means / len(traces)


@numba.njit(nogil=True, cache=True)
def _add_scaled(traces, gains, offsets, sums):
    for sample in range(unsigned(traces.shape[0])):
        for channel in range(unsigned(sums.size)):
            product = np.float32(np.float32(traces[sample, channel]) * gains[channel])
            sums[channel] += np.float32(product + offsets[channel])


def likeness_to_all(traces, gains, offsets, means, over_ranges=one_range):
    """Regression of each channel on the median of all: `x.T @ m / sum(m**2)`, with m less its mean over time.

    x are the scaled traces less their `means`; the others are those of `scaled_means`. `over_ranges` is of blocks of
    samples (see `lanes.arrays.one_range`). One number for each channel, NaN for all where one is NaN or the median does
    not change.
    """
    traces, scales = as_kernel_array(traces), (gains, offsets, means.astype("float32"))
    starts = range(0, len(traces), BLOCK_SAMPLES)

    def work(first, last):
        values = np.empty(traces.shape[1], "float32")
        integer, limits = key_type(values.itemsize)
        workspace = values, values.view(integer), np.empty(values.size, integer), limits
        parts = []
        for start in starts[first:last]:
            products = np.zeros(values.size)
            block = traces[start : start + BLOCK_SAMPLES]
            parts.append((products, *_with_median(block, scales, workspace, products)))
        return parts

    # summed block by block, so that the threads among which they are divided change no digit
    parts = itertools.chain.from_iterable(over_ranges(work, len(starts)))
    products, total, squares = (sum(each) for each in zip(*parts, strict=True))
    # x has a mean of 0, so that the mean of m takes no part in the products
    with np.errstate(invalid="ignore", divide="ignore"):
        return products / (squares - total * total / len(traces))


@numba.njit(nogil=True, cache=True)
def _with_median(traces, scales, workspace, products):
    """Add the products of each channel with the median of all; return the sum of the median, and of its squares."""
    gains, offsets, means = scales
    values, bits, keys, limits = workspace
    total, squares, pivot, spacing = 0.0, 0.0, 0.0, 0.0
    infinity = key_of(np.inf, limits[0])
    for sample in range(unsigned(traces.shape[0])):
        for channel in range(unsigned(values.size)):
            product = np.float32(np.float32(traces[sample, channel]) * gains[channel])
            values[channel] = np.float32(np.float32(product + offsets[channel]) - means[channel])
        low, high = set_keys(bits, keys, limits)
        if high > infinity or low < ~infinity:
            # the keys of NaN lie beyond those of the infinities
            return np.nan, np.nan
        found, spacing = median_of(keys, 0, keys.size, low, high, pivot, spacing, limits)
        median = np.float64(found)
        pivot = median if np.isfinite(median) else pivot
        total += median
        squares += median * median
        for channel in range(unsigned(values.size)):
            products[channel] += median * values[channel]
    return total, squares


def likeness_to_neighbours(traces, neighbours, over_ranges=one_range):
    """Correlation of each channel with the median of its neighbours, both around 0.

    With the median x of a channel over time subtracted, and the median m of those of its neighbours at each sample:
    `mean(x * m) / sqrt(mean(x**2) * mean(m**2))`, the denominator 1 where it is 0; NaN without neighbours.

    `traces` (num_samples, num_channels) are finite, `neighbours` a list of indices for each channel.
    """
    centred = np.asarray(traces, dtype="float32")
    centred = centred - column_medians(centred, over_ranges)
    which = np.array([index if len(some) else len(neighbours) for index, some in enumerate(neighbours)])
    sets = [some if len(some) else np.zeros(1, "int64") for some in neighbours]
    apart = subtract_reference(centred, sets, which=which, over_ranges=over_ranges)
    products, own, others = _products(centred, apart)
    size = np.sqrt(own * others)
    likeness = products / np.where(size == 0, 1.0, size)
    return np.where([len(some) > 0 for some in neighbours], likeness, np.nan)


@numba.njit(nogil=True, cache=True)
def _products(centred, apart):
    """Means over time of x m, x x and m m, given x and x - m."""
    num_samples, num_channels = centred.shape
    products, own, others = np.zeros(num_channels), np.zeros(num_channels), np.zeros(num_channels)
    for sample in range(unsigned(num_samples)):
        for channel in range(unsigned(num_channels)):
            value = np.float64(centred[sample, channel])
            other = value - apart[sample, channel]
            products[channel] += value * other
            own[channel] += value * value
            others[channel] += other * other
    return products / num_samples, own / num_samples, others / num_samples
