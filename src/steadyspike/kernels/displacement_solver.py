"""Displacements over time from shifts between pairs of time bins, by robust weighted least squares."""

import numba
import numpy as np


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
def _conjugate_gradient(lags, shifts, weights, x, ridge, tolerance, max_iterations):
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


def solve_pairwise(
    lags, shifts, weights, scale, num_reweightings=6, ridge=1e-4, tolerance=1e-4, max_iterations=300
):
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
    num_reweightings : int, default: 6
        Rounds of reweighting.
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
    for round_index in range(num_reweightings + 1):
        if round_index > 0:
            round_scale = scale * max(1.0, 2.0 ** (3 - round_index))
            _reweight(lags, shifts, weights, x, round_scale, current)
        _conjugate_gradient(lags, shifts, current, x, ridge, tolerance, max_iterations)
    return x
