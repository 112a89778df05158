"""What a report reads of traces: pieces of all segments, noise, power, and channels that are odd."""

import numpy as np
import pytest
import spikeinterface.full as si
from report_runs import make_info, make_recording

from steadyspike.reports import measures
from steadyspike.reports.run import run_of


def noise_recording(levels=(1.0, 1.0, 5.0, 0.0), seconds=(2.0, 1.0), rate=5000.0):
    rng = np.random.default_rng(1)
    traces = [rng.normal(size=(int(one * rate), len(levels))) * levels for one in seconds]
    recording = si.NumpyRecording([one.astype("float32") for one in traces], rate)
    recording.set_dummy_probe_from_locations(
        np.column_stack([np.zeros(len(levels)), np.arange(len(levels)) * 20.0])
    )
    return recording


def test_pieces_are_spread_over_all_segments_without_overlap():
    recording = noise_recording()
    pieces = measures.pieces_of(recording, 12, 0.1)
    assert {segment for segment, _, _ in pieces} == {0, 1}
    for segment in (0, 1):
        mine = np.array([(start, end) for one, start, end in pieces if one == segment])
        assert (mine[1:, 0] >= mine[:-1, 1]).all()
        assert mine[-1, 1] <= recording.get_num_samples(segment)
    assert measures.pieces_of(recording, 12, 100.0) == [(0, 0, 10_000)]


def test_noise_and_power_are_those_of_the_traces():
    recording = noise_recording()
    run = run_of(make_info(), recording=recording)
    steps = measures.steps_of(recording)
    noise = measures.noise_of(run, steps, np.zeros(2))
    assert np.median(noise.before, axis=0) == pytest.approx([1.0, 1.0, 5.0, 0.0], abs=0.2)
    assert noise.after is None
    named = measures.odd_channels(noise, recording)
    assert named == ["3: silent", "2: noisier than 3 times the median"]
    (spectrum,) = measures.spectra_of(steps)
    # white noise of one channel in two: its power is spread evenly up to half the rate
    middle = spectrum.power[(spectrum.frequencies_hz > 100) & (spectrum.frequencies_hz < 2000)]
    assert np.median(middle) == pytest.approx(1.0 / 2500.0, rel=0.2)


def test_the_chain_is_told_in_words_from_the_raw_recording_on():
    recording = make_recording()
    filtered = si.common_reference(si.highpass_filter(recording, dtype="float32"))
    steps = measures.steps_of(si.astype(filtered, "float64"))
    assert [step.label for step in steps] == ["as recorded", "highpass", "common reference"]
    assert steps[0].recording is recording
    bad = si.interpolate_bad_channels(filtered, recording.channel_ids[2:3])
    run = run_of(make_info(), recording=bad)
    run.corrected = bad
    assert measures.bad_channels_of(run) == recording.channel_ids[2:3].tolist()
    probe = measures.probe_of(steps, measures.bad_channels_of(run))
    assert probe.bad.tolist() == [index == 2 for index in range(16)]


def test_an_excerpt_stays_within_the_recording():
    recording = noise_recording()
    for frame in (0, 9_999):
        (excerpt,) = measures.excerpts_of(measures.steps_of(recording), (0, frame), (0.0, 60.0))
        assert excerpt.traces.shape == (100, 4)
        assert excerpt.depths_um.tolist() == [0.0, 20.0, 40.0, 60.0]
