import numpy as np
import pytest
from spikeinterface.core.motion import Motion
from test_segments import far_apart, four_shanks, mean_error, segmented_peaks, segmented_recording

import steadyspike

DURATIONS = (40.0, 30.0, 50.0)


@pytest.fixture(scope="module")
def sessions():
    recordings = [segmented_recording([duration]) for duration in DURATIONS]
    for number, recording in enumerate(recordings):
        recording.shift_times(3600.0 * number)
    peaks, locations = segmented_peaks(far_apart, DURATIONS)
    parts, places = [], []
    for segment in range(3):
        mine = peaks["segment_index"] == segment
        part = peaks[mine]
        part["segment_index"] = 0
        parts.append(part)
        places.append(locations[mine])
    return recordings, parts, places


def test_sessions_hours_apart_get_one_frame(sessions):
    recordings, parts, places = sessions
    found = steadyspike.estimate_motion_sessions(recordings, parts, places, progress_bar=False)
    assert [motion.num_segments for motion in found.motions] == [1, 1, 1]
    assert found.motions[2].temporal_bins_s[0][0] == 7200.5
    together = Motion(
        [motion.displacement[0] for motion in found.motions],
        [motion.temporal_bins_s[0] - 3600.0 * number for number, motion in enumerate(found.motions)],
        found.motions[0].spatial_bins_um,
    )
    assert mean_error(together, far_apart) < 0.6
    assert np.abs(found.offsets_um.mean(axis=1) - [0, 130, -60]).max() < 10
    assert found.extra["motion_trust"].verdict == "correct"
    assert list(np.unique(found.peaks["segment_index"])) == [0, 1, 2]
    corrected = found.recording_corrected
    assert corrected.get_num_segments() == 3
    assert [corrected.get_num_samples(segment) for segment in range(3)] == [
        int(duration * 30_000) for duration in DURATIONS
    ]
    assert corrected.get_start_time(1) == 3600.0
    assert np.isfinite(corrected.get_traces(segment_index=1, end_frame=100)).all()


def test_one_recording_of_segments_gives_one_motion(sessions):
    peaks, locations = segmented_peaks(far_apart, DURATIONS)
    found = steadyspike.estimate_motion_sessions(
        segmented_recording(DURATIONS), peaks, locations, progress_bar=False
    )
    assert len(found.motions) == 1
    assert mean_error(found.motions[0], far_apart) < 0.6
    assert found.recording_corrected.get_num_segments() == 3


def test_each_shank_moves_by_itself():
    recording = four_shanks()
    parts, places = [], []

    def shank_motion(shank):
        return lambda segment, times_s, depths_um: 5.0 * (shank + 1) * np.sin(times_s / 6)

    for shank in range(4):
        peaks, locations = segmented_peaks(shank_motion(shank), (40.0,), num_units=40, seed=shank)
        peaks["channel_index"] = 48 * shank
        inside = (locations["y"] > -30) & (locations["y"] < 380)
        parts.append(peaks[inside])
        places.append(locations[inside])
    peaks, locations = np.concatenate(parts), np.concatenate(places)
    found = steadyspike.estimate_motion_sessions(
        recording, peaks, locations, preset="steady_rigid", shanks="separate", progress_bar=False
    )
    (motions,) = found.motions
    assert [mean_error(motion, shank_motion(shank)) < 0.8 for shank, motion in enumerate(motions)] == [
        True
    ] * 4
    assert found.offsets_um.shape == (4, 1, 1)
    corrected = found.recording_corrected
    assert np.array_equal(corrected.channel_ids, recording.channel_ids)
    assert np.array_equal(corrected.get_channel_locations(), recording.get_channel_locations())
    assert corrected.get_traces(end_frame=50).shape == (50, 192)


def shifted_probe(recording):
    probe = recording.get_probe().copy()
    probe.move([0.0, 15.0])
    probe.set_device_channel_indices(np.arange(probe.get_contact_count()))
    recording.set_probe(probe)
    return recording


def recordings_of(change):
    return [segmented_recording([2.0], 32), change(segmented_recording([2.0], 32))]


@pytest.mark.parametrize(
    ("recordings", "kwargs", "message"),
    [
        (lambda: [], {}, "at least one"),
        (
            lambda: [segmented_recording([2.0], 32), segmented_recording([2.0], 48)],
            {},
            r"recordings\[1\].num_channels=48; allowed: 32",
        ),
        (
            lambda: recordings_of(lambda r: r.rename_channels(np.arange(32) + 5)),
            {},
            r"recordings\[1\].channel_ids=",
        ),
        (
            lambda: recordings_of(lambda r: r.astype("int16")),
            {},
            r"recordings\[1\].dtype=dtype\('int16'\)",
        ),
        (lambda: recordings_of(shifted_probe), {}, "15 um from"),
        (
            lambda: segmented_recording([2.0], 32),
            dict(preset="dredge_fast"),
            "method='dredge_ap'; .*one segment only",
        ),
        (
            lambda: segmented_recording([2.0], 32),
            dict(shanks="both"),
            "shanks='both'; allowed: 'shared' or 'separate'",
        ),
        (
            lambda: segmented_recording([2.0], 32),
            dict(peaks=np.zeros(3)),
            "peaks=.*; allowed: .* both, or none",
        ),
        (
            lambda: recordings_of(lambda r: r),
            dict(peaks=[np.zeros(3)], peak_locations=[np.zeros(3)]),
            "peaks=.*allowed: one array for each of the 2 recordings",
        ),
        (
            lambda: segmented_recording([2.0], 32),
            dict(peaks=np.zeros(3), peak_locations=np.zeros(2)),
            r"peak_locations\[0\]=.*allowed: one for each of the 3 peaks",
        ),
    ],
)
def test_what_does_not_fit_is_refused(recordings, kwargs, message):
    with pytest.raises(ValueError, match=f"^estimate_motion_sessions: .*{message}"):
        steadyspike.estimate_motion_sessions(recordings(), **kwargs)


def test_peaks_are_found_where_none_are_given(tmp_path):
    recording = segmented_recording([3.0, 2.0], 16)
    kwargs = dict(
        preset="steady_rigid",
        detect_kwargs=dict(detect_threshold=4.0),
        progress_bar=False,
        n_jobs=1,
    )
    kept = steadyspike.estimate_motion_sessions(recording, folder=tmp_path / "peaks", **kwargs)
    assert (tmp_path / "peaks").is_dir()
    assert len(kept.peaks) > 50
    assert len(kept.peaks) == len(kept.peak_locations)
    in_memory = steadyspike.estimate_motion_sessions(recording, **kwargs)
    assert np.array_equal(in_memory.peaks, kept.peaks)
