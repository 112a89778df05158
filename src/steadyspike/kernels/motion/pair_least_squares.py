"""Displacements over time and windows from pairs of time bins: normal equations held as a band, and their solution.

The unknown x has one entry for each window and time bin. Pairs of time bins of one window, neighbours in time and
neighbours in depth each ask for a difference, so that the matrix of the normal equations is a sum of graph Laplacians.
Pairs are held by lag: memory is (windows x lags x time bins), which is linear in duration where lags have a limit.
"""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def add_pairs(first_row, first_column, weights, pulls, band, right_side):
    """Add pairs of time bins to the equations of one window.

    Parameters
    ----------
    first_row, first_column : int
        Time bins of the first row and column of the tile.
    weights : ndarray of float64, shape (num_rows, num_columns)
        Weight of each pair's square; 0 for pairs that are left out.
    pulls : ndarray of float64, shape (num_rows, num_columns)
        Weight times the displacement of the row's time bin relative to the column's.
    band : ndarray, shape (num_lags, num_times)
        Added to: weights of the pair ``(t, t + lag + 1)``, in both orders.
    right_side : ndarray of float64, shape (num_times,)
        Added to.
    """
    for i in range(weights.shape[0]):
        row = first_row + i
        for j in range(weights.shape[1]):
            column = first_column + j
            if weights[i, j] == 0 or row == column:
                continue
            right_side[row] += pulls[i, j]
            right_side[column] -= pulls[i, j]
            if row < column:
                band[column - row - 1, row] += weights[i, j]
            else:
                band[row - column - 1, column] += weights[i, j]


@numba.njit(nogil=True, cache=True)
def _degrees(band, degrees):
    num_times = degrees.size
    for index in range(band.shape[0]):
        lag = index + 1
        for t in range(num_times - lag):
            degrees[t] += band[index, t]
        for t in range(num_times - lag):
            degrees[t + lag] += band[index, t]


def degrees_of(bands):
    """Sum of the weights of each time bin's pairs.

    Parameters
    ----------
    bands : ndarray, shape (num_windows, num_lags, num_times)
        Of `add_pairs`.

    Returns
    -------
    degrees : ndarray of float64, shape (num_windows, num_times)
    """
    degrees = np.zeros((bands.shape[0], bands.shape[2]))
    for band, own in zip(bands, degrees, strict=True):
        _degrees(band, own)
    return degrees


@numba.njit(nogil=True, cache=True)
def _multiply(bands, degrees, chain, cross, bend, ridge, x, out, bent):
    num_windows, num_times = x.shape
    for b in range(num_windows):
        for t in range(num_times):
            out[b, t] = (degrees[b, t] + ridge[b, t]) * x[b, t]
            bent[b, t] = 0.0
        for index in range(bands.shape[1]):
            lag = index + 1
            row = bands[b, index]
            own, moved = x[b, : num_times - lag], x[b, lag:]
            result, result_moved = out[b, : num_times - lag], out[b, lag:]
            for t in range(num_times - lag):
                result[t] -= row[t] * moved[t]
            for t in range(num_times - lag):
                result_moved[t] -= row[t] * own[t]
        for t in range(num_times - 1):
            step = x[b, t] - x[b, t + 1]
            out[b, t] += chain[b, t] * step
            out[b, t + 1] -= chain[b, t] * step
            bent[b, t] += step
            bent[b, t + 1] -= step
    for b in range(num_windows - 1):
        for t in range(num_times):
            flow = cross[b, t] * (x[b, t] - x[b + 1, t]) + bend * (bent[b, t] - bent[b + 1, t])
            out[b, t] += flow
            out[b + 1, t] -= flow


@numba.njit(nogil=True, cache=True)
def _conjugate_gradient(
    bands, degrees, chain, cross, bend, ridge, right_side, preconditioner, x, tolerance, max_iterations
):
    product, bent = np.empty_like(x), np.empty_like(x)
    _multiply(bands, degrees, chain, cross, bend, ridge, x, product, bent)
    residual = right_side - product
    stop = tolerance * max(np.sqrt(np.sum(np.square(right_side))), np.sqrt(np.sum(np.square(residual))))
    preconditioned = residual * preconditioner
    direction = preconditioned.copy()
    energy = np.sum(residual * preconditioned)
    for _ in range(max_iterations):
        if np.sqrt(np.sum(np.square(residual))) <= stop:
            break
        _multiply(bands, degrees, chain, cross, bend, ridge, direction, product, bent)
        curvature = np.sum(direction * product)
        if curvature <= 0:
            break
        step = energy / curvature
        x += step * direction
        residual -= step * product
        preconditioned = residual * preconditioner
        new_energy = np.sum(residual * preconditioned)
        direction = preconditioned + (new_energy / energy) * direction
        energy = new_energy


