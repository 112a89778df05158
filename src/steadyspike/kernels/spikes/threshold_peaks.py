"""Local extrema of traces beyond a threshold, and which of them are the largest in their surroundings.

Samples are compared with the thresholds and with those before and after in vector registers, 64 at a time; only the few
that cross are looked at one by one.
"""

import numba
import numpy as np

from steadyspike.kernels.lanes.extremum_bits import BITS, lowest_bit, peak_bits, trough_bits
from steadyspike.kernels.lanes.memory import LINE_BYTES, prefetch_to_read
from steadyspike.kernels.spikes.spike_candidates import _longer

# what the kernels have been written for: all that float64 holds exactly
DTYPES = tuple(map(np.dtype, ("float32", "float64", "int8", "int16", "int32", "uint8", "uint16", "uint32")))
# how far ahead samples are fetched: each is compared sooner than the processor has fetched it by itself
AHEAD_BYTES = 16384
# rows this much wider than what is read are copied first
WIDEST_GAP = 2


def crossing_levels(thresholds, dtype):
    """Levels that a sample reaches if it crosses a threshold, in the type of the traces, one of `DTYPES`.

    For each channel, ``v <= -threshold`` implies ``v <= low``, and ``v >= threshold`` implies ``v >= high``.
    """
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return (-thresholds).astype(dtype), thresholds.astype(dtype)
    limits = np.iinfo(dtype)
    levels = np.nan_to_num(thresholds.astype(np.float64), nan=np.inf)
    lows, highs = (np.clip(one, limits.min, limits.max) for one in (np.floor(-levels), np.ceil(levels)))
    return lows.astype(dtype), highs.astype(dtype)


def flat_rows(traces):
    """View traces, whose channels lie side by side, as one read-only line of samples; others are copied first.

    Traces (num_samples, num_channels) may be some channels of a wider array. Returns the line and its stride: sample
    ``(t, c)`` is ``flat[t * stride + c]``.
    """
    num_samples, num_channels = traces.shape
    size = traces.itemsize
    rows_apart = traces.strides[0] if num_samples > 1 else num_channels * size
    side_by_side = traces.strides[1] == size or num_channels == 1
    if not side_by_side or rows_apart % size or not 1 <= rows_apart / (num_channels * size) <= WIDEST_GAP:
        traces, rows_apart = np.ascontiguousarray(traces), num_channels * size
    stride = rows_apart // size
    length = (num_samples - 1) * stride + num_channels if traces.size else 0
    return np.lib.stride_tricks.as_strided(traces, (length,), (size,), writeable=False), stride


def find_extrema(flat, stride, num_channels, first, last, thresholds, signs, *, sweep, strict):
    """Find local extrema beyond the thresholds, ordered by sample, then channel.

    A trough at ``(t, c)``: ``v(t, c) <= -threshold(c)``, smaller than the `sweep` samples before it and not larger than
    the `sweep` samples after it. A peak likewise with the signs turned. A sample that is compared with NaN is none.

    `flat` and `stride` are those of `flat_rows`, with `num_channels` in a row. Rows from `first` to before `last` are
    searched; `sweep` rows, at least 1, before and after them exist. `thresholds` (num_channels,) are floats; `signs`
    is "neg" for troughs, "pos" for peaks, or "both"; with `strict` a sample at the threshold itself is none. Returns
    samples and channels, int64, and the values of the traces there.
    """
    # with a sweep of one sample, the bits tell all, if the levels are as exact as the thresholds
    sure = sweep == 1 and not strict and stride == num_channels
    levels = []
    for sign, of_channels in zip(("neg", "pos"), crossing_levels(thresholds, flat.dtype), strict=True):
        sure &= _same_levels(of_channels, -thresholds if sign == "neg" else thresholds)
        # the samples that are compared in one go may begin at any channel
        row = np.full(stride, _farthest(flat.dtype, sign), dtype=flat.dtype)
        row[:num_channels] = of_channels
        levels.append(np.resize(row, stride + BITS if signs in (sign, "both") else 0))
    return _find(flat, stride, num_channels, first, last, thresholds, *levels, sweep, strict, bool(sure))


def _farthest(dtype, sign):
    """Level for what lies between the rows, which next to nothing reaches."""
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    return limits.min if sign == "neg" else limits.max


def _same_levels(levels, thresholds):
    if levels.dtype.kind == "f":
        return (levels == thresholds).all()
    limits = np.iinfo(levels.dtype)
    return (np.abs(thresholds) < limits.max).all() and limits.min < 0


@numba.njit(nogil=True, cache=True)
def _find(flat, stride, num_channels, first, last, thresholds, lows, highs, sweep, strict, sure):
    size = 16 * BITS
    samples, channels, values = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, flat.dtype)
    at, stop = first * stride, (last - 1) * stride + num_channels
    # not literal numbers, for which numba would compile the rest once more
    number, row, column = np.int64(0), first, np.int64(0)
    while True:
        at, row, column, number = _scan(
            flat, stride, num_channels, at, stop, row, column, thresholds, lows, highs, sweep, strict, sure, samples,
            channels, values, number
        )  # fmt: skip
        if at >= stop:
            return samples[:number], channels[:number], values[:number]
        size *= 2
        samples, channels, values = _longer(samples, size), _longer(channels, size), _longer(values, size)


