"""Whether to correct a motion: what held-out spikes say of it, and what the correction would gain and cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from steadyspike.core.arguments import refuse
from steadyspike.core.plain import plain_json
from steadyspike.core.settings import parameter, takes
from steadyspike.kernels.channels.waveform_loss import waveform_losses
from steadyspike.motion.held_out_evidence import Evidence, MotionSpikes, gather_spikes, weigh_evidence
from steadyspike.motion.periods import check_periods
from steadyspike.motion.settings import PeriodSettings

if TYPE_CHECKING:
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

VERDICTS = ("correct", "correct rigidly", "do not correct", "cannot tell")
# Spikes, and time bins, below which there is no verdict.
MIN_SPIKES = 300
MIN_TIMES = 4
# Standard errors beyond which a gain counts as there, and one motion as better than another. No estimate of still
# tissue gained more than 1 in `python -m steadyspike_benchmarks verdicts`.
CLEAR_ERRORS = 2.0
# Standard errors below which a gain is no hint of motion either.
HINT_ERRORS = 1.2
# um. Smaller drift moves less than 0.1 % of the energy of a waveform on a Neuropixels probe.
MIN_RANGE_UM = 1.5
# Share of the motion's gain by which its rigid version must be better before the non-rigid part is called harmful.
RIGID_ADVANTAGE = 0.1
# Share of the loss without a correction that may be left with one.
CLEAR_LOSS = 0.9
NUM_DISPLACEMENTS = 40
# Share of time bins that may stand away from those around them with nothing in their spikes to say so.
WILD_SHARE = 0.001
# 1. The true motion is taken for at most this many times the estimated one.
MAX_SCALE = 5.0
# 1. A motion this many times as large as the estimate is worth a word.
LARGE_SCALE = 1.5


@dataclass(frozen=True)
class MotionTrust:
    """How far a motion can be trusted, and whether to correct it.

    Attributes
    ----------
    verdict : {"correct", "correct rigidly", "do not correct", "cannot tell"}
        What the numbers below say: advice, which nothing enforces.
    reason : str
        Why, in a sentence with the numbers that decided.
    trust : list of ndarray, one per segment, each of shape (num_times, num_windows)
        How much of the held-out spikes the motion explains on each of its bins: the generalized coefficient of
        determination (pseudo-R2), ``1 - exp(-2 gain)``, with the gain per spike
        in log density over spikes of unknown depth; 0 where there are no spikes, towards 1 where they fit.
    evidence : list of ndarray, one per segment, each of shape (num_times, num_windows)
        What the held-out spikes of each bin say for the motion (above 0) or for no correction (below), in nats: `gain`
        of all spikes is the sum of these.
    displacement_um : float
        Range of the displacement relative to its median at each depth, 2nd to 98th percentile over times and windows.
    gain, gain_error : float
        Held-out gain of the motion over no correction, in nats per spike, after taking off what it can have fitted to
        noise; and its standard error.
    rigid_gain, rigid_gain_error : float
        The same of the motion's mean over depth.
    rigid_advantage, rigid_advantage_error : float
        How much the mean over depth is better than the motion itself, in nats per spike.
    fitted_parameters, rigid_fitted_parameters : float
        How many numbers the motion and its mean over depth can have fitted to noise; one nat each was taken off.
    scale : float
        Size of the true motion in units of the estimated one, from what held-out spikes still see moving after the
        correction: 1 for a right estimate, 0 where nothing moves.
    error_um : float
        Standard error of the displacement, from held-out spikes.
    loss_without, loss_with, rigid_loss_with : float
        Share of a typical waveform's energy that the drift blurs, and that is lost with the correction, by the motion
        or by its mean over depth: to interpolation between contacts and to the error of the estimate. NaN for motion
        out of the plane of the contacts, and without spikes.
    num_spikes, num_spikes_used : int
        Spikes at the times that were judged, and those that a random choice kept.
    wild_bins : int
        Time bins that stand away from those around them with too little in their spikes to say so.
    wild_um : float
        How far at most.
    """

    verdict: str
    reason: str
    trust: list[np.ndarray] = field(repr=False)
    evidence: list[np.ndarray] = field(repr=False)
    displacement_um: float
    gain: float
    gain_error: float
    rigid_gain: float
    rigid_gain_error: float
    rigid_advantage: float
    rigid_advantage_error: float
    fitted_parameters: float
    rigid_fitted_parameters: float
    scale: float
    error_um: float
    loss_without: float
    loss_with: float
    rigid_loss_with: float
    num_spikes: int
    num_spikes_used: int
    wild_bins: int = 0
    wild_um: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain numbers, strings and lists, ready for JSON; what is not finite is None."""
        found: dict[str, Any] = plain_json(asdict(self))
        return found

    def __repr__(self) -> str:
        return (
            f"MotionTrust: {self.verdict}. {self.reason}\n"
            f"  displacement {self.displacement_um:.1f} um, error {self.error_um:.2f} um, "
            f"true size {self.scale:.2f} times the estimate\n"
            f"  held-out gain {self.gain:.4f} +- {self.gain_error:.4f} nats per spike, "
            f"rigid {self.rigid_gain:.4f} +- {self.rigid_gain_error:.4f}\n"
            f"  waveform energy lost without correction {percent(self.loss_without)}, "
            f"with it {percent(self.loss_with)}\n"
            f"  {self.num_spikes_used} of {self.num_spikes} spikes"
        )


