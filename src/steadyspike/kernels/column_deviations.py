"""Medians and median absolute deviations of the columns of an array, by counting.

Sixteen columns at a time are turned to rows, so that each is contiguous. The middle values of one are then found as
those of a sample are in `median`: whole vector registers count the values up to a pivot, which Newton steps lead to
the middle. The first pivot and the distance of neighbouring values are those of a normal distribution with the mean
and the mean absolute deviation of the column.
"""

import numba
import numpy as np

from steadyspike.kernels.biquads import as_kernel_array, unsigned
from steadyspike.kernels.filter_passes import one_range
from steadyspike.kernels.median import _key_of, _middle_keys, _value_of
from steadyspike.kernels.transposition import TILE, transpose_tile

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
