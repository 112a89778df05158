"""Local extrema of traces beyond a threshold, and which of them are the largest in their surroundings.

A row of traces (all channels at one time) is compared with the thresholds in vector registers; only the few samples
that cross are looked at one by one.
"""

import numba
import numpy as np

from .spike_candidates import _longer

# what the kernels have been written for: all that float64 holds exactly
DTYPES = tuple(map(np.dtype, ("float32", "float64", "int8", "int16", "int32", "uint8", "uint16", "uint32")))


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
    if not side_by_side or rows_apart % size or rows_apart < num_channels * size:
        traces, rows_apart = np.ascontiguousarray(traces), num_channels * size
    stride = rows_apart // size
    length = (num_samples - 1) * stride + num_channels if traces.size else 0
    return np.lib.stride_tricks.as_strided(traces, (length,), (size,), writeable=False), stride


def find_extrema(flat, stride, num_channels, first, last, thresholds, lows, highs, *, sweep, strict):
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
    lows, highs : np.ndarray or None
        As `crossing_levels` returns them; None: no troughs, or no peaks.
    sweep : int
        In samples, at least 1.
    strict : bool
        Whether a sample at the threshold itself is none.

    Returns
    -------
    samples, channels : np.ndarray
        Shape (num_extrema,), int64.
    """
    none = np.zeros(0, dtype=flat.dtype)
    lows, highs = (none if levels is None else levels for levels in (lows, highs))
    return _find(flat, stride, num_channels, first, last, thresholds, lows, highs, sweep, strict)


@numba.njit(nogil=True, cache=True)
def _find(flat, stride, num_channels, first, last, thresholds, lows, highs, sweep, strict):
    size = 1024
    samples, channels = np.empty(size, np.int64), np.empty(size, np.int64)
    number = 0
    words = np.zeros((num_channels + 7) // 8, np.int64)
    crossed = words.view(np.int8)
    for t in range(first, last):
        start = t * stride
        _compare(flat[start : start + num_channels], lows, highs, crossed)
        if not _any(words):
            continue
        for w in range(words.size):
            if words[w] == 0:
                continue
            if number + 8 > size:
                size *= 2
                samples, channels = _longer(samples, size), _longer(channels, size)
            for c in range(8 * w, min(8 * w + 8, num_channels)):
                if crossed[c] and _is_extremum(
                    flat, start + c, stride, thresholds[c], lows.size > 0, highs.size > 0, sweep, strict
                ):
                    samples[number], channels[number] = t, c
                    number += 1
    return samples[:number], channels[:number]


@numba.njit(nogil=True, cache=True)
def _compare(row, lows, highs, crossed):
    """Mark the channels that cross; bytes, so that the compiler packs the comparisons of a whole register."""
    if lows.size and highs.size:
        for c in range(row.size):
            crossed[c] = np.int8(row[c] <= lows[c]) | np.int8(row[c] >= highs[c])
    elif lows.size:
        for c in range(row.size):
            crossed[c] = np.int8(row[c] <= lows[c])
    else:
        for c in range(row.size):
            crossed[c] = np.int8(row[c] >= highs[c])


@numba.njit(nogil=True, cache=True)
def _any(words):
    together = np.int64(0)
    for w in range(words.size):
        together |= words[w]
    return together != 0


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


def relative_sizes(flat, stride, samples, channels, thresholds):
    """Size of each extremum in units of its channel's threshold.

    Parameters
    ----------
    flat, stride : np.ndarray, int
        As `flat_rows` returns them.
    samples, channels : np.ndarray
        As `find_extrema` returns them.
    thresholds : np.ndarray
        Of each channel, shape (num_channels,), float.

    Returns
    -------
    np.ndarray
        Shape (num_extrema,), float64.
    """
    return _relative_sizes(flat, stride, samples, channels, thresholds)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _relative_sizes(flat, stride, samples, channels, thresholds):
    sizes = np.empty(samples.size)
    for i in range(samples.size):
        sizes[i] = abs(flat[samples[i] * stride + channels[i]]) / thresholds[channels[i]]
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
        Whether a channel (second axis) is a neighbour of another (first axis), boolean, shape (num_channels, num_channels).
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
        # outwards from the extremum: most are refused by the same spike on the channel beside it
        kept[i - first] = not (
            _exceeded(samples, channels, sizes, near, sweep, i, -1)
            or _exceeded(samples, channels, sizes, near, sweep, i, 1)
        )
    return kept


@numba.njit(nogil=True, cache=True)
def _exceeded(samples, channels, sizes, near, sweep, i, step):
    j = i + step
    while 0 <= j < samples.size and abs(samples[i] - samples[j]) <= sweep:
        if near[channels[i], channels[j]]:
            if sizes[j] > sizes[i] or (sizes[j] == sizes[i] and samples[i] > samples[j]):
                return True
        j += step
    return False
