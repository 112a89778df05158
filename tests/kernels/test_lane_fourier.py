import numpy as np
import pytest

from steadyspike.kernels.filters.lane_fourier import make_plan, shift_pairs, split_length
from steadyspike.kernels.lanes.lanes import num_lanes


def slow_shift(signal, shift):
    """Delay one signal by its Fourier sums, frequency by frequency."""
    length = len(signal)
    times = np.arange(length)
    delayed = np.zeros(length)
    for k in range(length // 2 + 1):
        coefficient = np.sum(signal * np.exp(-2j * np.pi * k * times / length))
        # all but the first and the one at half the length stand for two frequencies
        twice = 1 if k == 0 or 2 * k == length else 2
        wave = coefficient * np.exp(2j * np.pi * k * (times - shift) / length)
        if 2 * k == length:
            wave = np.real(coefficient) * np.cos(np.pi * shift) * np.cos(np.pi * times)
        delayed += twice * np.real(wave) / length
    return delayed


@pytest.mark.parametrize(
    ("length", "split"),
    [
        (32400, (180, 180)),
        (30000, (200, 150)),
        (16, (4, 4)),
        (8, None),
        (17, None),
        (7 * 64, None),
        (18, (6, 3)),
    ],
)
def test_lengths(length, split):
    assert split_length(length) == split


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize("length", [16, 18, 27, 45, 60, 100, 125, 144, 480])
def test_as_the_sums(length, dtype):
    precision = "float32" if dtype == "float32" else "float64"
    lanes = num_lanes(precision)
    rng = np.random.default_rng(length)
    before, margin = 2, 3
    num_channels = 2 * lanes + 5
    traces = rng.normal(0, 1000, (length - before - 1, num_channels)).astype(dtype)
    pairs = [(channel, channel + 1) for channel in range(0, num_channels - 3, 2)]
    pairs = np.array([*pairs, (num_channels - 1, num_channels - 1)])
    shifts = rng.uniform(-2, 2, len(pairs))
    shifts[:2] = 0.0, 0.5
    window = rng.uniform(0, 1, length)
    shifted = np.full((length - 2 * margin, num_channels), 7, dtype=dtype)
    plan = make_plan(length, precision)
    shift_pairs(traces, pairs, shifts, (window / length).astype(precision), (before, margin), plan, shifted)
    expected = np.full(shifted.shape, 7.0)
    for pair, shift in zip(pairs, shifts, strict=True):
        for channel in pair:
            signal = np.zeros(length)
            signal[before:-1] = traces[:, channel]
            expected[:, channel] = slow_shift(signal * window, shift)[margin:-margin]
    if dtype == "int16":
        np.testing.assert_array_equal(shifted, np.rint(expected))
    else:
        np.testing.assert_allclose(shifted, expected, rtol=0, atol=3e-3)
