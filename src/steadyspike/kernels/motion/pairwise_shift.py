"""Displacements between pairs of time bins, from the correlation of their profiles over depth.

A profile is a row of a spike raster, or the local field potential of a time bin. The all-pairs matrix of decentralized
registration (Varol 2021) needs memory and time that grow with the square of the duration. Here only pairs at a fixed
list of lags are compared: every short lag, and ever fewer long ones. The list grows with the logarithm of the horizon,
so that memory and time grow linearly with duration, while distant times stay connected by few steps.

Depth is cut into blocks, and sums of products over each block are shared by all windows.
"""

from itertools import pairwise

import numba
import numpy as np

# Time bins. All lags up to this one are compared,
NUM_DENSE_LAGS = 8
# and each further one is longer by this factor.
LAG_GROWTH = 1.3
# Kinds of sums over blocks of depth; the last three are needed for the Pearson correlation only.
PRODUCTS, FIRST_SQUARES, SECOND_SQUARES, COUNTS, FIRST_SUMS, SECOND_SUMS = range(6)


def lag_schedule(num_times, horizon):
    """Lags, increasing and in time bins, at which pairs of time bins are compared.

    All lags up to 8, then each 1.3 times the one before, up to the horizon and below `num_times`; none with fewer than
    two time bins.
    """
    longest = min(horizon, num_times - 1)
    lags = list(range(1, min(NUM_DENSE_LAGS, longest) + 1))
    lag = float(NUM_DENSE_LAGS)
    while True:
        lag = max(lag * LAG_GROWTH, lag + 1.0)
        if round(lag) > longest:
            return np.array(lags, dtype="int64")
        lags.append(round(lag))


def window_blocks(windows, num_blocks=64):
    """Cut depth into blocks, and give each window, (num_windows, num_depths), its mean weight in each block.

    Returns the first depth bin of each block with the end of the last, and the weights (num_windows, num_blocks).
    """
    num_depths = windows.shape[1]
    block_edges = np.unique(np.linspace(0, num_depths, min(num_blocks, num_depths) + 1).astype("int64"))
    return block_edges, np.add.reduceat(windows, block_edges[:-1], axis=1) / np.diff(block_edges)


def pair_weights(correlations, min_correlation):
    """Squares of the correlations, as weights of the pairs; 0 for pairs that correlate less than `min_correlation`."""
    return np.square(np.where(correlations > min_correlation, correlations, np.float32(0)))


def center_segments(displacement, segment_edges):
    """Subtract the mean over time from the displacement of each window in each segment, in place."""
    for start, stop in pairwise(segment_edges):
        displacement[start:stop] -= displacement[start:stop].mean(axis=0)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _dot(first, second):
    # Reassociating this sum changes only its rounding; rasters hold no NaN.
    total = np.float32(0.0)
    for i in range(first.size):
        total += first[i] * second[i]
    return total


@numba.njit(nogil=True, cache=True)
def _running_sums(first, second, num_marks, is_centered, running):
    """Sums over all depths before each depth: of both rows' squares and, for means, of their values."""
    for y in range(running.shape[1] - 1):
        first_square, second_square = np.float32(0.0), np.float32(0.0)
        for i in range(y * num_marks, (y + 1) * num_marks):
            first_square += first[i] * first[i]
            second_square += second[i] * second[i]
        running[0, y + 1] = running[0, y] + first_square
        running[1, y + 1] = running[1, y] + second_square
        if is_centered:
            running[2, y + 1] = running[2, y] + first[y]
            running[3, y + 1] = running[3, y] + second[y]


@numba.njit(nogil=True, cache=True)
def _overlap(start, stop, shift, first_seen, second_seen):
    """Depths of a block of the first row that both rows see, the second moved by the shift."""
    start = max(start, first_seen[0], second_seen[0] - shift)
    return start, max(min(stop, first_seen[1], second_seen[1] - shift), start)


@numba.njit(nogil=True, cache=True)
def _block_products(first, second, num_marks, seen, block_edges, max_shift, running, sums):
    """Sums of products and of the second row's squares over what both rows see, of the first's over whole blocks."""
    first_seen, second_seen = seen
    for block in range(block_edges.size - 1):
        begin, end = block_edges[block], block_edges[block + 1]
        whole = running[0, end] - running[0, begin]
        for index in range(2 * max_shift + 1):
            shift = index - max_shift
            start, stop = _overlap(begin, end, shift, first_seen, second_seen)
            product, square = np.float32(0.0), 0.0
            # an empty part may lie beyond the ends
            if start < stop:
                product = _dot(
                    first[start * num_marks : stop * num_marks],
                    second[(start + shift) * num_marks : (stop + shift) * num_marks],
                )
                square = running[1, stop + shift] - running[1, start + shift]
            sums[PRODUCTS, block, index] = product
            sums[FIRST_SQUARES, block, index] = whole
            sums[SECOND_SQUARES, block, index] = square


@numba.njit(nogil=True, cache=True)
def _block_moments(seen, block_edges, max_shift, running, sums):
    """What else the Pearson correlation takes: all sums over what both rows see."""
    first_seen, second_seen = seen
    for block in range(block_edges.size - 1):
        begin, end = block_edges[block], block_edges[block + 1]
        for index in range(2 * max_shift + 1):
            shift = index - max_shift
            start, stop = _overlap(begin, end, shift, first_seen, second_seen)
            if start == stop:
                start = stop = shift = 0
            sums[FIRST_SQUARES, block, index] = running[0, stop] - running[0, start]
            sums[COUNTS, block, index] = stop - start
            sums[FIRST_SUMS, block, index] = running[2, stop] - running[2, start]
            sums[SECOND_SUMS, block, index] = running[3, stop + shift] - running[3, start + shift]


