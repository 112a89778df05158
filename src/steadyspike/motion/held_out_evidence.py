"""What held-out spikes say about a motion: the arrays and sums behind `motion_trust`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.kernels.motion import held_out, motion_prior
from steadyspike.kernels.motion.raster import amplitude_marks
from steadyspike.kernels.motion.registration import PSEUDO_SPIKES
from steadyspike.kernels.motion.template_registration import knot_weights
from steadyspike.kernels.spikes.lattice import lattice_of, undo_lattice
from steadyspike.motion.periods import inside_periods

if TYPE_CHECKING:
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

# Spikes that are looked at, for time.
MAX_SPIKES = 2_000_000
# Amplitude bins, which tell units apart that lie at one depth.
NUM_MARKS = 4
# um. Widths of the density's smoothing to choose from, by held-out likelihood.
SMOOTH_UM = (1.0, 1.5, 2.5, 4.0, 6.0, 10.0)
# um. Spikes this near in depth and of one amplitude mark count as one unit's, for the standard error.
GROUP_UM = 40.0
# Blocks of time at most, for the standard error.
MAX_BLOCKS = 100
# Spikes that a block needs, and a block and window to tell how far it still moves.
MIN_SPIKES_PER_CELL = 20
# Nats that the spikes of a time bin have to gain where it stands away from those around it, for that to be real.
WILD_GAIN = 8.0
# um. Shifts at which curvature and slope of the log density are taken.
SHIFT_UM = 2.0


@dataclass(frozen=True)
class MotionSpikes:
    """Spikes on the bins of a motion whose segments are laid one after another.

    Of each spike, ordered by segment and time: depth and time, amplitude mark, fold, time bin and window below (int32),
    and the weight of the window above; its displacement by the motion and by the mean over depth (`shift_um`,
    `rigid_shift_um`), and the logarithm of how much the correction stretches depth there: densities are per um as
    recorded.

    The motion is `displacement` (num_times, num_windows), its mean over depth `rigid_displacement` (num_times, 1);
    `away` says how far it is from what it is in the time bins around, `away_um` so at each spike. `rest` (num_windows,)
    is the median over the judged times, `judged` (num_times,) those that are not left out. `counts` (num_times,
    num_windows) and `num_spikes` are as if no spike had been left out by the random choice.
    """

    depths_um: np.ndarray
    times_s: np.ndarray
    marks: np.ndarray
    folds: np.ndarray
    time_bins: np.ndarray
    lower: np.ndarray
    upper_weight: np.ndarray
    shift_um: np.ndarray
    rigid_shift_um: np.ndarray
    log_stretch: np.ndarray
    displacement: np.ndarray
    rigid_displacement: np.ndarray
    away: np.ndarray
    away_um: np.ndarray
    rest: np.ndarray
    counts: np.ndarray
    judged: np.ndarray
    num_spikes: int
    num_folds: int


@dataclass(frozen=True)
class Evidence:
    """Gains in nats per spike with their standard errors; see `MotionTrust`.

    `promised` is the gain that the motion should have if it were right, for displacements small against the width of
    the density, and at most half a nat. `scale` is the size of the true motion in units of the estimate, by the least
    squares of what held-out spikes still see moving after the correction: 1 for a right one, 0 where nothing moves.
    `nats` (num_times, num_windows) is the gain of all spikes of a bin; it sums to that of all spikes. `wild_bins` time
    bins stand up to `wild_um` away from those around them, with too little in their spikes to say so.
    """

    gain: float
    gain_error: float
    rigid_gain: float
    rigid_gain_error: float
    rigid_advantage: float
    rigid_advantage_error: float
    fitted_parameters: float
    rigid_fitted_parameters: float
    promised: float
    scale: float
    error_um: float
    rigid_error_um: float
    explained: np.ndarray
    nats: np.ndarray
    wild_bins: int = 0
    wild_um: float = 0.0


def gather_spikes(
    recording: BaseRecording,
    motion: Motion,
    peaks: np.ndarray,
    peak_locations: np.ndarray,
    periods: np.ndarray,
    num_folds: int,
    seed: int,
) -> MotionSpikes:
    """Lay the spikes out on the bins of the motion, without those in `periods`."""
    rng = np.random.default_rng(seed)
    depths = np.asarray(peak_locations[motion.direction], dtype="float64")
    usable = np.flatnonzero(np.isfinite(depths) & (peaks["segment_index"] < motion.num_segments))
    segments = peaks["segment_index"][usable]
    times = np.empty(usable.size)
    for segment in range(motion.num_segments):
        own = segments == segment
        times[own] = recording.sample_index_to_time(peaks["sample_index"][usable[own]], segment_index=segment)
    inside = ~inside_periods(times, segments, periods)
    num_spikes = int(inside.sum())
    chosen = np.flatnonzero(inside)
    if num_spikes > MAX_SPIKES:
        chosen = chosen[np.sort(rng.choice(num_spikes, MAX_SPIKES, replace=False))]
    chosen = chosen[np.lexsort((times[chosen], segments[chosen]))]
    usable, segments, times = usable[chosen], segments[chosen], times[chosen]
    contacts = np.asarray(recording.get_channel_locations(), dtype="float64")
    depths = _without_lattice(depths[usable], contacts, motion.dim)

    starts = np.cumsum([0, *(part.shape[0] for part in motion.displacement)])
    displacement = np.concatenate(motion.displacement).astype("float64")
    all_times = np.concatenate(motion.temporal_bins_s)
    all_segments = np.repeat(np.arange(motion.num_segments), np.diff(starts))
    judged = ~inside_periods(all_times, all_segments, periods)
    before, after_weight = np.zeros(times.size, dtype="int64"), np.zeros(times.size)
    for segment, bins in enumerate(motion.temporal_bins_s):
        own = segments == segment
        before[own], after_weight[own] = _between(times[own], bins)
        before[own] += starts[segment]
    time_bins = np.where(after_weight < 0.5, before, before + 1).astype("int32")
    lower, upper_weight = knot_weights(depths.astype("float32"), motion.spatial_bins_um)
    shape = displacement.shape
    share = max(times.size, 1) / max(num_spikes, 1)
    counts = held_out.sums_by_knot(np.ones(times.size), time_bins, lower, upper_weight, shape) / share
    weights = counts.sum(axis=0) + 1e-9
    rigid = (displacement @ weights / weights.sum())[:, np.newaxis]

    def at_spikes(values, columns):
        after = np.minimum(before + 1, values.shape[0] - 1)
        return (1 - after_weight) * values[before, columns] + after_weight * values[after, columns]

    upper = np.minimum(lower + 1, shape[1] - 1)

    def at_depths(values):
        return (1 - upper_weight) * at_spikes(values, lower) + upper_weight * at_spikes(values, upper)

    below, above = at_spikes(displacement, lower), at_spikes(displacement, upper)
    away = motion_prior.away_from_neighbours(
        displacement, starts[1:-1], motion_prior.lean_bins(counts.mean(axis=1))
    )
    spacing = np.where(upper > lower, motion.spatial_bins_um[upper] - motion.spatial_bins_um[lower], np.inf)
    # beyond the outermost windows the displacement is constant
    slope = np.where((upper_weight > 0) & (upper_weight < 1), (above - below) / spacing, 0.0)
    return MotionSpikes(
        depths_um=depths,
        times_s=times,
        marks=amplitude_marks(peaks["amplitude"][usable], NUM_MARKS),
        folds=rng.integers(num_folds, size=times.size).astype("int32"),
        time_bins=time_bins,
        lower=lower,
        upper_weight=upper_weight,
        shift_um=at_depths(displacement),
        rigid_shift_um=at_spikes(rigid, np.zeros(times.size, dtype="int64")),
        log_stretch=np.log(np.maximum(1.0 - slope, 1e-3)),
        displacement=displacement,
        rigid_displacement=rigid,
        away=away,
        away_um=at_depths(away),
        rest=np.median(displacement[judged], axis=0) if judged.any() else np.zeros(shape[1]),
        counts=counts,
        judged=judged,
        num_spikes=num_spikes,
        num_folds=int(num_folds),
    )


def _without_lattice(depths_um: np.ndarray, contacts_um: np.ndarray, dim: int) -> np.ndarray:
    """Depths as they were, or, where the probe is regular, without the bias towards its rows.

    That bias is sharp where nothing is corrected, and would make every correction look worse than it is.
    """
    period_um, num_rows = lattice_of(contacts_um, dim)
    if period_um is None:
        return depths_um
    return undo_lattice(depths_um, float(contacts_um[:, dim].min()), period_um, num_rows)


def _between(times_s, bins_s):
    """Bin before each time, and the weight of the one after; constant beyond the first and the last bin."""
    if bins_s.size < 2:
        return np.zeros(times_s.size, dtype="int64"), np.zeros(times_s.size)
    before = np.clip(np.searchsorted(bins_s, times_s, side="right") - 1, 0, bins_s.size - 2)
    return before, np.clip((times_s - bins_s[before]) / np.diff(bins_s)[before], 0.0, 1.0)


def weigh_evidence(spikes: MotionSpikes, depth_range_um: tuple[float, float]) -> Evidence:
    """Compare the held-out gains of the motion and of its mean over depth with those of no correction."""
    num_used = spikes.depths_um.size
    if num_used < 2 * spikes.num_folds:
        return _no_evidence(spikes)

    def explain(shift_um):
        which = (spikes.marks, spikes.folds, depth_range_um, NUM_MARKS, spikes.num_folds)
        return held_out.HeldOutDensity(spikes.depths_um - shift_um, *which)

    still, _, _ = _sharpest(explain(0.0))
    rigid, rigid_around, _ = _sharpest(explain(spikes.rigid_shift_um))
    moved, around, leaning = _sharpest(explain(spikes.shift_um), spikes.away_um)
    # a curvature that is too high only makes more parameters count as fitted
    info = max(held_out.information(around, SHIFT_UM), 1e-6)
    precision = info * max(float(spikes.counts.mean()), 1e-3)
    fitted, noise = held_out.fitted_parameters(spikes.displacement, precision)
    rigid_fitted, rigid_noise = held_out.fitted_parameters(
        spikes.rigid_displacement, precision * spikes.displacement.shape[1]
    )
    blocks = np.arange(num_used) * _num_blocks(num_used) // num_used
    groups = (spikes.depths_um - depth_range_um[0]) // GROUP_UM
    groups = np.maximum(groups, 0).astype("int64") * NUM_MARKS + spikes.marks

    def gain_of(values, parameters):
        error = max(
            held_out.error_over_time(values, blocks, _num_blocks(num_used)),
            held_out.error_over_groups(values, groups),
        )
        return float(values.mean() - parameters / spikes.num_spikes), error / num_used

    stretched = moved + spikes.log_stretch
    gain, gain_error = gain_of(stretched - still, fitted)
    rigid_gain, rigid_gain_error = gain_of(rigid - still, rigid_fitted)
    advantage, advantage_error = gain_of(rigid - stretched, rigid_fitted - fitted)
    # what the mean over depth leaves out is an error of it, unless the spikes say that it is none
    left_out = float(np.var(spikes.shift_um - spikes.rigid_shift_um)) if advantage < 0 else 0.0
    rigid_unexplained = max(_unexplained(spikes, _slope(rigid_around), blocks, info), left_out)
    moved_um = spikes.shift_um - np.median(spikes.shift_um)
    return Evidence(
        gain=gain,
        gain_error=gain_error,
        rigid_gain=rigid_gain,
        rigid_gain_error=rigid_gain_error,
        rigid_advantage=advantage,
        rigid_advantage_error=advantage_error,
        fitted_parameters=fitted,
        rigid_fitted_parameters=rigid_fitted,
        promised=0.5 * float(np.minimum(info * np.square(moved_um), 1.0).mean()),
        scale=1.0 + _still_moving(spikes, _slope(around), info),
        error_um=float(np.sqrt(noise + _unexplained(spikes, _slope(around), blocks, info))),
        rigid_error_um=float(np.sqrt(rigid_noise + rigid_unexplained)),
        explained=_explained(spikes, around[1]),
        nats=_summed(spikes, stretched - still) - fitted * spikes.counts / spikes.counts.sum(),
        **_wild(spikes, moved - leaning),
    )


def _no_evidence(spikes: MotionSpikes) -> Evidence:
    unknown = float("inf")
    gains = (0.0, unknown) * 3
    nothing = np.zeros(spikes.displacement.shape)
    return Evidence(*gains, 0.0, 0.0, 0.0, 1.0, unknown, unknown, nothing, nothing)


def _sharpest(density: held_out.HeldOutDensity, other_um: Any = 0.0) -> tuple[np.ndarray, ...]:
    """Gains with the smoothing that explains held-out spikes best, at some shifts down, none and up, and at another."""
    best_um = max(SMOOTH_UM, key=lambda smooth_um: density.gains(smooth_um).mean())
    gains = density.gains(best_um, (-SHIFT_UM, 0.0, SHIFT_UM, other_um))
    return gains[1], gains[:3], gains[3]


def _wild(spikes: MotionSpikes, gains: np.ndarray) -> dict[str, Any]:
    """Count time bins that stand away from those around them although their spikes gain little by it."""
    size = np.abs(spikes.away)
    limit = motion_prior.LONE_UM + motion_prior.LONE_DEVIATIONS * motion_prior.robust_scale(spikes.away)
    away = (size > limit) & spikes.judged[:, np.newaxis]
    wild = away.any(axis=1) & ((_summed(spikes, gains) * away).sum(axis=1) < WILD_GAIN)
    return dict(wild_bins=int(wild.sum()), wild_um=float((size * away)[wild].max(initial=0.0)))


def _summed(spikes: MotionSpikes, values: np.ndarray) -> np.ndarray:
    """Sum values of spikes in each time bin and window, as if none had been left out by the random choice."""
    place = (spikes.time_bins, spikes.lower, spikes.upper_weight, spikes.displacement.shape)
    return spikes.num_spikes / spikes.depths_um.size * held_out.sums_by_knot(values, *place)


def _num_blocks(num_spikes: int) -> int:
    return int(np.clip(num_spikes // MIN_SPIKES_PER_CELL, 1, MAX_BLOCKS))


def _explained(spikes: MotionSpikes, gains: np.ndarray) -> np.ndarray:
    return -np.expm1(-2.0 * np.maximum(_summed(spikes, gains), 0.0) / (spikes.counts + PSEUDO_SPIKES))


def _still_moving(spikes: MotionSpikes, score: np.ndarray, info: float) -> float:
    """Share of the motion that is left after the correction; negative where it was corrected by too much."""
    # a score towards larger depths means that the correction has taken the spikes too far down
    moved = spikes.shift_um - np.median(spikes.shift_um)
    size = float(np.square(moved).sum())
    return -float((score * moved).sum()) / (info * size) if size > 0 else 0.0


def _unexplained(spikes: MotionSpikes, score: np.ndarray, blocks: np.ndarray, info: float) -> float:
    """Mean square of the motion, in um^2, that held-out spikes still see after the correction, less chance."""
    nearest = np.where(spikes.upper_weight < 0.5, spikes.lower, spikes.lower + 1)
    cells = blocks * (spikes.displacement.shape[1] + 1) + nearest
    counts = np.bincount(cells)
    large = counts >= MIN_SPIKES_PER_CELL
    if not large.any():
        return 0.0
    pull = np.bincount(cells, weights=score)[large]
    chance = np.bincount(cells, weights=np.square(score))[large]
    # the squared pull of a cell, less what its spikes pull by chance and the standard error of that
    excess = (np.square(pull) - chance).sum() - np.sqrt(2.0 * np.square(chance).sum())
    return max(float(excess / np.square(info * counts[large]).sum()), 0.0)


def _slope(around: np.ndarray) -> np.ndarray:
    return (around[2] - around[0]) / (2.0 * SHIFT_UM)