class TrustSettings(PeriodSettings):
    """Parameters of `motion_trust`."""

    part = "motion_trust"

    direction: Literal["x", "y", "z"] | None = parameter(
        None, "Direction of the motion; None: the motion's own, from which it must not differ"
    )
    num_folds: int = parameter(5, "Number of folds", ge=2)
    seed: int = parameter(0, "Of the random folds", ge=0)


@takes(TrustSettings)
def motion_trust(
    recording: BaseRecording,
    motion: Motion,
    peaks: np.ndarray,
    peak_locations: np.ndarray,
    *,
    settings: TrustSettings,
) -> MotionTrust:
    r"""Judge a motion by the spikes: where it can be trusted, and whether to correct it.

    The spikes are dealt into folds. For each fold, the density over depth and amplitude of the other folds' spikes,
    corrected by the motion, gives the log density of the fold's own corrected spikes; likewise without a correction,
    and with the motion's mean over depth. The gain of the motion is

    .. math:: G = \frac{1}{n} \Big( \sum_i \log f(z_i - d_i) - \log f_0(z_i) - p \Big)

    where p is the number of parameters that the motion can have fitted to noise
    (`steadyspike.kernels.motion.held_out.fitted_parameters`): it was estimated from the same spikes. The standard
    error is the larger one of those over time and over groups of spikes of similar depth and amplitude.

    What the correction can gain follows from the geometry of the probe (`steadyspike.kernels.channels.waveform_loss`).

    The verdict:

    * "correct": G is positive by at least 2 standard errors, the displacement spans at least 1.5 um, and the waveforms
      lose at most 90 % of what they lose without a correction.
    * "correct rigidly": the mean over depth is better than the motion itself, by at least 2 standard errors and a tenth
      of its gain, or it alone is clearly better than nothing.
    * "do not correct": the displacement is too small, interpolation costs more than it brings, G is below 1.5
      standard errors or clearly below what the motion promises, or more than one time bin in a thousand stands away
      from those around it (`wild_bins`): there spikes were taken for those of others.
    * "cannot tell": fewer than 300 spikes or 4 time bins, or a gain in between.

    Parameters
    ----------
    recording : BaseRecording
        The recording, of one or several segments; gives times and contact positions. No traces are read.
    motion : Motion
        The motion to judge, with one segment for each of the recording's, of any estimator.
    peaks : ndarray, shape (num_peaks,)
        Peaks of `detect_peaks`, with "sample_index", "amplitude" and "segment_index".
    peak_locations : ndarray, shape (num_peaks,)
        Locations of `localize_peaks` in um. Peaks whose location is NaN or infinite are left out.
    {settings}

    Returns
    -------
    trust : MotionTrust

    Raises
    ------
    ValueError
        For arguments outside their range or that do not belong together.

    Notes
    -----
    Of more than 2,000,000 spikes as many are chosen at random.

    A change of firing rates is no drift, and gains nothing here, unless nearly all units fall silent and others close
    to them begin: then spikes alone cannot tell the two apart.

    References
    ----------
    Boussard et al. 2021, Three-dimensional spike localization and improved motion correction for Neuropixels
    recordings, NeurIPS.
    """
    _check(recording, motion, peaks, peak_locations, settings.direction)
    periods = check_periods(settings.part, settings.periods, recording)
    spikes = gather_spikes(
        recording, motion, peaks, peak_locations, periods, settings.num_folds, settings.seed
    )
    contacts = np.asarray(recording.get_channel_locations(), dtype="float64")
    evidence = weigh_evidence(spikes, _depth_range(contacts[:, motion.dim], spikes))
    moved = spikes.displacement - spikes.rest
    judged = moved[spikes.judged]
    span = float(np.diff(np.percentile(judged, [2, 98]))[0]) if judged.size else 0.0
    without, left, rigid_left = _losses(contacts, motion.dim, spikes, evidence)
    numbers: dict[str, Any] = dict(
        displacement_um=span,
        **{name: value for name, value in vars(evidence).items() if name in MotionTrust.__annotations__},
        loss_without=without,
        loss_with=left,
        rigid_loss_with=rigid_left,
        num_spikes=spikes.num_spikes,
        num_spikes_used=int(spikes.depths_um.size),
    )
    extent = float(np.ptp(contacts[:, motion.dim]))
    verdict, reason = _judge(numbers, evidence, extent, spikes)
    ends = np.cumsum([part.shape[0] for part in motion.displacement])
    trust, nats = (np.split(values, ends[:-1]) for values in (evidence.explained, evidence.nats))
    return MotionTrust(verdict=verdict, reason=reason, trust=trust, evidence=nats, **numbers)


