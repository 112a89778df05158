import numpy as np
import pytest
from scipy.signal import welch

from steadyspike.kernels.channels.channel_quality import (
    band_power,
    centred_in_order,
    likeness_to_all,
    likeness_to_neighbours,
)

FS = 30_000.0


def traces_of(dtype, shape=(700, 9), seed=0):
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(0, 2, shape[1])
    return (500 + sizes * (rng.normal(size=shape) + rng.normal(size=(shape[0], 1)))).astype(dtype)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_centred_in_order(dtype):
    traces = traces_of(dtype)
    rng = np.random.default_rng(1)
    order, gains, offsets = rng.permutation(9), *rng.normal(size=(2, 9)).astype("float32")
    scaled = (traces.astype("float32") * gains + offsets)[:, order]
    expected = scaled - np.mean(scaled, axis=0, keepdims=True, dtype="float64")
    centred = centred_in_order(traces, order, gains, offsets)
    np.testing.assert_allclose(centred[:, :-1], expected, rtol=1e-6)
    assert not centred[:, -1].any()


def test_likeness_to_all():
    ones, zeros = np.ones(9, "float32"), np.zeros(9, "float32")
    centred = centred_in_order(traces_of("float32"), np.arange(9), ones, zeros)
    raw = centred[:, :-1].astype("float64")
    median = np.median(raw, axis=1)
    median -= median.mean()
    np.testing.assert_allclose(likeness_to_all(centred), raw.T @ median / np.sum(median**2), rtol=1e-4)


@pytest.mark.parametrize("window", [2, 7, 60, 301, 700])
@pytest.mark.parametrize("freq_min", [-1.0, 0.0, 500.0, 12_000.0])
def test_band_power_is_welchs(window, freq_min):
    traces = traces_of("float64")
    frequencies, density = welch(traces, FS, nperseg=window, axis=0)
    expected = density[frequencies > freq_min].mean(axis=0)
    np.testing.assert_allclose(band_power(traces, FS, window, freq_min), expected, rtol=1e-9, atol=1e-12)


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
