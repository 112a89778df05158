import warnings

import numpy as np
import pytest
import spikeinterface.full as si
from scipy.signal import butter, iirnotch
from spikeinterface.preprocessing.filter import causal_filter

import steadyspike
from steadyspike.integration.acceleration import calls

FS = 30_000.0
NUM_SAMPLES = 1500


def traces_of(dtype, num_channels=11, num_samples=NUM_SAMPLES, seed=0):
    rng = np.random.default_rng(seed)
    traces = rng.normal(40.0, 12.0, size=(num_samples, num_channels)) + 30 * rng.normal(size=(num_samples, 1))
    return (traces.round() if np.dtype(dtype).kind in "iu" else traces).astype(dtype)


def recording_of(*traces):
    recording = si.NumpyRecording(list(traces), FS)
    recording.set_channel_gains(0.5)
    recording.set_channel_offsets(0.0)
    return recording


def compare(recording, name, taken=True, fraction=1e-4, **span):
    """Read with acceleration off and on; the second must be taken, and give what the first gives."""
    calls.forget()
    expected = recording.get_traces(**span)
    with steadyspike.accelerate(names=[name]):
        value = recording.get_traces(**span)
        counted = steadyspike.accelerated()[name]
    assert (counted.taken == 1) == taken, dict(counted.fell_back)
    assert value.dtype == expected.dtype
    assert value.shape == expected.shape
    expected, value = (
        np.where(np.isfinite(each), each, np.nan).astype("float64") for each in (expected, value)
    )
    scale = np.nanstd(expected) if np.isfinite(expected).any() else 1.0
    np.testing.assert_allclose(value, expected, rtol=0, atol=fraction * scale)
    return counted


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", ">i2", "int32", "uint16", "uint8"])
@pytest.mark.parametrize("wanted", [None, "float32", "float64", "int16", "int32"])
def test_every_type_of_samples(dtype, wanted):
    if wanted is None and np.dtype(dtype).kind == "u":
        wanted = "int16"
    recording = si.bandpass_filter(recording_of(traces_of(dtype)), dtype=wanted)
    compare(recording, "bandpass_filter", segment_index=0)


def test_integers_are_those_of_spikeinterface():
    recording = si.bandpass_filter(recording_of(traces_of("int16", 40, 9000)))
    compare(recording, "bandpass_filter", fraction=0.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"direction": "forward"},
        {"direction": "backward"},
        {"add_reflect_padding": True},
        {"filter_order": 1},
        {"filter_order": 3, "ftype": "bessel"},
        {"filter_order": 8},
        {"filter_order": 1, "filter_mode": "ba"},
        {"btype": "highpass", "band": 300.0},
        {"btype": "highpass", "band": 0.5, "filter_order": 3},
        {"btype": "highpass", "band": 300.0, "filter_order": 1, "filter_mode": "ba", "direction": "backward"},
        {"coeff": butter(4, 0.3, output="sos")},
        {"coeff": butter(4, 0.3, output="sos").tolist()},
        {"coeff": butter(13, [0.1, 0.4], "bandpass", output="sos"), "direction": "forward"},
        {"coeff": iirnotch(0.02, 30.0), "filter_mode": "ba"},
        {"coeff": iirnotch(0.02, 30.0), "filter_mode": "ba", "direction": "forward"},
    ],
)
def test_every_kind_of_filter(settings):
    recording = recording_of(traces_of("float32"))
    filtered = si.filter(recording, margin_ms=5.0, **settings)
    for span in ({}, {"start_frame": 400, "end_frame": 700}, {"start_frame": 0, "end_frame": 40}):
        compare(filtered, "filter", **span)


def test_kinds_are_counted_by_their_names():
    recording = recording_of(traces_of("float32"))
    for function in (si.bandpass_filter, si.highpass_filter, si.notch_filter):
        compare(function(recording), function.__name__)
    compare(causal_filter(recording), "filter")


