"""Batches that are filtered and referenced by themselves, and whitening from near channels."""

import numpy as np
import pytest
import spikeinterface.full as si
from conformance import CHECKS, Node, check_name
from parent_recordings import SAMPLING_FREQUENCY, file_parent, numpy_parent

import steadyspike
from steadyspike.kernels.channels.nearest_whitening import nearest_channels, nearest_whitening
from steadyspike.kernels.filters.batch_highpass import highpass_batch
from steadyspike.sorting import chain_of


def given(recording):
    """A matrix, and the count at which the voltage is 0: what is found from a recording depends on all segments."""
    number = recording.get_num_channels()
    matrix = np.eye(number) + 0.1 * np.random.default_rng(5).normal(size=(number, number))
    means = -recording.get_channel_offsets() / recording.get_channel_gains()
    return dict(W=matrix, M=means)


FILTER = Node(
    make=steadyspike.batch_filter,
    arguments=[
        dict(freq_min=500.0, filter_order=2, reference=False, batch_size=400, margin=7),
        dict(artifact_threshold=120.0, batch_size=300),
    ],
    changed_properties=("offset_to_uV",),
)
WHITENING = Node(
    make=steadyspike.whiten,
    arguments=[dict(num_neighbors=4, eps=0.01, batch_size=200, every_nth_batch=2)],
    required=given,
    tolerance=1e-5,
    changed_properties=("offset_to_uV",),
)


@pytest.mark.parametrize("check", CHECKS, ids=check_name)
@pytest.mark.parametrize("node", [FILTER, WHITENING], ids=["filter", "whitening"])
def test_conforms(node, check, tmp_path):
    check(node, tmp_path)


def test_batches_are_those_of_a_loop_over_samples_and_channels():
    recording = numpy_parent("int16")
    filtered = steadyspike.batch_filter(recording, batch_size=500, margin=20)
    traces = recording.get_traces(1).astype("float64")
    expected = np.zeros(traces.shape)
    for first in range(0, len(traces), 500):
        frames = range(first - 20, first + 520)
        batch = traces[np.clip(frames, 0, len(traces) - 1)]
        batch = batch - batch.mean(axis=0)
        batch = highpass_batch(np.array([row - sorted(row)[5] for row in batch]), 300.0, SAMPLING_FREQUENCY)
        for place, frame in enumerate(frames):
            share = 1.0
            if first > 0 and place < 40:
                share = (place + 1) / 41
            if first + 500 < len(traces) and place >= 500:
                share = 1 - (place - 500 + 1) / 41
            if 0 <= frame < len(traces):
                expected[frame] += share * batch[place]
    np.testing.assert_allclose(filtered.get_traces(1), expected, atol=1e-3)


def test_a_batch_with_an_artifact_is_silent_and_no_other():
    traces = np.random.default_rng(0).normal(size=(900, 4)).astype("float32") + 1000.0
    traces[450, 2] += 300.0
    recording = si.NumpyRecording([traces], SAMPLING_FREQUENCY)
    filtered = steadyspike.batch_filter(recording, batch_size=300, margin=50, artifact_threshold=200.0)
    result = filtered.get_traces()
    assert not result[350:550].any()
    assert result[:300].std() > 0.3
    assert result[600:].std() > 0.3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_where_it_is(bad):
    traces = np.random.default_rng(0).normal(size=(600, 4)).astype("float32")
    traces[100, 1] = bad
    recording = si.NumpyRecording([traces], SAMPLING_FREQUENCY)
    recording.set_dummy_probe_from_locations(np.arange(8.0).reshape(4, 2))
    filtered = steadyspike.batch_filter(recording, batch_size=300)
    assert np.isfinite(filtered.get_traces()).all()
    assert np.isfinite(steadyspike.whiten(recording)._kwargs["W"]).all()


def test_whitening_is_from_the_near_channels_of_every_nth_batch():
    recording = numpy_parent("uint16")
    recording = si.NumpyRecording([recording.get_traces(i) for i in (0, 1)], SAMPLING_FREQUENCY)
    positions = np.stack([np.zeros(12), 20.0 * np.arange(12)], axis=1)
    recording.set_dummy_probe_from_locations(positions)
    whitened = steadyspike.whiten(recording, num_neighbors=5, eps=1e-4, batch_size=300, every_nth_batch=3)
    read = np.concatenate(
        [recording.get_traces(i, first, first + 300) for i, first in ((0, 0), (0, 900), (1, 0), (1, 900))]
    )
    assert len(read) == 300 * 3 + 77
    read = read.astype("float64")
    covariance = np.cov(read.T, bias=True)
    matrix = nearest_whitening(covariance, nearest_channels(positions, 5), 1e-4)
    np.testing.assert_allclose(whitened._kwargs["W"], matrix, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(whitened._kwargs["M"], read.mean(axis=0), rtol=1e-9)
    expected = (recording.get_traces(1) - read.mean(axis=0)) @ matrix.T
    np.testing.assert_allclose(whitened.get_traces(1), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "arguments", "words"),
    [
        (
            "batch_filter",
            dict(freq_min=15_000.0),
            "steady_batch_filter: freq_min=15000.0; allowed: above 0 and below",
        ),
        ("batch_filter", dict(batch_size=99, margin=50), "margin=50; allowed: at most half of batch_size=99"),
        ("batch_filter", dict(batch_size=0), "steady_batch_filter: batch_size=0; allowed"),
        ("whiten", dict(W=np.eye(3)), "steady_whiten: W=.*; allowed: finite numbers of the shape"),
        ("whiten", dict(W=np.full((12, 12), np.nan)), "steady_whiten: W"),
        ("whiten", dict(W=np.eye(12), M=[0.0]), "steady_whiten: M=.*12 channels"),
        ("whiten", dict(M=[0.0] * 12), "steady_whiten: M=.*None where W is not given"),
    ],
)
def test_what_cannot_work_is_refused(make, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(steadyspike, make)(numpy_parent(), **arguments)


def test_whitening_needs_positions():
    with pytest.raises(ValueError, match="steady_whiten: recording has no probe"):
        steadyspike.whiten(si.NumpyRecording([np.zeros((9, 2))], SAMPLING_FREQUENCY))


def test_preset_is_known_for_what_it_does(tmp_path):
    steps = steadyspike.load_preset("kilosort4").steps
    prepared = si.apply_preprocessing_pipeline(file_parent(tmp_path), steps)
    chain = chain_of(prepared)
    assert (chain.filtered, chain.referenced, chain.whitened) == (True, True, True)
    assert chain.freq_min == 300.0
    assert not chain_of(steadyspike.batch_filter(file_parent(tmp_path / "b"), reference=False)).referenced
    assert prepared.get_traces(0).std() == pytest.approx(1.0, abs=0.1)
