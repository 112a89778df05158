"""`phase_shift`: the sampling times of multiplexed channels made equal."""

from __future__ import annotations

from typing import Any

import numpy as np

from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.replacements.filters import frames_of
from steadyspike.integration.acceleration.threads import over_ranges
from steadyspike.kernels.filters.frequency_shift import shift_samples


@replaces(
    "spikeinterface.preprocessing.phase_shift",
    "PhaseShiftRecordingSegment.get_traces",
    name="phase_shift",
    sources=("5fc9ad0b56d5f6c1", "cffeeb986bd61df2", "197cc7fdd7f8c530"),
    helpers=("PhaseShiftRecordingSegment.__init__", "apply_frequency_shift", "get_chunk_with_margin"),
)
def shifted_traces(self: Any, start_frame: int, end_frame: int, channel_indices: Any) -> np.ndarray:
    """Do what `PhaseShiftRecordingSegment.get_traces` does.

    Covered: integers, float32 and float64 that keep their type, for frames within the recording and a margin of at
    least one sample.
    """
    dtype = np.dtype(self.dtype)
    if not (dtype.kind in "iu" or dtype in ("float32", "float64")):
        raise NotCoveredError(f"dtype={dtype}")
    if self.margin < 1:
        raise NotCoveredError("a margin of no samples")
    start, end, length = frames_of(self, start_frame, end_frame)
    channels = slice(None) if channel_indices is None else channel_indices
    shifts = np.asarray(self.sample_shifts)[channels]
    if shifts.ndim != 1 or shifts.dtype.itemsize > 8:
        raise NotCoveredError("channel_indices of one channel, or shifts of more than 64 bits")
    first, last = max(start - self.margin, 0), min(end + self.margin, length)
    traces = self.parent_recording_segment.get_traces(first, last, channels)
    if traces.dtype.kind not in "iuf" or (dtype == "float64") != (traces.dtype == "float64"):
        raise NotCoveredError(f"samples of {traces.dtype} as {dtype}")
    pads = (first - (start - self.margin), end + self.margin - last)
    # a rounded integer would show the errors of float32 where it lies halfway between two
    precision = "float32" if dtype == "float32" and traces.dtype == "float32" else "float64"
    return shift_samples(traces, shifts, self.margin, pads, dtype, precision, over_ranges)
