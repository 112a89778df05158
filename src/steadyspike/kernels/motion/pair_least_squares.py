r"""Displacements from differences between pairs of time bins: weighted least squares by conjugate gradients.

The unknown x has one entry for each window and time bin. A pair of time bins of one window has a measured difference,
and priors hold neighbours in time and in depth together, so that the matrix of the normal equations is a sum of graph
Laplacians. It is never formed: the pairs' weights are held by lag, as the bands of the matrix, which takes (windows x
lags x time bins) numbers, linear in duration where the number of lags is limited; a product with x is one pass.

`solve` takes equations that `add_pairs` has collected, with the priors of decentralized registration. `solve_pairwise`
takes the shifts themselves and solves the equations again and again, with less weight for outliers.

References
----------
Hestenes & Stiefel 1952, Methods of conjugate gradients for solving linear systems, J. Res. Natl. Bur. Stand. 49.
Varol et al. 2021, Decentralized motion inference and registration of Neuropixel data, ICASSP.
"""

import numba
import numpy as np

# `solve` ends at this residual, relative to the right side, after this many iterations for each time bin at most.
TOLERANCE = 1e-12
ITERATIONS_PER_BIN, LEAST_ITERATIONS = 4, 1000
# Most iterations of each linear solution of `solve_pairwise`.
PAIRWISE_ITERATIONS = 300


@numba.njit(nogil=True, cache=True)
def add_pairs(first_row, first_column, weights, weighted_shifts, bands, right_side):
    """Add pairs of time bins to the equations of one window.

    A tile's first row and column are given as time bins. `weights` (num_rows, num_columns) are those of each pair's
    square, 0 for pairs that are left out, `weighted_shifts` the weight times the displacement of the row's time bin
    relative to the column's. Added to are `bands` (num_lags, num_times), with the weights of the pair ``(t, t + lag +
    1)`` in both orders, and `right_side` (num_times,).
    """
    for i in range(weights.shape[0]):
        row = first_row + i
        for j in range(weights.shape[1]):
            column = first_column + j
            if weights[i, j] == 0 or row == column:
                continue
            right_side[row] += weighted_shifts[i, j]
            right_side[column] -= weighted_shifts[i, j]
            if row < column:
                bands[column - row - 1, row] += weights[i, j]
            else:
                bands[row - column - 1, column] += weights[i, j]


@numba.njit(nogil=True, cache=True)
def _add_degrees(bands, lags, degrees):
    num_times = degrees.shape[1]
    for window in range(bands.shape[0]):
        for index in range(lags.size):
            lag, band = lags[index], bands[window, index]
            own, later = degrees[window, : num_times - lag], degrees[window, lag:]
            for t in range(num_times - lag):
                own[t] += band[t]
            for t in range(num_times - lag):
                later[t] += band[t]


def degrees_of(bands):
    """Sum of the weights of each time bin's pairs.

    `bands` (num_windows, num_lags, num_times) are those of `add_pairs`; float64 (num_windows, num_times).
    """
    degrees = np.zeros((bands.shape[0], bands.shape[2]))
    _add_degrees(bands, _consecutive_lags(bands), degrees)
    return degrees


def _consecutive_lags(bands):
    return np.arange(1, bands.shape[1] + 1)


@numba.njit(nogil=True, cache=True)
def _multiply_pairs(bands, lags, diagonal, x, product):
    """Set to the bands' matrix times x, where the diagonal is that of `degrees_of` and what else is on it."""
    num_windows, num_times = x.shape
    for window in range(num_windows):
        for t in range(num_times):
            product[window, t] = diagonal[window, t] * x[window, t]
        for index in range(lags.size):
            lag, band = lags[index], bands[window, index]
            own, later = x[window, : num_times - lag], x[window, lag:]
            result, result_later = product[window, : num_times - lag], product[window, lag:]
            for t in range(num_times - lag):
                result[t] -= band[t] * later[t]
            for t in range(num_times - lag):
                result_later[t] -= band[t] * own[t]


