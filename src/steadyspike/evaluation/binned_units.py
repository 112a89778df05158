"""Amplitude, firing rate and displacement of units in bins of time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.motion.grids import displacement_on

# Time bins, of the motion or of the measures: a longer stretch without any is a gap in the recording.
LONG_GAP = 100


@dataclass(frozen=True)
class BinnedUnits:
    """Series of all units on common time bins, one segment after the other.

    `times_s` (num_bins,) are bin centres in s, on each segment's own clock; `starts` (num_segments + 1,) says where
    each segment starts, and ends with the number of bins. `amplitude` is the median absolute one, NaN in bins with too
    few spikes, `rate_hz` spikes per second, `displacement_um` that of the tissue at each unit's depth, each
    (num_units, num_bins); `mean_displacement_um` (num_bins,) is the mean over the windows.
    """

    times_s: np.ndarray
    starts: np.ndarray
    amplitude: np.ndarray | None
    rate_hz: np.ndarray
    displacement_um: np.ndarray
    mean_displacement_um: np.ndarray


def bin_units(
    times_s: np.ndarray,
    units: np.ndarray,
    segments: np.ndarray,
    amplitudes: np.ndarray | None,
    depths_um: np.ndarray | None,
    num_units: int,
    motion: Motion,
    bin_s: float,
    min_spikes: int,
) -> BinnedUnits:
    """Bin spikes over the time that a motion covers.

    Spikes have a time in s, the number of their unit, and a segment; amplitudes, of any sign, may be None. Without
    `depths_um` of the units, each moves as the mean over the windows. What is left over at the end of a segment, of
    bins of `bin_s`, is not used. Bins with fewer than `min_spikes` spikes of a unit have no amplitude.
    """
    edges = [_edges(centres, bin_s) for centres in motion.temporal_bins_s]
    starts = np.concatenate([[0], np.cumsum([edge.size - 1 for edge in edges])])
    centres = [edge[:-1] + bin_s / 2 for edge in edges]
    bins = np.full(times_s.size, -1, dtype="int64")
    for segment, edge in enumerate(edges):
        here = np.flatnonzero(segments == segment)
        place = np.searchsorted(edge, times_s[here], side="right") - 1
        inside = (place >= 0) & (place < edge.size - 1)
        bins[here[inside]] = starts[segment] + place[inside]
    used = bins >= 0
    cells = units[used] * starts[-1] + bins[used]
    counts = np.bincount(cells, minlength=num_units * starts[-1]).reshape(num_units, starts[-1])
    windows = motion.spatial_bins_um
    over_windows = np.concatenate(displacement_on(motion, centres, windows)).mean(axis=1)
    if depths_um is None:
        at_units = np.tile(over_windows, (num_units, 1))
    else:
        at_units = np.concatenate(displacement_on(motion, centres, depths_um)).T
    return BinnedUnits(
        times_s=np.concatenate(centres),
        starts=starts,
        amplitude=None
        if amplitudes is None
        else _medians(cells, np.abs(amplitudes[used]), counts, min_spikes),
        rate_hz=counts / bin_s,
        displacement_um=at_units,
        mean_displacement_um=over_windows,
    )


def trend_blocks(starts: np.ndarray, bins_per_block: int) -> np.ndarray:
    """Divide each segment into blocks of about a length; give where each starts, and the end."""
    parts = []
    for start, stop in pairwise(starts):
        number = max(1, round((stop - start) / bins_per_block))
        parts.append(np.linspace(start, stop, number + 1).round().astype("int64")[:-1])
    return np.append(np.concatenate(parts), starts[-1])


def starts_of_kept(starts: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Give where the blocks start once bins are left out; blocks without a bin vanish."""
    return np.unique(np.concatenate([[0], np.cumsum(kept)])[starts])


def _edges(centres: np.ndarray, bin_s: float) -> np.ndarray:
    """Edges of bins of one width over the time that bins with these centres cover.

    The last bin before a gap in the times ends where the first one after it begins.
    """
    width = float(np.median(np.diff(centres))) if centres.size > 1 else bin_s
    runs = np.split(centres, np.flatnonzero(np.diff(centres) > LONG_GAP * max(width, bin_s)) + 1)
    edges = [_edges_of_run(run, np.diff(run).mean() if run.size > 1 else width, bin_s) for run in runs]
    return np.concatenate([*(run[:-1] for run in edges), edges[-1][-1:]])


def _edges_of_run(centres: np.ndarray, width: float, bin_s: float) -> np.ndarray:
    """Edges of bins over a run of bins of this width."""
    start, duration = centres[0] - width / 2, centres[-1] - centres[0] + width
    # a hair more, so that rounding does not lose a bin that fits exactly
    return start + bin_s * np.arange(int(duration / bin_s + 1e-6) + 1)


def _medians(cells: np.ndarray, values: np.ndarray, counts: np.ndarray, min_spikes: int) -> np.ndarray:
    """Median of the values in each cell, NaN in those with too few."""
    ordered = values[np.lexsort((values, cells))]
    number = counts.ravel()
    first = np.cumsum(number) - number
    medians = np.full(number.size, np.nan)
    enough = np.flatnonzero(number >= max(1, min_spikes))
    low, high = (first[enough] + (number[enough] - k) // 2 for k in (1, 0))
    medians[enough] = (ordered[low] + ordered[high]) / 2
    return medians.reshape(counts.shape)
