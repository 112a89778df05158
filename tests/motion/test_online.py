import numpy as np
import pytest
from simulated_peaks import (
    RATE_HZ,
    drifting_peaks,
    empty_recording,
    estimate_motion,
    far_apart,
    in_segments,
    jump,
    mean_error,
    segmented_peaks,
    segmented_recording,
    still,
    true_displacement,
)

from steadyspike.motion.online import OnlineMotionEstimator

METHOD = dict(method="steady_decentralized", win_margin_um=0.0)
ONLINE = dict(**METHOD, online=True, online_warmup_s=20.0)
STREAM = dict(win_margin_um=0.0, warmup_s=20.0)


def slow(times_s, depths_um):
    return 8 * np.sin(np.asarray(times_s) / 20) * (1 - 0.3 * np.asarray(depths_um) / 940)


def stream_of(peaks, locations):
    return peaks["sample_index"] / RATE_HZ, locations["y"], peaks["amplitude"]


def pushed(estimator, spikes, packets):
    for packet in packets:
        estimator.push(*(values[packet] for values in spikes))
    return estimator


def error_after(motion, motion_of, from_s):
    times = motion.temporal_bins_s[0]
    truth = np.stack(
        [true_displacement(in_segments(motion_of), 0, times, depth) for depth in motion.spatial_bins_um],
        axis=1,
    )
    difference = motion.displacement[0] - truth
    difference -= np.median(difference, axis=0)
    return np.abs(difference)[times > from_s]


def test_online_is_near_offline_and_the_truth():
    peaks, locations = drifting_peaks(slow, duration_s=90.0)
    recording = empty_recording(90.0)
    online, extra = estimate_motion(recording, peaks, locations, extra_outputs=True, **ONLINE)
    offline = estimate_motion(recording, peaks, locations, **METHOD)
    assert mean_error(online, in_segments(slow)) < 0.25
    assert mean_error(online, in_segments(slow)) < mean_error(offline, in_segments(slow)) + 0.15
    shape = online.displacement[0].shape
    assert shape == offline.displacement[0].shape
    assert extra["explained"].shape == extra["displacement_sd_um"].shape == shape
    assert np.all((extra["explained"] >= 0) & (extra["explained"] <= 1))
    assert extra["temporal_hist_bin_edges"].size == shape[0] + 1


def test_a_jump_takes_one_bin_to_be_believed():
    peaks, locations = drifting_peaks(jump)
    motion = estimate_motion(empty_recording(60.0), peaks, locations, **ONLINE)
    wrong = error_after(motion, jump, 0.0)
    assert np.delete(wrong, 30, axis=0).max() < 1.5


def test_a_gap_is_bridged_and_a_change_of_rates_is_no_drift():
    peaks, locations = drifting_peaks(slow, duration_s=90.0)
    seconds = peaks["sample_index"] / RATE_HZ
    rest = locations["y"] - slow(seconds, locations["y"])
    # nobody for five seconds, and from then on mostly those at the top
    rng = np.random.default_rng(0)
    keep = (seconds < 45) | ((seconds > 50) & ((rest > 500) | (rng.uniform(size=rest.size) < 0.2)))
    motion, extra = estimate_motion(
        empty_recording(90.0), peaks[keep], locations[keep], extra_outputs=True, **ONLINE
    )
    assert error_after(motion, slow, 20.0).mean() < 0.5
    assert np.all(extra["displacement_sd_um"][49] > 1.5 * extra["displacement_sd_um"][43])
    assert not extra["explained"][45:50].any()


@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
def test_packets_of_any_size_give_what_the_estimator_gives(size):
    # as few spikes as single pushes allow
    peaks, locations = drifting_peaks(slow, duration_s=30.0, num_units=30)
    expected = estimate_motion(empty_recording(30.0), peaks, locations, **ONLINE)
    spikes = stream_of(peaks, locations)
    packets = [slice(start, start + size) for start in range(0, peaks.size, size)]
    estimator = pushed(OnlineMotionEstimator(empty_recording(30.0), **STREAM), spikes, packets)
    estimator.advance(30.0)
    motion = estimator.motion()
    np.testing.assert_array_equal(motion.displacement[0], expected.displacement[0])
    np.testing.assert_allclose(motion.temporal_bins_s[0], expected.temporal_bins_s[0])
    np.testing.assert_array_equal(motion.spatial_bins_um, expected.spatial_bins_um)
    assert estimator.num_late == 0


