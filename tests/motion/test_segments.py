import numpy as np
import pytest
from simulated_peaks import (
    RATE_HZ,
    estimate_motion,
    far_apart,
    mean_error,
    segmented_peaks,
    segmented_recording,
    still,
)
from spikeinterface.generation import NoiseGeneratorRecording

from steadyspike.core.probe_layout import shank_of_channels
from steadyspike.motion.decentralized import DecentralizedSettings
from steadyspike.motion.problem import build_problem
from steadyspike.motion.settings import WindowSettings


def test_segments_are_joined_over_large_offsets():
    durations = (40.0, 30.0, 50.0)
    peaks, locations = segmented_peaks(far_apart, durations)
    motion = estimate_motion(
        segmented_recording(durations), peaks, locations, method="steady_decentralized", win_margin_um=0.0
    )
    assert motion.num_segments == 3
    assert [part.shape[0] for part in motion.displacement] == [40, 30, 50]
    assert mean_error(motion, far_apart) < 0.6


def test_rigid_estimate_over_segments():
    def rigid(segment, times_s, depths_um):
        return (0.0, -90.0)[segment] + 5 * np.sin(times_s / 5)

    durations = (30.0, 30.0)
    peaks, locations = segmented_peaks(rigid, durations)
    motion, extra = estimate_motion(
        segmented_recording(durations),
        peaks,
        locations,
        method="steady_decentralized",
        rigid=True,
        extra_outputs=True,
    )
    assert mean_error(motion, rigid) < 0.4
    assert extra["explained"].shape == (60, 1)
    assert [edges.size for edges in extra["temporal_hist_bin_edges"]] == [31, 31]


def test_an_empty_segment_and_a_short_one():
    durations = (20.0, 0.5, 20.0)
    peaks, locations = segmented_peaks(lambda segment, t, z: 0.0 * t, durations)
    keep = peaks["segment_index"] != 2
    motion = estimate_motion(
        segmented_recording(durations), peaks[keep], locations[keep], method="steady_decentralized"
    )
    assert [part.shape[0] for part in motion.displacement] == [20, 1, 20]
    assert all(np.isfinite(part).all() for part in motion.displacement)
    assert np.abs(motion.displacement[0]).max() < 1.0


def test_upstream_methods_refuse_segments_as_before():
    peaks, locations = segmented_peaks(still, (5.0, 5.0))
    with pytest.raises(AssertionError, match="unique segment"):
        estimate_motion(segmented_recording((5.0, 5.0)), peaks, locations, method="dredge_ap")


def test_periods_are_left_out_and_bridged():
    def slow(segment, times_s, depths_um):
        return 0.4 * times_s

    recording = segmented_recording((40.0,))
    peaks, locations = segmented_peaks(slow, (40.0,))
    seconds = peaks["sample_index"] / RATE_HZ
    artifact = (seconds > 15) & (seconds < 21)
    # an artifact that looks like the tissue, moved
    locations["y"][artifact] += 40.0
    kwargs = dict(method="steady_decentralized", win_margin_um=0.0)
    bridged = estimate_motion(recording, peaks, locations, periods=[(15.0, 21.0)], **kwargs)
    fooled = estimate_motion(recording, peaks, locations, **kwargs)
    assert mean_error(bridged, slow) < 0.4
    assert mean_error(fooled, slow) > 2.0
    detected = np.array(
        [(15 * 30_000, 21 * 30_000, 0)],
        dtype=[("start_sample_index", "int64"), ("end_sample_index", "int64"), ("segment_index", "int64")],
    )
    same = estimate_motion(recording, peaks, locations, periods=detected, **kwargs)
    np.testing.assert_allclose(same.displacement[0], bridged.displacement[0], atol=1e-9)


@pytest.mark.parametrize(
    ("periods", "message"),
    [
        ([(1.0, 2.0, 3.0, 4.0)], "periods=.*allowed: a list of"),
        ([(1, 0.0, 1.0)], "periods=.*segments 0 to 0.*segment 1"),
        ([(3.0, 1.0)], "periods=.*do not end before"),
        ("x", "periods=.*allowed: a list of"),
        (np.zeros(1, dtype=[("start", "int64")]), "periods=.*'segment_index' is not there"),
    ],
)
def test_wrong_periods_are_refused(periods, message):
    peaks, locations = segmented_peaks(still, (5.0,), num_units=4)
    with pytest.raises(ValueError, match=message):
        estimate_motion(
            segmented_recording((5.0,)), peaks, locations, method="steady_decentralized", periods=periods
        )


def test_one_wild_second_is_not_motion():
    recording = segmented_recording((30.0,))
    peaks, locations = segmented_peaks(still, (30.0,))
    seconds = peaks["sample_index"] / RATE_HZ
    locations["y"][(seconds >= 12) & (seconds < 13)] += 25.0
    motion = estimate_motion(recording, peaks, locations, method="steady_decentralized", win_margin_um=0.0)
    assert np.abs(motion.displacement[0] - np.median(motion.displacement[0])).max() < 1.5


def four_shanks(duration_s=40.0):
    from probeinterface.neuropixels_tools import build_neuropixels_probe

    probe = build_neuropixels_probe("NP2014")
    contacts = np.concatenate([np.flatnonzero(probe.shank_ids == shank)[:48] for shank in "0123"])
    probe = probe.get_slice(contacts)
    probe.set_device_channel_indices(np.arange(contacts.size))
    recording = NoiseGeneratorRecording(
        num_channels=contacts.size, sampling_frequency=RATE_HZ, durations=[duration_s], seed=0
    )
    recording.set_probe(probe)
    return recording


def test_shanks_that_move_together_are_told_apart_and_pooled():
    recording = four_shanks()
    assert list(shank_of_channels(recording)) == [0] * 48 + [1] * 48 + [2] * 48 + [3] * 48

    def rigid(segment, times_s, depths_um):
        return 12 * np.sin(times_s / 5)

    parts, places = [], []
    for shank in range(4):
        peaks, locations = segmented_peaks(rigid, (40.0,), num_units=8, rate_hz=3.0, seed=shank)
        peaks["channel_index"] = 48 * shank
        inside = (locations["y"] > -30) & (locations["y"] < 380)
        parts.append(peaks[inside])
        places.append(locations[inside])
    peaks, locations = np.concatenate(parts), np.concatenate(places)
    kwargs = dict(method="steady_decentralized", rigid=True)
    pooled = estimate_motion(recording, peaks, locations, **kwargs)
    assert mean_error(pooled, rigid) < 0.6
    problem = build_problem(
        recording,
        peaks,
        locations,
        WindowSettings.of(rigid=True),
        DecentralizedSettings.of(bin_s=1.0, hist_margin_um=40.0),
    )
    np.testing.assert_array_equal(problem.spikes.groups, peaks["channel_index"] // 48)
    marks = problem.spikes.marks(5)
    assert problem.spikes.num_groups == 4
    np.testing.assert_array_equal(marks // 5, problem.spikes.groups)
