"""Small, seeded sets of peaks whose drift is known, and the error of an estimate: seconds to make and to register."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

SAMPLING_FREQUENCY = 30_000.0
MotionOf = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PeakSet:
    """Peaks of a recording and the displacement that they were given.

    Attributes
    ----------
    recording : BaseRecording
        Contacts and times; its traces are noise.
    peaks, peak_locations : ndarray, shape (num_peaks,)
        As `detect_peaks` and `localize_peaks` give them.
    motions : list of callable
        For each segment, the displacement in um at times (s) and depths at rest (um).
    rest_um : ndarray, shape (num_peaks,)
        Depth at rest of the unit of each peak; NaN for those of no unit.
    """

    recording: BaseRecording
    peaks: np.ndarray
    peak_locations: np.ndarray
    motions: Sequence[MotionOf]
    rest_um: np.ndarray

    def true_displacement(self, segment: int, times_s: np.ndarray, depths_um: np.ndarray) -> np.ndarray:
        """Displacement of what is seen at each depth, shape (num_times, num_depths)."""
        motion_of, times_s = self.motions[segment], times_s[:, np.newaxis]
        rest = np.broadcast_to(depths_um, (times_s.size, depths_um.size))
        for _ in range(20):
            rest = depths_um - motion_of(times_s, rest)
        return depths_um - rest

    def error_um(self, motion: Motion, from_s: float = 0.0) -> float:
        """Mean of |estimate - truth| over times and windows after one offset for each window, which no spike tells."""
        difference = self.differences_um(motion, from_s)
        return float(np.abs(difference - np.median(difference, axis=0)).mean())

    def error_on_probe_um(self, motion: Motion, times_s: np.ndarray | None = None) -> float:
        """As `error_um`, at 20 depths along the probe, whatever the windows of the motion; of one segment.

        None: at the motion's own times.
        """
        contacts = self.recording.get_channel_locations()[:, 1]
        depths_um = np.linspace(contacts.min(), contacts.max(), 20)
        times_s = motion.temporal_bins_s[0] if times_s is None else times_s
        found = motion.get_displacement_at_time_and_depth(times_s, depths_um, segment_index=0, grid=True).T
        difference = found - self.true_displacement(0, times_s, depths_um)
        return float(np.abs(difference - np.median(difference, axis=0)).mean())

    def differences_um(self, motion: Motion, from_s: float = 0.0) -> np.ndarray:
        """Estimate - truth, shape (num_times, num_windows), segments one after the other."""
        parts = []
        for segment, (times_s, found) in enumerate(
            zip(motion.temporal_bins_s, motion.displacement, strict=True)
        ):
            truth = self.true_displacement(segment, times_s, motion.spatial_bins_um)
            parts.append((found - truth)[times_s >= from_s])
        return np.concatenate(parts)


@dataclass(frozen=True)
class PeakSettings:
    """What peaks are like.

    Parameters
    ----------
    num_units : int, default: 60
        Units at random depths.
    rate_hz : float, default: 3.0
        Spikes per second of each unit.
    jitter_um : float, default: 4.0
        Standard deviation of a spike's depth.
    outliers : float, default: 0.0
        Share of the spikes that lie at a random depth: of noise, or of units that are seen badly.
    lattice_um : float, default: 0.0
        By how much depths are drawn towards the rows of contacts, at most.
    probe, num_channels : str and int, default: "np1" and 96
        Of `steadyspike.simulation.probes.build_probe`.
    seed : int, default: 0
        Of all that is random.
    """

    num_units: int = 60
    rate_hz: float = 3.0
    jitter_um: float = 4.0
    outliers: float = 0.0
    lattice_um: float = 0.0
    probe: str = "np1"
    num_channels: int = 96
    seed: int = 0


def make_peaks(
    motions: MotionOf | Sequence[MotionOf],
    durations_s: float | Sequence[float],
    activity: Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray] | None = None,
    bursts_s: Sequence[float] = (),
    **settings: Any,
) -> PeakSet:
    """Draw peaks of units that move.

    Parameters
    ----------
    motions : callable or sequence of callable
        Displacement (um) as a function of times (s) and depths at rest (um); one for each segment.
    durations_s : float or sequence of float
        Of each segment, in s.
    activity : callable or None, default: None
        ``activity(times_s, units, rng)`` says which spikes there are: units fall silent, rates change.
    bursts_s : sequence of float, default: ()
        Times in the first segment at which 300 peaks come from anywhere within 0.3 s.
    **settings
        Of `PeakSettings`.

    Returns
    -------
    peaks : PeakSet
    """
    from spikeinterface.core.node_pipeline import base_peak_dtype

    chosen = PeakSettings(**settings)
    motions = [motions] if callable(motions) else list(motions)
    durations = [float(value) for value in np.atleast_1d(durations_s)]
    recording = stand_in(durations, chosen.probe, chosen.num_channels)
    contacts = recording.get_channel_locations()[:, 1]
    rng = np.random.default_rng(chosen.seed)
    low, high = contacts.min(), contacts.max()
    # units that drift into reach of the probe from beyond its ends are there as well
    rest_of_unit = rng.uniform(low - 30, high + 30, chosen.num_units)
    size_of_unit = np.exp(rng.normal(4.5, 0.5, chosen.num_units))
    parts = []
    for segment, (motion_of, duration_s) in enumerate(zip(motions, durations, strict=True)):
        count = round(chosen.rate_hz * chosen.num_units * duration_s)
        times = np.sort(rng.uniform(0, duration_s, count))
        units = rng.integers(chosen.num_units, size=count)
        if activity is not None:
            kept = activity(times, units, rng)
            times, units = times[kept], units[kept]
        depths = rest_of_unit[units] + motion_of(times, rest_of_unit[units])
        depths += chosen.jitter_um * rng.standard_normal(depths.size)
        anywhere = rng.uniform(size=depths.size) < chosen.outliers
        depths[anywhere] = rng.uniform(low - 40, high + 40, int(anywhere.sum()))
        rest = np.where(anywhere, np.nan, rest_of_unit[units])
        sizes = size_of_unit[units] * rng.normal(1.0, 0.1, units.size)
        if segment == 0 and len(bursts_s):
            times, depths, sizes, rest = _with_bursts(
                (times, depths, sizes, rest), bursts_s, (low, high), rng
            )
        pitch_um = float(np.median(np.diff(np.unique(contacts))))
        depths -= chosen.lattice_um * np.sin(2 * np.pi * (depths - low) / pitch_um)
        peaks = np.zeros(times.size, dtype=base_peak_dtype)
        peaks["segment_index"] = segment
        peaks["sample_index"] = np.minimum(times * SAMPLING_FREQUENCY, duration_s * SAMPLING_FREQUENCY - 1)
        peaks["amplitude"] = -sizes
        parts.append((peaks, depths, rest))
    all_peaks, depths, rest = (np.concatenate(values) for values in zip(*parts, strict=True))
    locations = np.zeros(depths.size, dtype=[("x", "float64"), ("y", "float64")])
    locations["y"] = depths
    return PeakSet(recording, all_peaks, locations, motions, rest)


def stand_in(durations_s: Sequence[float], probe: str, num_channels: int) -> BaseRecording:
    """Noise with the contacts and times of a recording, of which estimators read nothing else."""
    from spikeinterface.generation import NoiseGeneratorRecording

    from steadyspike.simulation.probes import build_probe

    recording = NoiseGeneratorRecording(
        num_channels, SAMPLING_FREQUENCY, list(durations_s), strategy="on_the_fly", seed=0
    )
    recording.set_probe(build_probe(probe, num_channels))
    return recording


def _with_bursts(spikes, bursts_s, limits_um, rng):
    count = 300 * len(bursts_s)
    burst = (
        np.repeat(bursts_s, 300) + rng.uniform(0, 0.3, count),
        rng.uniform(limits_um[0] - 40, limits_um[1] + 40, count),
        np.exp(rng.normal(5.5, 0.8, count)),
        np.full(count, np.nan),
    )
    together = [np.concatenate(parts) for parts in zip(spikes, burst, strict=True)]
    order = np.argsort(together[0], kind="stable")
    return [values[order] for values in together]


def zigzag(times_s, depths_um):
    """15 um up and down, in 25 s."""
    return 15 * np.abs((times_s / 12.5) % 2 - 1) - 7.5 + 0.0 * depths_um


def still(times_s, depths_um):
    """No motion."""
    return 0.0 * times_s + 0.0 * depths_um


def slow(times_s, depths_um):
    """A sine of 16 um, less at the probe's top."""
    return 8 * np.sin(times_s / 20) * (1 - 0.3 * depths_um / 940)


