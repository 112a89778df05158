import numpy as np
import pytest
from scipy import signal

from steadyspike.kernels.filters.biquads import (
    butterworth_sections,
    extension_samples,
    filter_zero_phase,
    settling_samples,
)

FS = 30_000.0
BANDPASS = butterworth_sections(FS, 300.0, 6000.0)


def noise(num_samples, num_channels, dtype="float32", seed=0):
    traces = np.random.default_rng(seed).normal(100.0, 50.0, size=(num_samples, num_channels))
    return traces.round().astype(dtype) if np.dtype(dtype).kind in "iu" else traces.astype(dtype)


def filter_slowly(channel, sections):
    """One channel, by plain loops: reflect, filter from the steady state, reverse, filter, reverse, cut."""
    extension = min(extension_samples(sections), len(channel) - 1)
    before = [2 * channel[0] - channel[i] for i in range(extension, 0, -1)]
    after = [2 * channel[-1] - channel[-1 - i] for i in range(1, extension + 1)]
    values = [*before, *channel, *after]
    for _ in range(2):
        level = values[0]
        for b0, b1, b2, _, a1, a2 in sections:
            settled = level * (b0 + b1 + b2) / (1 + a1 + a2)
            state_1, state_2 = settled - b0 * level, b2 * level - a2 * settled
            for t, x in enumerate(values):
                y = b0 * x + state_1
                state_1, state_2 = b1 * x - a1 * y + state_2, b2 * x - a2 * y
                values[t] = y
            level = settled
        values = values[::-1]
    return np.array(values[extension : extension + len(channel)])


@pytest.mark.parametrize(
    ("freq_min", "freq_max", "order"),
    [
        (300, 6000, 5),
        (300, None, 5),
        (None, 3000, 5),
        (500, 5000, 1),
        (400, 8000, 2),
        (1, 300, 3),
        (0.1, None, 4),
    ],
)
def test_equals_scipy(freq_min, freq_max, order):
    sections = butterworth_sections(FS, freq_min, freq_max, order)
    for seed, (num_samples, num_channels) in enumerate([(2000, 1), (1003, 7), (777, 200), (601, 385)]):
        traces = noise(num_samples, num_channels, "float64", seed) + 30_000.0
        expected = signal.sosfiltfilt(sections, traces, axis=0)
        value = filter_zero_phase(traces, sections, dtype="float64")
        np.testing.assert_allclose(value, expected, atol=1e-6 * traces.std())


@pytest.mark.parametrize("num_samples", [1, 2, 3, 9, 20, 33, 34, 90])
def test_equals_plain_loops_even_when_shorter_than_the_extension(num_samples):
    traces = noise(num_samples, 3, "float64")
    value = filter_zero_phase(traces, BANDPASS, dtype="float64")
    for channel in range(3):
        np.testing.assert_allclose(value[:, channel], filter_slowly(traces[:, channel], BANDPASS), atol=1e-9)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", ">i2", "float16", "float32", ">f4"]
)
def test_any_type_of_samples(dtype):
    traces = noise(500, 5, dtype)
    expected = signal.sosfiltfilt(BANDPASS, traces.astype("float64"), axis=0)
    value = filter_zero_phase(traces, BANDPASS)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, expected, atol=1e-6 * traces.std(dtype="float64"))


def test_any_memory_layout_and_the_input_is_not_written_to():
    traces = noise(400, 12)
    expected = filter_zero_phase(traces, BANDPASS)
    copy = traces.copy()
    wide = np.zeros((800, 24), dtype="float32")
    wide[::2, ::2] = traces
    for layout in (np.asfortranarray(traces), wide[::2, ::2], traces[::-1][::-1]):
        layout.flags.writeable = False
        np.testing.assert_array_equal(filter_zero_phase(layout, BANDPASS), expected)
    np.testing.assert_array_equal(traces, copy)


def test_a_range_of_samples_is_a_cut_of_the_whole():
    traces = noise(300, 4)
    whole = filter_zero_phase(traces, BANDPASS)
    for start, stop in [(0, 300), (0, 1), (299, 300), (13, 290), (150, 151), (7, 7), (300, 300)]:
        np.testing.assert_array_equal(filter_zero_phase(traces, BANDPASS, start, stop), whole[start:stop])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_samples_stay_in_their_channel(bad):
    traces = noise(500, 9)
    expected = filter_zero_phase(traces, BANDPASS)
    traces[200, 3] = bad
    value = filter_zero_phase(traces, BANDPASS)
    assert np.isnan(value[:, 3]).all()
    others = np.arange(9) != 3
    np.testing.assert_array_equal(value[:, others], expected[:, others])


