"""Displacements between pairs of time bins, from the correlation of their depth rasters.

The all-pairs matrix of decentralized registration (Varol 2021) needs memory and time that grow with the square of the
duration. Here only pairs at a fixed list of lags are compared: every short lag, and ever fewer long ones. The list
grows with the logarithm of the horizon, so that memory and time grow linearly with duration, while distant times stay
connected by few steps.
"""

import numba
import numpy as np

# Time bins. All lags up to this one are compared,
NUM_DENSE_LAGS = 8
# and each further one is longer by this factor.
LAG_GROWTH = 1.3


def lag_schedule(num_times, horizon):
    """Lags, in time bins, at which pairs of time bins are compared.

    All lags up to 8, then each 1.3 times the one before, up to the horizon.

    Parameters
    ----------
    num_times : int
        Number of time bins.
    horizon : int
        Largest lag, in time bins.

    Returns
    -------
    lags : ndarray of int64, shape (num_lags,)
        Increasing lags, each smaller than `num_times`; empty when there are fewer than two time bins.
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
    """Cut depth into blocks, and give each window one weight per block.

    Parameters
    ----------
    windows : ndarray of float64, shape (num_windows, num_depths)
        Weight of each depth bin in each window.
    num_blocks : int, default: 64
        Number of blocks, where there are that many depth bins.

    Returns
    -------
    block_edges : ndarray of int64, shape (num_blocks + 1,)
        First depth bin of each block, and the end of the last.
    weights : ndarray of float64, shape (num_windows, num_blocks)
        Mean weight of each block.
    """
    num_depths = windows.shape[1]
    block_edges = np.unique(np.linspace(0, num_depths, min(num_blocks, num_depths) + 1).astype("int64"))
    return block_edges, np.add.reduceat(windows, block_edges[:-1], axis=1) / np.diff(block_edges)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _dot(first, second):
    # Reassociating this sum changes only its rounding; rasters hold no NaN.
    total = np.float32(0.0)
    for i in range(first.size):
        total += first[i] * second[i]
    return total


@numba.njit(nogil=True, cache=True)
def _overlap(start, stop, offset, size):
    """Part of ``start:stop`` that stays inside ``0:size`` when moved by `offset`; both ends do if it is empty."""
    start = min(max(start, -offset), size - offset)
    return start, max(min(stop, size - offset), start)


@numba.njit(nogil=True, cache=True)
def _block_products(first, second, block_edges, num_marks, max_shift, products, energies):
    """Sums of ``first[y] second[y + shift]`` and of ``second[y + shift]^2`` over each block, for every shift."""
    cumulated = np.zeros(first.size // num_marks + 1)
    for y in range(cumulated.size - 1):
        row = second[y * num_marks : (y + 1) * num_marks]
        cumulated[y + 1] = cumulated[y] + _dot(row, row)
    for block in range(block_edges.size - 1):
        for index in range(2 * max_shift + 1):
            shift = index - max_shift
            start, stop = _overlap(block_edges[block], block_edges[block + 1], shift, cumulated.size - 1)
            energies[block, index] = cumulated[stop + shift] - cumulated[start + shift]
            products[block, index] = _dot(
                first[start * num_marks : stop * num_marks],
                second[(start + shift) * num_marks : (stop + shift) * num_marks],
            )


@numba.njit(nogil=True, cache=True)
def _own_energy(row, block_edges, num_marks, energy):
    for block in range(block_edges.size - 1):
        part = row[block_edges[block] * num_marks : block_edges[block + 1] * num_marks]
        energy[block] = _dot(part, part)


@numba.njit(nogil=True, cache=True)
def _correlate(products, energies, energy, weights, correlation):
    num_blocks, num_shifts = products.shape
    own = 0.0
    for block in range(num_blocks):
        own += weights[block] * energy[block]
    for index in range(num_shifts):
        product = 0.0
        other = 0.0
        for block in range(num_blocks):
            product += weights[block] * products[block, index]
            other += weights[block] * energies[block, index]
        norm = np.sqrt(own * other)
        correlation[index] = product / norm if norm > 0 else 0.0


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


@numba.njit(nogil=True, cache=True)
def correlate_at_lag(raster, lag, block_edges, window_weights, max_shift, shifts, heights):
    r"""Best shift between every pair of time bins at one lag, in every window.

    For the time bins ``a = raster[t]`` and ``b = raster[t + lag]`` and the window ``w``, the correlation at shift
    ``s`` is

    .. math:: C(s) = \frac{\sum_y w(y)\, a(y)\, b(y + s)}
                          {\sqrt{\sum_y w(y)\, a(y)^2 \; \sum_y w(y)\, b(y + s)^2}}

    and the shift of its maximum, refined by a parabola, is how far the tissue moved from ``t`` to ``t + lag``.

    Parameters
    ----------
    raster : ndarray of float32, shape (num_times, num_depths, num_marks)
        Smoothed spike raster, without NaN.
    lag : int
        Distance of the pairs, in time bins.
    block_edges : ndarray of int64, shape (num_blocks + 1,)
        First depth bin of each block, and the end of the last.
    window_weights : ndarray of float64, shape (num_windows, num_blocks)
        Weight of each block in each window.
    max_shift : int
        Largest shift, in depth bins.
    shifts, heights : ndarray of float32, shape (num_times, num_windows)
        Filled for ``t < num_times - lag`` with the shift (in depth bins, with a fraction) and the correlation there;
        both are 0 where one of the time bins is empty.
    """
    num_times, num_depths, num_marks = raster.shape
    flat = raster.reshape(num_times, num_depths * num_marks)
    num_blocks = block_edges.size - 1
    num_shifts = 2 * max_shift + 1
    products = np.zeros((num_blocks, num_shifts))
    energies = np.zeros((num_blocks, num_shifts))
    energy = np.zeros(num_blocks)
    correlation = np.zeros(num_shifts)
    for t in range(num_times - lag):
        _block_products(flat[t], flat[t + lag], block_edges, num_marks, max_shift, products, energies)
        _own_energy(flat[t], block_edges, num_marks, energy)
        for window in range(window_weights.shape[0]):
            _correlate(products, energies, energy, window_weights[window], correlation)
            place, height = _peak(correlation)
            shifts[t, window] = place - max_shift
            heights[t, window] = height
