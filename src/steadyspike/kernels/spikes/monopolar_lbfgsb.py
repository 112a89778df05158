"""Monopolar localization that ends where SciPy's L-BFGS-B ends.

The objective is that of `monopolar.solve_monopolar`. SciPy stops before the minimum: at a gradient below 1e-5 per um
or a gain below 2.2e-9, often a few um from where it would arrive. Who wants the same positions has to take the same
steps, from the same start.

SciPy's gradient is a difference over 1e-8 um. Its rounding errors are as large as the change of the gradient over the
first, tiny step, from which the method takes its first idea of the curvature; so they decide on the path. The first
gradients are therefore differences here too, each sum in the order in which NumPy adds. Later ones are written out.
"""

import math

import numba
import numpy as np

from steadyspike.kernels.spikes.box_descent import (
    EPSILON,
    MEMORY,
    approximate_hessian,
    cauchy_point,
    largest_slope,
    longest_step,
    remember,
    subspace_step,
)
from steadyspike.kernels.spikes.contact_features import checked_channels
from steadyspike.kernels.spikes.line_search import SIZE, STEP, continue_search, start_search
from steadyspike.kernels.spikes.monopolar import PENALTY_RATE, PENALTY_WEIGHT, START_Z_UM

GRADIENT_TOLERANCE = 1e-5
GAIN_TOLERANCE = 2.2204460492503131e-09
FINE_GRADIENT_TOLERANCE = 1e-12
MOST_ITERATIONS = 1000
MOST_TRIALS = 20
# gradients that are taken by differences
NUM_DIFFERENCES = 2
DIFFERENCE_UM = 1e-8
# contacts fill whole registers; those added are so far away that they have no weight
LANES = 8
FAR_UM = 1e150


def solve_monopolar_lbfgsb(features, channels, neighbours, counts, locations, max_distance_um=150.0):
    """Position and amplitude of the point source behind each spike, by the steps of SciPy's L-BFGS-B.

    The objective, ``mean((w - a q)^2) - log(1 + 10 z) / 10000`` with ``w`` the features divided by their maximum,
    ``q_i = 1 / d_i`` and ``a = sum(w q) / sum(q^2)``, is minimized in the box ``|x - x_c| <= max_distance_um``,
    ``|y - y_c| <= max_distance_um``, ``1 <= z <= 10 max_distance_um`` around the center of mass ``(x_c, y_c)`` of the
    features, starting from there at ``z = 20``.

    Parameters
    ----------
    features : np.ndarray
        Shape (num_spikes, max_neighbours); float32 where SpikeInterface computes them so, else float64.
    channels : np.ndarray
        Main channel of each spike, shape (num_spikes,).
    neighbours, counts : np.ndarray
        As `contact_features.neighbour_lists` returns them, but in the order of the channels.
    locations : np.ndarray
        Contact positions, shape (num_channels, 2), in um, finite.
    max_distance_um : float, default: 150.0
        Half width of the box, in um.

    Returns
    -------
    np.ndarray
        Shape (num_spikes, 4), float64: x, y, z (um), alpha (feature times um); NaN where features are not finite,
        negative, or all zero.
    """
    rules = (PENALTY_WEIGHT, GRADIENT_TOLERANCE, GAIN_TOLERANCE, NUM_DIFFERENCES)
    return _checked_solve(features, channels, neighbours, counts, locations, max_distance_um, rules)


def solve_monopolar_least_squares(features, channels, neighbours, counts, locations, max_distance_um=1000.0):
    """Position and amplitude of the point source behind each spike, by plain least squares.

    As `solve_monopolar_lbfgsb`, but ``mean((w - a q)^2)`` alone is minimized, and as far as float64 allows.

    Parameters
    ----------
    features, channels, neighbours, counts, locations : np.ndarray
        As for `solve_monopolar_lbfgsb`.
    max_distance_um : float, default: 1000.0
        Half width of the box, in um.

    Returns
    -------
    np.ndarray
        Shape (num_spikes, 4), as from `solve_monopolar_lbfgsb`.
    """
    rules = (0.0, FINE_GRADIENT_TOLERANCE, 0.0, 0)
    return _checked_solve(features, channels, neighbours, counts, locations, max_distance_um, rules)


def _checked_solve(features, channels, neighbours, counts, locations, max_distance_um, rules):
    if features.dtype != np.float32:
        features = features.astype(np.float64, copy=False)
    features = np.ascontiguousarray(features)
    channels = checked_channels(channels, features.shape[0], counts)
    locations = np.ascontiguousarray(locations, dtype=np.float64)
    return _solve(features, channels, neighbours, counts, locations, float(max_distance_um), rules)


