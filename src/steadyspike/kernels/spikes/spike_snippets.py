"""Sizes of spikes on the contacts around them, read where the samples are: in waveforms or in the traces themselves.

Both are given as one line of samples: sample ``s`` of spike ``i`` on channel ``c`` is
``flat[starts[i] + s * stride + c]``. Sums are taken in the type and the order of NumPy, since where a descent ends
depends on the last digits of its start.
"""

import math

import numba
import numpy as np

from steadyspike.kernels.spikes.contact_features import padded_rows

FEATURES = ("ptp", "energy", "peak_voltage", "mean")
DTYPES = tuple(map(np.dtype, ("float32", "float64", "int16", "int32", "uint16")))


def masked_lists(mask):
    """List the true entries of each row of a mask: neighbours and counts, as `contact_features.neighbour_lists`."""
    return padded_rows([np.flatnonzero(row) for row in mask])


def snippet_features(flat, stride, starts, channels, neighbours, counts, num_samples, feature, peak_index=0):
    """Size of each spike on the contacts around its main channel.

    With ``v`` the samples of one contact: ``max(v) - min(v)`` ("ptp"), ``sqrt(sum(v^2))`` ("energy"), ``v[peak_index]``
    ("peak_voltage") or ``mean(v)`` ("mean").

    `flat`, of one of `DTYPES`, `stride` and `starts` say where the samples are, `num_samples` of each spike, at least
    1; `channels` are the main ones, int64; neighbours and counts those of `masked_lists`. Returns (num_spikes, most
    neighbours), float32 for samples of float32, else float64; zero after the last neighbour.
    """
    dtype = np.float32 if flat.dtype == np.float32 else np.float64
    out = np.zeros((starts.size, neighbours.shape[1]), dtype=dtype)
    code = FEATURES.index(feature)
    _features(flat, stride, starts, channels, neighbours, counts, num_samples, code, peak_index, out)
    return out


@numba.njit(nogil=True, cache=True)
def _features(flat, stride, starts, channels, neighbours, counts, num_samples, code, peak_index, out):
    squares = np.empty(num_samples, out.dtype)
    span = np.empty(1, flat.dtype)
    for i in range(starts.size):
        main = channels[i]
        for k in range(counts[main]):
            at = starts[i] + neighbours[main, k]
            if code == 0:
                out[i, k] = _peak_to_peak(flat, at, stride, num_samples, span)
            elif code == 1:
                for s in range(num_samples):
                    v = out.dtype.type(flat[at + s * stride])
                    squares[s] = v * v
                out[i, k] = math.sqrt(pairwise_sum(squares, 0, num_samples))
            elif code == 2:
                out[i, k] = flat[at + peak_index * stride]
            else:
                total = 0.0
                for s in range(num_samples):
                    total += flat[at + s * stride]
                out[i, k] = total / num_samples


@numba.njit(nogil=True, cache=True)
def _peak_to_peak(flat, at, stride, num_samples, span):
    low = high = flat[at]
    nan = False
    for s in range(num_samples):
        v = flat[at + s * stride]
        low = min(low, v)
        high = max(high, v)
        nan |= v != v
    # in the type of the samples, as NumPy: the span of an integer may not fit
    span[0] = high - low
    return np.float64(span[0]) if not nan else math.nan


@numba.njit(nogil=True, cache=True)
def pairwise_sum(values, start, size):
    """Add `size` values, from `start` on, as NumPy does: by eight sums side by side, above 128 in two halves."""
    # no literal number, for which numba would compile the sum once more
    start = np.int64(start)
    if size <= 128:
        return _block_sum(values, start, size)
    half = size // 2
    half -= half % 8
    # a function that calls itself cannot be cached
    return _block_sum(values, start, half) + _block_sum(values, start + half, size - half)


@numba.njit(nogil=True, cache=True)
def _block_sum(values, start, size):
    total = values.dtype.type(0.0)
    if size < 8:
        for k in range(start, start + size):
            total += values[k]
        return total
    a, b, c, d = values[start], values[start + 1], values[start + 2], values[start + 3]
    e, f, g, h = values[start + 4], values[start + 5], values[start + 6], values[start + 7]
    stop = start + size - size % 8
    for k in range(start + 8, stop, 8):
        a += values[k]
        b += values[k + 1]
        c += values[k + 2]
        d += values[k + 3]
        e += values[k + 4]
        f += values[k + 5]
        g += values[k + 6]
        h += values[k + 7]
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for k in range(stop, start + size):
        total += values[k]
    return total


@numba.njit(nogil=True, cache=True)
def center_sums(features, channels, neighbours, counts, locations):
    """Sums for a center of mass: of the features of `snippet_features` times x, times y, and of the features."""
    out = np.zeros((features.shape[0], 3))
    for i in range(features.shape[0]):
        main = channels[i]
        for k in range(counts[main]):
            feature = np.float64(features[i, k])
            out[i, 0] += feature * locations[neighbours[main, k], 0]
            out[i, 1] += feature * locations[neighbours[main, k], 1]
        out[i, 2] = pairwise_sum(features[i], 0, counts[main])
    return out


@numba.njit(nogil=True, cache=True)
def copy_neighbours(flat, stride, starts, channels, neighbours, counts, out):
    """Copy the samples of each spike on the neighbours of its main channel; the rest of `out` stays as it is.

    Arguments are those of `snippet_features`; `out` has the shape (num_spikes, num_samples, at least most neighbours)
    and the type of `flat`.
    """
    for i in range(starts.size):
        main = channels[i]
        for s in range(out.shape[1]):
            start = starts[i] + s * stride
            for k in range(counts[main]):
                out[i, s, k] = flat[start + neighbours[main, k]]


@numba.njit(nogil=True, cache=True)
def main_values(flat, stride, samples, channels, neighbours, counts, sign):
    """Channel that is largest at each spike, among the neighbours of its main channel, and the value there.

    `flat` and `stride` are of traces, `samples` and `channels` of each spike, int64; `channels` is changed in place.
    `sign` -1: the smallest value counts, 0: the largest absolute one, 1: the largest. NaN counts before all, and of
    equal ones the first.
    """
    for i in range(samples.size):
        main = channels[i]
        row = samples[i] * stride
        best = -math.inf
        found = neighbours[main, 0]
        for k in range(counts[main]):
            value = flat[row + neighbours[main, k]]
            if value != value:
                found = neighbours[main, k]
                break
            size = np.float64(abs(value)) if sign == 0 else sign * np.float64(value)
            if size > best:
                best, found = size, neighbours[main, k]
        channels[i] = found