def _check(recording, motion, peaks, peak_locations, direction) -> None:
    """Refuse arguments that can't work together, before anything is computed."""
    part = TrustSettings.part
    if direction is not None and direction != motion.direction:
        refuse("direction", direction, f"{motion.direction!r}, the motion's, or None", part)
    if recording.get_num_segments() != motion.num_segments:
        number = recording.get_num_segments()
        refuse("motion.num_segments", motion.num_segments, f"{number}, as many as the recording has", part)
    if len(peaks) != len(peak_locations):
        refuse("peak_locations", peak_locations, f"as many as peaks, {len(peaks)}", part)
    if motion.direction not in (peak_locations.dtype.names or ()):
        allowed = f"with the field {motion.direction!r}, the motion's direction"
        refuse("peak_locations", peak_locations, allowed, part)
    if not all(np.isfinite(displacement).all() for displacement in motion.displacement):
        refuse("motion.displacement", motion.displacement, "finite um", part)


def _depth_range(contact_depths: np.ndarray, spikes: MotionSpikes) -> tuple[float, float]:
    """Range of the densities: the probe and what lies a little beyond, moved by as much as the motion moves."""
    reach = 100.0 + min(float(np.abs(spikes.displacement).max(initial=0.0)), 1000.0)
    return float(contact_depths.min() - reach), float(contact_depths.max() + reach)


def _losses(
    contacts: np.ndarray, dim: int, spikes: MotionSpikes, evidence: Evidence
) -> tuple[float, float, float]:
    """Predicted losses of waveform energy without a correction, with the motion, and with its mean over depth."""
    if dim > 1 or not np.isfinite(evidence.error_um) or not spikes.judged.any():
        return float("nan"), float("nan"), float("nan")
    contacts = contacts[:, :2]
    displacement = spikes.displacement[spikes.judged]
    offsets = displacement - spikes.rest
    # what held-out spikes say moved, where that differs from what the motion says
    moved = min(abs(evidence.scale), MAX_SCALE) * _typical(offsets, offsets)
    without, left = waveform_losses(contacts, dim, _typical(displacement, offsets), moved, evidence.error_um)
    rigid = spikes.rigid_displacement[spikes.judged]
    _, rigid_left = waveform_losses(
        contacts, dim, _typical(rigid, rigid), np.zeros(1), evidence.rigid_error_um
    )
    return without, left, rigid_left


def _typical(values: np.ndarray, ranked_by: np.ndarray) -> np.ndarray:
    """Give a few of the values that stand for all, evenly by rank."""
    ranks = (np.arange(NUM_DISPLACEMENTS) + 0.5) / NUM_DISPLACEMENTS * ranked_by.size
    return values.ravel()[np.argsort(ranked_by, axis=None)[ranks.astype("int64")]]


