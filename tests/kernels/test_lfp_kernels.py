import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.stats import multivariate_normal

from steadyspike.kernels.motion import lfp_covariance as covariance
from steadyspike.kernels.motion import lfp_registration as kernels
from steadyspike.kernels.motion.pairwise_shift import correlate_at_lag


def smooth_profiles(num_times=8, num_rows=30, seed=0):
    rng = np.random.default_rng(seed)
    rough = rng.standard_normal((num_times, num_rows + 12))
    taps = np.exp(-0.5 * (np.arange(-6, 7) / 2.5) ** 2)
    return np.stack([np.convolve(row, taps, "valid") for row in rough]).astype("float32")


def slow_pearson(first, second, weights, first_valid, second_valid, shift):
    pairs = [
        (weights[y], first[y], second[y + shift])
        for y in range(*first_valid)
        if second_valid[0] <= y + shift < second_valid[1]
    ]
    if sum(weight for weight, *_ in pairs) < 0.4 * weights.sum():
        return 0.0
    w, a, b = np.array(pairs, dtype="float64").T
    a, b = a - np.average(a, weights=w), b - np.average(b, weights=w)
    norm = np.sqrt(np.sum(w * a * a) * np.sum(w * b * b))
    return np.sum(w * a * b) / norm if norm > 1e-9 else 0.0


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("lag", [1, 3])
def test_pairs_equal_slow_oracle(seed, lag):
    profiles = smooth_profiles(seed=seed)
    profiles[4] = 0.0
    profiles[5] = 2.0
    valid = np.tile(np.array([0, 30]), (8, 1))
    valid[1], valid[6] = (3, 30), (0, 22)
    profiles[1, :3] = 0.0
    profiles[6, 22:] = 0.0
    edges = np.array([0, 7, 15, 22, 30])
    weights = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 0.5, 0.1, 0.0]])
    shifts, heights = np.zeros((2, 8, 2), dtype="float32")
    correlate_at_lag(profiles[:, :, None], lag, edges, weights, 6, shifts, heights, valid, 0.4)
    for t in range(8 - lag):
        for window in range(2):
            by_depth = np.repeat(weights[window], np.diff(edges))
            curve = np.array(
                [
                    slow_pearson(profiles[t], profiles[t + lag], by_depth, valid[t], valid[t + lag], shift)
                    for shift in range(-6, 7)
                ]
            )
            best = int(np.argmax(curve))
            if curve[best] <= 1e-6 or best in (0, 12):
                assert heights[t, window] == 0
                continue
            assert heights[t, window] == pytest.approx(curve[best], abs=1e-4)
            assert shifts[t, window] == pytest.approx(best - 6, abs=0.51)
    assert not heights[8 - lag :].any()


def test_moving_back_equals_a_cubic_spline():
    values = smooth_profiles()
    depths = 10.0 + 5.0 * np.arange(30)
    profiles = kernels.make_profiles(values.copy(), depths)
    knots = np.array([30.0, 100.0])
    displacement = np.random.default_rng(0).uniform(-20, 20, (8, 2))
    grid = np.arange(0.0, 170.0, 3.0)
    moved, valid = np.empty((8, grid.size), dtype="float32"), np.empty((8, 2), dtype="int64")
    kernels.move_back(
        profiles.coefficients, profiles.first_um, profiles.pitch_um, displacement, knots, grid, moved, valid
    )
    for t in range(8):
        places = grid + np.interp(grid, knots, displacement[t])
        seen = (places >= 10.0) & (places <= 155.0)
        assert valid[t].tolist() == [np.flatnonzero(seen)[0], np.flatnonzero(seen)[-1] + 1]
        assert not moved[t, ~seen].any()
        middle = seen & (places > 25.0) & (places < 140.0)
        expected = CubicSpline(depths, values[t])(places[middle])
        np.testing.assert_allclose(moved[t, middle], expected, atol=0.02 * np.abs(values).max())


def test_uneven_depths_are_brought_to_an_even_grid():
    depths = np.array([0.0, 20.0, 40.0, 80.0, 100.0])
    profiles = kernels.make_profiles(np.tile(depths, (3, 1)).astype("float32"), depths)
    assert (profiles.first_um, profiles.pitch_um, profiles.depths_um[-1]) == (0.0, 20.0, 100.0)
    grid = np.array([40.0, 60.0, 80.0])
    moved, valid = np.empty((3, 3), dtype="float32"), np.empty((3, 2), dtype="int64")
    kernels.move_back(profiles.coefficients, 0.0, 20.0, np.zeros((3, 1)), np.array([0.0]), grid, moved, valid)
    np.testing.assert_allclose(moved, np.tile(grid, (3, 1)), rtol=1e-4)


