import warnings

import numpy as np
import pytest
import spikeinterface as si

from steadyspike.motion.periods import check_periods

FIELDS = [("start_sample_index", "int64"), ("end_sample_index", "int64"), ("segment_index", "int64")]


def recording_of(clock):
    """Three seconds from 100 s on, and an empty segment."""
    empty = np.zeros((0, 4), "float32")
    recording = si.NumpyRecording([np.zeros((3000, 4), "float32"), empty], 1000.0, t_starts=[100.0, 200.0])
    if clock == "time vector":
        recording.set_times(100.0 + np.arange(3000) / 1000.0, segment_index=0)
    return recording


@pytest.mark.parametrize("clock", ["start", "time vector"])
@pytest.mark.parametrize("period", [(0, 0.0, 1.0), (0, 103.5, 104.0), (0, -5.0, 99.9)])
def test_periods_outside_the_recording_are_told(clock, period):
    with pytest.warns(
        UserWarning, match=r"part: 1 of 2 periods lie outside .* segment 0 has 100 to 102.999 s"
    ):
        rows = check_periods("part", [period, (0, 101.0, 102.0)], recording_of(clock))
    assert len(rows) == 2


@pytest.mark.parametrize(
    "period", [(0, 100.5, 101.0), (0, 99.0, 100.0), (0, 102.9, 500.0), (0, 0.0, np.inf), (1, 0, 1)]
)
def test_periods_that_reach_into_the_recording_are_not(period):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_periods("part", [period], recording_of("start"))


@pytest.mark.parametrize("clock", ["start", "time vector"])
def test_samples_up_to_the_end(clock):
    periods = np.array([(2000, 3000, 0)], dtype=FIELDS)
    np.testing.assert_allclose(check_periods("part", periods, recording_of(clock)), [[0, 102.0, 102.999]])
    with pytest.raises(ValueError, match="segments 0 to 1, and here is segment 2"):
        check_periods("part", np.array([(0, 1, 2)], dtype=FIELDS), recording_of(clock))
