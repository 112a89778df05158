"""Medians and median absolute deviations of the columns of an array, by counting.

Sixteen columns at a time are turned to rows, so that each is contiguous. The middle values of one are then found as
those of a sample are in `median`: whole vector registers count the values up to a pivot, which Newton steps lead to
the middle. The first pivot and the distance of neighbouring values are those of a normal distribution with the mean
and the mean absolute deviation of the column.
"""

from collections.abc import Callable

import numba
import numpy as np

from steadyspike.kernels.channels.median import _key_of, _middle_keys, _value_of
from steadyspike.kernels.lanes.arrays import as_kernel_array, one_range, unsigned
from steadyspike.kernels.lanes.transposition import TILE, transpose_tile

# of a normal distribution: standard deviations in a mean absolute deviation, and in a median one
STD_PER_MEAN_DEVIATION = 1.2533
MEDIAN_DEVIATION_PER_STD = 0.6745
# distances of neighbours among n values, times n, in standard deviations: of values, and of absolute deviations
SPACING, SPACING_OF_DEVIATIONS = 2.5066, 1.5733


def column_median_deviations(traces, over_ranges=one_range, scales=None):
    """Median of each column, and the median of the absolute differences from it.

    Parameters
    ----------
    traces : array, (num_samples, num_channels)
        Integers, float32 or float64, with one sample at least.
    over_ranges : callable, optional
        `over_ranges(work, size, smallest, multiple)` calls `work(start, stop)` for ranges that cover all columns,
        possibly in threads, which do not change the result.
    scales : (array, array) of float32, (num_channels,) each, or None, default: None
        What each column is multiplied with, and what is then added, both in float32, before anything else; for int16
        and float32 only.

    Returns
    -------
    medians, deviations : array, (num_channels,)
        `medians = numpy.median(traces, axis=0)` and `numpy.median(numpy.abs(traces - medians), axis=0)`: float64 for
        integers, else of the type of the traces; NaN for columns that hold a NaN.
    """
    if len(traces) == 0:
        raise ValueError("traces of 0 samples; allowed: 1 sample at least")
    dtype = "float64" if traces.dtype.kind in "iu" else traces.dtype.newbyteorder("=")
    dtype = dtype if scales is None else "float32"
    traces = as_kernel_array(traces)
    precision = "float64" if traces.dtype == "float64" else "float32"
    num_samples, num_channels = traces.shape
    medians, deviations = np.empty(num_channels, precision), np.empty(num_channels, precision)
    integer = np.dtype(f"int{8 * deviations.itemsize}").type
    limits = (integer(np.iinfo(integer).min), integer(np.iinfo(integer).max))

    factors, offsets = (np.empty(0, "float32"),) * 2 if scales is None else scales

    def work(start, stop):
        rows = np.empty((TILE, num_samples), precision)
        keys = np.empty(num_samples, integer)
        _fill_deviations(traces, start, stop, (factors, offsets), rows, keys, limits, medians, deviations)

    if num_channels:
        over_ranges(work, num_channels, TILE, TILE)
    return medians.astype(dtype), deviations.astype(dtype)


@numba.njit(nogil=True, cache=True)
def _turn_columns(traces, first, count, rows):
    """Copy columns to rows."""
    num_samples, num_columns = traces.shape
    if num_samples < TILE or num_columns < TILE:
        for sample in range(num_samples):
            for column in range(count):
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
def _median_of(values, bits, keys, limits, first_pivot, spacing):
    """Median of a row."""
    smallest, largest = limits
    sign_shift = keys.dtype.type(8 * keys.itemsize - 1)
    low, high = largest, smallest
    for index in range(unsigned(values.size)):
        key = keys.dtype.type(bits[index] ^ ((bits[index] >> sign_shift) & largest))
        keys[index] = key
        low, high = min(low, key), max(high, key)
    infinity = _key_of(np.inf, smallest)
    if high > infinity or low < ~infinity:
        # the keys of NaN lie beyond those of the infinities
        return values.dtype.type(np.nan)
    lower, upper, _ = _middle_keys(keys, 0, values.size, low, high, first_pivot, spacing, limits)
    median = _value_of(lower)
    if upper != lower:
        median = (median + _value_of(upper)) * values.dtype.type(0.5)
    return median