@numba.njit(nogil=True, cache=True)
def _add_priors(chain, cross, bend, x, bent, product):
    """Add the Laplacians of neighbours in time and in depth, and of both, times x; `bent` is overwritten."""
    num_windows, num_times = x.shape
    for window in range(num_windows):
        for t in range(num_times):
            bent[window, t] = 0.0
        for t in range(num_times - 1):
            step = x[window, t] - x[window, t + 1]
            product[window, t] += chain[window, t] * step
            product[window, t + 1] -= chain[window, t] * step
            bent[window, t] += step
            bent[window, t + 1] -= step
    for window in range(num_windows - 1):
        for t in range(num_times):
            flow = cross[window, t] * (x[window, t] - x[window + 1, t])
            flow += bend * (bent[window, t] - bent[window + 1, t])
            product[window, t] += flow
            product[window + 1, t] -= flow


@numba.njit(nogil=True, cache=True)
def _weighted_square(values, weights):
    total = 0.0
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            total += values[row, column] * weights[row, column] * values[row, column]
    return total


@numba.njit(nogil=True, cache=True)
def _conjugate_gradient(
    bands, lags, diagonal, priors, right_side, preconditioner, x, tolerance, max_iterations
):
    """Solve in place; `priors` is (whether there are any, chain, cross, bend), see `solve`."""
    has_priors, chain, cross, bend = priors
    product, bent, residual = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    _multiply_pairs(bands, lags, diagonal, x, product)
    if has_priors:
        _add_priors(chain, cross, bend, x, bent, product)
    direction = np.empty_like(x)
    # loops, since numba takes seconds to compile expressions of whole arrays
    num_windows, num_times = x.shape
    for window in range(num_windows):
        for t in range(num_times):
            residual[window, t] = right_side[window, t] - product[window, t]
            direction[window, t] = residual[window, t] * preconditioner[window, t]
    energy = _weighted_square(residual, preconditioner)
    stop = tolerance * tolerance * max(_weighted_square(right_side, preconditioner), energy)
    for _ in range(max_iterations):
        if energy <= stop:
            break
        _multiply_pairs(bands, lags, diagonal, direction, product)
        if has_priors:
            _add_priors(chain, cross, bend, direction, bent, product)
        curvature = 0.0
        for window in range(num_windows):
            for t in range(num_times):
                curvature += direction[window, t] * product[window, t]
        if curvature <= 0:
            break
        step = energy / curvature
        for window in range(num_windows):
            for t in range(num_times):
                x[window, t] += step * direction[window, t]
                residual[window, t] -= step * product[window, t]
        new_energy = _weighted_square(residual, preconditioner)
        turn = new_energy / energy
        for window in range(num_windows):
            for t in range(num_times):
                along = turn * direction[window, t]
                direction[window, t] = along + residual[window, t] * preconditioner[window, t]
        energy = new_energy


def solve(bands, right_side, x, degrees=None, chain=0.0, cross=0.0, bend=0.0, ridge=None):
    r"""Solve the normal equations.

    The matrix is the Laplacian of the pairs, plus those of neighbours in time (weights `chain`) and in depth (`cross`),
    plus `bend` times the product of the two paths' Laplacians, plus a diagonal (`ridge`).

    `bands` (num_windows, num_lags, num_times) are those of `add_pairs`. `x` (num_windows, num_times) is where to
    start; without a ridge, its mean over what is connected stays as it is. `degrees` are those of `degrees_of`, where
    known. `chain` and `cross` are numbers or arrays, (num_windows, num_times - 1) and (num_windows - 1, num_times);
    `bend` weighs how the change over time differs between neighbours in depth. With `ridge`, of the shape of x, the
    diagonal serves as preconditioner. Returns x.
    """
    num_windows, num_times = right_side.shape
    degrees = degrees_of(bands) if degrees is None else degrees
    chain = np.ascontiguousarray(np.broadcast_to(chain, (num_windows, num_times - 1)), dtype="float64")
    cross = np.ascontiguousarray(np.broadcast_to(cross, (num_windows - 1, num_times)), dtype="float64")
    diagonal, preconditioner = degrees, np.ones_like(right_side)
    if ridge is not None:
        diagonal = degrees + ridge
        preconditioner /= _with_priors(diagonal, chain, cross, bend)
    x = np.array(x, dtype="float64")
    matrix = (bands, _consecutive_lags(bands), diagonal, (True, chain, cross, float(bend)))
    most = max(LEAST_ITERATIONS, ITERATIONS_PER_BIN * num_times)
    _conjugate_gradient(*matrix, right_side, preconditioner, x, TOLERANCE, most)
    return x