def test_estimates_are_out_as_soon_as_a_bin_is_over_and_never_change():
    peaks, locations = drifting_peaks(slow, duration_s=30.0)
    spikes = stream_of(peaks, locations)
    estimator = OnlineMotionEstimator(empty_recording(30.0), **STREAM)
    assert estimator.latest is None
    np.testing.assert_array_equal(estimator.displacement_at([100.0, 500.0]), 0.0)
    with pytest.raises(ValueError, match="no time bin is over"):
        estimator.motion()
    seen = {}
    for second in range(30):
        now = (spikes[0] >= second) & (spikes[0] < second + 1)
        estimator.push(*(values[now] for values in spikes))
        estimator.advance(second + 1)
        assert estimator.motion().displacement[0].shape[0] == second + 1
        if estimator.latest is not None:
            assert estimator.latest.time_s == second + 0.5
            seen[second] = estimator.latest
    assert min(seen) == 19
    motion = estimator.motion()
    for second, estimate in seen.items():
        np.testing.assert_array_equal(motion.displacement[0][second], estimate.displacement_um)
        assert np.all(estimate.sd_um > 0)
        assert np.all(estimate.explained > 0.3)
        with pytest.warns(DeprecationWarning, match="is now explained"):
            assert estimate.trust is estimate.explained
    latest = estimator.latest
    np.testing.assert_allclose(
        estimator.displacement_at(motion.spatial_bins_um), latest.displacement_um, atol=1e-12
    )