@numba.njit(nogil=True, cache=True)
def _solve(features, channels, neighbours, counts, locations, max_distance_um, rules):
    width = (features.shape[1] + LANES - 1) // LANES * LANES
    contacts = np.zeros((3, width))
    scratch = np.empty((2, width))
    work = np.empty((11, 3))
    matrix, steps, changes = np.empty((3, 3)), np.empty((MEMORY, 3)), np.empty((MEMORY, 3))
    search = np.empty(SIZE)
    out = np.full((features.shape[0], 4), np.nan)
    for i in range(features.shape[0]):
        main = channels[i]
        count = counts[main]
        raw = features[i, :count]
        largest = _fill(contacts, raw, neighbours[main], locations)
        if not 0.0 < largest < math.inf:
            continue
        used = (count + LANES - 1) // LANES * LANES
        w, xs, ys = contacts[0, :used], contacts[1, :used], contacts[2, :used]
        _start(raw, xs, ys, max_distance_um, work)
        _descend(raw, largest, w, xs, ys, rules, work, matrix, steps, changes, search, scratch)
        x = work[0]
        wq, qq = _sums(x, w, xs, ys)[:2]
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = x[0], x[1], x[2], wq / qq * largest
    return out


@numba.njit(nogil=True, cache=True)
def _fill(contacts, raw, neighbours, locations):
    """Write features over their maximum, and positions; return the maximum."""
    largest = raw[0]
    for k in range(raw.size):
        largest = max(largest, raw[k])
        if not 0.0 <= raw[k] < math.inf:
            return -1.0
    for k in range(contacts.shape[1]):
        contacts[0, k], contacts[1, k], contacts[2, k] = 0.0, FAR_UM, FAR_UM
    for k in range(raw.size):
        contacts[0, k] = raw[k] / largest if largest > 0.0 else 0.0
        contacts[1, k], contacts[2, k] = locations[neighbours[k], 0], locations[neighbours[k], 1]
    return np.float64(largest)


@numba.njit(nogil=True, cache=True)
def _start(raw, xs, ys, max_distance_um, work):
    """Set the start, which SpikeInterface holds in float32, and the box."""
    x_mass = y_mass = 0.0
    for k in range(raw.size):
        x_mass += raw[k] * xs[k]
        y_mass += raw[k] * ys[k]
    total = _pairwise_sum(raw, 0, raw.size)
    x, low, high = work[0], work[1], work[2]
    x[0], x[1], x[2] = np.float32(x_mass / total), np.float32(y_mass / total), START_Z_UM
    for k in range(2):
        low[k], high[k] = x[k] - max_distance_um, x[k] + max_distance_um
    low[2], high[2] = 1.0, 10.0 * max_distance_um
    x[2] = min(max(x[2], low[2]), high[2])


@numba.njit(nogil=True, cache=True)
def _pairwise_sum(values, start, size):
    """Add as NumPy does: up to 128 by eight sums side by side, more in halves (here: in two, at most)."""
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
def _objective(x, y, z, raw, largest, w, xs, ys, scratch):
    """Return the objective to the last digit as SpikeInterface computes it."""
    wq, qq = scratch[0], scratch[1]
    for k in range(raw.size):
        dx, dy = x - xs[k], y - ys[k]
        q = 1.0 / math.sqrt(dx * dx + dy * dy + z * z)
        wq[k] = q * raw[k] / largest
        qq[k] = q * q
    a = _pairwise_sum(wq, 0, raw.size) / _pairwise_sum(qq, 0, raw.size)
    for k in range(raw.size):
        dx, dy = x - xs[k], y - ys[k]
        residual = w[k] - a / math.sqrt(dx * dx + dy * dy + z * z)
        wq[k] = residual * residual
    return _pairwise_sum(wq, 0, raw.size) / raw.size - math.log1p(10.0 * z) / 10000.0


