"""Medians, median absolute deviations and quantiles of the columns of an array, by counting.

Sixteen columns at a time are copied to rows, so that each is contiguous. Values at a rank are then found as the medians
of samples are in `median`: whole vector registers count the values up to a pivot, which Newton steps lead to the wanted
rank. The first pivot and the distance of neighbouring values are those of a normal distribution with the mean and the
mean absolute deviation of the column; of a long column, a sample tells better. If the column is far from normal,
bisection ends the search.
"""

from statistics import NormalDist

import numba
import numpy as np

from steadyspike.kernels.channels.counting import key_of, key_type, neighbouring_keys, value_of
from steadyspike.kernels.lanes.arrays import as_kernel_array, one_range, unsigned
from steadyspike.kernels.lanes.transposition import TILE, transpose_tile

NORMAL = NormalDist()
# standard deviations in a mean absolute deviation, of a normal distribution
STD_PER_MEAN_DEVIATION = 1.2533
# of the absolute values of a standard normal distribution: the median, and the inverse of the density there
MEDIAN_DEVIATION, SPACING_OF_DEVIATIONS = 0.6745, 1.5733
# samples of up to 15 columns that stay in the first-level cache
CACHED = 256
# columns of so many samples are worth sorting a sample of so many values; distance of the two that tell the spacing
LONG_COLUMN, SAMPLE, SAMPLE_SPAN = 2**18, 1024, 32


def column_medians(traces, over_ranges=one_range):
    """Median of each column, as `numpy.median(traces, axis=0)`.

    `traces` (num_samples, num_channels) are integers, float32 or float64, with one sample at least; `over_ranges` is
    of columns (see `lanes.arrays.one_range`). The medians are float64 for integers, else of the type of the traces,
    and NaN for columns that hold a NaN.
    """
    pairs, _ = _find(traces, [0.5], over_ranges)
    return _medians(pairs[0], traces.dtype)


def column_median_deviations(traces, over_ranges=one_range, scales=None):
    """Median of each column, and the median of the absolute differences from it.

    As `numpy.median(traces, axis=0)` and `numpy.median(numpy.abs(traces - medians), axis=0)`, with types and arguments
    of `column_medians`. `scales`, for int16 and float32 only, are what each column is multiplied with and what is then
    added, both in float32, before anything else.
    """
    pairs, deviations = _find(traces, [0.5], over_ranges, scales, with_deviations=True)
    dtype = traces.dtype if scales is None else np.dtype("float32")
    return _medians(pairs[0], dtype), _medians(deviations, dtype)


def column_quantiles(traces, quantiles, over_ranges=one_range):
    """Quantiles of each column, as `numpy.quantile(traces, quantiles, axis=0)`, interpolated linearly.

    Arguments are those of `column_medians`, quantiles from 0 to 1. Returns float64 (num_quantiles, num_channels), NaN
    for columns that hold a NaN.
    """
    quantiles = np.asarray(quantiles, dtype="float64")
    if not ((quantiles >= 0) & (quantiles <= 1)).all():
        raise ValueError(f"quantiles={quantiles.tolist()}; allowed: values from 0 to 1")
    pairs, _ = _find(traces, quantiles, over_ranges)
    lower, upper = pairs[:, :, 0], pairs[:, :, 1]
    share = (quantiles * (len(traces) - 1) % 1.0)[:, None]
    with np.errstate(invalid="ignore"):
        step = upper - lower
        # from the nearer of the two, so that no digits are lost
        return np.where(share < 0.5, lower + step * share, upper - step * (1 - share))


def _medians(pairs, dtype):
    """Medians from pairs of middle values, which are equal where there is one."""
    with np.errstate(invalid="ignore", over="ignore"):
        medians = np.where(pairs[:, 0] == pairs[:, 1], pairs[:, 0], pairs.sum(axis=1) * pairs.dtype.type(0.5))
    return medians.astype("float64" if dtype.kind in "iu" else dtype.newbyteorder("="))


def _find(traces, quantiles, over_ranges, scales=None, with_deviations=False):
    """Values at the rank of each quantile and the next one, for each column, and those of the deviations' medians."""
    if len(traces) == 0:
        raise ValueError("traces of 0 samples; allowed: 1 sample at least")
    traces = as_kernel_array(traces)
    precision = "float64" if traces.dtype == "float64" else "float32"
    num_samples, num_channels = traces.shape
    quantiles = np.asarray(quantiles, dtype="float64")
    ranks = np.floor(quantiles * (num_samples - 1)).astype("int64")
    # the first pivots and distances of neighbours, in standard deviations
    margin = 0.5 / (num_samples + 1)
    pivots = np.array([NORMAL.inv_cdf(min(max(share, margin), 1.0 - margin)) for share in quantiles])
    spacings = np.sqrt(2.0 * np.pi) * np.exp(0.5 * np.square(pivots)) / num_samples
    pairs = np.empty((len(ranks), num_channels, 2), precision)
    deviations = np.empty((num_channels if with_deviations else 0, 2), precision)
    integer, limits = key_type(pairs.itemsize)
    factors, offsets = (np.empty(0, "float32"),) * 2 if scales is None else scales

    samples = _sorted_samples(traces, precision, factors, offsets)

    def work(start, stop):
        rows = np.empty((min(TILE, num_channels), num_samples), precision)
        keys = np.empty(num_samples, integer)
        wanted = (ranks, pivots, spacings, samples)
        _fill(traces, start, stop, (factors, offsets), wanted, rows, keys, limits, pairs, deviations)

    if num_channels:
        over_ranges(work, num_channels, TILE, TILE)
    return pairs, deviations