@numba.njit(nogil=True, cache=True)
def _fill_deviations(traces, start, stop, scales, rows, keys, limits, medians, deviations):
    num_samples, num_columns = traces.shape
    bits = rows.view(keys.dtype)
    factors, offsets = scales
    for begin in range(start, stop, TILE):
        first = begin
        if num_columns >= TILE:
            first = min(begin, num_columns - TILE)
        count = min(TILE, num_columns - first)
        _turn_columns(traces, first, count, rows)
        for column in range(begin - first, min(count, stop - first)):
            values = rows[column]
            if factors.size:
                factor, offset = factors[first + column], offsets[first + column]
                for index in range(unsigned(num_samples)):
                    values[index] = values[index] * factor + offset
            mean, std = _mean_and_std(values)
            median = _median_of(values, bits[column], keys, limits, mean, SPACING * std / num_samples)
            medians[first + column] = median
            for index in range(unsigned(num_samples)):
                values[index] = abs(values[index] - median)
            pivot, spacing = MEDIAN_DEVIATION_PER_STD * std, SPACING_OF_DEVIATIONS * std / num_samples
            deviations[first + column] = _median_of(values, bits[column], keys, limits, pivot, spacing)


# Columns that are copied together: those of one cache line, as long as values have four bytes.
TOGETHER = 16


# Values of a column that are looked at to find the bounds; shorter columns are searched without bounds.
SAMPLE = 4096


# Distance of the bounds from the wanted rank, in standard deviations of the rank in the sample.
BOUND = 3.5


