"""What all motion estimators share: arguments, time bins of all segments, spikes, windows, and the result."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from spikeinterface.core.motion import Motion
from spikeinterface.sortingcomponents.motion.motion_utils import get_spatial_windows
from tqdm.auto import tqdm

from steadyspike.core.arguments import check_arguments
from steadyspike.core.probe_layout import shank_of_channels
from steadyspike.kernels.channels.spatial_interpolation import distance_to_nearest
from steadyspike.kernels.motion import registration, segment_offsets
from steadyspike.motion.periods import check_periods, inside_periods

COMMON_PARAMS_DOC = """
    bin_s : float, default: 1.0
        Duration of the time bins in s, larger than 0.
    hist_margin_um : float, default: 40.0
        How far beyond the outermost contacts peaks are used, in um, at least 0.
    max_displacement_um : float, default: 100.0
        Largest displacement between two time bins of a segment in um, larger than 0.
    max_segment_displacement_um : float, default: 400.0
        Largest displacement between two segments in um, larger than 0.
    periods : None, sequence of tuple or ndarray, default: None
        Times to leave out (artifacts, silence): tuples (start_s, stop_s), or (segment_index, start_s, stop_s), or what
        SpikeInterface's detectors of artifacts return. The motion is bridged there.
    reference_displacement : "midrange" | "mean" | "median", default: "midrange"
        Which displacement is called zero at each depth: spikes can't tell a stretch of the tissue that was always
        there. "midrange" is the middle between the 2nd and the 98th percentile over time, which keeps the correction
        as small as possible.
"""
PEAKS_PARAMS_DOC = (
    COMMON_PARAMS_DOC
    + """
    negligible_um : float, default: 0.5
        A motion whose range (2nd to 98th percentile over time) is smaller than this in every window is returned as no
        motion at all, since to interpolate would cost more than it brings; in um, at least 0.
"""
)


def check_common(
    name,
    bin_s,
    hist_margin_um,
    max_displacement_um,
    max_segment_displacement_um,
    reference_displacement,
    negligible_um=0.0,
):
    """Refuse values of the arguments that every estimator takes."""
    check_arguments(
        name,
        bin_s=(bin_s, bin_s > 0, "larger than 0 s"),
        hist_margin_um=(hist_margin_um, hist_margin_um >= 0, "at least 0 um"),
        max_displacement_um=(max_displacement_um, max_displacement_um > 0, "larger than 0 um"),
        max_segment_displacement_um=(
            max_segment_displacement_um,
            max_segment_displacement_um > 0,
            "larger than 0 um",
        ),
        negligible_um=(negligible_um, negligible_um >= 0, "at least 0 um"),
        reference_displacement=(
            reference_displacement,
            reference_displacement in registration.REFERENCES,
            f"one of {', '.join(registration.REFERENCES)}",
        ),
    )


@dataclass(frozen=True)
class TimeBins:
    """Time bins of all segments, one after the other.

    Attributes
    ----------
    edges_s : list of ndarray
        Edges of the bins of each segment, in s.
    segment_edges : ndarray of int64, shape (num_segments + 1,)
        First bin of each segment among all bins, and the number of all.
    """

    edges_s: list[np.ndarray]
    segment_edges: np.ndarray

    @property
    def num_times(self) -> int:
        """Number of time bins in all segments."""
        return int(self.segment_edges[-1])

    @property
    def centers_s(self) -> list[np.ndarray]:
        """Centers of the bins of each segment, in s."""
        return [0.5 * (edges_s[1:] + edges_s[:-1]) for edges_s in self.edges_s]

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """Cut an array over all time bins into one for each segment."""
        return np.split(values, self.segment_edges[1:-1])


def time_bins(recording, bin_s):
    """Lay time bins over every segment, as SpikeInterface's estimators do; at least one bin in each."""
    edges_s = []
    for segment_index in range(recording.get_num_segments()):
        num_samples = recording.get_num_samples(segment_index)
        start_s, stop_s = 0.0, 0.0
        if num_samples > 0:
            first_last = np.array([0, num_samples - 1])
            start_s, stop_s = recording.sample_index_to_time(first_last, segment_index=segment_index)
        num_times = max(int(np.ceil((stop_s - start_s) / bin_s)), 1)
        edges_s.append(start_s + bin_s * np.arange(num_times + 1))
    counts = [edges.size - 1 for edges in edges_s]
    return TimeBins(edges_s, np.concatenate([[0], np.cumsum(counts)]).astype("int64"))


