import numpy as np
import pytest

from steadyspike.kernels.filters.biquads import butterworth_sections, filter_zero_phase
from steadyspike.kernels.filters.fractional_delay import BLOCK_SAMPLES, delay, delay_taps
from steadyspike.kernels.lanes.lanes import TILE_LANES


def slow_delay(traces, taps):
    """Sum of products, sample by sample, in float64."""
    num_samples = len(traces) - len(taps) + 1
    out = np.zeros((num_samples, traces.shape[1]))
    for sample in range(num_samples):
        for tap in range(len(taps)):
            out[sample] += taps[tap] * traces[sample + tap]
    return out


def nasty(num_samples, num_channels, dtype, seed):
    rng = np.random.default_rng(seed)
    if dtype == "int16":
        traces = rng.integers(-32_768, 32_768, (num_samples, num_channels))
        traces[:, : num_channels // 2] = rng.integers(-3, 4, (num_samples, num_channels // 2))
        return traces.astype(dtype)
    sizes = 10.0 ** rng.integers(-6, 7, num_channels)
    return (sizes * (rng.normal(size=(num_samples, num_channels)) + 3.0)).astype(dtype)


@pytest.mark.parametrize(
    "num_samples", [1, TILE_LANES - 1, TILE_LANES, 2 * TILE_LANES + 1, BLOCK_SAMPLES + 3]
)
@pytest.mark.parametrize("num_channels", [1, 7, 16, 37])
@pytest.mark.parametrize(
    ("given", "wanted"),
    [("int16", "float32"), ("int16", "int16"), ("float32", "float32"), ("float64", "float64")],
)
def test_as_the_sums(num_samples, num_channels, given, wanted):
    shifts = np.random.default_rng(num_channels).uniform(-1.5, 2.5, num_channels)
    taps, before, after = delay_taps(shifts)
    assert len(taps) == before + after + 1
    traces = nasty(num_samples + before + after, num_channels, given, num_samples)
    expected = slow_delay(traces.astype("float64"), taps)
    delayed = delay(traces, taps, wanted)
    assert delayed.dtype == wanted
    assert delayed.shape == expected.shape
    if wanted == "int16":
        # sums in float32 may round to the neighbour
        apart = np.abs(delayed - np.clip(expected, -32_768, 32_767))
        assert apart.max() <= 0.51
        return
    largest = np.abs(traces.astype("float64")).max(axis=0)
    tolerance = 1e-14 if wanted == "float64" else 1e-6
    assert (np.abs(delayed - expected) <= tolerance * largest).all()


def test_integers_that_are_not_held():
    traces = np.zeros((40, 20), "float32")
    traces[:, :5] = [np.nan, np.inf, -np.inf, 1e9, -1e9]
    taps, _, _ = delay_taps(np.zeros(20))
    rounded = delay(traces, taps, "int16")
    # infinity times a tap of 0 is no number
    np.testing.assert_array_equal(rounded[:, :5], np.tile([0, 0, 0, 32_767, -32_768], (9, 1)))
    assert not rounded[:, 5:].any()


@pytest.mark.parametrize("shift", [-3.0, 0.0, 1.0, 2.0])
def test_whole_samples_are_exact(shift):
    traces = nasty(100, 20, "float32", 0)
    taps, before, after = delay_taps(np.full(20, shift))
    moved = np.roll(traces, int(shift), axis=0)[before : len(traces) - after]
    np.testing.assert_array_equal(delay(traces, taps), moved)


def test_a_wave_is_delayed_in_the_band_of_action_potentials():
    shifts = np.arange(13) / 13
    taps, before, after = delay_taps(shifts)
    times = np.arange(-before, 200 + after)[:, None]
    for frequency_hz in (0.0, 300.0, 3000.0, 10_000.0, 12_000.0):
        cycles = frequency_hz / 30_000.0
        wave = np.cos(2 * np.pi * cycles * times + 0.3) * np.ones(13)
        expected = np.cos(2 * np.pi * cycles * (np.arange(200)[:, None] - shifts) + 0.3)
        np.testing.assert_allclose(delay(wave, taps, "float64"), expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize("num_channels", [1, 9, 16, 37, 150])
@pytest.mark.parametrize(
    "num_samples", [1, TILE_LANES - 1, TILE_LANES, BLOCK_SAMPLES + 1, 3 * BLOCK_SAMPLES + 20]
)
@pytest.mark.parametrize(
    ("given", "delayed"), [("int16", "float32"), ("int16", "int16"), ("float32", "float32")]
)
def test_delayed_on_the_way_through_a_filter(num_samples, num_channels, given, delayed):
    taps, before, after = delay_taps(np.random.default_rng(num_channels).uniform(-1.5, 2.5, num_channels))
    traces = nasty(num_samples + before + after, num_channels, given, num_samples)
    sections = butterworth_sections(30_000.0, 300.0, 6000.0)
    start, stop = num_samples // 3, num_samples - num_samples // 4
    expected = filter_zero_phase(delay(traces, taps, delayed), sections, start, stop)
    np.testing.assert_array_equal(
        filter_zero_phase(traces, sections, start, stop, delays=(taps, delayed)), expected
    )
