"""The stretches of a probe that are shown are those with motion and spikes."""

import numpy as np
import pytest
from spikeinterface.core.motion import Motion

from steadyspike.evaluation.windows import NARROWEST_UM, WIDEST_UM, find_windows, moved_by, shown_times

TIMES = np.arange(0.5, 60)
LIMITS = (-20.0, 3860.0)


def motion_at(depth_um, size_um=20.0):
    windows = np.arange(0.0, 3841.0, 120.0)
    profile = np.exp(-(((windows - depth_um) / 300.0) ** 2))
    return Motion(np.outer(np.sin(TIMES / 5), profile) * size_um, TIMES, windows)


def test_windows_are_where_the_motion_is_and_do_not_overlap():
    depths = np.random.default_rng(0).uniform(0, 3840, 4000)
    found = find_windows(depths, motion_at(2000.0), LIMITS)
    assert len(found) == 3
    assert abs(np.mean(found[0]) - 2000.0) < 100.0
    for low, high in found:
        assert LIMITS[0] <= low < high <= LIMITS[1]
        assert NARROWEST_UM <= high - low <= WIDEST_UM
    low, high = np.sort(np.array(found), axis=0).T
    assert (high[:-1] <= low[1:] + 1e-9).all()


def test_no_window_is_without_spikes():
    depths = np.random.default_rng(0).uniform(500, 700, 100)
    for low, high in find_windows(depths, motion_at(2000.0), LIMITS):
        assert ((depths >= low) & (depths <= high)).any()
    assert find_windows(np.zeros(0), motion_at(2000.0), LIMITS) == [LIMITS]


def test_a_still_recording_and_a_short_probe_have_windows_too():
    depths = np.array([10.0, 20.0, 90.0])
    still = Motion(np.zeros((TIMES.size, 1)), TIMES, np.array([50.0]))
    assert find_windows(depths, still, (0.0, 100.0)) == [(0.0, 100.0)]


def test_long_motions_are_thinned_to_their_ends():
    motion = motion_at(500.0)
    assert shown_times(motion, 0, 7)[[0, -1]].tolist() == TIMES[[0, -1]].tolist()
    moved = moved_by(motion, np.array([480.0, 600.0]), 0, 7)
    assert moved.shape == (7, 2)
    direct = motion.get_displacement_at_time_and_depth(shown_times(motion, 0, 7), np.full(7, 480.0), 0)
    assert moved[:, 0] == pytest.approx(direct)
