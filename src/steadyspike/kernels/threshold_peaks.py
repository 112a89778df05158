"""Local extrema of traces beyond a threshold, and which of them are the largest in their surroundings.

A row of traces (all channels at one time) is compared with the thresholds in vector registers; only the few samples
that cross are looked at one by one.
"""

import numba
import numpy as np

from .spike_candidates import _longer

# what the kernels have been written for: all that float64 holds exactly
DTYPES = tuple(map(np.dtype, ("float32", "float64", "int8", "int16", "int32", "uint8", "uint16", "uint32")))
# bytes of traces that are compared in one go: their rows, and those before and after, stay in the nearest cache
TILE_BYTES = 4096
# each 6 bits in a row of this number are different, and so tell which bit of a word is set
DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
BIT_OF = np.zeros(64, dtype=np.int64)
BIT_OF[[((int(DE_BRUIJN) << bit) & (2**64 - 1)) >> 58 for bit in range(64)]] = np.arange(64)
# rows this much wider than what is read are copied first
WIDEST_GAP = 2


def crossing_levels(thresholds, dtype):
    """Levels that a sample reaches if it crosses a threshold, in the type of the traces.

    Parameters
    ----------
    thresholds : np.ndarray
        Of each channel, shape (num_channels,), float.
    dtype : np.dtype
        One of `DTYPES`.

    Returns
    -------
    lows, highs : np.ndarray
        Shape (num_channels,): ``v <= -threshold`` implies ``v <= low``, ``v >= threshold`` implies ``v >= high``.
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

    Parameters
    ----------
    traces : np.ndarray
        Shape (num_samples, num_channels), such as some channels of a wider array.

    Returns
    -------
    flat : np.ndarray
        One-dimensional, read-only.
    stride : int
        Sample ``(t, c)`` is ``flat[t * stride + c]``.
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

    Parameters
    ----------
    flat, stride : np.ndarray, int
        As `flat_rows` returns them.
    num_channels : int
        In a row.
    first, last : int
        Rows that are searched; `sweep` rows before the first and after the last exist.
    thresholds : np.ndarray
        Of each channel, shape (num_channels,), float.
    signs : "neg" | "pos" | "both"
        Troughs, peaks, or both.
    sweep : int
        In samples, at least 1.
    strict : bool
        Whether a sample at the threshold itself is none.

    Returns
    -------
    samples, channels : np.ndarray
        Shape (num_extrema,), int64.
    values : np.ndarray
        Of the traces there.
    """
    # with a sweep of one sample, marking tells all, if the levels are as exact as the thresholds
    sure = sweep == 1 and not strict
    rows = max(1, TILE_BYTES // (flat.itemsize * stride))
    levels = []
    for sign, of_channels in zip(("neg", "pos"), crossing_levels(thresholds, flat.dtype), strict=True):
        sure &= _same_levels(of_channels, -thresholds if sign == "neg" else thresholds)
        tiled = np.zeros((rows if signs in (sign, "both") else 0, stride), dtype=flat.dtype)
        tiled[:, :num_channels] = of_channels
        levels.append(tiled.ravel())
    return _find(flat, stride, num_channels, first, last, thresholds, *levels, sweep, strict, bool(sure))


def _same_levels(levels, thresholds):
    if levels.dtype.kind == "f":
        return (levels == thresholds).all()
    limits = np.iinfo(levels.dtype)
    return (np.abs(thresholds) < limits.max).all() and limits.min < 0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _find(flat, stride, num_channels, first, last, thresholds, lows, highs, sweep, strict, sure):
    size = 1024
    samples, channels, values = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, flat.dtype)
    number = 0
    tile = max(lows.size, highs.size)
    # a byte for each sample, so that the compiler packs the comparisons of a whole register
    words = np.zeros((tile + 63) // 64 * 8, np.uint64)
    marks = words.view(np.int8)
    marked = np.empty(8 * words.size, np.int64)
    for row in range(first, last, tile // stride):
        start = row * stride
        count = min(tile, (last - 1 - row) * stride + num_channels)
        _mark(flat, start, count, stride, lows, highs, marks)
        marks[count:] = 0
        num_marked = _list_marked(words, marked)
        if number + num_marked > size:
            size = 2 * (size + num_marked)
            samples, channels = _longer(samples, size), _longer(channels, size)
            values = _longer(values, size)
        for m in range(num_marked):
            i = marked[m]
            t = i // stride
            c = i - t * stride
            samples[number], channels[number], values[number] = row + t, c, flat[start + i]
            if sure and stride == num_channels:
                number += 1
            else:
                number += c < num_channels and _is_extremum(
                    flat, start + i, stride, thresholds[c], lows.size > 0, highs.size > 0, sweep, strict
                )
    return samples[:number], channels[:number], values[:number]


@numba.njit(nogil=True, cache=True)
def _list_marked(words, marked):
    """List the bytes that are 1, and return how many; hardly a branch depends on where they are."""
    count = 0
    for group in range(0, words.size, 8):
        together = np.uint64(0)
        for w in range(8):
            together |= words[group + w]
        if together == 0:
            continue
        bits = np.uint64(0)
        for w in range(8):
            # the multiplication brings the lowest bits of 8 bytes together
            byte = (words[group + w] * np.uint64(0x0102040810204080)) >> np.uint64(56)
            bits |= byte << np.uint64(8 * w)
        while bits:
            lowest = bits & (~bits + np.uint64(1))
            marked[count] = 8 * group + BIT_OF[(lowest * DE_BRUIJN) >> np.uint64(58)]
            count += 1
            bits ^= lowest
    return count


@numba.njit(nogil=True, cache=True)
def _mark(flat, start, count, stride, lows, highs, marks):
    """Mark what crosses a level and is an extremum among the two samples beside it."""
    row, before = flat[start : start + count], flat[start - stride : start - stride + count]
    after = flat[start + stride : start + stride + count]
    if lows.size and highs.size:
        for i in range(count):
            trough = np.int8(row[i] <= lows[i]) & np.int8(row[i] < before[i]) & np.int8(row[i] <= after[i])
            peak = np.int8(row[i] >= highs[i]) & np.int8(row[i] > before[i]) & np.int8(row[i] >= after[i])
            marks[i] = trough | peak
    elif lows.size:
        for i in range(count):
            marks[i] = np.int8(row[i] <= lows[i]) & np.int8(row[i] < before[i]) & np.int8(row[i] <= after[i])
    else:
        for i in range(count):
            marks[i] = np.int8(row[i] >= highs[i]) & np.int8(row[i] > before[i]) & np.int8(row[i] >= after[i])


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


def relative_sizes(values, channels, thresholds):
    """Size of each extremum in units of its channel's threshold.

    Parameters
    ----------
    values, channels : np.ndarray
        As `find_extrema` returns them.
    thresholds : np.ndarray
        Of each channel, shape (num_channels,), float.

    Returns
    -------
    np.ndarray
        Shape (num_extrema,), float64.
    """
    return _relative_sizes(values, channels, thresholds)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _relative_sizes(values, channels, thresholds):
    sizes = np.empty(values.size)
    for i in range(values.size):
        sizes[i] = abs(values[i]) / thresholds[channels[i]]
    return sizes


def largest_around(samples, channels, sizes, near, sweep, first, last):
    """Tell which extrema no other exceeds, among those of neighbouring channels at most `sweep` samples away.

    Of equal ones the earlier counts; at the same sample both do.

    Parameters
    ----------
    samples, channels : np.ndarray
        As `find_extrema` returns them.
    sizes : np.ndarray
        Shape (num_extrema,), float64.
    near : np.ndarray
        Whether a channel (second axis) is a neighbour of another (first axis), boolean, square.
    sweep : int
        In samples.
    first, last : int
        Range of extrema to judge.

    Returns
    -------
    np.ndarray
        Boolean, shape (last - first,).
    """
    return _largest_around(samples, channels, sizes, near, sweep, first, last)


@numba.njit(nogil=True, cache=True)
def _largest_around(samples, channels, sizes, near, sweep, first, last):
    kept = np.empty(last - first, dtype=np.bool_)
    for i in range(first, last):
        kept[i - first] = _is_largest(samples, channels, sizes, near[channels[i]], sweep, i)
    return kept


@numba.njit(nogil=True, cache=True)
def _is_largest(samples, channels, sizes, near, sweep, i):
    # to both sides in turn: what refuses an extremum is mostly the same spike on a channel beside it, close in time
    earlier, later = i - 1, i + 1
    size, start, stop = sizes[i], samples[i] - sweep, samples[i] + sweep
    more_before = more_after = True
    while more_before or more_after:
        more_before = earlier >= 0 and samples[earlier] >= start
        if more_before:
            larger = sizes[earlier] > size or (sizes[earlier] == size and samples[earlier] < samples[i])
            if near[channels[earlier]] and larger:
                return False
            earlier -= 1
        more_after = later < samples.size and samples[later] <= stop
        if more_after:
            if near[channels[later]] and sizes[later] > size:
                return False
            later += 1
    return True
