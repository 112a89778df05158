"""Contacts around each contact, and the size of each spike on those around its main channel.

Localization needs one number per spike and nearby contact. They are read where the samples are, over neighbour lists
instead of a channels x channels matrix, so that a large probe costs no more per spike.
"""

import math

import numba
import numpy as np

FEATURES = ("ptp", "energy", "peak_voltage")
# distances closer than this are equal: the same distance computed along two diagonals differs by rounding
SAME_DISTANCE_UM = 1e-6


def neighbour_lists(locations, radius_um, allowed=None):
    """List the contacts around each contact, nearest first.

    A contact is its own neighbour, and so are those at `radius_um` or nearer that `allowed` (num_channels,
    num_channels) allows, None all. `locations` (num_channels, 2) are in um, finite. Returns channel indices
    (num_channels, largest neighbourhood), int64, rows padded with -1, and how many of each row are neighbours.
    """
    locations = np.ascontiguousarray(locations, dtype=np.float64)
    near = []
    for channel, location in enumerate(locations):
        distances = np.linalg.norm(locations - location, axis=1)
        inside = distances <= radius_um
        inside = np.flatnonzero(inside if allowed is None else inside & allowed[channel])
        near.append(inside[np.argsort(distances[inside], kind="stable")])
    return padded_rows(near)


def padded_rows(lists):
    """Lists of indices as rows, padded with -1 to the length of the longest, and their lengths; int64."""
    counts = np.array([one.size for one in lists], dtype=np.int64)
    rows = np.full((len(lists), counts.max(initial=1)), -1, dtype=np.int64)
    for row, one in zip(rows, lists, strict=True):
        row[: one.size] = one
    return rows, counts


def neighbour_columns(neighbours, sparse):
    """Columns of waveforms that hold the neighbours of each main channel.

    `neighbours` are rows of channel indices, padded with -1. `sparse` (num_channels, num_channels) says which channels
    the waveforms of each main channel hold, in order and without gaps; None: dense waveforms, which hold all. Returns
    the shape of `neighbours`, -1 where the waveforms hold no such channel.
    """
    if sparse is None:
        return neighbours
    listed = np.maximum(neighbours, 0)
    held = (neighbours >= 0) & np.take_along_axis(sparse, listed, axis=1)
    return np.where(held, np.take_along_axis(np.cumsum(sparse, axis=1) - 1, listed, axis=1), -1)


def spike_features(spikes, channels, columns, counts, feature="ptp", peak_index=0):
    """Size of each spike on the contacts around its main channel.

    With ``v`` the waveform of one contact: ``max(v) - min(v)`` ("ptp"), ``sqrt(sum(v^2))`` ("energy") or
    ``abs(v[peak_index])`` ("peak_voltage").

    `spikes` are `spike_samples.SpikeSamples`. `columns` (num_channels, max_neighbours) are those of their channels to
    read for each main channel, the neighbour lists themselves in traces and dense waveforms, and `counts` how many of
    each row count. Returns float64 (num_spikes, max_neighbours); not finite where a sample that is read is not, zero
    after the last neighbour.

    Raises `ValueError` for an unknown feature, a main channel or a column that does not exist, or a `peak_index`
    outside the waveform.
    """
    if feature not in FEATURES:
        raise ValueError(f"feature is {feature!r}; allowed are {', '.join(FEATURES)}")
    channels = checked_channels(channels, spikes.starts.size, counts)
    if columns.max(initial=-1) >= spikes.num_channels:
        raise ValueError(
            f"columns go up to {columns.max()}; the waveforms have {spikes.num_channels} columns"
        )
    if feature == "peak_voltage" and not 0 <= peak_index < spikes.num_samples:
        raise ValueError(f"peak_index is {peak_index}; allowed is 0 to {spikes.num_samples - 1}")
    code = FEATURES.index(feature)
    where = (spikes.flat, spikes.stride, spikes.step, spikes.starts, spikes.num_samples)
    return _features(*where, channels, columns, counts, code, int(peak_index))