@dataclass(frozen=True)
class Problem:
    """Everything that an estimator works on.

    Attributes
    ----------
    name : str
        Name of the estimator.
    times : TimeBins
        Time bins.
    spikes : registration.Spikes
        Peaks with a finite location, outside the periods to leave out; their time bins run over all segments.
    order : ndarray of int64 or slice
        Which of the peaks these are.
    windows_of : callable
        ``windows_of(depths_um)`` gives the windows, shape (num_windows, num_depths).
    centers_um : ndarray, shape (num_windows,)
        Centers of the windows.
    depth_range_um : tuple of float
        Lowest and highest depth that is looked at.
    direction : str
        Direction of the motion.
    progress : callable
        ``progress(iterable, label)``.
    """

    name: str
    times: TimeBins
    spikes: registration.Spikes
    order: Any
    windows_of: Callable[[np.ndarray], np.ndarray]
    centers_um: np.ndarray
    depth_range_um: tuple[float, float]
    direction: str
    progress: Callable[..., Any]

    def depth_bins(self, bin_um: float) -> np.ndarray:
        """Centers of depth bins that cover the range."""
        low, high = self.depth_range_um
        return np.arange(low, high + bin_um, bin_um)

    def motion(self, displacement: np.ndarray) -> Motion:
        """Make a motion of a displacement of shape (num_times, num_windows)."""
        return Motion(
            self.times.split(displacement), self.times.centers_s, self.centers_um, direction=self.direction
        )


# Spikes are seen this far around; contacts farther apart never see one unit move from one to the next.
MAX_PITCH_UM = 200.0
MIN_EXTENT_UM = 1.0


def check_layout(name, recording, direction):
    """Refuse layouts on which no motion along the direction can be seen, and give the contacts' positions along it.

    Parameters
    ----------
    name : str
        Who asks, for errors.
    recording : BaseRecording
        With a probe.
    direction : "x" | "y" | "z"
        Direction of the motion.

    Returns
    -------
    depths_um : ndarray, shape (num_channels,)

    Raises
    ------
    ValueError
        If all contacts lie at one place along the direction, or none has a neighbour (Utah arrays).
    """
    positions = recording.get_channel_locations(axes="xyz" if recording.is_probe_3d() else "xy")
    dimension = "xyz".index(direction)
    if dimension >= positions.shape[1]:
        raise ValueError(f"{name}: direction={direction!r}, and the probe has the directions x and y only")
    depths_um = positions[:, dimension]
    if np.ptp(depths_um) < MIN_EXTENT_UM:
        raise ValueError(
            f"{name}: all {depths_um.size} contacts lie at one place along {direction}, so motion along {direction} "
            "cannot be seen; leave this recording as it is, or choose the direction along which the contacts lie"
        )
    nearest_um = float(np.median(distance_to_nearest(positions)))
    if nearest_um > MAX_PITCH_UM:
        raise ValueError(
            f"{name}: the contacts are {nearest_um:.0f} um apart (Utah or another wide array), and a spike is seen by "
            f"one of them only: drift cannot be estimated beyond {MAX_PITCH_UM:.0f} um. Sort the channels one by one"
        )
    return depths_um