def solve(
    bands,
    right_side,
    x,
    degrees=None,
    chain=0.0,
    cross=0.0,
    bend=0.0,
    ridge=None,
    tolerance=1e-12,
    max_iterations=None,
):
    r"""Solve the normal equations by conjugate gradients.

    The matrix is the Laplacian of the pairs, plus those of neighbours in time (weights `chain`) and in depth (`cross`),
    plus `bend` times the product of the two paths' Laplacians, plus a diagonal (`ridge`).

    Parameters
    ----------
    bands : ndarray, shape (num_windows, num_lags, num_times)
        Of `add_pairs`.
    right_side, x : ndarray of float64, shape (num_windows, num_times)
        Right side, and where to start. Without a ridge, the mean of x over what is connected stays as it is.
    degrees : ndarray of float64 or None, default: None
        Of `degrees_of`, where known.
    chain : float or ndarray, shape (num_windows, num_times - 1), default: 0.0
        Weights of neighbours in time.
    cross : float or ndarray, shape (num_windows - 1, num_times), default: 0.0
        Weights of neighbours in depth.
    bend : float, default: 0.0
        Weight of how the change over time differs between neighbours in depth.
    ridge : ndarray of float64, shape (num_windows, num_times), or None, default: None
        Added to the diagonal; if given, the diagonal serves as preconditioner.
    tolerance : float, default: 1e-12
        Residual at which to stop, relative to the right side.
    max_iterations : int or None, default: None
        None: four for each time bin, at least 1000.

    Returns
    -------
    x : ndarray of float64, shape (num_windows, num_times)
    """
    num_windows, num_times = right_side.shape
    degrees = degrees_of(bands) if degrees is None else degrees
    chain = np.ascontiguousarray(np.broadcast_to(chain, (num_windows, num_times - 1)), dtype="float64")
    cross = np.ascontiguousarray(np.broadcast_to(cross, (num_windows - 1, num_times)), dtype="float64")
    preconditioner = np.ones_like(right_side)
    if ridge is None:
        ridge = np.zeros_like(right_side)
    else:
        preconditioner /= _diagonal(degrees, chain, cross, bend, ridge)
    x = np.array(x, dtype="float64")
    most = max(1000, 4 * num_times) if max_iterations is None else max_iterations
    _conjugate_gradient(
        bands, degrees, chain, cross, float(bend), ridge, right_side, preconditioner, x, tolerance, most
    )
    return x


def energy(bands, degrees, x):
    """Sum over all pairs of their weight times the square of their difference in x."""
    zeros = np.zeros_like(x)
    product, bent = np.empty_like(x), np.empty_like(x)
    _multiply(bands, degrees, zeros[:, 1:], zeros[1:], 0.0, zeros, x, product, bent)
    return float(np.sum(product * x))


def _diagonal(degrees, chain, cross, bend, ridge):
    diagonal = degrees + ridge
    diagonal[:, :-1] += chain
    diagonal[:, 1:] += chain
    diagonal[:-1] += cross
    diagonal[1:] += cross
    neighbours_t = np.full(degrees.shape[1], 2.0)
    neighbours_t[[0, -1]] = 1.0
    neighbours_b = np.full(degrees.shape[0], 2.0)
    neighbours_b[[0, -1]] = 1.0
    if degrees.shape[0] > 1:
        diagonal += bend * neighbours_b[:, None] * neighbours_t
    return diagonal


@numba.njit(nogil=True, cache=True)
def _apply_normal_matrix(lags, weights, x, ridge, out):
    """Multiply the weighted graph Laplacian of the pairs, plus a ridge, with x."""
    num_times, num_windows = x.shape
    for t in range(num_times):
        for k in range(num_windows):
            out[t, k] = ridge * x[t, k]
    for index in range(lags.size):
        lag = lags[index]
        for t in range(num_times - lag):
            for k in range(num_windows):
                flow = weights[index, t, k] * (x[t + lag, k] - x[t, k])
                out[t + lag, k] += flow
                out[t, k] -= flow


