"""The stretches of a probe where motion is best seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spikeinterface.core.motion import Motion

NUM_WINDOWS = 3
NARROWEST_UM, WIDEST_UM = 160.0, 600.0
"""Of a window, um; in between it is as wide as the motion is large, times `SPANS`."""
SPANS = 10.0
STEP_UM = 20.0
"""From one window to the next that is tried."""
MOST_TIMES = 1000


def shown_times(motion: Motion, segment_index: int, most: int) -> np.ndarray:
    """Give the time bins of a segment, or `most` of them, evenly picked."""
    times = motion.temporal_bins_s[segment_index]
    return times[np.linspace(0, times.size - 1, min(times.size, most)).astype("int64")]


def moved_by(motion: Motion, depths_um: np.ndarray, segment_index: int, most: int) -> np.ndarray:
    """Give the displacement at depths and `shown_times`, um, of shape (num_times, num_depths)."""
    times = shown_times(motion, segment_index, most)
    grid = np.meshgrid(times, depths_um, indexing="ij")
    moved = motion.get_displacement_at_time_and_depth(grid[0].ravel(), grid[1].ravel(), segment_index)
    return np.asarray(moved).reshape(times.size, depths_um.size)


def find_windows(
    depths_um: np.ndarray, motion: Motion, limits_um: tuple[float, float], most: int = NUM_WINDOWS
) -> list[tuple[float, float]]:
    """Find the stretches of the probe with most motion and spikes, the best first, that don't overlap.

    Each is scored by the range of the displacement in its middle times the square root of its number of spikes.
    """
    low, high = limits_um
    centres = np.arange(low, high + 1.0, STEP_UM)
    moved = np.concatenate(
        [moved_by(motion, centres, index, MOST_TIMES) for index in range(motion.num_segments)]
    )
    spans = np.diff(np.percentile(moved, [2, 98], axis=0), axis=0)[0]
    width = min(high - low, float(np.clip(SPANS * spans.max(initial=0.0), NARROWEST_UM, WIDEST_UM)))
    centres_inside = np.clip(centres, low + width / 2, high - width / 2)
    ordered = np.sort(depths_um)
    number = np.diff(
        np.searchsorted(ordered, [centres_inside - width / 2, centres_inside + width / 2]), axis=0
    )[0]
    score = np.sqrt(number) * (spans + 0.1)
    found: list[tuple[float, float]] = []
    for best in np.argsort(-score, kind="stable"):
        start = float(centres_inside[best] - width / 2)
        if number[best] and all(abs(start - other[0]) >= width for other in found):
            found.append((start, start + width))
        if len(found) == most:
            break
    return found or [limits_um]
