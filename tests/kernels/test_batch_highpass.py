"""Reference and highpass of batches against filters that run in time."""

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt, sosfreqz

from steadyspike.kernels.filters.batch_highpass import (
    highpass_batch,
    subtract_lower_median,
    subtract_means,
    zero_phase_gain,
)

FS = 30_000.0


@pytest.mark.parametrize(("corner", "order"), [(300.0, 3), (1000.0, 1), (5000.0, 6)])
def test_gain_is_that_of_two_passes(corner, order):
    frequencies, response = sosfreqz(butter(order, corner, "highpass", fs=FS, output="sos"), 500, fs=FS)
    gain = zero_phase_gain(frequencies, corner, FS, order)
    np.testing.assert_allclose(gain, np.abs(response) ** 2, atol=1e-9)
    assert zero_phase_gain(corner, corner, FS, order) == pytest.approx(0.5)


def means_by_hand(traces):
    result = np.zeros(traces.shape)
    for channel in range(traces.shape[1]):
        known = [float(value) for value in traces[:, channel] if np.isfinite(value)]
        for sample in range(len(traces)):
            if np.isfinite(traces[sample, channel]):
                result[sample, channel] = float(traces[sample, channel]) - sum(known) / len(known)
    return result


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float64"])
def test_means(dtype):
    traces = np.random.default_rng(1).normal(30_000.0, 50.0, size=(40, 5)).astype(dtype)
    if traces.dtype.kind == "f":
        traces[3, 1], traces[7, 1], traces[:, 4] = np.nan, -np.inf, np.nan
    expected = means_by_hand(traces)
    np.testing.assert_allclose(subtract_means(traces, "float64"), expected, atol=1e-9)
    assert subtract_means(traces).dtype == np.float32


@pytest.mark.parametrize("num_channels", [1, 2, 7, 8, 130])
def test_of_an_even_number_the_lower_of_the_middle_two_is_subtracted(num_channels):
    traces = np.random.default_rng(num_channels).integers(-9, 9, size=(50, num_channels)).astype("float32")
    expected = np.array([row - sorted(row)[(num_channels - 1) // 2] for row in traces])
    np.testing.assert_array_equal(subtract_lower_median(traces), expected)


@pytest.mark.parametrize("num_samples", [1, 2, 122, 1009])
def test_a_batch_is_one_period(num_samples):
    rng = np.random.default_rng(num_samples)
    traces = rng.normal(size=(num_samples, 3)) * 30.0 + 200.0 * np.sin(np.arange(num_samples) / 90)[:, None]
    traces -= traces.mean(axis=0)
    times = 1 + 2 * -(-20_000 // num_samples)
    sections = butter(3, 300.0, "highpass", fs=FS, output="sos")
    filtered = sosfiltfilt(sections, np.tile(traces, (times, 1)), axis=0, padlen=0)
    middle = times // 2 * num_samples
    expected = filtered[middle : middle + num_samples]
    np.testing.assert_allclose(highpass_batch(traces, 300.0, FS), expected, atol=1e-6)


def test_nothing_stays_nothing():
    for shape in ((0, 3), (5, 0)):
        assert highpass_batch(np.zeros(shape, "float32"), 300.0, FS).shape == shape
