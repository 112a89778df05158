"""Spikes on the axes of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from steadyspike.reports.run import Run

MOST_SPIKES = 3_000_000
"""Spikes that are looked at; of more, so many are chosen at random."""
BEYOND_UM = 150.0
"""How far beyond the contacts spikes are shown."""
GAP_SHARE = 0.01
"""Between segments, as a share of all."""


@dataclass(frozen=True)
class Timeline:
    """One time axis for all segments: a time of segment k is shown at ``time + offsets_s[k]``.

    `starts_s` and `ends_s` are those of the segments on it.
    """

    offsets_s: np.ndarray
    starts_s: np.ndarray
    ends_s: np.ndarray

    @property
    def label(self) -> str:
        """Say what is on the axis."""
        return "time (s)" if self.offsets_s.size == 1 else "time (s), segments one after the other"

    @property
    def limits_s(self) -> tuple[float, float]:
        """First and last time."""
        return float(self.starts_s[0]), float(self.ends_s[-1])


@dataclass(frozen=True)
class Spikes:
    """Spikes that have a place: time on the `Timeline` (s), place across and along the probe (um), size.

    `corrected_um` is depth minus displacement, `rank` of the amplitude from 0 to 1, `num_found` as many as were found.
    """

    times_s: np.ndarray
    across_um: np.ndarray
    depths_um: np.ndarray
    corrected_um: np.ndarray
    amplitudes: np.ndarray
    rank: np.ndarray
    num_found: int

    def __len__(self) -> int:
        return self.times_s.size

    @property
    def were_corrected(self) -> bool:
        """Whether the correction moves any."""
        return bool(np.any(self.corrected_um != self.depths_um))


def timeline_of(run: Run) -> Timeline | None:
    """Lay the segments of a run one after the other; None where neither recording nor motion tells of times."""
    if run.recording is not None:
        spans = []
        for index in range(run.recording.get_num_segments()):
            ends = np.array([0, max(run.recording.get_num_samples(index) - 1, 0)])
            spans.append(np.asarray(run.recording.sample_index_to_time(ends, segment_index=index)))
    elif run.motion is not None:
        spans = [_reach(centres) for centres in run.motion.temporal_bins_s]
    else:
        return None
    first, last = np.array(spans, dtype="float64").T
    if first.size == 1:
        return Timeline(np.zeros(1), first, last)
    gap = GAP_SHARE * float((last - first).sum())
    starts = np.concatenate([[0.0], np.cumsum(last - first + gap)[:-1]])
    return Timeline(starts - first, starts, starts + last - first)


def _reach(centres: np.ndarray) -> np.ndarray:
    """Give the first and last time of bins from their centres."""
    half = float(np.median(np.diff(centres))) / 2 if centres.size > 1 else 0.5
    return np.array([centres[0] - half, centres[-1] + half])


def spikes_of(run: Run, timeline: Timeline) -> Spikes | None:
    """Put the spikes of a run on its axes; None where they are not kept."""
    if run.peaks is None or run.locations is None or run.motion is None:
        return None
    peaks, locations, direction = run.peaks, run.locations, run.motion.direction
    number = len(peaks)
    if number > MOST_SPIKES:
        chosen = np.sort(np.random.default_rng(0).choice(number, MOST_SPIKES, replace=False))
        peaks, locations = peaks[chosen], locations[chosen]
    depths = np.asarray(locations[direction], dtype="float64")
    other = "x" if direction != "x" else "y"
    # some localizers tell the depth alone
    known = other in (locations.dtype.names or ())
    across = np.asarray(locations[other], dtype="float64") if known else np.zeros(len(locations))
    inside = np.isfinite(depths) & np.isfinite(across)
    peaks, depths, across = peaks[inside], depths[inside], across[inside]
    times, corrected = np.zeros(depths.size), depths.copy()
    for index in range(run.motion.num_segments):
        mine = peaks["segment_index"] == index
        if not mine.any():
            continue
        own = _times_of(run, peaks["sample_index"][mine], index)
        corrected[mine] -= run.motion.get_displacement_at_time_and_depth(own, depths[mine], index)
        times[mine] = own + timeline.offsets_s[index]
    amplitudes = np.abs(peaks["amplitude"]).astype("float64")
    rank = np.argsort(np.argsort(amplitudes)) / max(amplitudes.size, 1)
    return Spikes(times, across, depths, corrected, amplitudes, rank, number)


def _times_of(run: Run, samples: np.ndarray, segment_index: int) -> np.ndarray:
    if run.recording is not None:
        return np.asarray(run.recording.sample_index_to_time(samples, segment_index=segment_index))
    rate = run.facts.get("parameters", {}).get("sampling_frequency") or 30_000.0
    return samples / rate


def depth_limits(run: Run, spikes: Spikes | None) -> tuple[float, float]:
    """Give the range of depths that is shown, um: the probe, or what is known of it."""
    if run.recording is not None and run.recording.has_channel_location():
        dim = 1 if run.motion is None else run.motion.dim
        depths = run.recording.get_channel_locations()[:, min(dim, 1)]
        low, high = float(depths.min()), float(depths.max())
        if spikes is not None and len(spikes):
            # beside a short probe most spikes lie beyond its contacts
            first, last = np.percentile(spikes.depths_um, [1, 99])
            low, high = max(min(low, first), low - BEYOND_UM), min(max(high, last), high + BEYOND_UM)
        return low - 20.0, high + 20.0
    if spikes is not None and len(spikes):
        low, high = np.percentile(spikes.depths_um, [0.1, 99.9])
        return float(low) - 20.0, float(high) + 20.0
    bins = np.zeros(1) if run.motion is None else run.motion.spatial_bins_um
    return float(bins.min()) - 100.0, float(bins.max()) + 100.0
