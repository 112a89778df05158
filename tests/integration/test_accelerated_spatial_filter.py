import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface import generate_multi_columns_probe

import steadyspike
from steadyspike.integration.acceleration import calls

FS = 3000.0


def recording(dtype="float32", num_samples=1700, num_channels=40, shuffled=False, silent=False):
    rng = np.random.default_rng(0)
    traces = rng.normal(0.0, 20.0, (num_samples, num_channels)) + rng.normal(0.0, 60.0, (num_samples, 1))
    traces *= 1.0 + 5.0 * (np.arange(num_samples)[:, None] > 900)
    if silent:
        traces[:, 7] = 0.0
        traces[300:, 8] = 0.0
    made = si.NumpyRecording([np.round(traces).astype(dtype)], FS)
    probe = generate_multi_columns_probe(2, num_channels // 2, xpitch=32.0, ypitch=20.0)
    probe.set_device_channel_indices(rng.permutation(num_channels) if shuffled else np.arange(num_channels))
    made.set_probe(probe)
    return made


def check(node, reason=None, **frames):
    expected = node.get_traces(**frames)
    with steadyspike.accelerate():
        found = node.get_traces(**frames)
        report = calls.counted()["highpass_spatial_filter"]
    assert list(report.fell_back) == ([] if reason is None else [reason])
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if found.dtype.kind in "iu":
        # values within rounding errors of a half may go either way
        assert np.abs(found - expected).max() <= 1
        assert np.count_nonzero(found != expected) <= 1e-4 * found.size
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.nanstd(expected))


def filtered(made, **options):
    return si.highpass_spatial_filter(
        made, rms_values=np.linspace(1.0, 30.0, made.get_num_channels()), **options
    )


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_as_spikeinterface(dtype, shuffled):
    node = filtered(recording(dtype, shuffled=shuffled), n_channel_pad=20)
    check(node)
    for first, last in ((0, 1), (1699, 1700), (5, 900), (700, 1300)):
        check(node, start_frame=first, end_frame=last)
    check(node, start_frame=100, end_frame=500, channel_ids=node.channel_ids[[5, 2, 30]])


@pytest.mark.parametrize(
    "options",
    [
        dict(n_channel_pad=0),
        dict(n_channel_pad=10, n_channel_taper=30),
        dict(n_channel_pad=15, n_channel_taper=0),
        dict(n_channel_pad=20, apply_agc=False),
        dict(n_channel_pad=20, agc_window_length_s=0.011, highpass_butter_order=5, highpass_butter_wn=0.2),
        dict(n_channel_pad=20, agc_window_length_s=2.0),
        dict(n_channel_pad=20, dtype="float64"),
    ],
)
def test_parameters(options):
    check(filtered(recording(), **options), start_frame=400, end_frame=1200)


def test_silent_channels_and_segments():
    made = recording("int16", silent=True)
    check(
        filtered(si.append_recordings([made, made.frame_slice(200, 700)]), n_channel_pad=20), segment_index=1
    )
    check(filtered(made, n_channel_pad=20))


def test_what_is_left():
    traces = recording().get_traces().copy()
    traces[520, 3] = np.nan
    broken = si.NumpyRecording([traces], FS)
    broken.set_probe(recording().get_probe())
    check(filtered(broken, n_channel_pad=20), "samples that are not finite", start_frame=500, end_frame=600)
    made = recording()
    node = si.highpass_spatial_filter(made, n_channel_pad=20, rms_values=np.zeros(40))
    calls.forget()
    check(node, "noise levels of 0", start_frame=500, end_frame=600)
