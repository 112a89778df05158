"""How far two motions are from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.core.settings import Settings, parameter, takes
from steadyspike.motion.grids import check_pair, checked_motion, displacement_on


@dataclass(frozen=True, repr=False)
class MotionComparison:
    """How far a motion is from a reference.

    Attributes
    ----------
    difference_um : list of ndarray, shape (num_times, num_windows)
        Motion minus reference in um for each segment, without the offset.
    temporal_bins_s : list of ndarray, shape (num_times,)
        Of each segment: the motion's.
    spatial_bins_um : ndarray, shape (num_windows,)
        The motion's windows, or the reference's where the motion is rigid.
    offset : str
        Which offset was taken out: "per_depth", "global" or "none".
    offset_um : ndarray, shape (num_windows,)
        The offset itself.
    mean_um, median_um, max_um : float
        Of the absolute difference over all times and windows.
    correlation : float
        Pearson's, between the two over time, each window's mean taken out; all windows together. NaN if one of
        the two doesn't move.
    per_window_um : ndarray, shape (num_windows,)
        Mean absolute difference of each window.
    per_time_um : list of ndarray, shape (num_times,)
        Mean absolute difference at each time of each segment.
    correlation_per_window : ndarray, shape (num_windows,)
        Like `correlation`, for each window.
    """

    difference_um: list[np.ndarray]
    temporal_bins_s: list[np.ndarray]
    spatial_bins_um: np.ndarray
    offset: str
    offset_um: np.ndarray
    mean_um: float
    median_um: float
    max_um: float
    correlation: float
    per_window_um: np.ndarray
    per_time_um: list[np.ndarray]
    correlation_per_window: np.ndarray

    def __repr__(self) -> str:
        worst = int(np.argmax(self.per_window_um))
        return (
            f"MotionComparison: |difference| mean {self.mean_um:.2f} um, median {self.median_um:.2f} um, "
            f"max {self.max_um:.2f} um; correlation {self.correlation:.3f}; worst window at "
            f"{self.spatial_bins_um[worst]:.0f} um with mean {self.per_window_um[worst]:.2f} um "
            f"(offset taken out: {self.offset})"
        )


class ComparisonSettings(Settings):
    """Parameters of `compare_motions`."""

    part = "compare_motions"

    offset: Literal["per_depth", "global", "none"] = parameter(
        "per_depth",
        "What to take out before: the median difference of each window, the median of all, or nothing",
    )


@takes(ComparisonSettings)
def compare_motions(motion: Motion, reference: Motion, *, settings: ComparisonSettings) -> MotionComparison:
    """Compare a motion with another, such as the truth or what another program found.

    Both are read off at the motion's times and windows (a rigid motion: at the reference's windows), held
    outside their bins. A displacement is defined up to a constant, so the two are first laid over each other.

    Parameters
    ----------
    motion : Motion
        What to judge.
    reference : Motion
        What to judge it by; as many segments, same direction, any bins.
    {settings}

    Returns
    -------
    comparison : MotionComparison

    Raises
    ------
    ValueError
        If the two don't fit together, or `offset` is none of the three.
    """
    part, offset = settings.part, settings.offset
    motion, reference = checked_motion(part, motion), checked_motion(part, reference, "reference")
    check_pair(part, motion, reference, "motion", "reference")
    times = motion.temporal_bins_s
    windows = (reference if motion.spatial_bins_um.size == 1 else motion).spatial_bins_um
    ours = np.concatenate(displacement_on(motion, times, windows))
    theirs = np.concatenate(displacement_on(reference, times, windows))
    difference = ours - theirs
    shift = _offset(difference, offset)
    difference -= shift
    distance = np.abs(difference)
    # each window's level is not drift, and windows at different levels would look correlated
    ours, theirs = ours - ours.mean(axis=0), theirs - theirs.mean(axis=0)
    borders = np.cumsum([segment.size for segment in times])[:-1]
    return MotionComparison(
        difference_um=np.split(difference, borders),
        temporal_bins_s=times,
        spatial_bins_um=windows.copy(),
        offset=offset,
        offset_um=shift,
        mean_um=float(distance.mean()),
        median_um=float(np.median(distance)),
        max_um=float(distance.max()),
        correlation=float(_correlation(ours.reshape(-1, 1), theirs.reshape(-1, 1))[0]),
        per_window_um=distance.mean(axis=0),
        per_time_um=np.split(distance.mean(axis=1), borders),
        correlation_per_window=_correlation(ours, theirs),
    )


def _offset(difference: np.ndarray, offset: str) -> np.ndarray:
    if offset == "per_depth":
        return np.median(difference, axis=0)
    value = float(np.median(difference)) if offset == "global" else 0.0
    return np.full(difference.shape[1], value)


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlate the columns of two arrays that are centred; NaN where one is constant but for rounding."""
    norms = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norms > 1e-12, (first * second).sum(axis=0) / norms, np.nan)