@numba.njit(nogil=True, cache=True)
def _right_side_and_diagonal(lags, shifts, weights, ridge, right, diagonal):
    num_times, num_windows = right.shape
    right[:] = 0.0
    diagonal[:] = ridge
    for index in range(lags.size):
        lag = lags[index]
        for t in range(num_times - lag):
            for k in range(num_windows):
                weight = weights[index, t, k]
                pull = weight * shifts[index, t, k]
                right[t + lag, k] += pull
                right[t, k] -= pull
                diagonal[t + lag, k] += weight
                diagonal[t, k] += weight


@numba.njit(nogil=True, cache=True)
def _solve_pairs_in_place(lags, shifts, weights, x, ridge, tolerance, max_iterations):
    """Solve the normal equations in place, with the diagonal as preconditioner."""
    right = np.empty_like(x)
    diagonal = np.empty_like(x)
    _right_side_and_diagonal(lags, shifts, weights, ridge, right, diagonal)
    product = np.empty_like(x)
    _apply_normal_matrix(lags, weights, x, ridge, product)
    residual = right - product
    preconditioned = residual / diagonal
    direction = preconditioned.copy()
    energy = np.sum(residual * preconditioned)
    stop = tolerance * tolerance * max(np.sum(right * right / diagonal), 1e-30)
    for _ in range(max_iterations):
        if energy <= stop:
            break
        _apply_normal_matrix(lags, weights, direction, ridge, product)
        step = energy / np.sum(direction * product)
        x += step * direction
        residual -= step * product
        preconditioned = residual / diagonal
        new_energy = np.sum(residual * preconditioned)
        direction = preconditioned + (new_energy / energy) * direction
        energy = new_energy


@numba.njit(nogil=True, cache=True)
def _reweight(lags, shifts, base_weights, x, scale, weights):
    """Cauchy weights: pairs that disagree with the solution by much more than `scale` lose their say."""
    for index in range(lags.size):
        lag = lags[index]
        for t in range(x.shape[0] - lag):
            for k in range(x.shape[1]):
                misfit = (x[t + lag, k] - x[t, k] - shifts[index, t, k]) / scale
                weights[index, t, k] = base_weights[index, t, k] / (1.0 + misfit * misfit)


# Rounds of reweighting,
NUM_REWEIGHTINGS = 6
# from this many times the scale of outliers, halved each round, down to the scale: that passes by local minima.
WIDEST = 4.0
# um. Pairs whose shift is farther off are outliers.
OUTLIER_UM = 8.0


def solve_pairwise(lags, shifts, weights, scale, ridge=1e-4, tolerance=1e-4, max_iterations=300):
    r"""Displacements that best explain the shifts between pairs of time bins.

    Minimizes, in every window by itself,

    .. math:: \sum_{l, t} w_{lt}\, \rho\big(x_{t+l} - x_t - s_{lt}\big) + \epsilon \sum_t x_t^2,
              \qquad \rho(r) = \tfrac{c^2}{2} \log(1 + r^2 / c^2)

    by iteratively reweighted least squares; each linear system by conjugate gradients on the lag structure, so that
    memory is that of `shifts`.

    Parameters
    ----------
    lags : ndarray of int64, shape (num_lags,)
        Distance of the pairs, in time bins.
    shifts : ndarray of float32, shape (num_lags, num_times, num_windows)
        Shift from time bin t to t + lag; ignored where ``t + lag >= num_times``.
    weights : ndarray of float32, shape (num_lags, num_times, num_windows)
        Trust in each shift, at least 0.
    scale : float
        Misfit `c` beyond which a pair counts as an outlier, in the unit of `shifts`.
    ridge : float, default: 1e-4
        The small pull towards zero that fixes the free offset.
    tolerance : float, default: 1e-4
        Relative accuracy of each linear solution.
    max_iterations : int, default: 300
        Most iterations of each linear solution.

    Returns
    -------
    displacement : ndarray of float64, shape (num_times, num_windows)
        Displacement of each time bin, in the unit of `shifts`.

    References
    ----------
    Varol et al. 2021, Decentralized motion inference and registration of Neuropixel data, ICASSP.
    """
    x = np.zeros(shifts.shape[1:])
    if lags.size == 0:
        return x
    current = weights.copy()
    # The first round knows no outliers yet: a wide scale that shrinks leads the solution past local minima.
    for round_index in range(NUM_REWEIGHTINGS + 1):
        if round_index > 0:
            round_scale = scale * max(1.0, WIDEST * 0.5 ** (round_index - 1))
            _reweight(lags, shifts, weights, x, round_scale, current)
        _solve_pairs_in_place(lags, shifts, current, x, ridge, tolerance, max_iterations)
    return x
