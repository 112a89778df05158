import json

import numpy as np
import pytest
import spikeinterface.full as si

import steadyspike
from steadyspike.integration.acceleration import calls
from steadyspike.kernels.channels.moments import scale_channels

RATE = 1000.0
TYPES = ["int16", "uint16", "int32", "float32", "float64"]


def recording_of(dtype="float32", num_channels=19, num_samples=900, seed=0):
    rng = np.random.default_rng(seed)
    draw = [
        rng.normal(300.0, 40.0, (size, num_channels)).astype(dtype)
        for size in (num_samples, num_samples // 2)
    ]
    recording = si.NumpyRecording(draw, RATE)
    recording.set_channel_gains(0.5)
    recording.set_channel_offsets(3.0)
    return recording


def check(name, make, reasons=None):
    """The same recording and the same samples, bit for bit, with and without acceleration; the reasons, or taken."""
    off = make()
    with steadyspike.accelerate(num_threads=2):
        on = make()
    assert json.dumps(on._kwargs, default=str) == json.dumps(off._kwargs, default=str)
    assert on.dtype == off.dtype
    np.testing.assert_array_equal(on.get_channel_gains(), off.get_channel_gains())
    for segment_index in range(off.get_num_segments()):
        for name_of_values in ("gain", "offset"):
            one, other = (getattr(made.segments[segment_index], name_of_values) for made in (on, off))
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
            assert one.shape == other.shape
    for options in (
        {},
        {"start_frame": 30, "end_frame": 31},
        {"channel_ids": on.channel_ids[[5, 2, 4]], "end_frame": 200},
    ):
        expected = off.get_traces(segment_index=1, **options)
        with steadyspike.accelerate(num_threads=2):
            found = on.get_traces(segment_index=1, **options)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    report = calls.counted()[name]
    assert dict(report.fell_back) == (reasons or {})
    assert report.taken == 3 + (name != "scale") * (reasons is None)


CHUNKS = dict(num_chunks_per_segment=3, chunk_size=150, seed=1)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("zscore", {}),
        ("zscore", {"dtype": "int16", "int_scale": 200}),
        ("normalize_by_quantile", {}),
        ("normalize_by_quantile", {"q1": 0.2, "q2": 0.9, "scale": 3.0, "median": 1.0, "dtype": "int16"}),
        ("center", {}),
        ("center", {"dtype": "int32"}),
    ],
)
def test_estimated_as_upstream(name, options, dtype):
    recording = recording_of(dtype)
    check(name, lambda: getattr(si, name)(recording, **options, **CHUNKS))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("to", [None, "float32", "float64", "int16", "float16"])
@pytest.mark.parametrize(
    ("gain", "offset"),
    [(0.123456789, 7), (np.linspace(-2, 3, 19), np.linspace(5, 9, 19).astype("float32")), (2, np.arange(19))],
)
def test_scaled_as_upstream(dtype, to, gain, offset):
    recording = recording_of(dtype)
    check("scale", lambda: si.scale(recording, gain=gain, offset=offset, dtype=to))


def test_nan_and_constant_channels():
    traces = np.random.default_rng(0).standard_normal((500, 6)).astype("float32")
    traces[40, 1] = np.nan
    traces[:, 2] = 5.0
    traces[77, 3] = np.inf
    recording = si.NumpyRecording([traces, traces], RATE)
    with np.errstate(all="ignore"):
        for name in ("zscore", "normalize_by_quantile", "center"):
            calls.forget()
            check(name, lambda name=name: getattr(si, name)(recording, chunk_size=500, seed=0))


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("zscore", {"mode": "mean+std"}, "mode='mean+std'"),
        ("zscore", {"gain": np.ones(19), "offset": np.zeros(19)}, "gain given: nothing is estimated"),
        ("center", {"mode": "mean"}, "mode='mean'"),
        ("normalize_by_quantile", {"mode": "pool_channel"}, "mode='pool_channel', q1=0.01, q2=0.99"),
    ],
)
def test_left_to_upstream(name, options, reason):
    recording = recording_of()
    # a gain that is given is multiplied in its place
    copies = lambda: {key: np.copy(value) if key != "mode" else value for key, value in options.items()}  # noqa: E731
    check(name, lambda: getattr(si, name)(recording, **copies(), **CHUNKS), {reason: 1})


def test_errors_of_upstream():
    recording = recording_of("int16")
    with steadyspike.accelerate():
        with pytest.raises(AssertionError, match="you must set dtype=float32 OR set a scale"):
            si.zscore(recording, dtype=None, seed=0, chunk_size=100)
        with pytest.raises(AssertionError):
            si.zscore(recording, mode="mad")
        with pytest.raises(AssertionError):
            si.center(recording, mode="mode")
        with pytest.raises(ValueError, match=r"[Qq]uantiles must be in the range"):
            si.normalize_by_quantile(recording, q1=-1.0, seed=0, chunk_size=100)


def test_saved_chain_loads_without_acceleration(tmp_path):
    recording = si.generate_recording(num_channels=4, durations=[1.0], seed=0)
    with steadyspike.accelerate():
        kept = si.zscore(recording, seed=0, chunk_size=1000)
        kept.dump_to_json(tmp_path / "chain.json")
    loaded = si.load(tmp_path / "chain.json")
    np.testing.assert_array_equal(loaded.get_traces(), kept.get_traces())


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_kernel_rounds_as_the_loops(precision):
    rng = np.random.default_rng(0)
    traces = rng.normal(0, 1e3, (40, 5)).astype("float32")
    gain, offset = rng.normal(size=(2, 5)).astype(precision)
    out = np.empty_like(traces)
    scale_channels(traces, gain, offset, out)
    for sample in range(40):
        for channel in range(5):
            product = np.float32(traces[sample, channel].astype(precision) * gain[channel])
            assert out[sample, channel] == np.float32(product.astype(precision) + offset[channel])
