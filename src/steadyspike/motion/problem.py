"""What all motion estimators share: time bins of all segments, spikes, windows, and the result."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from spikeinterface.core.motion import Motion
from spikeinterface.sortingcomponents.motion.motion_utils import get_spatial_windows
from tqdm.auto import tqdm

from steadyspike.core.arguments import refuse
from steadyspike.core.probe_layout import shank_of_channels
from steadyspike.kernels.channels.spatial_interpolation import distance_to_nearest
from steadyspike.kernels.motion import registration, segment_offsets
from steadyspike.motion.periods import check_periods, inside_periods
from steadyspike.motion.settings import MotionEstimator, WindowSettings

# Spikes are seen this far around; contacts farther apart never see one unit move from one to the next.
MAX_PITCH_UM = 200.0
MIN_EXTENT_UM = 1.0
# Time bins that an estimate may have: a day at 0.05 s.
MOST_TIME_BINS = 2_000_000
# Times that are looked at in a time bin, to see whether there are samples in it.
LOOKS_PER_BIN = 4


@dataclass(frozen=True)
class TimeBins:
    """Time bins of all segments, one after the other. Where a recording has a gap, there are none.

    `edges_s` has an array for each segment: where its bins of the duration `bin_s` begin, and where the last one ends.
    `segment_edges`, int64 (num_segments + 1,), is the first bin of each segment among all bins, and the number of all.
    """

    edges_s: list[np.ndarray]
    bin_s: float
    segment_edges: np.ndarray

    @classmethod
    def of(cls, edges_s, bin_s):
        """Number the bins of all segments."""
        counts = [edges.size - 1 for edges in edges_s]
        return cls(edges_s, bin_s, np.concatenate([[0], np.cumsum(counts)]).astype("int64"))

    @property
    def num_times(self) -> int:
        """Number of time bins in all segments."""
        return int(self.segment_edges[-1])

    @property
    def centers_s(self) -> list[np.ndarray]:
        """Centers of the bins of each segment, in s."""
        return [
            np.where(self.has_gap_after(edges), edges[:-1] + 0.5 * self.bin_s, 0.5 * (edges[1:] + edges[:-1]))
            for edges in self.edges_s
        ]

    def has_gap_after(self, edges_s: np.ndarray) -> np.ndarray:
        """Tell for each bin whether the next one begins later than it ends."""
        return np.diff(edges_s) > 1.5 * self.bin_s

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """Cut an array over all time bins into one for each segment."""
        return np.split(values, self.segment_edges[1:-1])


def seconds_of_samples(recording, segment_index):
    """Duration of the samples of a segment, without the gaps that a time vector may have."""
    return recording.get_num_samples(segment_index) / recording.get_sampling_frequency()


def time_bins(name, recording, bin_s):
    """Lay time bins over every segment, as SpikeInterface's estimators do; at least one in each, and none in gaps.

    Refuses, as what estimator `name` was asked for, bins so short that there would be more than `MOST_TIME_BINS`.
    """
    segments = range(recording.get_num_segments())
    recorded_s = sum(seconds_of_samples(recording, index) for index in segments)
    if recorded_s > MOST_TIME_BINS * bin_s:
        allowed = (
            f"at least {1.01 * recorded_s / MOST_TIME_BINS:.2g} s for {recorded_s:.0f} s of recording: more than "
            f"{MOST_TIME_BINS:,} time bins take days and more memory than there is"
        )
        refuse("bin_s", bin_s, allowed, name)
    return TimeBins.of([_edges_of(name, recording, index, bin_s) for index in segments], bin_s)


def _edges_of(name, recording, segment_index, bin_s):
    """Edges of the bins of a segment; see `TimeBins`."""
    num_samples = recording.get_num_samples(segment_index)
    if num_samples == 0:
        return bin_s * np.arange(2.0)
    first_last = np.array([0, num_samples - 1])
    start_s, stop_s = recording.sample_index_to_time(first_last, segment_index=segment_index)
    num_times = max(int(np.ceil((stop_s - start_s) / bin_s)), 1)
    gaps_s = stop_s - start_s - seconds_of_samples(recording, segment_index)
    if abs(gaps_s) < 0.5 * bin_s:
        return start_s + bin_s * np.arange(num_times + 1)
    step = max(int(bin_s * recording.get_sampling_frequency() / LOOKS_PER_BIN), 1)
    looks = np.append(np.arange(0, num_samples, step), num_samples - 1)
    times_s = recording.sample_index_to_time(looks, segment_index=segment_index)
    if (np.diff(times_s) < 0).any() or stop_s == start_s:
        refuse("recording", recording, f"times that increase; those of segment {segment_index} do not", name)
    places = np.unique(np.clip((times_s - start_s) / bin_s, 0, num_times - 1).astype("int64"))
    return start_s + bin_s * np.append(places, places[-1] + 1)


@dataclass(frozen=True)
class Problem:
    """Everything that an estimator works on.

    `spikes` are the peaks with a finite location, outside the periods to leave out, with time bins that run over all
    segments; `order` tells which of the peaks these are, whereas `peak_locations`, which may be None, are those of all
    peaks. ``windows_of(depths_um)`` gives the windows, (num_windows, num_depths); `depth_range_um` is the lowest and
    highest depth that is looked at; ``progress(iterable, label)`` shows how far it is.
    """

    recording: Any
    peak_locations: np.ndarray | None
    windows: WindowSettings
    times: TimeBins
    spikes: registration.Spikes
    order: Any
    windows_of: Callable[[np.ndarray], np.ndarray]
    centers_um: np.ndarray
    depth_range_um: tuple[float, float]
    verbose: bool
    progress: Callable[..., Any]

    def depth_bins(self, bin_um: float) -> np.ndarray:
        """Centers of depth bins that cover the range."""
        low, high = self.depth_range_um
        return np.arange(low, high + bin_um, bin_um)

    def motion(self, displacement: np.ndarray) -> Motion:
        """Make a motion of a displacement of shape (num_times, num_windows)."""
        parts, direction = self.times.split(displacement), self.windows.direction
        return Motion(parts, self.times.centers_s, self.centers_um, direction=direction)


def check_layout(name, recording, direction):
    """Give the contacts' positions along a direction; refuse layouts on which no motion along it can be seen.

    These are contacts that all lie at one place along it, and those of which none has a neighbour (Utah arrays).
    """
    positions = recording.get_channel_locations(axes="xyz" if recording.is_probe_3d() else "xy")
    dimension = "xyz".index(direction)
    if dimension >= positions.shape[1]:
        refuse("direction", direction, "'x' or 'y', as the probe has the directions x and y only", name)
    depths_um = positions[:, dimension]
    if np.ptp(depths_um) < MIN_EXTENT_UM:
        allowed = (
            f"a direction along which the contacts lie: all {depths_um.size} lie at one place along {direction}, so "
            f"motion along {direction} cannot be seen; choose another, or leave this recording as it is"
        )
        refuse("direction", direction, allowed, name)
    nearest_um = float(np.median(distance_to_nearest(positions)))
    if nearest_um > MAX_PITCH_UM:
        allowed = (
            f"contacts up to {MAX_PITCH_UM:.0f} um apart; these are {nearest_um:.0f} um apart (Utah or another wide "
            "array), a spike is seen by one of them only, and drift cannot be estimated. Sort the channels one by one"
        )
        refuse("recording", recording, allowed, name)
    return depths_um


def windows_on(contact_depths: np.ndarray, windows: WindowSettings) -> Callable[..., Any]:
    """Give SpikeInterface's `get_spatial_windows` for these contacts: a function of the depths in um."""
    arguments = {name: getattr(windows, name) for name in WindowSettings.model_fields if name != "direction"}
    return partial(get_spatial_windows, contact_depths, **arguments)


