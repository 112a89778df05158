"""Histograms over given bin edges, spike by spike: the sums of `numpy.histogramdd`, without sorting or copies."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def _bin_of(value, edges, step):
    """Bin that holds a value: left edges belong to their bin, and the last right one does too; -1 outside."""
    last = edges.size - 1
    if not (edges[0] <= value <= edges[last]):
        return -1
    index = min(max(int((value - edges[0]) / step), 0), last - 1)
    while index > 0 and value < edges[index]:
        index -= 1
    while index < last - 1 and value >= edges[index + 1]:
        index += 1
    return index


@numba.njit(nogil=True, cache=True)
def _add(times, depths, time_edges, depth_edges, weights, summed, counts):
    time_step = (time_edges[-1] - time_edges[0]) / (time_edges.size - 1)
    depth_step = (depth_edges[-1] - depth_edges[0]) / (depth_edges.size - 1)
    for i in range(times.size):
        t = _bin_of(times[i], time_edges, time_step)
        y = _bin_of(depths[i], depth_edges, depth_step)
        if t < 0 or y < 0:
            continue
        summed[t, y] += weights[i] if weights.size else 1.0
        if counts.size:
            counts[t, y] += 1.0


@numba.njit(nogil=True, cache=True)
def _add_marked(times, depths, marks, time_edges, depth_edges, mark_edges, counts):
    time_step = (time_edges[-1] - time_edges[0]) / (time_edges.size - 1)
    depth_step = (depth_edges[-1] - depth_edges[0]) / (depth_edges.size - 1)
    mark_step = (mark_edges[-1] - mark_edges[0]) / (mark_edges.size - 1)
    for i in range(times.size):
        t = _bin_of(times[i], time_edges, time_step)
        y = _bin_of(depths[i], depth_edges, depth_step)
        a = _bin_of(marks[i], mark_edges, mark_step)
        if t >= 0 and y >= 0 and a >= 0:
            counts[t, y, a] += 1.0


def histogram_2d(times, depths, time_edges, depth_edges, weights=None, with_counts=False):
    """Sum spikes, or their weights, in bins of time and depth.

    `times` and `depths` are float64, finite; spikes outside all bins are not counted. Edges increase and are about
    equally spaced, at least 2. Without `weights` spikes are counted, `with_counts` also beside them. Returns float64
    (num_times, num_depths), added in the order of the spikes, and the counts or None.
    """
    shape = (time_edges.size - 1, depth_edges.size - 1)
    summed = np.zeros(shape)
    counts = np.zeros(shape if with_counts else (0, 0))
    weights = np.zeros(0) if weights is None else np.asarray(weights, dtype="float64")
    _add(times, depths, time_edges, depth_edges, weights, summed, counts)
    return summed, counts if with_counts else None


def histogram_3d(times, depths, marks, time_edges, depth_edges, mark_edges):
    """Count spikes in bins of time, depth and a mark; arguments as in `histogram_2d`.

    Returns float64 (num_times, num_depths, num_marks).
    """
    counts = np.zeros((time_edges.size - 1, depth_edges.size - 1, mark_edges.size - 1))
    _add_marked(times, depths, marks, time_edges, depth_edges, mark_edges, counts)
    return counts