def _sorted_samples(traces, precision, factors, offsets):
    """Some values of each long column, sorted, (num_channels, SAMPLE); of shorter ones none."""
    num_samples, num_channels = traces.shape
    if num_samples < LONG_COLUMN:
        return np.empty((num_channels, 0), precision)
    some = traces[np.arange(SAMPLE) * num_samples // SAMPLE].astype(precision)
    if factors.size:
        some = some * factors + offsets
    return np.sort(np.ascontiguousarray(some.T), axis=1)


@numba.njit(nogil=True, cache=True)
def _copy_columns(traces, first, count, rows):
    """Copy columns to rows."""
    num_samples, num_columns = traces.shape
    if num_samples < TILE or num_columns < TILE:
        # block by block, so that what one column reads is in the cache for the next
        for begin in range(0, num_samples, CACHED):
            for column in range(count):
                for sample in range(begin, min(begin + CACHED, num_samples)):
                    rows[column, sample] = traces[sample, first + column]
        return
    # the last tiles overlap the ones before
    for begin in range(0, num_samples, TILE):
        sample = min(begin, num_samples - TILE)
        transpose_tile(traces, sample * num_columns + first, num_columns, rows, sample, num_samples)


# "reassoc" only lets sums be taken in another order: they are no more than a guess
@numba.njit(nogil=True, cache=True, fastmath={"reassoc"})
def _mean_and_std(values):
    """Mean, and the standard deviation that the mean absolute deviation tells; infinite where a value is not finite."""
    total = 0.0
    for index in range(unsigned(values.size)):
        total += values[index]
    mean = total / values.size
    total = 0.0
    for index in range(unsigned(values.size)):
        total += abs(values[index] - mean)
    return mean, STD_PER_MEAN_DEVIATION * total / values.size


@numba.njit(nogil=True, cache=True)
def set_keys(bits, keys, limits):
    """Set the keys of values, given as their bits; return the lowest and the highest."""
    smallest, largest = limits
    sign_shift = keys.dtype.type(8 * keys.itemsize - 1)
    low, high = largest, smallest
    for index in range(unsigned(bits.size)):
        key = keys.dtype.type(bits[index] ^ ((bits[index] >> sign_shift) & largest))
        keys[index] = key
        low, high = min(low, key), max(high, key)
    return low, high


@numba.njit(nogil=True, cache=True)
def _set_pair(keys, bounds, limits, rank, single, pivot, spacing, pair):
    """Set to the value at a rank and the next one, or twice the same if it is single."""
    low, high = bounds
    infinity = key_of(np.inf, low)
    if high > infinity or low < ~infinity:
        # the keys of NaN lie beyond those of the infinities
        pair[:] = np.nan
        return
    lower, upper, _ = neighbouring_keys(
        keys, 0, keys.size, rank + 1, single, low, high, pivot, spacing, limits
    )
    pair[0], pair[1] = value_of(lower), value_of(upper)


@numba.njit(nogil=True, cache=True)
def _first_pivot(sample, rank, num_samples):
    """Value near a rank and the distance of neighbours there, from a sorted sample."""
    place = rank * sample.size // num_samples
    below, above = max(place - SAMPLE_SPAN // 2, 0), min(place + SAMPLE_SPAN // 2, sample.size - 1)
    spacing = (sample[above] - sample[below]) / (above - below) * sample.size / num_samples
    return np.float64(sample[place]), spacing


@numba.njit(nogil=True, cache=True)
def _fill(traces, start, stop, scales, wanted, rows, keys, limits, pairs, deviations):
    num_samples, num_columns = traces.shape
    bits = rows.view(keys.dtype)
    factors, offsets = scales
    ranks, pivots, spacings, samples = wanted
    for begin in range(start, stop, TILE):
        first = begin
        if num_columns >= TILE:
            first = min(begin, num_columns - TILE)
        count = min(TILE, num_columns - first)
        _copy_columns(traces, first, count, rows)
        for column in range(begin - first, min(count, stop - first)):
            values, sample = rows[column], samples[first + column]
            if factors.size:
                factor, offset = factors[first + column], offsets[first + column]
                for index in range(unsigned(num_samples)):
                    values[index] = values[index] * factor + offset
            mean, std = 0.0, 0.0
            if sample.size == 0 or len(deviations):
                mean, std = _mean_and_std(values)
            bounds = set_keys(bits[column], keys, limits)
            for index in range(ranks.size):
                # the middle of an odd number of values, and the last one, have no partner
                rank, pair = ranks[index], pairs[index, first + column]
                single = 1 if 2 * rank == num_samples - 1 or rank == num_samples - 1 else 0
                pivot, spacing = mean + pivots[index] * std, spacings[index] * std
                if sample.size:
                    pivot, spacing = _first_pivot(sample, rank, num_samples)
                _set_pair(keys, bounds, limits, rank, single, pivot, spacing, pair)
            if len(deviations):
                pair = pairs[0, first + column]
                median = pair[0]
                if pair[0] != pair[1]:
                    median = (pair[0] + pair[1]) * values.dtype.type(0.5)
                for index in range(unsigned(num_samples)):
                    values[index] = abs(values[index] - median)
                bounds = set_keys(bits[column], keys, limits)
                rank, pair = (num_samples - 1) // 2, deviations[first + column]
                pivot, spacing = MEDIAN_DEVIATION * std, SPACING_OF_DEVIATIONS * std / num_samples
                _set_pair(keys, bounds, limits, rank, num_samples % 2, pivot, spacing, pair)
