"""What every estimator from peaks must do, beside `steady_decentralized`, which has tests of its own."""

import numpy as np
import pytest
from simulated_peaks import (
    RATE_HZ,
    drifting_peaks,
    empty_recording,
    estimate_motion,
    far_apart,
    gradient,
    in_segments,
    jump,
    mean_error,
    rigid,
    segmented_peaks,
    segmented_recording,
    still,
)

METHODS = ["steady_iterative_template", "steady_point_cloud"]
pytestmark = pytest.mark.parametrize("method", METHODS)


@pytest.mark.parametrize(("motion_of", "limit_um"), [(rigid, 0.2), (gradient, 0.4), (jump, 0.2)])
def test_known_motion_is_found(method, motion_of, limit_um):
    peaks, locations = drifting_peaks(motion_of)
    for rounds, factor in ((8, 1), (0, 2)):
        motion = estimate_motion(
            empty_recording(60.0),
            peaks,
            locations,
            method=method,
            win_margin_um=0.0,
            refine_iterations=rounds,
        )
        assert mean_error(motion, in_segments(motion_of)) < factor * limit_um


def test_rigid_estimate_has_one_window(method):
    peaks, locations = drifting_peaks(rigid)
    motion = estimate_motion(empty_recording(60.0), peaks, locations, method=method, rigid=True)
    assert motion.displacement[0].shape == (60, 1)
    assert mean_error(motion, in_segments(rigid)) < 0.2


def test_segments_are_joined_over_large_offsets(method):
    durations = (40.0, 30.0, 50.0)
    peaks, locations = segmented_peaks(far_apart, durations)
    motion = estimate_motion(
        segmented_recording(durations), peaks, locations, method=method, win_margin_um=0.0
    )
    assert [part.shape[0] for part in motion.displacement] == [40, 30, 50]
    assert mean_error(motion, far_apart) < 0.6


def test_an_empty_segment_and_a_short_one(method):
    durations = (20.0, 0.5, 20.0)
    peaks, locations = segmented_peaks(still, durations)
    keep = peaks["segment_index"] != 2
    motion = estimate_motion(segmented_recording(durations), peaks[keep], locations[keep], method=method)
    assert [part.shape[0] for part in motion.displacement] == [20, 1, 20]
    assert all(np.isfinite(part).all() for part in motion.displacement)
    assert np.abs(motion.displacement[0]).max() < 1.0


@pytest.mark.parametrize("rounds", [0, 8])
def test_periods_are_left_out_and_bridged(method, rounds):
    def slow(segment, times_s, depths_um):
        return 0.4 * times_s

    recording = segmented_recording((40.0,))
    peaks, locations = segmented_peaks(slow, (40.0,))
    seconds = peaks["sample_index"] / RATE_HZ
    # an artifact that looks like the tissue, moved
    locations["y"][(seconds > 15) & (seconds < 21)] += 40.0
    motion = estimate_motion(
        recording,
        peaks,
        locations,
        periods=[(15.0, 21.0)],
        method=method,
        win_margin_um=0.0,
        refine_iterations=rounds,
    )
    assert mean_error(motion, slow) < 0.5


def test_silence_is_trusted_less(method):
    peaks, locations = drifting_peaks(rigid, duration_s=30.0)
    # nobody fires near the top in the last ten seconds
    silent = (peaks["sample_index"] > 20 * RATE_HZ) & (locations["y"] > 500)
    motion, extra = estimate_motion(
        empty_recording(30.0), peaks[~silent], locations[~silent], method=method, extra_outputs=True
    )
    assert extra["explained"].shape == extra["displacement_sd_um"].shape == motion.displacement[0].shape
    assert np.all((extra["explained"] >= 0) & (extra["explained"] <= 1))
    assert extra["explained"][22:, -1].max() < extra["explained"][:18, -1].min()


@pytest.mark.parametrize("num_peaks", [0, 1, 2])
@pytest.mark.parametrize("duration_s", [0.5, 10.0])
def test_hardly_any_peak_gives_no_motion(method, num_peaks, duration_s):
    peaks, locations = drifting_peaks(rigid, duration_s=duration_s)
    motion, extra = estimate_motion(
        empty_recording(duration_s),
        peaks[:num_peaks],
        locations[:num_peaks],
        method=method,
        extra_outputs=True,
    )
    np.testing.assert_allclose(motion.displacement[0], 0, atol=1e-4)
    assert np.all(np.isfinite(extra["explained"]))


def test_peaks_without_location_are_left_out_and_nothing_is_changed(method):
    peaks, locations = drifting_peaks(rigid, duration_s=20.0)
    recording = empty_recording(20.0)
    expected = estimate_motion(recording, peaks[::2], locations[::2], method=method)
    broken = locations.copy()
    broken["y"][1::2] = np.tile([np.nan, np.inf], peaks.size)[: broken["y"][1::2].size]
    before = peaks.copy(), broken.copy()
    motion = estimate_motion(recording, peaks, broken, method=method)
    np.testing.assert_array_equal(motion.displacement[0], expected.displacement[0])
    np.testing.assert_array_equal(peaks, before[0])
    np.testing.assert_array_equal(broken["y"], before[1]["y"])


def test_order_of_peaks_and_t_start_do_not_matter(method):
    peaks, locations = drifting_peaks(rigid, duration_s=20.0)
    first = estimate_motion(empty_recording(20.0), peaks, locations, method=method)
    shuffled = np.random.default_rng(0).permutation(peaks.size)
    recording = empty_recording(20.0)
    recording.shift_times(1000.0)
    second = estimate_motion(recording, peaks[shuffled], locations[shuffled], method=method)
    np.testing.assert_allclose(second.temporal_bins_s[0], first.temporal_bins_s[0] + 1000.0)
    np.testing.assert_allclose(second.displacement[0], first.displacement[0], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(bin_s=0), "bin_s=0; allowed: a number >= 1e-05"),
        (dict(hist_margin_um=-1), "hist_margin_um=-1"),
        (dict(max_displacement_um=0), "max_displacement_um=0"),
        (dict(max_segment_displacement_um=0), "max_segment_displacement_um=0"),
        (dict(refine_iterations=-1), "refine_iterations=-1"),
        (
            dict(reference_displacement="mode"),
            "reference_displacement='mode'; allowed: 'midrange', 'mean' or 'median'",
        ),
        (dict(periods=[(3.0, 1.0)]), "periods=.*do not end before"),
    ],
)
def test_bad_arguments_are_refused(method, arguments, text):
    peaks, locations = drifting_peaks(rigid, duration_s=2.0)
    with pytest.raises(ValueError, match=f"^{method}: {text}"):
        estimate_motion(empty_recording(2.0), peaks, locations, method=method, **arguments)