def _judge(
    numbers: dict[str, Any], evidence: Evidence, extent_um: float, spikes: MotionSpikes
) -> tuple[str, str]:
    """Give verdict and reason."""
    n, span = spikes.num_spikes, numbers["displacement_um"]
    if extent_um < 1.0:
        return (
            "do not correct",
            "The contacts all lie at one depth, so motion can neither be seen nor corrected.",
        )
    if n < MIN_SPIKES:
        return "cannot tell", f"{n} spikes are too few to judge by; at least {MIN_SPIKES} are needed."
    num_times = int(spikes.judged.sum())
    if num_times < MIN_TIMES:
        return (
            "cannot tell",
            f"{num_times} time bins are too few to judge by; at least {MIN_TIMES} are needed.",
        )
    if span < MIN_RANGE_UM:
        return (
            "do not correct",
            f"The displacement spans only {span:.1f} um (less than {MIN_RANGE_UM:g} um), which blurs waveforms by "
            f"{percent(numbers['loss_without'])} of their energy{_falls_short(evidence)}.",
        )
    verdict, reason = _judge_gain(evidence, span)
    lost = numbers["loss_without"]
    left = numbers["loss_with" if verdict == "correct" else "rigid_loss_with"]
    if verdict.startswith("correct"):
        losses = (
            f"drift blurs waveforms by {percent(lost)} of their energy, correction leaves {percent(left)}"
        )
        if not left <= CLEAR_LOSS * lost:
            return (
                "do not correct",
                f"The {span:.1f} um of motion are real, but {losses}: the contacts are too far apart or the "
                f"estimate is too uncertain{_falls_short(evidence)}.",
            )
        wild = _wild_bins(evidence, num_times)
        if evidence.wild_bins > WILD_SHARE * num_times:
            return "do not correct", f"{reason}, but{wild}. Estimate it again with longer time bins (bin_s)."
        reason = f"{reason}; {losses}{_falls_short(evidence)}" + (f";{wild}" if wild else "")
    return verdict, reason + "."


def _falls_short(evidence: Evidence) -> str:
    """Say so where held-out spikes clearly move farther than the motion says."""
    if evidence.scale < LARGE_SCALE or evidence.gain < CLEAR_ERRORS * evidence.gain_error:
        return ""
    return f"; the spikes move about {evidence.scale:.1f} times as far as the motion says"


def _wild_bins(evidence: Evidence, num_times: int) -> str:
    """Say so where time bins stand away from those around them with nothing that speaks for it."""
    if not evidence.wild_bins:
        return ""
    return (
        f" {evidence.wild_bins} of {num_times} time bins stand up to {evidence.wild_um:.0f} um away from those around "
        "them, and too few spikes speak for it"
    )


def _judge_gain(evidence: Evidence, span_um: float) -> tuple[str, str]:
    gain, error = evidence.gain, evidence.gain_error
    rigid, rigid_error = evidence.rigid_gain, evidence.rigid_gain_error
    motion_is_clear = gain > CLEAR_ERRORS * error
    rigid_is_clear = rigid > CLEAR_ERRORS * rigid_error
    advantage = evidence.rigid_advantage
    rigid_is_better = advantage > max(
        CLEAR_ERRORS * evidence.rigid_advantage_error, RIGID_ADVANTAGE * max(gain, 0.0)
    )
    found = f"held-out spikes gain {gain:.3f} +- {error:.3f} nats each"
    if rigid_is_clear and (rigid_is_better or not motion_is_clear):
        return (
            "correct rigidly",
            f"With the motion's mean over depth held-out spikes gain {rigid:.3f} +- {rigid_error:.3f} nats each, with "
            f"the motion itself {gain:.3f} +- {error:.3f}",
        )
    if motion_is_clear:
        return "correct", f"With {span_um:.1f} um of motion taken out, {found}"
    promised = evidence.promised
    if gain > HINT_ERRORS * error and gain + 2 * error > promised:
        return (
            "cannot tell",
            f"With {span_um:.1f} um of motion taken out, {found}, which may be nothing and may be the {promised:.3f} "
            "that such a motion promises",
        )
    if gain < -CLEAR_ERRORS * error:
        return (
            "do not correct",
            f"The motion does not fit the spikes: with {span_um:.1f} um taken out, {found}",
        )
    return (
        "do not correct",
        f"With {span_um:.1f} um of motion taken out, {found}, which is not clearly above zero",
    )


def percent(share: float) -> str:
    """Write a share of energy as a percentage with two digits; "?" where it is not known."""
    if not np.isfinite(share):
        return "?"
    return "< 0.01 %" if share < 1e-4 else f"{100 * share:.2g} %"