def nonrigid(times_s, depths_um):
    """Waves that travel along the probe, on a drift that stretches it."""
    slope = 1.2 - depths_um / 940
    return 10 * np.sin(times_s / 15) * slope + 4 * np.sin(times_s / 9 + depths_um / 300)


def steps(times_s, depths_um):
    """Jumps of 12, -20 and 30 um at 20, 45 and 70 s, of which the last one bends the tissue."""
    first = 12.0 * (times_s >= 20) - 20.0 * (times_s >= 45)
    return first + 30.0 * (times_s >= 70) * (1 - 0.4 * depths_um / 940)


def random_walk(step_um: float, duration_s: float, seed: int = 0) -> MotionOf:
    """Make a random walk with a standard deviation of so much per second, the same at all depths."""
    walk = np.cumsum(step_um * np.random.default_rng(seed).standard_normal(int(duration_s) + 2))
    grid = np.arange(walk.size)
    return lambda times_s, depths_um: np.interp(times_s, grid, walk) + 0.0 * depths_um


def units_change(duration_s: float) -> Callable[..., np.ndarray]:
    """Half of the units fire in the first half only, or in the second; the others change their rates."""

    def activity(times_s, units, rng):
        kind = units % 4
        late = times_s > duration_s / 2
        share = np.where(late, 0.3, 1.0)
        share = np.where(kind == 0, ~late, np.where(kind == 1, late, share))
        return rng.uniform(size=units.size) < share

    return activity


def silent_between(start_s: float, stop_s: float) -> Callable[..., np.ndarray]:
    """Nobody fires between two times."""
    return lambda times_s, units, rng: (times_s < start_s) | (times_s > stop_s)