def shell_radii(locations):
    """Distances of the first and of the third ring of contacts around each contact.

    A ring is the contacts at one distance; where there are fewer than three rings, the last one counts.

    Returns the radius of the first ring and of the third around each of the contacts (num_channels, 2), in um; zero
    without any ring.
    """
    locations = np.asarray(locations, dtype=np.float64)
    radii = np.zeros((len(locations), 2))
    x, y = locations.T
    distances = np.sort(np.hypot(x[:, np.newaxis] - x, y[:, np.newaxis] - y), axis=1)
    starts_ring = np.diff(distances, axis=1) > SAME_DISTANCE_UM
    for channel, starts in enumerate(starts_ring):
        rings = np.flatnonzero(starts)[:3] + 1
        if rings.size:
            radii[channel] = distances[channel, rings[[0, -1]]]
    return radii


def enforce_radial_decrease(features, channels, neighbours, counts, locations, shells):
    """Cut features that grow with the distance from the main channel, in place.

    Going outwards from the main channel, a contact beyond its first ring may not exceed the largest feature
    among its parents: those nearer to the main channel that lie within the third ring around the contact
    itself.

    `features` are float64 (num_spikes, max_neighbours), `shells` are those of `shell_radii`; for the others see
    `steadyspike.kernels.spikes`.
    """
    channels = checked_channels(channels, features.shape[0], counts)
    locations = np.ascontiguousarray(locations, dtype=np.float64)
    _enforce_decrease(features, channels, neighbours, counts, locations, shells)


def checked_channels(channels, num_spikes, counts):
    """Convert main channels to int64; refuse what does not fit the number of spikes, or of entries in `counts`."""
    channels = np.ascontiguousarray(channels, dtype=np.int64)
    if channels.shape != (num_spikes,):
        raise ValueError(f"channels has shape {channels.shape}; allowed is ({num_spikes},), one per spike")
    if channels.size and not 0 <= channels.min() <= channels.max() < counts.size:
        raise ValueError(
            f"channels goes from {channels.min()} to {channels.max()}; allowed is 0 to {counts.size - 1}"
        )
    return channels


@numba.njit(nogil=True, cache=True)
def _features(flat, stride, step, starts, num_samples, channels, columns, counts, code, peak_index):
    out = np.zeros((starts.size, columns.shape[1]))
    for i in range(starts.size):
        main = channels[i]
        # contact by contact: the samples of one are fetched from memory together, its neighbours' come along
        for k in range(counts[main]):
            start = starts[i] + columns[main, k] * step
            if code == 0:
                out[i, k] = _peak_to_peak(flat, start, stride, num_samples)
            elif code == 1:
                out[i, k] = _energy(flat, start, stride, num_samples)
            else:
                out[i, k] = abs(np.float64(flat[start + peak_index * stride]))
    return out


@numba.njit(nogil=True, cache=True)
def _peak_to_peak(flat, start, stride, num_samples):
    if num_samples == 0:
        return 0.0
    low = high = np.float64(flat[start])
    total = 0.0
    for s in range(num_samples):
        v = np.float64(flat[start + s * stride])
        low = v if v < low else low
        high = v if v > high else high
        total += v
    # comparisons skip a NaN; the sum does not, and zero times it is NaN
    return high - low + 0.0 * total


@numba.njit(nogil=True, cache=True)
def _energy(flat, start, stride, num_samples):
    total = 0.0
    for s in range(num_samples):
        total += np.float64(flat[start + s * stride]) ** 2
    return math.sqrt(total)


@numba.njit(nogil=True, cache=True)
def _enforce_decrease(features, channels, neighbours, counts, locations, shells):
    for i in range(features.shape[0]):
        main = channels[i]
        row = neighbours[main]
        for k in range(counts[main]):
            reach = _distance(locations, main, row[k])
            if reach <= shells[main, 0] + SAME_DISTANCE_UM:
                continue
            largest = -1.0
            for j in range(k):
                nearer = _distance(locations, main, row[j]) < reach - SAME_DISTANCE_UM
                if nearer and _distance(locations, row[k], row[j]) <= shells[row[k], 1] + SAME_DISTANCE_UM:
                    largest = max(largest, features[i, j]) if features[i, j] >= 0.0 else largest
            if largest >= 0.0 and features[i, k] > largest:
                features[i, k] = largest


@numba.njit(nogil=True, cache=True)
def _distance(locations, a, b):
    return math.hypot(locations[a, 0] - locations[b, 0], locations[a, 1] - locations[b, 1])
