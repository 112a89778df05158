import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface import Probe
from spikeinterface.core.motion import Motion
from spikeinterface.sortingcomponents.motion import interpolate_motion
from spikeinterface.sortingcomponents.motion import motion_interpolation as upstream

import steadyspike
from steadyspike.integration.acceleration import calls

RATE = 1000.0


def positions(num_channels, order=None):
    index = np.arange(num_channels)
    found = np.stack([32.0 * (index % 2), 20.0 * (index // 2)], axis=1)
    return found if order is None else found[order]


def recording_of(traces, where=None, times=None):
    traces = traces if isinstance(traces, list) else [traces]
    recording = si.NumpyRecording(traces, RATE)
    probe = Probe(ndim=2)
    probe.set_contacts(positions(traces[0].shape[1]) if where is None else where)
    probe.set_device_channel_indices(np.arange(traces[0].shape[1]))
    recording.set_probe(probe)
    if times is not None:
        recording.set_times(times, segment_index=0)
    return recording


def noise(num_samples=1300, num_channels=38, dtype="float32", seed=0):
    return (20.0 * np.random.default_rng(seed).standard_normal((num_samples, num_channels))).astype(dtype)


def motion_of(num_segments=1, largest=25.0, start=0.0):
    times = start + 0.15 + 0.3 * np.arange(5)
    field = [
        largest * np.sin(3.0 * times[:, None] + np.array([0.0, 0.3, 0.8]) + segment)
        for segment in range(num_segments)
    ]
    return Motion(field, [times] * num_segments, np.array([0.0, 150.0, 360.0]))


def check(read, reason=None, tolerance=1e-5):
    """The same numbers, type and shape with and without acceleration; the reason, or taken."""
    off = read()
    with steadyspike.accelerate(num_threads=2):
        on = read()
    report = calls.counted()["interpolate_motion"]
    if reason is None:
        assert report.taken > 0
        assert not report.fell_back
    else:
        assert report.taken == 0
        assert list(report.fell_back) == [reason]
    assert on.dtype == off.dtype
    assert on.shape == off.shape
    if on.size:
        scale = np.nanstd(off[np.isfinite(off)]) if np.isfinite(off).any() else 1.0
        np.testing.assert_allclose(on, off, rtol=1e-6, atol=tolerance * scale)
    return on


OPTIONS = [
    {},
    {"p": 2, "sigma_um": [30.0, 25.0]},
    {"sparse_thresh": 0.01},
    {"spatial_interpolation_method": "idw"},
    {"spatial_interpolation_method": "idw", "num_closest": 5},
    {"spatial_interpolation_method": "nearest"},
    {"interpolation_time_bin_centers_s": [np.array([0.2, 0.5, 0.8, 1.0])]},
    {"interpolation_time_bin_edges_s": [np.array([0.1, 0.4, 1.2])]},
    {"interpolation_time_bin_size_s": 0.1},
]


@pytest.mark.parametrize("border_mode", ["remove_channels", "force_extrapolate", "force_zeros"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "default")
def test_as_upstream(options, border_mode):
    corrected = interpolate_motion(recording_of(noise()), motion_of(), border_mode=border_mode, **options)
    check(lambda: corrected.get_traces(start_frame=70, end_frame=1250))


@pytest.mark.parametrize(("dtype", "to"), [("float64", None), ("float64", "float32"), ("int16", "float32")])
def test_types(dtype, to):
    recording = recording_of(noise(dtype=dtype))
    check(interpolate_motion(recording, motion_of(), border_mode="force_zeros", dtype=to).get_traces)


def test_unordered_contacts_and_motion_beyond_the_probe():
    where = positions(38, np.random.default_rng(1).permutation(38))
    corrected = interpolate_motion(
        recording_of(noise(), where), motion_of(largest=2000.0), border_mode="force_zeros"
    )
    check(corrected.get_traces)


@pytest.mark.parametrize("ids", [[3], [9, 2, 30], list(range(5, 21))])
def test_some_channels(ids):
    corrected = interpolate_motion(recording_of(noise()), motion_of(), border_mode="force_extrapolate")
    check(lambda: corrected.get_traces(channel_ids=ids, start_frame=600, end_frame=601))
    segment = corrected.segments[0]
    check(lambda: segment.get_traces(None, 100, ids))
    check(lambda: segment.get_traces(10, None, slice(ids[0], None, 3)))


def test_segments_with_their_own_motion():
    recording = recording_of([noise(400), noise(900, seed=1)])
    corrected = interpolate_motion(recording, motion_of(2), border_mode="force_zeros")
    for segment_index in range(2):
        check(lambda index=segment_index: corrected.get_traces(segment_index=index))


def test_times_of_the_recording():
    times = 100.0 + np.arange(1300) / RATE + np.where(np.arange(1300) > 500, 0.4, 0.0)
    recording = recording_of(noise(), times=times)
    corrected = interpolate_motion(recording, motion_of(start=100.0), border_mode="force_extrapolate")
    check(corrected.get_traces)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("border_mode", ["remove_channels", "force_extrapolate"])
@pytest.mark.parametrize("method", ["kriging", "nearest"])
def test_not_finite(value, border_mode, method):
    traces = noise(600)
    traces[17, 20] = value
    traces[400:403, 0] = -value
    with np.errstate(invalid="ignore"):
        corrected = interpolate_motion(
            recording_of(traces), motion_of(), border_mode=border_mode, spatial_interpolation_method=method
        )
        check(corrected.get_traces)
        check(lambda: corrected.get_traces(channel_ids=[12, 13]))


def test_function_on_arrays():
    traces, times = noise(), 0.1 + np.arange(1300) / RATE
    for options in (
        {},
        {"channel_inds": [3, 30, 7]},
        {"dtype": np.dtype("float64"), "spatial_interpolation_kwargs": {"force_extrapolate": True}},
        {"interpolation_time_bin_centers_s": np.array([0.2, 0.9])},
        {
            "interpolation_time_bin_centers_s": np.array([0.2, 0.9]),
            "interpolation_time_bin_edges_s": np.array([0.0, 0.3, 1.0]),
        },
        {"spatial_interpolation_method": "idw", "segment_index": 0},
    ):
        check(
            lambda options=options: upstream.interpolate_motion_on_traces(
                traces, times, positions(38), motion_of(), **options
            )
        )


def test_left_to_upstream():
    traces, times, motion = noise(200), np.arange(200) / RATE, motion_of()

    def run(traces=traces, times=times, motion=motion, **options):
        return upstream.interpolate_motion_on_traces(traces, times, positions(38), motion, **options)

    def raised(**options):
        with pytest.raises(Exception) as off:  # noqa: PT011
            run(**options)
        with steadyspike.accelerate(), pytest.raises(type(off.value)) as on:
            run(**options)
        assert str(on.value) == str(off.value)

    raised(dtype=np.dtype("int16"))
    raised(traces=traces.astype("int16"))
    raised(times=times[:-1])
    raised(times=times[:0], traces=traces[:0])
    raised(motion=motion_of(2))
    raised(spatial_interpolation_method="cubic")
    raised(spatial_interpolation_kwargs={"sigma": 3})
    raised(spatial_interpolation_kwargs={"sigma_um": [3.0]})
    raised(channel_inds=np.ones(37, dtype=bool))
    check(lambda: run(times=times[::-1]), "times that decrease")
    calls.forget()
    check(lambda: run(traces=traces.astype("float16")), "dtype=float16")