@numba.njit(nogil=True, cache=True)
def _take_differences(x, high, raw, largest, w, xs, ys, g, scratch):
    """Return the objective, and write its gradient as SciPy takes it: by a step forward in each variable."""
    value = _objective(x[0], x[1], x[2], raw, largest, w, xs, ys, scratch)
    for k in range(3):
        before = x[k]
        x[k] = before + (DIFFERENCE_UM if before + DIFFERENCE_UM <= high[k] else -DIFFERENCE_UM)
        g[k] = (_objective(x[0], x[1], x[2], raw, largest, w, xs, ys, scratch) - value) / (x[k] - before)
        x[k] = before
    return value


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "arcp"})
def _sums(x, w, xs, ys):
    """Return sum(w q) and sum(q^2), and the sums that their derivatives are made of."""
    wq = qq = s = sx = sy = u = ux = uy = 0.0
    zz = x[2] * x[2]
    for i in range(w.size):
        dx, dy = x[0] - xs[i], x[1] - ys[i]
        q2 = 1.0 / (dx * dx + dy * dy + zz)
        one = w[i] * math.sqrt(q2)
        wq += one
        qq += q2
        one *= q2
        two = q2 * q2
        s += one
        sx += one * dx
        sy += one * dy
        u += two
        ux += two * dx
        uy += two * dy
    return wq, qq, s, sx, sy, u, ux, uy


@numba.njit(nogil=True, cache=True)
def _evaluate(x, w, xs, ys, count, power, penalty, g):
    """Return the objective, and write its gradient; `power` is sum(w^2)."""
    wq, qq, s, sx, sy, u, ux, uy = _sums(x, w, xs, ys)
    a = wq / qq
    scale = 2.0 * a / count
    g[0] = scale * (sx - a * ux)
    g[1] = scale * (sy - a * uy)
    g[2] = scale * x[2] * (s - a * u) - penalty * PENALTY_RATE / (1.0 + PENALTY_RATE * x[2])
    return (power - a * wq) / count - penalty * math.log1p(PENALTY_RATE * x[2])


@numba.njit(nogil=True, cache=True)
def _descend(raw, largest, w, xs, ys, rules, work, matrix, steps, changes, search, scratch):
    """Move ``work[0]`` from the start to where L-BFGS-B stops, in the box ``work[1]`` to ``work[2]``."""
    x, low, high, g, before, g_before = work[0], work[1], work[2], work[3], work[4], work[5]
    z, free, d, other = work[6], work[7], work[8], work[9]
    count, power = raw.size, 0.0
    for k in range(count):
        power += w[k] * w[k]
    penalty, gradient_tolerance, gain_tolerance, num_differences = rules
    kept, theta = 0, 1.0
    differences = 0
    if differences < num_differences:
        value = _take_differences(x, high, raw, largest, w, xs, ys, g, scratch)
        differences += 1
    else:
        value = _evaluate(x, w, xs, ys, count, power, penalty, g)
    if largest_slope(x, g, low, high) <= gradient_tolerance:
        return
    iteration = 0
    while iteration < MOST_ITERATIONS:
        approximate_hessian(steps, changes, kept, theta, matrix)
        cauchy_point(x, g, low, high, matrix, z, free, d, other)
        sound = kept == 0 or subspace_step(x, g, low, high, matrix, z, free, d, other)
        slope = 0.0
        for k in range(3):
            d[k] = z[k] - x[k]
            slope += d[k] * g[k]
            before[k], g_before[k] = x[k], g[k]
        value_before = value
        found = False
        if sound and slope < 0.0:
            longest = 1.0 if iteration == 0 else longest_step(x, d, low, high)
            start_search(search, value, slope, max(longest, 1.0))
            for _ in range(MOST_TRIALS):
                for k in range(3):
                    x[k] = z[k] if search[STEP] == 1.0 else before[k] + search[STEP] * d[k]
                if differences < num_differences:
                    value = _take_differences(x, high, raw, largest, w, xs, ys, g, scratch)
                    differences += 1
                else:
                    value = _evaluate(x, w, xs, ys, count, power, penalty, g)
                end_slope = g[0] * d[0] + g[1] * d[1] + g[2] * d[2]
                found = continue_search(search, value, end_slope)
                if found:
                    break
        if not found:
            for k in range(3):
                x[k], g[k] = before[k], g_before[k]
            value = value_before
            if kept == 0:
                return
            kept, theta = 0, 1.0
            continue
        iteration += 1
        gain = value_before - value
        if largest_slope(x, g, low, high) <= gradient_tolerance:
            return
        if gain <= gain_tolerance * max(abs(value_before), abs(value), 1.0):
            return
        step = search[STEP]
        curvature = (end_slope - slope) * step
        if curvature > -EPSILON * slope * step:
            power_of_change = 0.0
            for k in range(3):
                before[k] = d[k] * step
                g_before[k] = g[k] - g_before[k]
                power_of_change += g_before[k] ** 2
            kept = remember(steps, changes, kept, before, g_before)
            theta = power_of_change / curvature