def build_problem(
    recording, peaks, peak_locations, windows, settings, *, times=None, verbose=False, progress_bar=False
):
    """Gather what an estimator works on.

    Without `times`, time bins are those of ``settings.bin_s``; without peaks there are no spikes. `verbose` prints the
    size of the problem.
    """
    name, direction = settings.part, windows.direction
    periods = check_periods(name, settings.periods, recording)
    contact_depths = check_layout(name, recording, direction)
    margin_um = settings.hist_margin_um
    depth_range_um = (contact_depths.min() - margin_um, contact_depths.max() + margin_um)
    window = windows_on(contact_depths, windows)
    _, centers_um = window(contact_depths)
    times = time_bins(name, recording, settings.bin_s) if times is None else times
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
        recording,
        peak_locations,
        windows,
        times,
        spikes,
        order,
        lambda depths_um: window(depths_um)[0],
        centers_um,
        depth_range_um,
        verbose,
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
        if times.has_gap_after(edges_s).any():
            place = np.searchsorted(edges_s, place, side="right") - 1.0
        else:
            place -= edges_s[0]
            place /= edges_s[1] - edges_s[0]
        first = times.segment_edges[segment_index]
        bins[mine] = np.clip(place, 0, edges_s.size - 2, out=place).astype("int32") + first
    order = slice(None) if usable.all() else np.flatnonzero(usable)
    amplitudes = peaks["amplitude"][order].astype("float32")
    shanks = shank_of_channels(recording)
    groups = shanks[peaks["channel_index"][order]] if shanks.max(initial=0) > 0 else None
    return registration.Spikes(bins[order], depths_um[order], amplitudes, groups), order


