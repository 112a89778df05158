import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from steadyspike.kernels.motion import held_out, template_registration

RANGE = (-50.0, 250.0)


def draw(num_spikes, num_marks=3, num_folds=4, seed=0):
    rng = np.random.default_rng(seed)
    depths = rng.choice([20.0, 90.0, 160.0], num_spikes) + 4.0 * rng.standard_normal(num_spikes)
    marks = rng.integers(num_marks, size=num_spikes).astype("int32")
    folds = rng.integers(num_folds, size=num_spikes).astype("int32")
    return depths, marks, folds


def slow_gain(i, depths, marks, folds, smooth_um, shift_um):
    """Gain of one spike: a histogram of the spikes of other folds, counted spike by spike."""
    points = np.arange(int(RANGE[1] - RANGE[0]) + 3) + RANGE[0]
    histogram = np.zeros((3, points.size))
    for j in range(depths.size):
        if folds[j] != folds[i]:
            place = np.clip(depths[j], points[0], points[-2])
            histogram[marks[j]] += np.maximum(0.0, 1.0 - np.abs(points - place))
    density, background = template_registration.log_density(
        histogram, smooth_um, template_registration.SMOOTH_MARKS
    )
    place = np.clip(depths[i], points[0], points[-2]) + shift_um
    return np.interp(place, points, density[marks[i]] - background[marks[i]])


@pytest.mark.parametrize("shift_um", [0.0, 2.5, -3.0])
def test_gains_equal_slow_oracle(shift_um):
    depths, marks, folds = draw(60)
    depths[:2] = [-300.0, 900.0]
    density = held_out.HeldOutDensity(depths, marks, folds, RANGE, 3, 4)
    gains = density.gains(2.0, (shift_um,))[0]
    expected = [slow_gain(i, depths, marks, folds, 2.0, shift_um) for i in range(60)]
    np.testing.assert_allclose(gains, expected, atol=1e-4)
    np.testing.assert_array_equal(density.gains(2.0, (np.full(60, shift_um),))[0], gains)


def test_a_spike_does_not_explain_itself():
    depths, marks, folds = np.array([10.0, 200.0]), np.zeros(2, "int32"), np.array([0, 1], "int32")
    alone = held_out.HeldOutDensity(depths, marks, folds, RANGE, 1, 2).gains(1.0)[0]
    assert (alone < 0).all()
    together = held_out.HeldOutDensity(np.full(2, 10.0), marks, folds, RANGE, 1, 2).gains(1.0)[0]
    assert (together > 2).all()


def test_no_spikes_have_no_gains_and_no_information():
    empty = np.zeros(0), np.zeros(0, "int32"), np.zeros(0, "int32")
    gains = held_out.HeldOutDensity(*empty, RANGE, 3, 4).gains(1.0, (-1.0, 0.0, 1.0))
    assert gains.shape == (3, 0)
    assert held_out.information(gains, 1.0) == 0.0


def test_information_is_the_inverse_variance_of_a_location():
    rng = np.random.default_rng(1)
    depths = 100.0 + 6.0 * rng.standard_normal(20_000)
    folds = rng.integers(5, size=depths.size).astype("int32")
    density = held_out.HeldOutDensity(depths, np.zeros(depths.size, "int32"), folds, RANGE, 1, 5)
    information = held_out.information(density.gains(1.0, (-2.0, 0.0, 2.0)), 2.0)
    assert information == pytest.approx(1 / 36, rel=0.15)


@pytest.mark.parametrize("num_knots", [1, 3])
def test_sums_equal_slow_oracle(num_knots):
    rng = np.random.default_rng(2)
    knots = np.linspace(0, 100, num_knots)
    depths = rng.uniform(-20, 130, 50).astype("float32")
    bins = rng.integers(6, size=50).astype("int32")
    values = rng.standard_normal(50)
    lower, weight = template_registration.knot_weights(depths, knots)
    sums = held_out.sums_by_knot(values, bins, lower, weight, (6, num_knots))
    expected = np.zeros((6, num_knots))
    for i in range(50):
        for k in range(num_knots):
            expected[bins[i], k] += values[i] * np.interp(depths[i], knots, np.eye(num_knots)[k])
    np.testing.assert_allclose(sums, expected, atol=1e-5)


def test_parameters_of_a_constant_are_none_and_of_noise_are_all():
    rng = np.random.default_rng(3)
    assert held_out.fitted_parameters(np.full((50, 4), 7.0), 1.0) == (0.0, 0.0)
    assert held_out.fitted_parameters(np.zeros((0, 4)), 1.0) == (0.0, 0.0)
    number, variance = held_out.fitted_parameters(30.0 * rng.standard_normal((50, 4)), 2.0)
    assert number == pytest.approx(200, rel=0.05)
    assert variance == pytest.approx(0.5, rel=0.05)


def test_parameters_bound_the_optimism_of_a_smoothed_noise():
    # x smooths its measurements y of nothing; its gain on them, minus that on new ones, is the sum of x y / sigma^2
    rng = np.random.default_rng(4)
    optimism, counted = [], []
    for _ in range(50):
        measured = 2.0 * rng.standard_normal((200, 1))
        estimate = gaussian_filter1d(measured, 5.0, axis=0)
        optimism.append(float((estimate * measured).sum()) / 4.0)
        counted.append(held_out.fitted_parameters(estimate, 0.25)[0])
    assert np.mean(optimism) == pytest.approx(200 / (5.0 * np.sqrt(2 * np.pi)), rel=0.2)
    assert 0.7 * np.mean(optimism) < np.mean(counted) < 2.0 * np.mean(optimism)


def test_error_over_time_is_that_of_independent_spikes_and_ignores_a_trend():
    rng = np.random.default_rng(5)
    values = rng.standard_normal(20_000)
    blocks = np.arange(values.size) * 100 // values.size
    trend = 3.0 * np.sin(np.arange(values.size) / 12_000)
    for part in (values, values + trend):
        assert held_out.error_over_time(part, blocks, 100) == pytest.approx(np.sqrt(values.size), rel=0.35)
    assert held_out.error_over_time(values, np.zeros(values.size, int), 1) == 0.0


def test_error_over_groups_sees_groups_that_differ():
    rng = np.random.default_rng(6)
    groups = rng.integers(40, size=20_000)
    values = rng.standard_normal(groups.size)
    independent = held_out.error_over_groups(values, groups)
    assert independent == pytest.approx(np.sqrt(values.size), rel=0.35)
    differing = held_out.error_over_groups(values + rng.standard_normal(40)[groups], groups)
    assert differing > 5 * independent
    assert held_out.error_over_groups(values, np.full(values.size, 3)) == np.inf
