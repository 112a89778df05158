"""Time is split so that nothing is trained on that is held out, or close to it."""

import numpy as np
import pytest
from training_signals import RATE, recording_of

from steadyspike.core.stretches import Stretch, TimeRange, split_time


def spans(stretches):
    return {(s.recording, s.segment, s.start, s.stop) for s in stretches}


def test_the_last_tenth_of_each_segment_is_held_out_with_a_gap():
    recordings = [recording_of(samples=(10_000, 5_000)), recording_of(num_channels=4, samples=(2_000,))]
    train, test = split_time(recordings, TimeRange(), TimeRange(), 0.01, False)
    assert spans(test) == {(0, 0, 9_000, 10_000), (0, 1, 4_500, 5_000), (1, 0, 1_800, 2_000)}
    assert spans(train) == {(0, 0, 0, 8_900), (0, 1, 0, 4_400), (1, 0, 0, 1_700)}


def test_times_run_through_all_segments_of_all_recordings():
    recordings = [recording_of(samples=(10_000, 5_000)), recording_of(samples=(8_000,))]
    train, test = split_time(recordings, TimeRange(0.5, 1.9), TimeRange(1.4, None, 0.2), 0.05, False)
    assert spans(test) == {(0, 1, 4_000, 5_000), (1, 0, 0, 1_000)}
    assert spans(train) == {(0, 0, 5_000, 10_000), (0, 1, 0, 3_500), (1, 0, 1_500, 4_000)}


def test_nothing_near_what_is_held_out_is_trained_on():
    rng = np.random.default_rng(0)
    recordings = [recording_of(samples=(9_000, 300, 4_000)), recording_of(samples=(7_000,))]
    for _ in range(50):
        start, test_start = rng.uniform(0, 1.5, 2)
        wanted = TimeRange(start, start + rng.uniform(0.01, 0.5))
        train, test = split_time(
            recordings, wanted, TimeRange(test_start, None, rng.uniform(0.01, 0.4)), 0.02, False
        )
        used = {(s.recording, s.segment, t) for s in train for t in range(s.start, s.stop)}
        for s in test:
            near = range(s.start - 200, s.stop + 200)
            assert used.isdisjoint((s.recording, s.segment, t) for t in near)
        assert len(used) <= (wanted.end_s - wanted.start_s) * RATE + 3


def test_ranges_outside_are_refused():
    recordings = [recording_of(samples=(10_000,))]
    with pytest.raises(ValueError, match=r"train_end_s=2; allowed: 0 to 1 s"):
        split_time(recordings, TimeRange(0, 2), TimeRange(), 0, False)
    with pytest.raises(ValueError, match=r"test_start_s=-1"):
        split_time(recordings, TimeRange(), TimeRange(-1), 0, False)
    with pytest.raises(ValueError, match="allowed: an end after the start"):
        split_time(recordings, TimeRange(0.5, 0.4), TimeRange(), 0, False)


def test_other_recordings_can_be_held_out():
    train, test = split_time([recording_of(samples=(100,))], TimeRange(), TimeRange(), 0.1, True)
    assert (train, test) == ([Stretch(0, 0, 0, 100)], [])
