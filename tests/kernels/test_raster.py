import numpy as np
import pytest

from steadyspike.kernels.motion.raster import amplitude_marks, spike_raster


def slow_raster(time_bins, depths_um, marks, first_depth_um, bin_um, shape):
    raster = np.zeros(shape)
    for t, depth, mark in zip(time_bins, depths_um, marks, strict=True):
        for d in range(shape[1]):
            distance = abs(float(depth) - (first_depth_um + d * bin_um)) / bin_um
            raster[t, d, mark] += max(0.0, 1.0 - distance)
    return raster


@pytest.mark.parametrize("num_spikes", [0, 1, 300])
def test_raster_equals_slow_oracle(num_spikes):
    rng = np.random.default_rng(num_spikes)
    shape = (7, 30, 3)
    time_bins = rng.integers(0, 7, num_spikes).astype("int32")
    marks = rng.integers(0, 3, num_spikes).astype("int32")
    depths = rng.uniform(-30, 150, num_spikes).astype("float32")
    raster = spike_raster(time_bins, depths, marks, 0.0, 4.0, shape)
    np.testing.assert_allclose(raster, slow_raster(time_bins, depths, marks, 0.0, 4.0, shape), atol=1e-4)


def test_raster_counts_every_spike_inside():
    depths = np.linspace(0, 40, 101).astype("float32")
    zeros = np.zeros(101, dtype="int32")
    raster = spike_raster(zeros, depths, zeros, 0.0, 4.0, (1, 11, 1))
    assert raster.sum() == pytest.approx(101, rel=1e-5)


def test_marks_follow_log_amplitude():
    amplitudes = -np.exp(np.linspace(2, 6, 1001))
    marks = amplitude_marks(amplitudes, 4)
    assert marks.dtype == np.int32
    assert np.all(np.diff(marks) >= 0)
    np.testing.assert_allclose(np.bincount(marks), 250, atol=15)


@pytest.mark.parametrize(
    "amplitudes",
    [np.zeros(0), np.array([5.0]), np.full(9, -3.0), np.array([np.nan, 0.0, np.inf, -2.0, 40.0])],
)
def test_marks_of_nasty_amplitudes_are_in_range(amplitudes):
    marks = amplitude_marks(amplitudes, 6)
    assert marks.shape == amplitudes.shape
    assert np.all((marks >= 0) & (marks < 6))