@pytest.mark.parametrize("channels", [[3], [7, 0, 3], [5, 5], slice(2, 9, 3), list(range(10, -1, -1))])
def test_channels(channels):
    filtered = si.bandpass_filter(recording_of(traces_of("float32")))
    chosen = filtered.channel_ids[channels]
    compare(filtered, "bandpass_filter", channel_ids=chosen)


@pytest.mark.parametrize("num_channels", [1, 7, 8, 9, 130])
@pytest.mark.parametrize("direction", ["forward-backward", "forward", "backward"])
def test_any_number_of_channels(num_channels, direction):
    recording = recording_of(traces_of("float32", num_channels, 300))
    filtered = si.filter(recording, margin_ms=2.0, direction=direction)
    compare(filtered, "filter", start_frame=100, end_frame=220)


def test_several_segments_and_frames_left_open():
    recording = recording_of(traces_of("float32"), traces_of("float32", num_samples=900, seed=1))
    filtered = si.bandpass_filter(recording)
    compare(filtered, "bandpass_filter", segment_index=1)
    segment = filtered.segments[1]
    expected = segment.get_traces(None, None, None)
    with steadyspike.accelerate():
        np.testing.assert_allclose(segment.get_traces(None, None, None), expected, atol=1e-3)


@pytest.mark.parametrize("direction", ["forward-backward", "forward", "backward"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_constant_channels(direction, bad):
    traces = traces_of("float32")
    traces[:, 4] = 1234.5
    traces[700, 2] = bad
    filtered = si.filter(recording_of(traces), margin_ms=5.0, direction=direction)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare(filtered, "filter")
        compare(filtered, "filter", start_frame=100, end_frame=300)


def test_threads_change_nothing():
    filtered = si.bandpass_filter(recording_of(traces_of("int16", 70)))
    with steadyspike.accelerate():
        one = filtered.get_traces()
    with steadyspike.accelerate(num_threads=3):
        np.testing.assert_array_equal(filtered.get_traces(), one)


def test_parent_is_read_once_and_not_written_to():
    traces = traces_of("float32")
    recording = recording_of(traces)
    copy = traces.copy()
    reads = []
    segment = recording.segments[0]
    read = segment.get_traces
    segment.get_traces = lambda *args, **kwargs: reads.append(1) or read(*args, **kwargs)
    with steadyspike.accelerate():
        si.bandpass_filter(recording).get_traces()
        si.highpass_filter(recording).get_traces(start_frame=5, end_frame=6)
    assert len(reads) == 2
    np.testing.assert_array_equal(traces, copy)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"filter_mode": "ba"}, "filter_mode='ba' of an order above 2"),
        ({"coeff": np.array([[0.0, 1.0, 0.5, 1.0, 0.1, 0.2]])}, "a section whose first coefficient is 0"),
        ({"coeff": butter(2, 0.3, output="sos").astype("float32")}, "coefficients of float32"),
    ],
)
def test_what_is_left_to_spikeinterface(settings, reason):
    filtered = si.filter(recording_of(traces_of("float32")), margin_ms=5.0, **settings)
    counted = compare(filtered, "filter", taken=False)
    assert reason in next(iter(counted.fell_back))


def test_integers_that_overflow_in_scipy_are_left_to_it():
    traces = traces_of("int16")
    traces[0], traces[5] = 20_000, -20_000
    filtered = si.bandpass_filter(recording_of(traces))
    counted = compare(filtered, "bandpass_filter", taken=False)
    assert "overflow" in next(iter(counted.fell_back))
    compare(filtered, "bandpass_filter", start_frame=1000, end_frame=1100)


def test_chunks_too_short_raise_as_they_do_in_spikeinterface():
    filtered = si.filter(recording_of(traces_of("float32", num_samples=30)), margin_ms=0.0)
    with steadyspike.accelerate(), pytest.raises(ValueError, match="greater than padlen"):
        filtered.get_traces()
    notch = si.notch_filter(recording_of(traces_of("float32", num_samples=9)), margin_ms=0.0)
    with steadyspike.accelerate(), pytest.raises(ValueError, match="greater than padlen, which is 9"):
        notch.get_traces()