# apart from what lengthens the arrays, without which the compiler keeps all in registers
@numba.njit(nogil=True, cache=True)
def _scan(
    flat, stride, num_channels, at, stop, row, column, thresholds, lows, highs, sweep, strict, sure, samples,
    channels, values, number
):  # fmt: skip
    """Go on from a place until the end, or until they may not fit; return where, and how many were found."""
    capacity = samples.size - BITS
    in_line, ahead = LINE_BYTES // flat.itemsize, AHEAD_BYTES // flat.itemsize
    while at < stop and number <= capacity:
        bits = np.uint64(0)
        if at + BITS <= stop:
            for line in range(BITS // in_line):
                prefetch_to_read(flat, at + stride + ahead + line * in_line)
            if lows.size:
                bits |= trough_bits(flat, at, stride, lows, column)
            if highs.size:
                bits |= peak_bits(flat, at, stride, highs, column)
        else:
            bits = _last_bits(flat, at, stop - at, stride, lows, highs, column)
        while bits:
            place = lowest_bit(bits)
            bits &= bits - np.uint64(1)
            t, c = row, column + place
            while c >= stride:
                t, c = t + 1, c - stride
            samples[number], channels[number], values[number] = t, c, flat[at + place]
            number += sure or (
                c < num_channels
                and _is_extremum(
                    flat, at + place, stride, thresholds[c], lows.size > 0, highs.size > 0, sweep, strict
                )
            )
        at, column = at + BITS, column + BITS
        while column >= stride:
            row, column = row + 1, column - stride
    return at, row, column, number


@numba.njit(nogil=True, cache=True)
def _last_bits(flat, at, count, stride, lows, highs, column):
    """Bits of the last samples, which are too few to be compared in one go."""
    bits = np.uint64(0)
    for i in range(count):
        before, value, after = flat[at + i - stride], flat[at + i], flat[at + i + stride]
        trough = lows.size > 0 and value <= lows[column + i] and value < before and value <= after
        peak = highs.size > 0 and value >= highs[column + i] and value > before and value >= after
        bits |= np.uint64(trough or peak) << np.uint64(i)
    return bits


@numba.njit(nogil=True, cache=True)
def _is_extremum(flat, at, stride, threshold, troughs, peaks, sweep, strict):
    value = flat[at]
    if troughs and (value < -threshold if strict else value <= -threshold):
        k = 1
        while k <= sweep and value < flat[at - k * stride] and value <= flat[at + k * stride]:
            k += 1
        if k > sweep:
            return True
    if peaks and (value > threshold if strict else value >= threshold):
        k = 1
        while k <= sweep and value > flat[at - k * stride] and value >= flat[at + k * stride]:
            k += 1
        return k > sweep
    return False


@numba.njit(nogil=True, cache=True, error_model="numpy")
def relative_sizes(values, channels, thresholds):
    """Size of each extremum of `find_extrema` in units of its channel's threshold, float64."""
    sizes = np.empty(values.size)
    for i in range(values.size):
        sizes[i] = abs(values[i]) / thresholds[channels[i]]
    return sizes


@numba.njit(nogil=True, cache=True)
def largest_around(samples, channels, sizes, neighbours, counts, sweep, first, last):
    """Find the extrema that no other exceeds, among those of neighbouring channels at most `sweep` samples away.

    Of equal ones the earlier counts; at the same sample both do.

    Extrema are those of `find_extrema`, with `sizes` of float64. `neighbours` and `counts` list the neighbours of each
    channel, itself among them; of two channels each is the other's neighbour, or neither. Those from `first` to before
    `last` are judged. Returns their places, ascending, int64.
    """
    if first >= last:
        return np.empty(0, np.int64)
    begin, end = first, last
    while begin > 0 and samples[begin - 1] >= samples[first] - sweep:
        begin -= 1
    while end < samples.size and samples[end] <= samples[last - 1] + sweep:
        end += 1
    exceeded = np.zeros(end - begin, np.bool_)
    _compare_pairs(
        samples[begin:end], channels[begin:end], sizes[begin:end], neighbours, counts, sweep, exceeded
    )
    places = np.empty(last - first, np.int64)
    number = 0
    for i in range(first, last):
        places[number] = i
        number += not exceeded[i - begin]
    return places[:number]


@numba.njit(nogil=True, cache=True)
def _compare_pairs(samples, channels, sizes, neighbours, counts, sweep, exceeded):
    """Compare each extremum with those before it, channel by channel."""
    latest = np.full(counts.size, -1)
    previous = np.empty(samples.size, np.int64)
    for i in range(samples.size):
        sample, size, main = samples[i], sizes[i], channels[i]
        for k in range(counts[main]):
            j = latest[neighbours[main, k]]
            while j >= 0 and samples[j] >= sample - sweep:
                exceeded[j] |= size > sizes[j]
                exceeded[i] |= sizes[j] > size or (sizes[j] == size and samples[j] < sample)
                j = previous[j]
        previous[i] = latest[main]
        latest[main] = i
