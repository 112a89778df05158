"""Contacts around each contact, and the size of each spike on those around its main channel.

Localization needs one number per spike and nearby contact. They are read straight off the waveforms, over
neighbour lists instead of a channels x channels matrix, so that a large probe costs no more per spike.
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


def waveform_features(waveforms, channels, columns, counts, feature="ptp", peak_index=0):
    """Size of each spike on the contacts around its main channel.

    With ``v`` the waveform of one contact: ``max(v) - min(v)`` ("ptp"), ``sqrt(sum(v^2))`` ("energy") or
    ``abs(v[peak_index])`` ("peak_voltage").

    `waveforms` (num_spikes, num_samples, num_columns) are read in place if float32, float64 or int16, others are
    converted to float32 first. `columns` (num_channels, max_neighbours) are those to read for each main channel, the
    neighbour lists themselves when the waveforms are dense, and `counts` how many of each row count. Returns float64
    (num_spikes, max_neighbours); not finite where a sample that is read is not, zero after the last neighbour.

    Raises `ValueError` for an unknown feature, a main channel or a column that does not exist, or a `peak_index`
    outside the waveform.
    """
    if feature not in FEATURES:
        raise ValueError(f"feature is {feature!r}; allowed are {', '.join(FEATURES)}")
    waveforms = in_kernel_dtype(waveforms)
    _, num_samples, num_columns = waveforms.shape
    channels = checked_channels(channels, waveforms.shape[0], counts)
    if columns.max(initial=-1) >= num_columns:
        raise ValueError(f"columns go up to {columns.max()}; the waveforms have {num_columns} columns")
    if feature == "peak_voltage" and not 0 <= peak_index < num_samples:
        raise ValueError(f"peak_index is {peak_index}; allowed is 0 to {num_samples - 1}")
    code = FEATURES.index(feature)
    return _features(np.ascontiguousarray(waveforms), channels, columns, counts, code, int(peak_index))


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


def in_kernel_dtype(waveforms):
    """Waveforms as they are in float32, float64 and int16, others in float32."""
    waveforms = np.asarray(waveforms)
    return (
        waveforms if waveforms.dtype in (np.float32, np.float64, np.int16) else waveforms.astype(np.float32)
    )


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
def _features(waveforms, channels, columns, counts, code, peak_index):
    out = np.zeros((waveforms.shape[0], columns.shape[1]))
    for i in range(waveforms.shape[0]):
        main = channels[i]
        # contact by contact: the samples of one are fetched from memory together, its neighbours' come along
        for k in range(counts[main]):
            if code == 0:
                out[i, k] = _peak_to_peak(waveforms, i, columns[main, k])
            elif code == 1:
                out[i, k] = _energy(waveforms, i, columns[main, k])
            else:
                out[i, k] = abs(np.float64(waveforms[i, peak_index, columns[main, k]]))
    return out


@numba.njit(nogil=True, cache=True)
def _peak_to_peak(waveforms, i, column):
    if waveforms.shape[1] == 0:
        return 0.0
    low = high = np.float64(waveforms[i, 0, column])
    total = 0.0
    for s in range(waveforms.shape[1]):
        v = np.float64(waveforms[i, s, column])
        low = v if v < low else low
        high = v if v > high else high
        total += v
    # comparisons skip a NaN; the sum does not, and zero times it is NaN
    return high - low + 0.0 * total


@numba.njit(nogil=True, cache=True)
def _energy(waveforms, i, column):
    total = 0.0
    for s in range(waveforms.shape[1]):
        total += np.float64(waveforms[i, s, column]) ** 2
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
