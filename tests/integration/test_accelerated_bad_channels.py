import sys

import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface import generate_multi_columns_probe

import steadyspike
from steadyspike.integration.acceleration import calls
from steadyspike.integration.acceleration.replacements.bad_channels import shrinking_medians

FS = 30_000.0
MODULE = sys.modules["spikeinterface.preprocessing.detect_bad_channels"]
CHUNKS = dict(num_random_chunks=4, chunk_duration_s=0.05, seed=0)
NUM_CHANNELS, TOP = 24, [10, 11, 22, 23]


def recording(dtype="int16", num_samples=9000, gain=0.5, shuffled=False):
    """A common signal, noise of each channel, one dead, one noisy, and the highest outside of the brain."""
    rng = np.random.default_rng(0)
    common = rng.normal(0.0, 40.0, (num_samples, 1))
    traces = common + rng.normal(0.0, 8.0, (num_samples, NUM_CHANNELS)) + 25.0
    traces[:, 5] = rng.normal(0.0, 1.0, num_samples)
    traces[:, 9] += rng.normal(0.0, 300.0, num_samples)
    traces[:, TOP] = rng.normal(0.0, 5.0, (num_samples, len(TOP)))
    if np.dtype(dtype).kind in "iu":
        traces = np.round(traces / gain) + (1000 if dtype == "uint16" else 0)
    made = si.NumpyRecording([traces.astype(dtype)], FS)
    probe = generate_multi_columns_probe(num_columns=2, num_contact_per_column=12, xpitch=32.0, ypitch=20.0)
    order = rng.permutation(NUM_CHANNELS) if shuffled else np.arange(NUM_CHANNELS)
    probe.set_device_channel_indices(order)
    made.set_probe(probe)
    made.set_channel_gains(gain if np.dtype(dtype).kind in "iu" else 1.0)
    made.set_channel_offsets(7.0)
    made.annotate(is_filtered=True)
    return made


def check(made, reason=None, **options):
    """The same labels with and without acceleration; all chunks taken, or left for the reason."""
    expected = si.detect_bad_channels(made, **CHUNKS, **options)
    with steadyspike.accelerate(num_threads=2):
        found = si.detect_bad_channels(made, **CHUNKS, **options)
        report = calls.counted()["detect_bad_channels"]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert set(report.fell_back) == (set() if reason is None else {reason})
    parts = 1 + CHUNKS["num_random_chunks"] * ("method" not in options)
    assert report.taken + sum(report.fell_back.values()) == parts
    return expected[1]


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("where", ["top", "bottom", "both"])
def test_labels_are_spikeinterfaces(dtype, shuffled, where):
    labels = check(recording(dtype, shuffled=shuffled), outside_channels_location=where, psd_hf_threshold=1.4)
    assert {"good", "noise"} <= set(labels)


def test_all_labels_are_seen():
    labels = check(recording(), psd_hf_threshold=1.4, n_neighbors=3)
    assert labels[9] == "noise"
    assert labels[5] == "dead"
    assert (labels[TOP] == "out").all()


@pytest.mark.parametrize(
    "options",
    [
        dict(n_neighbors=5, nyquist_threshold=0.3),
        dict(n_neighbors=51, welch_window_ms=7.77),
        dict(nyquist_threshold=0.001, psd_hf_threshold=30.0),
    ],
)
def test_windows_and_neighbours(options):
    check(recording("float32"), **{"psd_hf_threshold": 1.4, **options})


def test_what_is_not_filtered_is_filtered_first():
    made = recording()
    made.annotate(is_filtered=False)
    check(made)
    for method in ("std", "mad"):
        calls.forget()
        check(made, method=method)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("std", dict(std_mad_threshold=1.5)),
        ("mad", dict(std_mad_threshold=1.5)),
        ("neighborhood_r2", dict(neighborhood_r2_threshold=0.5)),
        ("neighborhood_r2", dict(neighborhood_r2_threshold=0.9, neighborhood_r2_radius_um=90.0)),
    ],
)
def test_other_methods(method, options, dtype):
    labels = check(recording(dtype), method=method, **options)
    assert labels[9] == "noise"


@pytest.mark.filterwarnings("ignore")
def test_what_is_left():
    near = "a measure too near to its threshold to be sure of SpikeInterface's label"
    made = recording("float32")
    # equal to the deviation of every chunk from the trend that is 0
    check(made, reason=near, noisy_channel_threshold=0.0)
    calls.forget()
    check(recording("float64"), reason="samples of float64, or without gains")
    calls.forget()
    short = "a chunk shorter than a window of the spectrum, or no frequencies to look at"
    check(made, reason=short, welch_window_ms=60.0)
    calls.forget()
    traces = made.get_traces().copy()
    traces[:, 3] = np.nan
    broken = si.NumpyRecording([traces], FS)
    broken.set_probe(made.get_probe())
    broken.set_channel_gains(1.0)
    broken.set_channel_offsets(0.0)
    broken.annotate(is_filtered=True)
    check(broken, reason="samples that are not finite, or a median of 0 throughout")
    calls.forget()
    alone = "channels without neighbours, of which SpikeInterface warns"
    check(made, reason=alone, method="neighborhood_r2", neighborhood_r2_radius_um=5.0)


def test_errors_are_spikeinterfaces():
    with steadyspike.accelerate():
        with pytest.raises(AssertionError, match="not a valid method"):
            si.detect_bad_channels(recording(), method="guess")
        with pytest.raises(ValueError, match="channel_filters"):
            si.detect_bad_channels(recording(), **CHUNKS, channel_filters="dead")


@pytest.mark.parametrize("size", [1, 2, 5, 11, 40])
def test_shrinking_medians(size):
    values = np.random.default_rng(size).normal(size=24).astype("float32")
    np.testing.assert_array_equal(
        shrinking_medians(values, size), MODULE.shrinking_median_filter(values, size)
    )


def check_interpolation(node, reason=None, **frames):
    expected = node.get_traces(**frames)
    with steadyspike.accelerate():
        found = node.get_traces(**frames)
        report = calls.counted()["interpolate_bad_channels"]
    assert list(report.fell_back) == ([] if reason is None else [reason])
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_interpolated_channels(dtype, shuffled):
    made = recording(dtype, shuffled=shuffled)
    node = si.interpolate_bad_channels(made, made.channel_ids[[0, 5, 9, 23]])
    check_interpolation(node)
    for frames in (dict(start_frame=17, end_frame=18), dict(start_frame=40, end_frame=40)):
        check_interpolation(node, **frames)
    check_interpolation(node, end_frame=500, channel_ids=made.channel_ids[[9, 3]])
    check_interpolation(si.detect_and_interpolate_bad_channels(made, bad_channel_ids=made.channel_ids[:1]))


def test_interpolation_without_neighbours_or_of_samples_that_are_not_finite():
    made = recording("float32")
    node = si.interpolate_bad_channels(made, made.channel_ids[[4]], weights=np.zeros((23, 1)))
    check_interpolation(node)
    traces = made.get_traces().copy()
    traces[100, 20] = np.inf
    broken = si.NumpyRecording([traces], FS)
    broken.set_probe(made.get_probe())
    calls.forget()
    check_interpolation(
        si.interpolate_bad_channels(broken, [0, 1]),
        "samples that are not finite",
        start_frame=90,
        end_frame=110,
    )


def test_interpolation_leaves_the_traces_that_it_reads():
    made = recording("float32")
    before = made.get_traces().copy()
    with steadyspike.accelerate():
        si.interpolate_bad_channels(made, made.channel_ids[[5]]).get_traces()[:] = 0
    np.testing.assert_array_equal(made.get_traces(), before)