def build_problem(
    name,
    recording,
    peaks,
    peak_locations,
    direction,
    *,
    bin_s,
    hist_margin_um,
    periods,
    rigid,
    win_shape,
    win_step_um,
    win_scale_um,
    win_margin_um,
    verbose=False,
    progress_bar=False,
):
    """Gather what an estimator works on; parameters are those of `estimate_motion` and `COMMON_PARAMS_DOC`.

    Returns
    -------
    problem : Problem
    """
    periods = check_periods(name, periods, recording)
    contact_depths = check_layout(name, recording, direction)
    depth_range_um = (contact_depths.min() - hist_margin_um, contact_depths.max() + hist_margin_um)
    window = partial(
        get_spatial_windows,
        contact_depths,
        rigid=rigid,
        win_shape=win_shape,
        win_step_um=win_step_um,
        win_scale_um=win_scale_um,
        win_margin_um=win_margin_um,
    )
    _, centers_um = window(contact_depths)
    times = time_bins(recording, bin_s)
    if peaks is None:
        spikes, order = registration.Spikes(np.zeros(0, "int32"), *np.zeros((2, 0), "float32")), slice(0)
    else:
        spikes, order = _select_spikes(recording, peaks, peak_locations, direction, times, periods)
    if verbose:
        print(
            f"{name}: {spikes.depths_um.size} peaks, {times.num_times} time bins, {centers_um.size} windows"
        )

    def progress(iterable, label):
        return tqdm(iterable, desc=label, disable=not progress_bar)

    return Problem(
        name,
        times,
        spikes,
        order,
        lambda depths_um: window(depths_um)[0],
        centers_um,
        depth_range_um,
        direction,
        progress,
    )


def _select_spikes(recording, peaks, peak_locations, direction, times, periods):
    """Peaks with a finite location outside the periods, in the order and types that the registration takes."""
    depths_um = np.asarray(peak_locations[direction], dtype="float32")
    usable = np.isfinite(depths_um)
    bins = np.zeros(depths_um.size, dtype="int32")
    for segment_index, edges_s in enumerate(times.edges_s):
        # one segment, the usual case, is not copied
        mine = (
            slice(None)
            if len(times.edges_s) == 1
            else np.flatnonzero(peaks["segment_index"] == segment_index)
        )
        samples = peaks["sample_index"][mine]
        if samples.size == 0:
            continue
        # hours of peaks: the times, a new array, are turned into bins in place
        place = recording.sample_index_to_time(samples, segment_index=segment_index)
        if periods.size:
            usable[mine] &= ~inside_periods(place, segment_index, periods)
        place -= edges_s[0]
        place /= edges_s[1] - edges_s[0]
        first = times.segment_edges[segment_index]
        bins[mine] = np.clip(place, 0, edges_s.size - 2, out=place).astype("int32") + first
    order = slice(None) if usable.all() else np.flatnonzero(usable)
    amplitudes = peaks["amplitude"][order].astype("float32")
    shanks = shank_of_channels(recording)
    groups = shanks[peaks["channel_index"][order]] if shanks.max(initial=0) > 0 else None
    return registration.Spikes(bins[order], depths_um[order], amplitudes, groups), order


def finish(problem, starts, settings, extra=None):
    """From first estimates within each segment to the motion: join the segments, refine, measure the trust.

    Parameters
    ----------
    problem : Problem
        What was estimated.
    starts : list of ndarray of float64, shape (num_times, num_windows)
        First estimates in um, of any offset in each segment.
    settings : registration.RegistrationSettings
        How to refine; with ``refine_iterations=0`` the first of `starts` is the result and trust is measured only.
    extra : dict or None
        Filled, where given, with "temporal_hist_bin_edges" (of all segments, a list where there are several),
        "window_centers", "trust" and "displacement_sd_um" of shape (num_times, num_windows), segments one after
        the other.

    Returns
    -------
    motion : Motion
    """
    joined = [
        segment_offsets.register_segments(
            problem.spikes,
            problem.centers_um,
            problem.windows_of,
            problem.depth_range_um,
            start,
            problem.times.segment_edges,
            settings.max_segment_displacement_um,
        )
        for start in starts
    ]
    result = registration.refine(
        problem.spikes,
        problem.centers_um,
        problem.depth_range_um,
        joined,
        problem.times.segment_edges,
        settings,
        problem.progress,
    )
    return as_motion(problem, result, extra)


def as_motion(problem, result, extra):
    """Make a motion of a `registration.Registration` of all time bins, and fill `extra` as `finish` says."""
    if extra is not None:
        edges_s = problem.times.edges_s
        extra["temporal_hist_bin_edges"] = edges_s[0] if len(edges_s) == 1 else edges_s
        extra["window_centers"] = problem.centers_um
        extra["trust"] = result.trust
        extra["displacement_sd_um"] = result.deviation_um
    return problem.motion(result.displacement)