def _with_priors(diagonal, chain, cross, bend):
    """Diagonal of the whole matrix, from that without the priors."""
    diagonal = diagonal.copy()
    diagonal[:, :-1] += chain
    diagonal[:, 1:] += chain
    diagonal[:-1] += cross
    diagonal[1:] += cross
    neighbours_t = np.full(diagonal.shape[1], 2.0)
    neighbours_t[[0, -1]] = 1.0
    neighbours_b = np.full(diagonal.shape[0], 2.0)
    neighbours_b[[0, -1]] = 1.0
    if diagonal.shape[0] > 1:
        diagonal += bend * neighbours_b[:, None] * neighbours_t
    return diagonal


def energy(bands, degrees, x):
    """Sum over all pairs of their weight times the square of their difference in x."""
    product = np.empty_like(x)
    _multiply_pairs(bands, _consecutive_lags(bands), degrees, x, product)
    return float(np.sum(product * x))


@numba.njit(nogil=True, cache=True)
def _collect(lags, shifts, weights, x, scale, bands, right_side):
    """Set the equations of pairs whose Cauchy weights are lower, the farther they are from x for their scale.

    `shifts` and `weights` are ordered as those of `solve_pairwise`, `bands`, `right_side` and `x` as those of `solve`.
    """
    num_windows, num_times = x.shape
    right_side[:] = 0.0
    for index in range(lags.size):
        lag = lags[index]
        for t in range(num_times - lag):
            for window in range(num_windows):
                shift = shifts[index, t, window]
                misfit = (x[window, t + lag] - x[window, t] - shift) / scale
                weight = weights[index, t, window] / (1.0 + misfit * misfit)
                bands[window, index, t] = weight
                right_side[window, t + lag] += weight * shift
                right_side[window, t] -= weight * shift


# Rounds of reweighting,
NUM_REWEIGHTINGS = 6
# from this many times the scale of outliers, halved each round, down to the scale: that passes by local minima.
WIDEST = 4.0
# um. Pairs whose shift is farther off are outliers.
OUTLIER_UM = 8.0


def solve_pairwise(lags, shifts, weights, scale, ridge=1e-4, tolerance=1e-4):
    r"""Displacements that best explain the shifts between pairs of time bins.

    Minimizes, in every window by itself,

    .. math:: \sum_{l, t} w_{lt}\, \rho\big(x_{t+l} - x_t - s_{lt}\big) + \epsilon \sum_t x_t^2,
              \qquad \rho(r) = \tfrac{c^2}{2} \log(1 + r^2 / c^2)

    by iteratively reweighted least squares; memory is that of `shifts`.

    `lags` are distances of the pairs in time bins; `shifts` and `weights` (num_lags, num_times, num_windows) of
    float32 are those from time bin t to t + lag, ignored where ``t + lag >= num_times``, weights at least 0. `scale`
    is the misfit c beyond which a pair counts as an outlier, in the unit of `shifts`; `ridge` weighs the square of
    each displacement, which fixes the free offset; `tolerance` is relative, of each linear solution. Returns float64
    (num_times, num_windows), in the unit of `shifts`.
    """
    num_lags, num_times, num_windows = shifts.shape
    x = np.zeros((num_windows, num_times))
    bands = np.zeros((num_windows, num_lags, num_times), dtype=weights.dtype)
    right_side, none = np.empty_like(x), np.zeros((0, 0))
    # The first round knows no outliers yet: a wide scale that shrinks leads the solution past local minima.
    for number in range(NUM_REWEIGHTINGS + 1 if num_lags else 0):
        round_scale = scale * max(1.0, WIDEST * 0.5 ** (number - 1)) if number else np.inf
        _collect(lags, shifts, weights, x, round_scale, bands, right_side)
        diagonal = np.full_like(x, ridge)
        _add_degrees(bands, lags, diagonal)
        matrix = (bands, lags, diagonal, (False, none, none, 0.0))
        _conjugate_gradient(*matrix, right_side, 1.0 / diagonal, x, tolerance, PAIRWISE_ITERATIONS)
    return np.ascontiguousarray(x.T)
