import numpy as np
import pytest

from steadyspike.kernels.motion import template_registration as kernels


def spikes(num_spikes, num_times=6, knots_um=(0.0, 50.0, 120.0), num_marks=3, seed=0):
    rng = np.random.default_rng(seed)
    depths = rng.uniform(-20, 140, num_spikes).astype("float32")
    time_bins = rng.integers(0, num_times, num_spikes).astype("int32")
    marks = rng.integers(0, num_marks, num_spikes).astype("int32")
    lower, upper = kernels.knot_weights(depths, np.array(knots_um))
    displacement = rng.uniform(-5, 5, (num_times, len(knots_um)))
    return depths, time_bins, marks, lower, upper, displacement


def slow_corrected(depth, t, displacement, knots_um):
    return float(depth) - np.interp(depth, knots_um, displacement[t])


def test_knot_weights_are_those_of_linear_interpolation():
    knots = np.array([0.0, 50.0, 120.0])
    depths = np.linspace(-40, 160, 60).astype("float32")
    values = np.array([3.0, -1.0, 8.0])
    lower, upper = kernels.knot_weights(depths, knots)
    interpolated = values[lower] * (1 - upper) + values[np.minimum(lower + 1, 2)] * upper
    np.testing.assert_allclose(interpolated, np.interp(depths, knots, values), atol=1e-5)


def test_a_single_knot_holds_every_spike():
    lower, upper = kernels.knot_weights(np.array([-5.0, 700.0], dtype="float32"), np.array([300.0]))
    assert not lower.any()
    assert not upper.any()


@pytest.mark.parametrize("num_spikes", [0, 1, 200])
def test_histogram_equals_slow_oracle(num_spikes):
    knots = (0.0, 50.0, 120.0)
    depths, time_bins, marks, lower, upper, displacement = spikes(num_spikes, knots_um=knots)
    histogram = np.zeros((3, 120))
    kernels.corrected_histogram(depths, time_bins, marks, lower, upper, displacement, -40.0, 2.0, histogram)
    expected = np.zeros_like(histogram)
    for i in range(num_spikes):
        position = (slow_corrected(depths[i], time_bins[i], displacement, knots) + 40.0) / 2.0
        for point in range(120):
            expected[marks[i], point] += max(0.0, 1.0 - abs(position - point))
    np.testing.assert_allclose(histogram, expected, atol=1e-4)


@pytest.mark.parametrize("num_spikes", [0, 1, 60])
def test_curves_equal_slow_oracle(num_spikes):
    knots, reach = np.array([0.0, 50.0, 120.0]), 4
    depths, time_bins, marks, lower, upper, displacement = spikes(num_spikes, knots_um=tuple(knots))
    density = np.random.default_rng(3).standard_normal((3, 140)).astype("float32")
    curves = np.zeros((6, 3, 2 * reach + 1), dtype="float32")
    counts = np.zeros((6, 3), dtype="float32")
    kernels.log_likelihood_curves(
        depths, time_bins, marks, lower, upper, displacement, -60.0, 2.0, density, curves, counts
    )
    expected = np.zeros(curves.shape)
    for i in range(num_spikes):
        position = (slow_corrected(depths[i], time_bins[i], displacement, knots) + 60.0) / 2.0
        for k in range(3):
            weight = np.interp(depths[i], knots, np.eye(3)[k])
            for shift in range(-reach, reach + 1):
                value = np.interp(position - shift, np.arange(140), density[marks[i]])
                expected[time_bins[i], k, shift + reach] += weight * value
    np.testing.assert_allclose(curves, expected, atol=1e-3)
    np.testing.assert_allclose(counts.sum(), num_spikes, rtol=1e-5)


def test_peak_of_a_parabola_is_found_without_the_prior():
    shifts = np.arange(-8, 9)
    curves = (-0.5 * 3.0 * (shifts - 2.4) ** 2)[None, None].astype("float32")
    found, precision = kernels.curve_peaks(curves, 0.05)
    assert found[0, 0] == pytest.approx(2.4, abs=1e-3)
    assert precision[0, 0] == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("curve", [np.zeros(17), np.arange(17.0) * 9, -np.arange(17.0) * 9])
def test_a_curve_without_a_maximum_measures_nothing(curve):
    found, precision = kernels.curve_peaks(curve[None, None].astype("float32"), 0.05)
    assert found[0, 0] == 0
    assert precision[0, 0] == 0


def test_log_density_is_finite_and_flat_far_from_spikes():
    histogram = np.zeros((2, 300))
    histogram[0, 100] = 50
    density, background = kernels.log_density(histogram, 2.0, 0.0)
    assert density.dtype == np.float32
    assert np.all(np.isfinite(density))
    assert np.all(np.isfinite(background))
    assert density[0].argmax() == 100
    assert np.ptp(density[0, 200:]) == 0


def test_a_peak_does_not_depend_on_the_curve_before_it():
    # points left of the middle were once compared with what the curve before had there
    shifts = np.arange(-8, 9)
    bump = 50.0 * np.exp(-0.5 * ((shifts + 4.2) / 2.0) ** 2)
    found, precision = kernels.curve_peaks(
        np.stack([bump + 1000.0, bump, bump])[None].astype("float32"), 0.05
    )
    np.testing.assert_allclose(found[0], -4.2, atol=0.1)
    np.testing.assert_allclose(precision[0], precision[0, 0], rtol=1e-3)
