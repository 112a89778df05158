import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from steadyspike.kernels.motion import kernel_correlation as kernels
from steadyspike.kernels.motion.template_registration import knot_weights


def clouds(seed, sizes=(40, 35, 0, 1), shift_um=7.3):
    """Clouds of the same units, each moved by `shift_um` against the one before, ordered by depth."""
    rng = np.random.default_rng(seed)
    units = rng.uniform(0, 300, 12)
    kinds = rng.standard_normal((12, 2)) * 4
    depths, features = [], []
    for number, size in enumerate(sizes):
        unit = rng.integers(0, 12, size)
        place = units[unit] + number * shift_um + rng.normal(0, 1.5, size)
        order = np.argsort(place)
        depths.append(place[order])
        features.append((kinds[unit] + 0.3 * rng.standard_normal((size, 2)))[order])
    depths = np.concatenate(depths).astype("float32")
    knots = np.array([60.0, 240.0])
    first = np.concatenate([[0], np.cumsum(sizes)])
    return depths, np.concatenate(features).astype("float32"), *knot_weights(depths, knots), first


def slow_likeness(features, i, j):
    distance = float(np.sum((features[i] - features[j]) ** 2))
    return np.exp(-0.5 * distance) if distance <= 9.0 else 0.0


def slow_correlation(spikes, a, b, window, shift, sigma):
    """Kernel correlation of two clouds in one window (weights of the knots), from all pairs of spikes."""
    depths, features, lower, upper_weight, first = spikes
    total = 0.0
    for i in range(first[a], first[a + 1]):
        weight = window[lower[i]] * (1 - upper_weight[i]) + window[lower[i] + 1] * upper_weight[i]
        for j in range(first[b], first[b + 1]):
            offset = (depths[j] - depths[i] - shift) / sigma
            if abs(offset) <= 3.2:
                total += weight * slow_likeness(features, i, j) * np.exp(-0.5 * offset**2)
    return total


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (0, 2), (2, 3), (3, 0)])
def test_differences_equal_slow_oracle(seed, pair):
    spikes = clouds(seed)
    depths, features, lower, upper_weight, first = spikes
    reach, limit = 30, 28.0
    found = np.full((2, 2 * reach + 1), np.nan, dtype="float32")
    kernels.add_differences(spikes, *pair, limit, 1.0, found)
    expected = np.zeros_like(found)
    for i in range(first[pair[0]], first[pair[0] + 1]):
        for j in range(first[pair[1]], first[pair[1] + 1]):
            difference = float(depths[j] - depths[i])
            if abs(difference) <= limit:
                share = np.maximum(1 - np.abs(np.arange(-reach, reach + 1) - difference), 0)
                share *= slow_likeness(features, i, j)
                expected[lower[i]] += (1 - upper_weight[i]) * share
                expected[lower[i] + 1] += upper_weight[i] * share
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_best_place_is_the_maximum_between_grid_points():
    rng = np.random.default_rng(0)
    sigma = 4.0
    offsets = np.arange(-12, 13)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2).astype("float32")
    for _ in range(20):
        values = np.where(rng.random(121) < 0.2, rng.exponential(1, 121), 0.0).astype("float32")

        def fit(place, values=values):
            return np.sum(values * np.exp(-0.5 * ((np.arange(121) - place) / sigma) ** 2))

        places = np.arange(20, 101, 0.05)
        best = places[np.argmax([fit(place) for place in places])]
        found, height = kernels.best_place(values, sigma, 20, 100, kernel, 3)
        # two hills of nearly one height may be taken for each other by the coarse grid
        assert height == pytest.approx(fit(best), rel=0.03)
        if abs(found - best) < sigma and 21 < best < 99:
            assert found == pytest.approx(best, abs=0.1)


def test_best_place_of_nothing_is_the_center():
    kernel = np.ones(5, dtype="float32")
    assert kernels.best_place(np.zeros(41, dtype="float32"), 2.0, 10, 30, kernel, 1) == (20.0, 0.0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shifts_maximize_the_kernel_correlation(seed):
    spikes = clouds(seed)
    sigma = 5.0
    windows = np.array([[1.0, 0.4], [0.4, 1.0]], dtype="float32")
    energies = kernels.self_correlations(spikes, windows, sigma)
    for cloud in range(4):
        for window in range(2):
            expected = slow_correlation(spikes, cloud, cloud, windows[window], 0.0, sigma)
            assert energies[cloud, window] == pytest.approx(expected, rel=0.02, abs=1e-6)
    shifts, heights = np.zeros((2, 4, 2), dtype="float32")
    kernels.correlate_clouds(spikes, 0, 4, 1, windows, energies, 40.0, sigma, shifts, heights)
    for window in range(2):

        def misfit(shift, window=window):
            return -slow_correlation(spikes, 0, 1, windows[window], shift, sigma)

        best = minimize_scalar(misfit, bracket=(shifts[0, window] - 2, shifts[0, window] + 2)).x
        assert shifts[0, window] == pytest.approx(best, abs=0.1)
        assert shifts[0, window] == pytest.approx(7.3, abs=2.0)
        norm = np.sqrt(energies[0, window] * energies[1, window])
        assert heights[0, window] == pytest.approx(min(-misfit(best) / norm, 1.0), abs=0.02)
    # the third cloud is empty
    assert not shifts[1:3].any()
    assert not heights[1:3].any()