def column_medians(traces, over_ranges: Callable = one_range) -> np.ndarray:
    """Median of each column, as `numpy.median(traces, axis=0)`.

    Parameters
    ----------
    traces : array, (num_samples, num_channels)
        Integers, float32 or float64, with one sample at least.
    over_ranges : callable, optional
        `over_ranges(work, size, smallest, multiple)` calls `work(start, stop)` for ranges that cover all columns,
        possibly in threads, which do not change the result.

    Returns
    -------
    medians : array, (num_channels,)
        float64 for integers, else of the type of the traces. NaN for columns that hold a NaN.
    """
    size = len(traces)
    pairs = _pairs_of_columns(traces, [(size - 1) // 2], over_ranges)
    return _middle(pairs[0], size, traces.dtype)


def column_quantiles(traces, quantiles, over_ranges: Callable = one_range) -> np.ndarray:
    """Quantiles of each column, as `numpy.quantile(traces, quantiles, axis=0)`, interpolated linearly.

    Parameters
    ----------
    traces, over_ranges
        See `column_medians`.
    quantiles : sequence of float, (num_quantiles,)
        Between 0 and 1.

    Returns
    -------
    values : array of float64, (num_quantiles, num_channels)
        NaN for columns that hold a NaN.
    """
    quantiles = np.asarray(quantiles, dtype="float64")
    if not ((quantiles >= 0) & (quantiles <= 1)).all():
        raise ValueError(f"quantiles={quantiles.tolist()}; allowed: values from 0 to 1")
    ranks = quantiles * (len(traces) - 1)
    lower_ranks = np.floor(ranks).astype("int64")
    pairs = _pairs_of_columns(traces, lower_ranks, over_ranges)
    lower, upper = pairs[:, :, 0], pairs[:, :, 1]
    share = (ranks - lower_ranks)[:, None]
    with np.errstate(invalid="ignore"):
        step = upper - lower
        # from the nearer of the two, so that no digits are lost
        return np.where(share < 0.5, lower + step * share, upper - step * (1 - share))


def _middle(pairs: np.ndarray, size: int, dtype: np.dtype) -> np.ndarray:
    """Median from the value at the lower of the two middle ranks, and the next one."""
    medians = pairs[:, 0] if size % 2 else (pairs[:, 0] + pairs[:, 1]) / pairs.dtype.type(2)
    return medians.astype("float64" if dtype.kind in "iu" else dtype)


def _pairs_of_columns(traces, ranks, over_ranges):
    """Values at each rank and the next one, for each column."""
    if len(traces) == 0:
        raise ValueError("traces of 0 samples; allowed: 1 sample at least")
    traces = as_kernel_array(traces)
    precision = "float64" if traces.dtype == "float64" else "float32"
    ranks = np.asarray(ranks, dtype="int64")
    num_samples, num_columns = traces.shape
    pairs = np.empty((len(ranks), num_columns, 2), dtype=precision)

    def work(start: int, stop: int) -> None:
        together = min(TOGETHER, stop - start)
        rows = np.empty((together, num_samples), dtype=precision)
        room = np.empty(num_samples + 1, dtype=precision)
        _find_pairs(traces, start, stop, ranks, rows, room, pairs)

    if num_columns:
        over_ranges(work, num_columns, 1, TOGETHER)
    return pairs


@numba.njit(nogil=True, cache=True)
def _find_pairs(traces, start, stop, ranks, rows, room, pairs):
    """Fill the pairs of a range of columns."""
    together = rows.shape[0]
    for first in range(start, stop, together):
        count = min(together, stop - first)
        _copy_columns(traces, first, count, rows)
        for column in range(count):
            values = rows[column]
            nan = _has_nan(values)
            for index in range(ranks.size):
                _store_pair(values, ranks[index], nan, room, pairs[index, first + column])


@numba.njit(nogil=True, cache=True)
def _copy_columns(traces, first, count, rows):
    """Copy columns to rows, by square tiles, so that whole cache lines are read and written."""
    tile = np.empty(TOGETHER * TOGETHER, dtype=rows.dtype)
    for begin in range(0, traces.shape[0], TOGETHER):
        height = unsigned(min(TOGETHER, traces.shape[0] - begin))
        for sample in range(height):
            for column in range(unsigned(count)):
                tile[sample * unsigned(TOGETHER) + column] = traces[
                    unsigned(begin) + sample, unsigned(first) + column
                ]
        for column in range(unsigned(count)):
            for sample in range(height):
                rows[column, unsigned(begin) + sample] = tile[sample * unsigned(TOGETHER) + column]


@numba.njit(nogil=True, cache=True)
def _has_nan(values):
    """Tell whether there is a NaN."""
    nan = False
    for index in range(unsigned(values.size)):
        nan |= values[index] != values[index]
    return nan


@numba.njit(nogil=True, cache=True)
def _store_pair(values, rank, nan, room, pair):
    """Find the value at a rank, and the next one or, at the end, the same."""
    if nan:
        pair[0] = pair[1] = np.nan
        return
    size = values.size
    below, kept = 0, 0
    if size > 4 * SAMPLE:
        lower, upper = _bounds(values, rank, room)
        for index in range(unsigned(size)):
            below += values[index] < lower
        place = unsigned(0)
        for index in range(unsigned(size)):
            value = values[index]
            room[place] = value
            place += unsigned((value >= lower) & (value <= upper))
        kept = np.int64(place)
    if not (below <= rank and min(rank + 1, size - 1) < below + kept):
        below, kept = 0, size
        room[:size] = values
    inner = rank - below
    _partition(room, 0, kept - 1, inner)
    pair[0] = room[inner]
    following = room[inner]
    if inner + 1 < kept:
        following = room[inner + 1]
        for index in range(inner + 2, kept):
            following = min(following, room[index])
    pair[1] = following


@numba.njit(nogil=True, cache=True)
def _bounds(values, rank, room):
    """Two values between which the one at a rank lies almost certainly, from a sample of all."""
    size = values.size
    for index in range(SAMPLE):
        room[index] = values[index * size // SAMPLE]
    share = rank / size
    middle = share * SAMPLE
    distance = BOUND * np.sqrt(share * (1.0 - share) * SAMPLE) + 2.0
    low, high = int(middle - distance), int(np.ceil(middle + distance))
    lower, upper = room.dtype.type(-np.inf), room.dtype.type(np.inf)
    if middle - distance > 0:
        _partition(room, 0, SAMPLE - 1, low)
        lower = room[low]
    if high < SAMPLE - 1:
        _partition(room, max(low, 0), SAMPLE - 1, high)
        upper = room[high]
    return lower, upper


@numba.njit(nogil=True, cache=True)
def _partition(values, left, right, rank):
    """Swap values between two places until the one at a rank is in its place, smaller ones before it (Hoare)."""
    while left < right:
        middle = (left + right) // 2
        first, second, third = values[left], values[middle], values[right]
        pivot = max(min(first, second), min(max(first, second), third))
        low, high = left, right
        while low <= high:
            while values[low] < pivot:
                low += 1
            while values[high] > pivot:
                high -= 1
            if low <= high:
                values[low], values[high] = values[high], values[low]
                low += 1
                high -= 1
        if rank <= high:
            right = high
        elif rank >= low:
            left = low
        else:
            return
