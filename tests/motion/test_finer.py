"""What `steady_auto` follows between the time bins of its registration, and where it leaves them alone."""

import numpy as np
import pytest
from simulated_peaks import (
    drifting_peaks,
    empty_recording,
    estimate_motion,
    segmented_peaks,
    segmented_recording,
)

from steadyspike.motion.plan import finer_bin

TIMES_S = np.arange(0.025, 60.0, 0.05)
DEPTHS_UM = np.linspace(0.0, 940.0, 10)


def error_um(motion, motion_of, segment=0):
    """Mean error at all times and depths, after one offset for each depth."""
    found = motion.get_displacement_at_time_and_depth(TIMES_S, DEPTHS_UM, segment_index=segment, grid=True).T
    difference = found - motion_of(TIMES_S[:, None], DEPTHS_UM)
    return np.abs(difference - np.median(difference, axis=0)).mean()


def steps(times_s, depths_um):
    heights = np.array([0.0, 14.0, -9.0, 21.0, 3.0, -16.0, 8.0])
    return heights[(times_s / 8.77).astype("int64")] * (0.7 + 0.6 * depths_um / 940.0)


def walk(times_s, depths_um):
    course = np.cumsum(0.6 * np.random.default_rng(3).choice([-1.0, 1.0], 301))
    return course[(5 * times_s).astype("int64")] + 0.0 * depths_um


def breathing(times_s, depths_um):
    return 8 * np.sin(times_s / 10) + 1.5 * np.sin(2 * np.pi * times_s) + 0.0 * depths_um


def slow(times_s, depths_um):
    return 6 * np.sin(times_s / 12) + 0.0 * depths_um


def still(times_s, depths_um):
    return 0.0 * times_s + 0.0 * depths_um


def auto(peaks, locations, **arguments):
    arguments = dict(extra_outputs=True) | arguments
    return estimate_motion(empty_recording(60.0), peaks, locations, method="steady_auto", **arguments)


@pytest.mark.parametrize(("motion_of", "share"), [(steps, 0.5), (walk, 0.6), (breathing, 0.3)])
def test_what_moves_within_a_second_is_followed(motion_of, share):
    peaks, locations = drifting_peaks(motion_of)
    motion, extra = auto(peaks, locations)
    assert extra["motion_trust"].verdict == "correct"
    np.testing.assert_allclose(np.diff(motion.temporal_bins_s[0]), 0.1)
    assert motion.displacement[0].shape == extra["explained"].shape == extra["displacement_sd_um"].shape
    assert extra["estimate"] is motion
    of_a_second = auto(peaks, locations, bin_s=1.0, extra_outputs=False)
    assert of_a_second.temporal_bins_s[0].size == 60
    assert error_um(motion, motion_of) < share * error_um(of_a_second, motion_of)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("jitter_um", [1.5, 4.0])
def test_slow_drift_keeps_its_time_bins(seed, jitter_um):
    peaks, locations = drifting_peaks(slow, seed=seed, jitter_um=jitter_um)
    motion, extra = auto(peaks, locations)
    assert extra["chosen"]["bin_s"] == 1.0
    of_a_second = auto(peaks, locations, bin_s=1.0, extra_outputs=False)
    np.testing.assert_array_equal(motion.displacement[0], of_a_second.displacement[0])


@pytest.mark.filterwarnings("ignore:steady_auto")
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("jitter_um", "rate_hz"), [(1.0, 4.0), (4.0, 0.5), (8.0, 4.0)])
def test_nothing_is_followed_where_nothing_moves(seed, jitter_um, rate_hz):
    peaks, locations = drifting_peaks(still, seed=seed, jitter_um=jitter_um, rate_hz=rate_hz)
    motion, _ = auto(peaks, locations)
    assert np.all(motion.displacement[0] == 0)


def test_jumps_of_few_spikes_are_followed_in_longer_bins():
    peaks, locations = drifting_peaks(steps, rate_hz=0.5)
    motion, _ = auto(peaks, locations)
    np.testing.assert_allclose(np.diff(motion.temporal_bins_s[0]), 0.25)
    assert error_um(motion, steps) < 0.6 * error_um(auto(peaks, locations, bin_s=1.0)[0], steps)


def test_each_segment_is_followed():
    def motion_of(segment, times_s, depths_um):
        return 40.0 * segment + walk(np.minimum(times_s + 7.0 * segment, 60.0), depths_um)

    peaks, locations = segmented_peaks(motion_of, (60.0, 0.3, 50.0), jitter_um=1.0)
    recording = segmented_recording((60.0, 0.3, 50.0))
    motion = estimate_motion(recording, peaks, locations, method="steady_auto")
    assert [part.shape[0] for part in motion.displacement] == [600, 3, 500]
    assert error_um(motion, lambda times_s, depths_um: motion_of(0, times_s, depths_um)) < 0.3


def test_rigid_motion_and_one_window_are_followed():
    peaks, locations = drifting_peaks(walk)
    motion = auto(peaks, locations, rigid=True, extra_outputs=False)
    assert motion.displacement[0].shape == (600, 1)
    found = np.interp(TIMES_S, motion.temporal_bins_s[0], motion.displacement[0][:, 0])
    difference = found - walk(TIMES_S, 0.0)
    assert np.abs(difference - np.median(difference)).mean() < 0.3


@pytest.mark.parametrize(
    ("bin_s", "rate_hz", "duration_s", "expected"),
    [
        (1.0, 300.0, 100.0, 0.1),
        (1.0, 30.0, 100.0, 1.0 / 3.0),
        (5.0, 30.0, 100.0, 1.0 / 3.0),
        (1.0, 15.0, 100.0, None),  # 10 spikes are seen in more than half of it
        (1.0, 0.0, 100.0, None),
        (1.0, 300.0, 100 * 3600.0, 0.2),  # more bins than can be held
    ],
)
def test_finer_bins_follow_the_spikes(bin_s, rate_hz, duration_s, expected):
    found = finer_bin(bin_s, rate_hz, duration_s)
    assert found == (None if expected is None else pytest.approx(expected))