class PeakEstimator(MotionEstimator):
    """An estimator that works on the peaks only; a subclass estimates in `solve`."""

    @classmethod
    def estimate(cls, recording, peaks, peak_locations, windows, settings, verbose, progress_bar, extra):
        """Estimate the motion; see `run`."""
        shown = dict(verbose=verbose, progress_bar=progress_bar)
        problem = build_problem(recording, peaks, peak_locations, windows, settings, **shown)
        return cls.solve(problem, settings, extra)

    @classmethod
    def solve(cls, problem: Problem, settings: Any, extra: dict[str, Any] | None) -> Motion:
        """Estimate the motion of a problem; see `run`."""
        raise NotImplementedError


def finish(problem, starts, settings, extra=None):
    """From first estimates within each segment to the motion: join the segments, refine, measure what it explains.

    `starts`, (num_times, num_windows) in um, may have any offset in each segment; with ``refine_iterations=0`` the
    first of them is the result and is only measured. `extra` is filled, where given, with "temporal_hist_bin_edges" (of
    all segments, a list where there are several), "window_centers", "explained" and "displacement_sd_um" of shape
    (num_times, num_windows), segments one after the other; "trust", as 0.1.0 called it, is "explained" again.
    """
    spikes, knots_um, range_um = problem.spikes, problem.centers_um, problem.depth_range_um
    edges, most_um = problem.times.segment_edges, settings.max_segment_displacement_um
    joined = [
        segment_offsets.register_segments(
            spikes, knots_um, problem.windows_of, range_um, start, edges, most_um
        )
        for start in starts
    ]
    result = registration.refine(spikes, knots_um, range_um, joined, edges, settings, problem.progress)
    return as_motion(problem, result, extra)


def as_motion(problem, result, extra):
    """Make a motion of a `registration.Registration` of all time bins, and fill `extra` as `finish` says."""
    if extra is not None:
        edges_s = problem.times.edges_s
        extra["temporal_hist_bin_edges"] = edges_s[0] if len(edges_s) == 1 else edges_s
        extra["window_centers"] = problem.centers_um
        extra["explained"] = extra["trust"] = result.explained
        extra["displacement_sd_um"] = result.deviation_um
    return problem.motion(result.displacement)