@numba.njit(nogil=True, cache=True)
def _in_window(sums, weights, totals):
    """Sum over blocks, by their weights in a window."""
    totals[:] = 0.0
    for block in range(weights.size):
        weight = weights[block]
        if weight != 0.0:
            for kind in range(totals.shape[0]):
                for index in range(totals.shape[1]):
                    totals[kind, index] += weight * sums[kind, block, index]


@numba.njit(nogil=True, cache=True)
def _correlate(totals, least_count, correlation):
    """Correlation at each shift, centered if the totals have what that takes; 0 where too little is seen."""
    is_centered = totals.shape[0] > COUNTS
    for index in range(correlation.size):
        product = totals[PRODUCTS, index]
        first, second = totals[FIRST_SQUARES, index], totals[SECOND_SQUARES, index]
        least = 0.0
        if is_centered:
            count = totals[COUNTS, index]
            if count < least_count or count <= 0.0:
                correlation[index] = 0.0
                continue
            first_sum, second_sum = totals[FIRST_SUMS, index], totals[SECOND_SUMS, index]
            product -= first_sum * second_sum / count
            first -= first_sum * first_sum / count
            second -= second_sum * second_sum / count
            # what rounding leaves of no variance
            least = 1e-20
        correlation[index] = product / np.sqrt(first * second) if first * second > least else 0.0


@numba.njit(nogil=True, cache=True)
def _peak(correlation):
    """Place (with a fraction, by a parabola) and height of the largest value; of equal ones, the most central."""
    center = correlation.size // 2
    best = center
    for index in range(correlation.size):
        higher = correlation[index] > correlation[best]
        if higher or (correlation[index] == correlation[best] and abs(index - center) < abs(best - center)):
            best = index
    place = float(best)
    if 0 < best < correlation.size - 1:
        left, middle, right = correlation[best - 1], correlation[best], correlation[best + 1]
        curvature = left - 2.0 * middle + right
        if curvature < 0:
            place += 0.5 * (left - right) / curvature
    return place, correlation[best]


def correlate_at_lag(
    profiles, lag, block_edges, window_weights, max_shift, shifts, heights, valid=None, min_overlap=0.0
):
    r"""Best shift between every pair of time bins at one lag, in every window.

    For the time bins ``a = profiles[t]`` and ``b = profiles[t + lag]`` and the window ``w``, the correlation at shift
    ``s`` is

    .. math:: C(s) = \frac{\sum_y w(y)\, a(y)\, b(y + s)}
                          {\sqrt{\sum_y w(y)\, a(y)^2 \; \sum_y w(y)\, b(y + s)^2}}

    or, with `valid`, the Pearson correlation of ``a(y)`` and ``b(y + s)``, weighed by the window, over the depths y
    where both are seen. The shift of its maximum, refined by a parabola, is how far the tissue moved from ``t`` to
    ``t + lag``.

    `profiles` (num_times, num_depths, num_marks) of float32 are finite: a smoothed spike raster, or profiles of the
    local field potential with one mark. `block_edges` (num_blocks + 1,) and `window_weights` (num_windows, num_blocks)
    are those of `window_blocks`, `max_shift` is in depth steps. `valid` (num_times, 2) is the first depth that each
    time bin sees, and the one after the last; both must see the share `min_overlap` of a window then.

    `shifts` and `heights` (num_times, num_windows), float32, are filled for ``t < num_times - lag`` with the shift (in
    depth steps, with a fraction) and the correlation there, at most 1, where that is above 0. With `valid`, a maximum
    at the largest shift counts as none.
    """
    num_times, num_depths, num_marks = profiles.shape
    is_centered = valid is not None
    if valid is None:
        valid = np.tile(np.array([0, num_depths]), (num_times, 1))
    rows = profiles.reshape(num_times, num_depths * num_marks)
    least = min_overlap * (window_weights @ np.diff(block_edges))
    blocks = (block_edges, window_weights)
    _correlate_rows(rows, num_marks, valid, lag, *blocks, max_shift, least, is_centered, shifts, heights)


@numba.njit(nogil=True, cache=True)
def _correlate_rows(
    rows, num_marks, valid, lag, block_edges, window_weights, max_shift, least, centered, shifts, heights
):
    num_shifts = 2 * max_shift + 1
    num_kinds = 6 if centered else 3
    sums = np.zeros((num_kinds, block_edges.size - 1, num_shifts))
    totals, correlation = np.zeros((num_kinds, num_shifts)), np.zeros(num_shifts)
    running = np.zeros((4, rows.shape[1] // num_marks + 1))
    for t in range(rows.shape[0] - lag):
        first, second = rows[t], rows[t + lag]
        seen = (valid[t, 0], valid[t, 1]), (valid[t + lag, 0], valid[t + lag, 1])
        _running_sums(first, second, num_marks, centered, running)
        _block_products(first, second, num_marks, seen, block_edges, max_shift, running, sums)
        if centered:
            _block_moments(seen, block_edges, max_shift, running, sums)
        for window in range(window_weights.shape[0]):
            _in_window(sums, window_weights[window], totals)
            _correlate(totals, least[window], correlation)
            place, height = _peak(correlation)
            if height > 0.0 and (not centered or 0.0 < place < num_shifts - 1):
                shifts[t, window] = place - max_shift
                heights[t, window] = min(height, 1.0)