def tissue(rank=3, seed=0):
    depths = 10.0 * np.arange(20)
    rng = np.random.default_rng(seed)
    smooth = np.exp(-0.5 * ((depths[:, None] - depths) / 30) ** 2)
    return covariance.TissueModel(depths, smooth @ rng.standard_normal((20, rank)), 0.3)


def test_likelihood_is_that_of_a_gaussian():
    model = tissue()
    contacts = 10.0 * np.arange(3, 17)
    values = np.random.default_rng(1).standard_normal((6, 14)).astype("float32")
    values[2] = 0.0
    shifts = np.array([-20.0, 0.0, 7.5, 20.0])
    curves, num_rows = covariance.log_likelihood_curves(values, contacts, model, shifts)
    use = (contacts - 20.0 >= 0) & (contacts + 20.0 <= 190.0)
    assert num_rows == np.count_nonzero(use)
    even = np.median(np.sum(values[:, use] ** 2, axis=1)) / num_rows
    for index, shift in enumerate(shifts):
        factors = CubicSpline(model.depths_um, model.factors)(contacts[use] - shift)
        matrix = factors @ factors.T + max(even, 0.3) + 0.3 * np.eye(num_rows)
        expected = multivariate_normal(np.zeros(num_rows), matrix).logpdf(values[:, use])
        expected += 0.5 * num_rows * np.log(2 * np.pi)
        expected[2] = 0.0
        np.testing.assert_allclose(curves[:, index], expected, rtol=1e-3, atol=1e-2)


def test_too_few_contacts_have_no_likelihood():
    curves, num_rows = covariance.log_likelihood_curves(
        np.ones((2, 5), dtype="float32"), 10.0 * np.arange(5), tissue(), np.array([-200.0, 200.0])
    )
    assert num_rows == 0
    assert not curves.any()


def test_model_splits_signal_and_noise():
    truth = tissue(rank=4)
    model = covariance.tissue_model(truth.factors @ truth.factors.T + 0.3 * np.eye(20), truth.depths_um)
    assert model.noise == pytest.approx(0.3, rel=1e-6)
    np.testing.assert_allclose(model.factors @ model.factors.T, truth.factors @ truth.factors.T, atol=1.0)
    assert covariance.tissue_model(np.zeros((5, 5)), truth.depths_um[:5]).factors.shape == (5, 0)


def test_maxima_lie_between_grid_points():
    shifts = np.arange(-10.0, 11.0, 2.0)
    centers = np.array([0.7, -3.3, 40.0])
    curves = -0.5 * 0.2 * (shifts - centers[:, None]) ** 2
    curves = np.vstack([curves, np.zeros(shifts.size)])
    best, precision = covariance.curve_maxima(curves, shifts)
    np.testing.assert_allclose(best[:2], centers[:2], atol=1e-9)
    np.testing.assert_allclose(precision, [0.2, 0.2, 0.0, 0.0], atol=1e-9)


def test_covariance_counts_what_both_depths_see():
    values = smooth_profiles(num_times=50, num_rows=12)
    profiles = kernels.make_profiles(values.copy(), 20.0 * np.arange(12))
    displacement = np.where(np.arange(50) % 2, 40.0, 0.0)[:, None]
    found, seen = covariance.tissue_covariance(profiles, displacement, np.array([0.0]), np.arange(50))
    still, moved = values[::2].astype("float64"), values[1::2, 2:].astype("float64")
    np.testing.assert_allclose(seen, np.where(np.arange(12) < 10, 1.0, 0.5))
    expected = np.zeros((12, 12))
    expected[:10, :10] = (still[:, :10].T @ still[:, :10] + moved.T @ moved) / 50
    np.testing.assert_allclose(found[:10, :10], expected[:10, :10], rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(found[11, 11], np.mean(still[:, 11] ** 2), rtol=1e-3)


@pytest.mark.parametrize("shift", [-4, 0, 3])
def test_shift_between_covariances(shift):
    rng = np.random.default_rng(0)
    smooth = np.exp(-0.5 * ((np.arange(50)[:, None] - np.arange(50)) / 2) ** 2)
    factors = smooth @ rng.standard_normal((50, 5))
    whole = factors @ factors.T
    first = whole[10:40, 10:40]
    second = whole[10 - shift : 40 - shift, 10 - shift : 40 - shift]
    found, correlation = covariance.covariance_shift(first, second, 10.0)
    assert found == pytest.approx(shift, abs=0.15)
    assert correlation == pytest.approx(1.0)
    assert covariance.covariance_shift(first, np.zeros((30, 30)), 10.0) == (0.0, 0.0)
