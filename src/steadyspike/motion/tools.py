"""Operations on motions: resample, smooth, compose, invert, restrict.

A motion says where tissue has gone: ``corrected position = position - displacement``. Between its bins a
displacement is interpolated by the motion's own method, and outside of them it is held: before the first bin
the first value, after the last bin the last one, above and below the windows that of the outermost window.
A motion with one window is rigid: its depth has no meaning. Every function takes several segments, leaves its
input as it is, and returns a new motion with the same direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.core.arguments import checked_times, refuse
from steadyspike.core.settings import Settings, parameter, takes
from steadyspike.motion.grids import (
    check_pair,
    checked_motion,
    checked_segment,
    displacement_on,
    joined_bins,
    joined_windows,
)
from steadyspike.motion.problem import MOST_TIME_BINS

# Bins whose widths differ by less than this fraction are regular.
REGULAR = 1e-3
MAX_INVERSE_WINDOWS = 20_000


class ResamplingSettings(Settings):
    """Parameters of `resample_motion`."""

    part = "resample_motion"

    bin_s: float | None = parameter(
        None,
        """Width of the new time bins, which start where the first old bin starts and cover the last one. A segment
        with a single bin keeps it""",
        unit="s",
        gt=0,
    )


class SmoothingSettings(Settings):
    """Parameters of `smooth_motion`."""

    part = "smooth_motion"

    sigma_s: float = parameter(0.0, "Standard deviation of the Gaussian over time; 0: none", unit="s", ge=0)
    sigma_um: float = parameter(
        0.0,
        "Standard deviation over depth; 0: none. A rigid motion has no depth to smooth over",
        unit="um",
        ge=0,
    )


class InversionSettings(Settings):
    """Parameters of `invert_motion`."""

    part = "invert_motion"

    tolerance_um: float = parameter(0.1, "Largest error; a smaller one needs more windows", unit="um", gt=0)


@takes(ResamplingSettings)
def resample_motion(
    motion: Motion,
    *,
    settings: ResamplingSettings,
    temporal_bins_s: np.ndarray | Sequence[np.ndarray] | None = None,
    spatial_bins_um: np.ndarray | None = None,
) -> Motion:
    """Read a motion off at other times and depths.

    The new values are read off the interpolated motion, not averaged: smooth it first if the new bins are
    much wider than the old ones. Outside its bins the motion is held.

    Parameters
    ----------
    motion : Motion
        What to resample.
    {settings}
    temporal_bins_s : ndarray, list of ndarray or None, default: None
        Centres of the new time bins in s, strictly increasing; for several segments a list with one array
        each. Not together with `bin_s`. None, without `bin_s`: as they were.
    spatial_bins_um : ndarray or None, default: None
        Depths of the new windows in um, strictly increasing. None: as they were.

    Returns
    -------
    motion : Motion

    Raises
    ------
    ValueError
        If an argument is out of its range, or if nothing is to be resampled.
    """
    part, bin_s = settings.part, settings.bin_s
    motion = checked_motion(part, motion)
    if bin_s is not None and temporal_bins_s is not None:
        refuse("temporal_bins_s", temporal_bins_s, "None together with bin_s", part)
    if bin_s is None and temporal_bins_s is None and spatial_bins_um is None:
        refuse("bin_s", bin_s, "a number where there are neither temporal_bins_s nor spatial_bins_um", part)
    times = motion.temporal_bins_s
    if bin_s is not None:
        longest_s = max(float(np.ptp(centres)) for centres in times)
        if longest_s > MOST_TIME_BINS * bin_s:
            allowed = f"at least {1.01 * longest_s / MOST_TIME_BINS:.2g} s for {longest_s:.0f} s"
            refuse("bin_s", bin_s, allowed, part)
        times = [_regular_bins(centres, bin_s) for centres in times]
    elif temporal_bins_s is not None:
        times = _times_per_segment(part, temporal_bins_s, motion.num_segments)
    windows = motion.spatial_bins_um
    if spatial_bins_um is not None:
        windows = checked_times("spatial_bins_um", spatial_bins_um, 1, part)
    return _like(motion, displacement_on(motion, times, windows), times, windows)


@takes(SmoothingSettings)
def smooth_motion(motion: Motion, *, settings: SmoothingSettings) -> Motion:
    """Smooth a motion with a Gaussian over time, over depth, or both.

    The bins stay; at the edges the motion is taken to be held. Segments are smoothed each for itself.

    Parameters
    ----------
    motion : Motion
        What to smooth.
    {settings}

    Returns
    -------
    motion : Motion

    Raises
    ------
    ValueError
        If a number is out of its range, or if bins to smooth over are not equally wide: `resample_motion`
        makes them so.
    """
    motion = checked_motion(settings.part, motion)
    displacement = [
        _smoothed(
            _smoothed(array, times, settings.sigma_s, 0, f"motion.temporal_bins_s[{segment}]"),
            motion.spatial_bins_um,
            settings.sigma_um,
            1,
            "motion.spatial_bins_um",
        )
        for segment, (array, times) in enumerate(
            zip(motion.displacement, motion.temporal_bins_s, strict=True)
        )
    ]
    return _like(motion, displacement, motion.temporal_bins_s, motion.spatial_bins_um)


def compose_motions(first: Motion, second: Motion) -> Motion:
    """Make the motion that corrects by `first` and then by `second`.

    A position `z` becomes ``z - d1(t, z)`` and then loses the second displacement there, so the whole is
    ``d(t, z) = d1(t, z) + d2(t, z - d1(t, z))``. An estimate on peaks that were corrected once is so turned
    into one correction of the raw recording.

    Parameters
    ----------
    first : Motion
        Taken out first.
    second : Motion
        Taken out of what the first one left; as many segments, same direction.

    Returns
    -------
    motion : Motion
        On the bins of both; exact on these, and between them interpolated as `first` is.

    Raises
    ------
    ValueError
        If the two don't fit together.
    """
    part = "compose_motions"
    first, second = checked_motion(part, first, "first"), checked_motion(part, second, "second")
    check_pair(part, first, second, "first", "second")
    times = [joined_bins(a, b) for a, b in zip(first.temporal_bins_s, second.temporal_bins_s, strict=True)]
    windows = joined_windows(first, second)
    displacement = displacement_on(first, times, windows)
    for segment, moved in enumerate(displacement):
        grid_times = np.repeat(times[segment], windows.size)
        left_over = second.get_displacement_at_time_and_depth(
            grid_times, (windows - moved).ravel(), segment_index=segment
        )
        moved += left_over.reshape(moved.shape)
    return _like(first, displacement, times, windows)


@takes(InversionSettings)
def invert_motion(motion: Motion, *, settings: InversionSettings) -> Motion:
    """Make the motion that takes corrected positions back to where they were seen.

    With ``u = z - d(t, z)``, its displacement is ``e(t, u) = -d(t, z(u))``. Because `d` is a polygon over
    depth, so is `e` at each time, and it is found without iteration; its corners move with time, so `e` is
    written down on windows so close together that no corner is off by more than `tolerance_um`.
    ``compose_motions(motion, invert_motion(motion))`` is 0 within that tolerance at the motion's time bins,
    and the reverse within ``1 + |slope|`` times that, where the slope is that of `d` over depth. For a rigid
    motion this is the motion with its sign turned.

    Parameters
    ----------
    motion : Motion
        What to invert; interpolated linearly.
    {settings}

    Returns
    -------
    motion : Motion
        On the same time bins; for a non-rigid motion on more windows, which reach as far as corrected
        positions do.

    Raises
    ------
    ValueError
        If the tissue folds over itself (a displacement that grows by 1 um or more per um of depth), if the
        interpolation is not linear, or if the tolerance needs more than 20,000 windows.
    """
    part = settings.part
    motion = checked_motion(part, motion)
    if motion.interpolation_method != "linear":
        refuse("motion.interpolation_method", motion.interpolation_method, "'linear'", part)
    if motion.spatial_bins_um.size == 1:
        negative = [-array for array in motion.displacement]
        return _like(motion, negative, motion.temporal_bins_s, motion.spatial_bins_um)
    corrected = [motion.spatial_bins_um - array for array in motion.displacement]
    if any((np.diff(knots, axis=1) <= 0).any() for knots in corrected):
        allowed = (
            "one whose displacement grows by less than 1 um per um of depth (see smooth_motion); this one folds the "
            "tissue over itself"
        )
        refuse("motion", motion, allowed, part)
    windows = _inverse_windows(motion, corrected, settings.tolerance_um)
    displacement = [
        -np.array([np.interp(windows, *line) for line in zip(knots, array, strict=True)]).reshape(
            -1, windows.size
        )
        for knots, array in zip(corrected, motion.displacement, strict=True)
    ]
    return _like(motion, displacement, motion.temporal_bins_s, windows)


def restrict_motion(
    motion: Motion,
    start_s: float | None = None,
    stop_s: float | None = None,
    segment_index: int | None = None,
) -> Motion:
    """Keep the bins of a motion whose centres lie in a range of time.

    The times keep their values; outside the bins that are left the motion is held.

    Parameters
    ----------
    motion : Motion
        What to cut.
    start_s : float or None, default: None
        Bins from this time on are kept, in s. None: from the first.
    stop_s : float or None, default: None
        Bins before this time are kept, in s. None: to the last.
    segment_index : int or None, default: None
        Keep this segment only. None: all, each cut by its own times.

    Returns
    -------
    motion : Motion

    Raises
    ------
    ValueError
        If there is no such segment, or if no bin of a segment is left.
    """
    part = "restrict_motion"
    motion = checked_motion(part, motion)
    limits = (-np.inf if start_s is None else start_s, np.inf if stop_s is None else stop_s)
    if not limits[0] < limits[1]:
        refuse("start_s, stop_s", (start_s, stop_s), "start_s < stop_s", part)
    displacement, times = [], []
    for segment in (
        [checked_segment(part, motion, segment_index)]
        if segment_index is not None
        else range(motion.num_segments)
    ):
        centres = motion.temporal_bins_s[segment]
        kept = (centres >= limits[0]) & (centres < limits[1])
        if not kept.any():
            allowed = f"a range that holds a bin of segment {segment}, {centres[0]:g} to {centres[-1]:g} s"
            refuse("start_s, stop_s", (start_s, stop_s), allowed, part)
        displacement.append(motion.displacement[segment][kept])
        times.append(centres[kept])
    return _like(motion, displacement, times, motion.spatial_bins_um)


def _like(motion, displacement, temporal_bins_s, spatial_bins_um) -> Motion:
    return Motion(
        displacement,
        [times.copy() for times in temporal_bins_s],
        np.array(spatial_bins_um),
        direction=motion.direction,
        interpolation_method=motion.interpolation_method,
    )


def _regular_bins(centres: np.ndarray, width: float) -> np.ndarray:
    if centres.size == 1:
        return centres
    start = 1.5 * centres[0] - 0.5 * centres[1]
    stop = 1.5 * centres[-1] - 0.5 * centres[-2]
    # a hair less, so that rounding does not add a bin where the width divides the duration
    num_bins = max(1, int(np.ceil((stop - start) / width - 1e-6)))
    return start + width * (np.arange(num_bins) + 0.5)


def _times_per_segment(part: str, temporal_bins_s: Any, num_segments: int) -> list[np.ndarray]:
    if len(temporal_bins_s) and np.ndim(temporal_bins_s[0]) == 0:
        temporal_bins_s = [temporal_bins_s]
    if len(temporal_bins_s) != num_segments:
        allowed = f"times of each of the {num_segments} segment(s), as a list"
        refuse("temporal_bins_s", temporal_bins_s, allowed, part)
    return [checked_times("temporal_bins_s", times, 1, part) for times in temporal_bins_s]


def _smoothed(values: np.ndarray, bins: np.ndarray, sigma: float, axis: int, name: str) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    if sigma == 0 or bins.size == 1:
        return values
    widths = np.diff(bins)
    if np.ptp(widths) > REGULAR * widths.mean():
        refuse(name, bins, "bins of one width, which resample_motion makes", "smooth_motion")
    return gaussian_filter1d(values, sigma / widths.mean(), axis=axis, mode="nearest")


def _inverse_windows(motion: Motion, corrected: list[np.ndarray], tolerance_um: float) -> np.ndarray:
    """Give windows over the corrected depths on which the polygons of the inverse are off by the tolerance."""
    low = min(knots.min() for knots in corrected)
    high = max(knots.max() for knots in corrected)
    # a line drawn across a corner misses it by at most a quarter of the step times the change of slope,
    # and steps no wider than the corners' distance hold one corner each
    corner, closest = 0.0, np.inf
    for knots, array in zip(corrected, motion.displacement, strict=True):
        slopes = np.diff(array, axis=1) / np.diff(knots, axis=1)
        corner = max(corner, np.abs(np.diff(slopes, axis=1, prepend=0.0, append=0.0)).max())
        closest = min(closest, np.diff(knots, axis=1).min())
    step = min(closest, 4 * tolerance_um / max(corner, 1e-12))
    num_windows = int(np.ceil((high - low) / step)) + 1
    if num_windows > MAX_INVERSE_WINDOWS:
        allowed = f"a tolerance that needs at most {MAX_INVERSE_WINDOWS} windows"
        refuse("tolerance_um", tolerance_um, allowed, InversionSettings.part)
    return np.linspace(low, high, num_windows)
