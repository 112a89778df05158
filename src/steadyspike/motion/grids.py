"""What the tools for motions share: a checked copy, its values on a grid, and whether two fit together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.core.arguments import checked_times, refuse

# Bins closer than this, in s or um, are one bin when the bins of two motions are joined.
SAME_BIN = 1e-6


def checked_motion(part: str, motion: Any, name: str = "motion") -> Motion:
    """Return a float64 copy of a motion whose arrays fit each other; `part` takes it under this `name`.

    Refuses what is no Motion, has no bins, bins out of order, or values that are not finite.
    """
    if not isinstance(motion, Motion):
        refuse(name, motion, "a spikeinterface.core.motion.Motion (see load_motion for files)", part)
    windows = checked_times(f"{name}.spatial_bins_um", motion.spatial_bins_um, 1, part)
    times = [
        checked_times(f"{name}.temporal_bins_s[{k}]", t, 1, part)
        for k, t in enumerate(motion.temporal_bins_s)
    ]
    displacement = [np.array(array, dtype="float64") for array in motion.displacement]
    for k, array in enumerate(displacement):
        if array.shape != (times[k].size, windows.size) or not np.isfinite(array).all():
            shape = (times[k].size, windows.size)
            refuse(f"{name}.displacement[{k}]", array, f"finite um, shape {shape}", part)
    return Motion(displacement, times, windows, motion.direction, motion.interpolation_method)


def displacement_on(
    motion: Motion, temporal_bins_s: Sequence[np.ndarray], spatial_bins_um: np.ndarray
) -> list[np.ndarray]:
    """Read a motion off on each segment's times and on depths, (num_times, num_depths), held outside its bins."""
    depths = np.asarray(spatial_bins_um, dtype="float64")
    return [
        motion.get_displacement_at_time_and_depth(times, depths, segment_index=segment, grid=True).T
        for segment, times in enumerate(temporal_bins_s)
    ]


def checked_segment(part: str, motion: Motion, segment_index: Any) -> int:
    """Return the index of an existing segment."""
    if isinstance(segment_index, bool) or segment_index not in range(motion.num_segments):
        refuse("segment_index", segment_index, f"0 to {motion.num_segments - 1}", part)
    return int(segment_index)


def joined_windows(first: Motion, second: Motion) -> np.ndarray:
    """Give the windows of two motions together; the one window of a rigid motion counts only beside its like."""
    if second.spatial_bins_um.size == 1:
        return first.spatial_bins_um
    if first.spatial_bins_um.size == 1:
        return second.spatial_bins_um
    return joined_bins(first.spatial_bins_um, second.spatial_bins_um)


def check_pair(part: str, first: Motion, second: Motion, first_name: str, second_name: str) -> None:
    """Refuse two motions with other numbers of segments or other directions."""
    for fact in ("num_segments", "direction"):
        expected, found = getattr(first, fact), getattr(second, fact)
        if found != expected:
            refuse(f"{second_name}.{fact}", found, f"{expected!r}, as {first_name} has", part)


def joined_bins(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Give the bins of both, without doubles."""
    bins = np.union1d(first, second)
    return bins[np.concatenate([[True], np.diff(bins) > SAME_BIN])]
