import numpy as np
import pytest
from scipy.signal import welch

from steadyspike.kernels.channels.band_power import band_power
from steadyspike.kernels.channels.channel_quality import (
    likeness_to_all,
    likeness_to_neighbours,
    scaled_means,
)

FS = 30_000.0


def traces_of(dtype, shape=(700, 9), seed=0):
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(0, 2, shape[1])
    return (500 + sizes * (rng.normal(size=shape) + rng.normal(size=(shape[0], 1)))).astype(dtype)


def in_halves(work, size, *_):
    return [work(0, size // 2), work(size // 2, size)]


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_likeness_to_all(dtype):
    traces = traces_of(dtype)
    gains, offsets = np.random.default_rng(1).normal(size=(2, 9)).astype("float32")
    scaled = (traces.astype("float32") * gains + offsets).astype("float64")
    means = scaled_means(traces, gains, offsets)
    np.testing.assert_allclose(means, scaled.mean(axis=0), rtol=1e-6)
    scaled -= scaled.mean(axis=0)
    median = np.median(scaled, axis=1)
    median -= median.mean()
    found = likeness_to_all(traces, gains, offsets, means, in_halves)
    np.testing.assert_allclose(found, scaled.T @ median / np.sum(median**2), rtol=1e-4)


def test_threads_change_no_digit_of_the_likeness():
    traces = np.random.default_rng(0).normal(size=(2500, 9)).astype("float32")
    others = np.ones(9, "float32"), np.zeros(9, "float32"), np.zeros(9)

    def each_alone(work, size, *_):
        return [work(one, one + 1) for one in range(size)]

    np.testing.assert_array_equal(
        likeness_to_all(traces, *others, each_alone), likeness_to_all(traces, *others)
    )


def test_likeness_is_unknown_with_nan():
    traces = traces_of("float32")
    traces[100, 3] = np.nan
    ones = np.ones(9, "float32")
    assert np.isnan(likeness_to_all(traces, ones, ones, np.zeros(9))).all()


@pytest.mark.parametrize("window", [2, 7, 60, 62, 301, 700])
@pytest.mark.parametrize("freq_min", [-1.0, 0.0, 500.0, 12_000.0])
def test_band_power_is_welchs(window, freq_min):
    traces = traces_of("float64")
    frequencies, density = welch(traces, FS, nperseg=window, axis=0)
    expected = density[frequencies > freq_min].mean(axis=0)
    np.testing.assert_allclose(band_power(traces, FS, window, freq_min), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_power_beside_large_levels(dtype):
    traces = traces_of(dtype, shape=(900, 37)) + np.array(20_000, dtype)
    frequencies, density = welch(traces.astype("float64"), FS, nperseg=300, axis=0)
    expected = density[frequencies > 12_000.0].mean(axis=0)
    levels = traces.mean(axis=0, dtype="float64")
    found = band_power(traces, FS, 300, 12_000.0, levels, in_halves)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_band_power_of_no_frequency():
    assert np.isnan(band_power(traces_of("float32"), FS, 30, 15_000.0)).all()


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_likeness_to_neighbours(dtype):
    traces = traces_of(dtype)
    traces[:, 4] = 3
    neighbours = [
        np.array(one) for one in ([1, 2], [0], [1, 4, 3, 8], [], [3], [4], [5, 7, 8], [0, 1, 2], [7])
    ]
    centred = traces - np.median(traces, axis=0)
    expected = np.full(9, np.nan)
    for channel, some in enumerate(neighbours):
        if some.size:
            x, m = centred[:, channel], np.median(centred[:, some], axis=1)
            size = np.sqrt(np.mean(x**2) * np.mean(m**2))
            expected[channel] = np.mean(x * m) / (size or 1.0)
    np.testing.assert_allclose(likeness_to_neighbours(traces, neighbours), expected, rtol=1e-5, atol=1e-7)
