import numpy as np
import pytest

from steadyspike.kernels.motion import pair_least_squares
from steadyspike.kernels.motion.pair_least_squares import solve_pairwise


def pairs(truth, lags, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    shifts = np.zeros((len(lags), *truth.shape), dtype="float32")
    for index, lag in enumerate(lags):
        shifts[index, :-lag] = truth[lag:] - truth[:-lag]
    shifts += noise * rng.standard_normal(shifts.shape)
    return shifts.astype("float32")


def dense_least_squares(lags, shifts, weights, ridge):
    """The same weighted problem, one row per pair, for one window."""
    num_times = shifts.shape[1]
    rows, right = [], []
    for index, lag in enumerate(lags):
        for t in range(num_times - lag):
            row = np.zeros(num_times)
            row[t + lag], row[t] = 1.0, -1.0
            weight = np.sqrt(weights[index, t])
            rows.append(weight * row)
            right.append(weight * shifts[index, t])
    rows.extend(np.sqrt(ridge) * np.eye(num_times))
    right.extend(np.zeros(num_times))
    return np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]


def test_equals_dense_least_squares(monkeypatch):
    monkeypatch.setattr(pair_least_squares, "NUM_REWEIGHTINGS", 0)
    rng = np.random.default_rng(1)
    lags = np.array([1, 2, 5])
    shifts = pairs(np.cumsum(rng.standard_normal((20, 2)), axis=0), lags, noise=1.0)
    weights = rng.random(shifts.shape).astype("float32")
    x = solve_pairwise(lags, shifts, weights, scale=1.0, tolerance=1e-10)
    for window in range(2):
        expected = dense_least_squares(lags, shifts[:, :, window], weights[:, :, window], 1e-4)
        np.testing.assert_allclose(x[:, window], expected, atol=1e-5)


def test_outliers_are_ignored():
    rng = np.random.default_rng(2)
    truth = 20 * np.sin(np.linspace(0, 6, 120))[:, None]
    lags = np.array([1, 2, 3, 5, 8, 13, 21, 34])
    shifts = pairs(truth, lags, noise=0.5)
    wrong = rng.random(shifts.shape) < 0.2
    shifts[wrong] = rng.uniform(-60, 60, wrong.sum())
    x = solve_pairwise(lags, shifts, np.ones_like(shifts), scale=4.0)
    error = x - truth
    assert np.abs(error - np.median(error)).max() < 1.0


@pytest.mark.parametrize("num_times", [1, 2, 9])
def test_without_any_trusted_pair_nothing_moves(num_times):
    lags = np.arange(1, min(num_times, 4))
    shifts = np.full((lags.size, num_times, 3), 7.0, dtype="float32")
    x = solve_pairwise(lags, shifts, np.zeros_like(shifts), scale=4.0)
    assert x.shape == (num_times, 3)
    assert not np.any(x)
