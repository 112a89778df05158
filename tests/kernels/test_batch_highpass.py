"""Reference and highpass of batches against filters that run in time."""

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt, sosfreqz

from steadyspike.kernels.filters.batch_highpass import highpass_batch, subtract_means, zero_phase_gain

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


@pytest.mark.parametrize("num_samples", [1, 2, 61, 1009])
@pytest.mark.parametrize("reference", [True, False])
def test_batch_is_filtered_as_if_silence_lay_around_it(num_samples, reference):
    rng = np.random.default_rng(num_samples)
    traces = rng.normal(size=(num_samples, 7)) * 30.0 + 200.0 * np.sin(np.arange(num_samples) / 900)[:, None]
    centered = subtract_means(traces, "float64")
    expected = centered.copy()
    if reference:
        for sample in range(num_samples):
            expected[sample] -= np.median(expected[sample])
    around = np.pad(expected, ((20_000, 20_000), (0, 0)))
    filtered = sosfiltfilt(butter(3, 300.0, "highpass", fs=FS, output="sos"), around, axis=0, padlen=0)
    result = highpass_batch(centered, 300.0, FS, reference=reference)
    np.testing.assert_allclose(result, filtered[20_000 : 20_000 + num_samples], atol=0.02)


def test_nothing_stays_nothing():
    for shape in ((0, 3), (5, 0)):
        assert highpass_batch(np.zeros(shape, "float32"), 300.0, FS).shape == shape