@pytest.mark.parametrize("stop_s", [0.0, 8.3, 20.0, 26.6])
def test_a_saved_stream_goes_on_to_the_last_bit(tmp_path, stop_s):
    peaks, locations = drifting_peaks(slow, duration_s=32.0)
    spikes = stream_of(peaks, locations)
    recording = empty_recording(32.0)
    early = spikes[0] < stop_s
    whole = pushed(OnlineMotionEstimator(recording, **STREAM), spikes, [slice(None)])
    first = OnlineMotionEstimator(recording, **STREAM)
    first.skip(28.0, 28.5)
    whole_skipping = OnlineMotionEstimator(recording, **STREAM)
    whole_skipping.skip(28.0, 28.5)
    pushed(whole_skipping, spikes, [slice(None)])
    path = pushed(first, spikes, [early]).save(tmp_path / "stream.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["stream.npz"]
    second = pushed(OnlineMotionEstimator.load(path), spikes, [~early])
    expected = whole_skipping.motion()
    np.testing.assert_array_equal(second.motion().displacement[0], expected.displacement[0])
    np.testing.assert_array_equal(second.latest.sd_um, whole_skipping.latest.sd_um)
    assert np.abs(expected.displacement[0] - whole.motion().displacement[0]).max() > 0


def test_what_is_no_saved_stream_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", displacement=np.zeros(3))
    np.save(tmp_path / "other.npy", np.zeros(3))
    for name in ("other.npz", "other.npy"):
        with pytest.raises(ValueError, match="save wrote"):
            OnlineMotionEstimator.load(tmp_path / name)


def test_segments_go_on_with_the_template_of_the_one_before():
    durations = (40.0, 30.0, 50.0)
    peaks, locations = segmented_peaks(far_apart, durations)
    recording = segmented_recording(durations)
    motion, extra = estimate_motion(recording, peaks, locations, extra_outputs=True, **ONLINE)
    assert [part.shape[0] for part in motion.displacement] == [40, 30, 50]
    assert extra["explained"].shape[0] == 120
    assert mean_error(motion, far_apart) < 0.6
    estimator = OnlineMotionEstimator(recording, **STREAM)
    for segment, duration_s in enumerate(durations):
        if segment:
            estimator.begin_segment(0.0)
        mine = peaks["segment_index"] == segment
        estimator.push(*stream_of(peaks[mine], locations[mine]))
        estimator.advance(duration_s)
    estimator.finish()
    for one, other in zip(estimator.motion().displacement, motion.displacement, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_short_segment_and_an_empty_one():
    durations = (30.0, 0.5, 6.0)
    peaks, locations = segmented_peaks(still, durations)
    keep = peaks["segment_index"] != 1
    motion = estimate_motion(segmented_recording(durations), peaks[keep], locations[keep], **ONLINE)
    assert [part.shape[0] for part in motion.displacement] == [30, 1, 6]
    assert all(np.isfinite(part).all() for part in motion.displacement)
    assert np.abs(motion.displacement[2]).max() < 1.0


def test_artifacts_are_left_out_in_the_stream_and_in_the_recording():
    peaks, locations = drifting_peaks(slow, duration_s=40.0)
    seconds = peaks["sample_index"] / RATE_HZ
    artifact = (seconds >= 25) & (seconds < 28)
    locations["y"][artifact] += 40.0
    recording = empty_recording(40.0)
    motion = estimate_motion(recording, peaks, locations, periods=[(25.0, 28.0)], **ONLINE)
    estimator = OnlineMotionEstimator(recording, **STREAM)
    estimator.skip(25.0, 28.0)
    estimator.push(*stream_of(peaks, locations))
    estimator.advance(40.0)
    np.testing.assert_array_equal(estimator.motion().displacement[0], motion.displacement[0])
    assert error_after(motion, slow, 0.0).max() < 3.0
    fooled = estimate_motion(recording, peaks, locations, **ONLINE)
    assert error_after(fooled, slow, 0.0).max() > 20.0


def test_late_and_unlocated_spikes_are_not_used():
    peaks, locations = drifting_peaks(slow, duration_s=25.0, num_units=20)
    spikes = stream_of(peaks, locations)
    plain = pushed(OnlineMotionEstimator(empty_recording(25.0), **STREAM), spikes, [slice(None)])
    other = OnlineMotionEstimator(empty_recording(25.0), **STREAM)
    half = spikes[0].size // 2
    pushed(other, spikes, [slice(0, half)])
    other.push([0.2, 0.3], [100.0, 200.0], [-50.0, -60.0])
    other.push([spikes[0][half]], [np.nan], [-50.0])
    pushed(other, spikes, [slice(half, None)])
    assert other.num_late == 2
    np.testing.assert_array_equal(other.motion().displacement[0], plain.motion().displacement[0])


def test_a_stream_that_ends_in_warm_up():
    peaks, locations = drifting_peaks(slow, duration_s=10.0)
    estimator = OnlineMotionEstimator(empty_recording(10.0), **STREAM)
    estimator.push(*stream_of(peaks, locations))
    assert estimator.latest is None
    assert estimator.motion().displacement[0].shape[0] == 9
    estimator.finish()
    assert estimator.motion().displacement[0].shape[0] == 10
    assert error_after(estimator.motion(), slow, 0.0).mean() < 0.5


@pytest.mark.parametrize("rigid", [False, True])
def test_contacts_as_an_array_and_bins_of_another_length(rigid):
    peaks, locations = drifting_peaks(slow, duration_s=40.0)
    contacts = empty_recording(1.0).get_channel_locations()[:, 1]
    estimator = OnlineMotionEstimator(contacts, bin_s=0.5, rigid=rigid, start_s=100.0, **STREAM)
    times_s, depths_um, amplitudes = stream_of(peaks, locations)
    estimator.push(times_s + 100.0, depths_um, amplitudes)
    estimator.finish()
    motion = estimator.motion()
    assert motion.displacement[0].shape == (80, 1 if rigid else 5)
    assert motion.temporal_bins_s[0][0] == 100.25
    motion.temporal_bins_s[0] -= 100.0
    assert error_after(motion, slow, 10.0).mean() < 0.5


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(bin_s=0), "bin_s=0"),
        (dict(warmup_s=1.5), "warmup_s=1.5; allowed: at least two time bins"),
        (dict(half_life_s=-1), "half_life_s=-1"),
        (dict(max_displacement_um=0), "max_displacement_um=0"),
        (dict(max_segment_displacement_um=np.inf), "max_segment_displacement_um=inf"),
        (dict(hist_margin_um=-1), "hist_margin_um=-1"),
        (dict(direction="w"), "direction='w'"),
        (dict(num_shanks=0), "num_shanks=0"),
        (dict(start_s=np.nan), "start_s=nan"),
    ],
)
def test_bad_arguments_are_refused(arguments, text):
    with pytest.raises(ValueError, match=f"^OnlineMotionEstimator: {text}"):
        OnlineMotionEstimator(np.arange(0.0, 1000.0, 20.0), **arguments)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="contact_depths_um"):
        OnlineMotionEstimator(np.zeros(30))
    estimator = OnlineMotionEstimator(np.arange(0.0, 1000.0, 20.0))
    for spikes, text in (
        (([0.1, 0.2], [1.0], [1.0, 2.0]), "depths_um"),
        (([np.nan], [1.0], [1.0]), "spike_times_s"),
        (([0.1], [1.0], [1.0], [1]), "shanks"),
        (([1e9], [1.0], [1.0]), "leaps"),
    ):
        with pytest.raises(ValueError, match=text):
            estimator.push(*spikes)
    for call in (estimator.advance, estimator.begin_segment):
        with pytest.raises(ValueError, match="nan"):
            call(np.nan)
    with pytest.raises(ValueError, match="start_s, stop_s"):
        estimator.skip(3.0, 2.0)
    peaks, locations = drifting_peaks(slow, duration_s=5.0, num_units=5)
    with pytest.raises(
        ValueError, match=r"steady_decentralized: online_warmup_s=1\.0; allowed: at least two"
    ):
        estimate_motion(empty_recording(5.0), peaks, locations, **METHOD, online=True, online_warmup_s=1)
