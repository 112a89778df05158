"""Where spikes may be: extrema of the traces in time and among neighbouring contacts, and which of them to keep.

Both steps look only at what is near in time, so that a chunk with a margin gives what the whole recording gives.
"""

import numba
import numpy as np


def find_candidates(traces, scales, neighbours, counts, *, sweep, threshold, sign=-1):
    """Find samples that no neighbour in time and space exceeds.

    With ``v(t, c) = sign * trace(t, c) * scale(c)``, the pair ``(t, c)`` is a candidate if ``v(t, c) >= threshold`` and
    no ``v(t', c')`` with ``|t' - t| <= sweep`` and ``c'`` a neighbour of ``c`` is larger. Of equal ones the earlier
    counts, and at the same sample the contact with the lower index. With `sign` 0, ``v`` is the absolute value.
    Samples that are NaN are no candidates and exceed nothing.

    `traces` (num_samples, num_channels) are converted to float32. `sweep` is in samples, at least 1, and nothing is
    found nearer than this to the first and the last sample; `threshold` is above 0, in noise levels; `sign` is -1 for
    troughs, 1 for peaks, 0 for both; for the others see `steadyspike.kernels.spikes`. Returns samples and channels,
    int64, ordered by sample, then channel, and ``v`` there, float32.
    """
    if sweep < 1:
        raise ValueError(f"sweep is {sweep}; allowed is at least 1")
    if not threshold > 0:
        raise ValueError(f"threshold is {threshold}; allowed is a number above 0")
    if sign not in (-1, 0, 1):
        raise ValueError(f"sign is {sign}; allowed are -1, 0 and 1")
    traces = np.ascontiguousarray(traces, dtype=np.float32)
    scales = np.ascontiguousarray(scales, dtype=np.float32)
    found = _find(traces, scales, neighbours, counts, int(sweep), np.float32(threshold), int(sign))
    return found[0], found[1], found[2]


@numba.njit(nogil=True, cache=True)
def _value(trace, scale, sign):
    value = np.float32(trace) * scale
    if sign == 0:
        return abs(value)
    return -value if sign < 0 else value


@numba.njit(nogil=True, cache=True)
def _find(traces, scales, neighbours, counts, sweep, threshold, sign):
    size = 1024
    samples, channels = np.empty(size, np.int64), np.empty(size, np.int64)
    values = np.empty(size, np.float32)
    number = 0
    for t in range(sweep, traces.shape[0] - sweep):
        for c in range(traces.shape[1]):
            value = _value(traces[t, c], scales[c], sign)
            if not value >= threshold:
                continue
            if not _is_extremum(traces, scales, neighbours[c], counts[c], t, c, value, sweep, sign):
                continue
            if number == size:
                size *= 2
                samples, channels = _longer(samples, size), _longer(channels, size)
                values = _longer(values, size)
            samples[number], channels[number], values[number] = t, c, value
            number += 1
    return samples[:number], channels[:number], values[:number]


@numba.njit(nogil=True, cache=True)
def _longer(values, size):
    longer = np.empty(size, values.dtype)
    for i in range(values.size):
        longer[i] = values[i]
    return longer


@numba.njit(nogil=True, cache=True)
def _is_extremum(traces, scales, neighbours, count, t, c, value, sweep, sign):
    # the contact itself, which is the nearest, comes first and refuses most
    for k in range(count):
        other = neighbours[k]
        for s in range(t - sweep, t + sweep + 1):
            compared = _value(traces[s, other], scales[other], sign)
            if compared > value:
                return False
            if compared == value and (s < t or (s == t and other < c)):
                return False
    return True


def keep_strongest(samples, channels, strengths, neighbours, counts, *, sweep):
    """Drop what a stronger one nearby explains.

    One is dropped if another with a larger strength (at equal strength: an earlier one, at the same sample one on a
    lower channel) lies within `sweep` samples on a neighbouring contact, whether that other is kept itself or not.

    Candidates are ordered by sample, then channel; neighbours and counts are those of
    `contact_features.neighbour_lists`; `sweep` is not negative. Returns a mask of those kept.
    """
    near = np.zeros((len(counts), len(counts)), dtype=bool)
    for channel in range(len(counts)):
        near[channel, neighbours[channel, : counts[channel]]] = True
    strengths = np.ascontiguousarray(strengths, dtype=np.float32)
    return _keep(samples, channels, strengths, near, int(sweep))


@numba.njit(nogil=True, cache=True)
def _keep(samples, channels, strengths, near, sweep):
    kept = np.ones(samples.size, dtype=np.bool_)
    for i in range(samples.size):
        j = i + 1
        while j < samples.size and samples[j] - samples[i] <= sweep:
            if near[channels[i], channels[j]]:
                # i comes first, so that it wins a draw
                if strengths[j] > strengths[i]:
                    kept[i] = False
                else:
                    kept[j] = False
            j += 1
    return kept
