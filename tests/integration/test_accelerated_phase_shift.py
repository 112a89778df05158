import numpy as np
import pytest
import spikeinterface.full as si

import steadyspike
from steadyspike.integration.acceleration import calls

RATE = 1000.0
SHIFTS = np.tile(np.repeat(np.arange(6) / 7, 2), 8)


def noise(num_samples=1500, num_channels=37, dtype="float32", offset=0.0, seed=0):
    traces = 30.0 * np.random.default_rng(seed).standard_normal((num_samples, num_channels)) + offset
    return traces.astype(dtype)


def shifted(traces, shifts=SHIFTS, **options):
    traces = traces if isinstance(traces, list) else [traces]
    recording = si.NumpyRecording(traces, RATE)
    return si.phase_shift(recording, inter_sample_shift=shifts[: traces[0].shape[1]], **options)


def check(read, reason=None, tolerance=1e-5):
    """The same numbers, type and shape with and without acceleration; the reason, or taken."""
    with np.errstate(invalid="ignore"):
        off = read()
        with steadyspike.accelerate(num_threads=2):
            on = read()
    report = calls.counted()["phase_shift"]
    if reason is None:
        assert report.taken > 0
        assert not report.fell_back
    else:
        assert report.taken == 0
        assert list(report.fell_back) == [reason]
    assert on.dtype == off.dtype
    assert on.shape == off.shape
    if on.dtype.kind in "iu":
        np.testing.assert_array_equal(on, off)
        return
    spread = np.nanstd(np.where(np.isfinite(off), off, np.nan))
    tolerance = 1e-10 if on.dtype == "float64" else tolerance
    np.testing.assert_allclose(on, off, rtol=0, atol=tolerance * spread)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("frames", [(0, 1500), (0, 300), (700, 1001), (1400, 1500), (3, 4), (1, 20)])
def test_as_upstream(dtype, frames):
    recording = shifted(noise(dtype=dtype, offset=400.0 if dtype == "uint16" else 0.0))
    check(lambda: recording.get_traces(start_frame=frames[0], end_frame=frames[1]))


@pytest.mark.parametrize("margin_ms", [1.0, 13.0, 400.0])
@pytest.mark.parametrize("num_samples", [1, 2, 97, 509, 600])
def test_lengths(num_samples, margin_ms):
    for dtype in ("float32", "int16"):
        check(shifted(noise(num_samples, 20, dtype), margin_ms=margin_ms).get_traces)


@pytest.mark.parametrize(
    "shifts",
    [np.zeros(40), np.full(40, 0.5), np.random.default_rng(0).uniform(-3, 3, 40), SHIFTS.astype("float32")],
)
@pytest.mark.parametrize("num_channels", [1, 5, 33])
def test_shifts(shifts, num_channels):
    for dtype in ("float32", "float64"):
        check(shifted(noise(600, num_channels, dtype), shifts).get_traces)


@pytest.mark.parametrize("channels", [[4], [9, 2, 30], list(range(5, 31))])
def test_some_channels(channels):
    recording = shifted(noise())
    check(lambda: recording.get_traces(channel_ids=channels, start_frame=200, end_frame=700))
    segment = recording.segments[0]
    check(lambda: segment.get_traces(None, 100, np.array(channels)))
    check(lambda: segment.get_traces(10, None, None))
    check(lambda: segment.get_traces(10, None, slice(2, 30, 3)))


def test_segments():
    recording = shifted([noise(300), noise(500, seed=1)])
    for segment_index in range(2):
        check(lambda index=segment_index: recording.get_traces(segment_index=index))


def test_large_offset_and_artefact():
    traces = noise(offset=1e5)
    traces[:, 3] = 2e7
    check(lambda: shifted(traces[:, :3]).get_traces()[60:-60], tolerance=1e-4)
    traces = noise()
    traces[700:705] = 1e5
    check(shifted(traces).get_traces)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize("num_channels", [1, 20, 37, 96])
def test_lengths_of_small_factors(dtype, num_channels):
    # with 40 samples of margin on either side: 480, 1080 and 30 * 45 samples
    for frames in ((500, 900), (0, 1000), (220, 1490)):
        recording = shifted(noise(1500, num_channels, dtype))
        check(lambda made=recording, at=frames: made.get_traces(start_frame=at[0], end_frame=at[1]))


def test_channels_of_unlike_size():
    traces = noise(1000, 24)
    traces[:, 3:9] = 0.0
    traces[:, 9:11] *= 1e-4
    traces[:, 12] = 1.0
    recording = shifted(traces)
    for channel in range(24):
        calls.forget()
        check(lambda one=channel: recording.get_traces(start_frame=0, end_frame=1000)[:, [one]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_stays_in_its_channel(value):
    for dtype in ("float32", "float64"):
        traces = noise(400, dtype=dtype)
        traces[100, 5] = traces[300, 20] = value
        check(shifted(traces).get_traces)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_zeros_stay_zeros(dtype):
    with steadyspike.accelerate():
        assert not shifted(np.zeros((300, 7), dtype)).get_traces().any()


def test_saved_in_chunks():
    recording = shifted(noise(dtype="int16"))

    def read():
        kept = recording.save(format="memory", chunk_size=400, n_jobs=1, progress_bar=False)
        # the samples are gone with the recording
        return kept.get_traces().copy()

    check(read)


def test_left_to_upstream():
    with steadyspike.accelerate(), pytest.raises(ValueError, match="broadcast"):
        shifted(noise(200), margin_ms=0.0).get_traces()
    check(shifted(noise(200), dtype="float16").get_traces, "dtype=float16")
    calls.forget()
    check(shifted(noise(200), dtype="float64").get_traces, "samples of float32 as float64")
    calls.forget()
    segment = shifted(noise(200)).segments[0]
    reason = "frames that are none, or outside the recording"
    check(lambda: segment.get_traces(150, 210, slice(None)), reason)
    calls.forget()
    wide = shifted(noise(200), SHIFTS.astype("longdouble"))
    check(wide.get_traces, "channel_indices of one channel, or shifts of more than 64 bits")