def test_channels_do_not_depend_on_their_neighbours():
    traces = noise(300, 200)
    value = filter_zero_phase(traces, BANDPASS)
    for channels in ([0], [199], [5, 3], list(range(8, 40))):
        np.testing.assert_array_equal(filter_zero_phase(traces[:, channels], BANDPASS), value[:, channels])


def test_silence_after_an_impulse_reaches_zero_without_subnormal_numbers():
    traces = np.zeros((90_000, 1))
    traces[45_000] = 1000.0
    value = np.abs(filter_zero_phase(traces, BANDPASS, dtype="float64"))
    assert value[45_000] > 100.0
    assert value[0] == value[-1] == 0.0
    assert np.all((value == 0) | (value > np.finfo("float64").tiny))


def test_constant_channels():
    traces = np.full((200, 2), 12_345, dtype="int16")
    assert np.abs(filter_zero_phase(traces, BANDPASS)).max() < 1e-3
    lowpass = butterworth_sections(FS, None, 300.0)
    np.testing.assert_allclose(filter_zero_phase(traces, lowpass), 12_345, rtol=1e-6)


@pytest.mark.parametrize("shape", [(0, 4), (5, 0), (0, 0)])
def test_nothing_in_nothing_out(shape):
    value = filter_zero_phase(np.zeros(shape, dtype="int16"), BANDPASS)
    assert value.shape == shape
    assert value.dtype == np.float32


@pytest.mark.parametrize(("freq_min", "freq_max"), [(300.0, 6000.0), (300.0, None), (None, 6000.0)])
def test_corners_lose_three_decibels_per_pass(freq_min, freq_max):
    sections = butterworth_sections(FS, freq_min, freq_max, order=4)
    corners = [freq for freq in (freq_min, freq_max) if freq is not None]
    _, response = signal.sosfreqz(sections, worN=[*corners, 1500.0], fs=FS)
    np.testing.assert_allclose(np.abs(response[:-1]), np.sqrt(0.5), rtol=1e-6)
    assert abs(response[-1]) == pytest.approx(1.0, abs=0.01)


def test_settling_samples_is_when_the_impulse_response_has_decayed():
    impulse = np.zeros(60_000)
    impulse[0] = 1.0
    for band in ((300.0, 6000.0), (300.0, 330.0), (None, 1000.0)):
        sections = butterworth_sections(FS, *band)
        response = np.abs(signal.sosfilt(sections, impulse))
        settled = settling_samples(sections)
        assert response[settled:].max() < 1e-3 * response.max()
        assert response[settled // 4 :].max() > 1e-3 * response.max()


def test_extension_is_the_one_of_scipy():
    for band, order in (((300.0, 6000.0), 5), ((300.0, None), 5), ((None, 900.0), 4)):
        sections = butterworth_sections(FS, *band, order=order)
        extension = extension_samples(sections)
        traces = noise(extension + 1, 1, "float64")
        signal.sosfiltfilt(sections, traces, axis=0)
        with pytest.raises(ValueError, match="greater than padlen"):
            signal.sosfiltfilt(sections, traces[:-1], axis=0)


def test_16_bits_are_rounded_once():
    traces = noise(900, 11, "int16")
    expected = np.rint(signal.sosfiltfilt(BANDPASS, traces.astype("float64"), axis=0))
    np.testing.assert_array_equal(filter_zero_phase(traces, BANDPASS, dtype="int16"), expected)
    low = butterworth_sections(FS, 0.1, None, order=4)
    expected = np.rint(signal.sosfiltfilt(low, traces.astype("float64"), axis=0))
    np.testing.assert_array_equal(filter_zero_phase(traces, low, dtype="int16"), expected)


def test_ranges_of_channels_and_another_extension():
    traces = noise(400, 75)

    def in_ranges(work, size, smallest=1, multiple=1):
        for start in range(0, size, 3):
            work(start, min(start + 3, size))

    value = filter_zero_phase(traces, BANDPASS, extension=20, over_ranges=in_ranges)
    np.testing.assert_array_equal(value, filter_zero_phase(traces, BANDPASS, extension=20))
    expected = signal.sosfiltfilt(BANDPASS, traces.astype("float64"), axis=0, padlen=20)
    np.testing.assert_allclose(value, expected, atol=1e-4)
