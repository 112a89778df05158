"""A motion estimator that needs no tuning: windows and time bins follow the probe and its spikes."""

import warnings

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.core.settings import parameter
from steadyspike.motion.decentralized import DecentralizedSettings, SteadyDecentralizedRegistration
from steadyspike.motion.finer import follow_motion
from steadyspike.motion.plan import finer_bin, plan_estimation
from steadyspike.motion.problem import check_layout, seconds_of_samples
from steadyspike.motion.settings import (
    LONGEST_BIN_S,
    SHORTEST_BIN_S,
    EstimatorSettings,
    MotionEstimator,
    WindowSettings,
)
from steadyspike.motion.trust import MIN_SPIKES, motion_trust


class MotionVerdictWarning(UserWarning):
    """The spikes say that this motion should not be corrected, or not like this."""


class AutoSettings(EstimatorSettings):
    """Parameters of `steady_auto`."""

    part = "steady_auto"

    bin_s: float | None = parameter(  # type: ignore[assignment]
        None,
        """Duration of the time bins; None: 1 s, or longer where there are few peaks, as held-out spikes say, and then
        shorter ones where they ask for them. (The windows are chosen too: win_step_um, win_scale_um, win_margin_um and
        win_shape are not used.)""",
        unit="s",
        ge=SHORTEST_BIN_S,
        le=LONGEST_BIN_S,
    )
    follow_verdict: bool = parameter(
        True, "Do as held-out spikes say: return a rigid motion, or none, with a warning. False: warn only"
    )


class SteadyAutoRegistration(MotionEstimator):
    """Decentralized registration with windows and time bins chosen from the probe and its spikes, and a verdict.

    Runs `steady_decentralized` as `plan_estimation` says, then `steadyspike.motion_trust`. Of the time bins that the
    plan names, those are taken from whose motion held-out spikes gain most. What moves between them is then followed in
    bins of 0.1 s or more, if spikes that are left out are predicted better so. Where they say that the motion should be
    corrected rigidly, a rigid one is estimated; where they say that it should not be corrected, or cannot tell and
    give no hint, no motion is returned, because a bad correction is worse than none. A warning tells what was done and
    why, and ``follow_verdict=False`` returns the estimate whatever the verdict.

    With ``extra_outputs=True`` it tells what `steady_decentralized` tells, "motion_trust" (a
    `steadyspike.motion.trust.MotionTrust`), "estimate", the motion that it judged, and "chosen", a dict of the
    arguments that it chose: "bin_s", "rigid" and the windows. Where motion was followed in shorter bins, "explained"
    and "displacement_sd_um" are of these; rasters and pairs are of bins of "bin_s". A `MotionVerdictWarning` comes with
    any verdict but "correct", and says what was done about it.
    """

    settings_class = AutoSettings

    @classmethod
    def estimate(cls, recording, peaks, peak_locations, windows, settings, verbose, progress_bar, extra):
        """Estimate the motion; see `run`."""
        plan = plan_for(recording, len(peaks), windows)
        if verbose:
            print(f"{cls.name}: {plan}")

        def estimate(rigid, bin_s):
            planned, chosen = as_decentralized(plan, windows, settings, bin_s)
            filled: dict | None = None if extra is None else {}
            given = (recording, peaks, peak_locations, planned.to(WindowSettings, rigid=rigid), chosen)
            return SteadyDecentralizedRegistration.estimate(*given, verbose, progress_bar, filled), filled

        def judge(motion):
            return motion_trust(recording, motion, peaks, peak_locations, periods=settings.periods)

        def estimate_and_judge(bin_s):
            motion, filled = estimate(plan.rigid, bin_s)
            return judge(motion), bin_s, motion, filled

        tried = map(estimate_and_judge, bins_to_try(plan, settings))
        trust, bin_s, motion, filled = max(tried, key=lambda one: one[0].gain)
        judged, rigid = motion, plan.rigid
        if settings.follow_verdict and trust.verdict == "correct rigidly" and not rigid:
            rigid = True
            motion, filled = estimate(rigid, bin_s)
        finer_s = finer_bin_for(recording, len(peaks), settings, bin_s)
        if finer_s is not None and trust.verdict.startswith("correct"):
            planned, chosen = as_decentralized(plan, windows, settings, bin_s)
            given = (recording, peaks, peak_locations, planned.to(WindowSettings, rigid=rigid), chosen)
            finer, told = follow_motion(*given, motion, finer_s)
            finer_trust = judge(finer) if told else trust
            if told and finer_trust.verdict in (trust.verdict, "correct"):
                if rigid == plan.rigid:
                    trust, judged = finer_trust, finer
                motion, filled = finer, filled if filled is None else filled | told
        if settings.follow_verdict and (trust.verdict == "do not correct" or _is_a_guess(trust)):
            motion = _no_motion(motion)
        if trust.verdict != "correct" or trust.wild_bins:
            _warn(trust, motion, judged)
        if extra is not None:
            chosen = dict(bin_s=bin_s, rigid=rigid, win_step_um=plan.win_step_um)
            chosen |= dict(win_scale_um=plan.win_scale_um, win_margin_um=0.0)
            extra.update(filled, motion_trust=trust, estimate=judged, chosen=chosen)
        return motion


def plan_for(recording, num_peaks, windows):
    """Choose windows and time bins for a recording and its number of peaks; see `plan_estimation`."""
    depths_um = check_layout(AutoSettings.part, recording, windows.direction)
    durations_s = [seconds_of_samples(recording, index) for index in range(recording.get_num_segments())]
    peaks_per_s = num_peaks / sum(durations_s) if sum(durations_s) > 0 else 0.0
    return plan_estimation(float(np.ptp(depths_um)), peaks_per_s, max(durations_s), windows.rigid)


def finer_bin_for(recording, num_peaks, settings, bin_s):
    """Give the duration of the time bins in which motion between those of `bin_s` is followed, or None."""
    durations_s = [seconds_of_samples(recording, index) for index in range(recording.get_num_segments())]
    duration_s = sum(durations_s)
    if settings.bin_s is not None or duration_s == 0:
        return None
    return finer_bin(bin_s, num_peaks / duration_s, duration_s)


def bins_to_try(plan, settings):
    """Give the durations of time bins of which the best is taken: what was asked for, or those planned."""
    return plan.bins_s if settings.bin_s is None else (settings.bin_s,)


def as_decentralized(plan, windows, settings, bin_s):
    """Give windows and parameters of `steady_decentralized` as planned, from those that were asked for."""
    planned = WindowSettings.of(
        direction=windows.direction,
        rigid=plan.rigid,
        win_step_um=plan.win_step_um,
        win_scale_um=plan.win_scale_um,
        win_margin_um=0.0,
    )
    return planned, settings.to(DecentralizedSettings, bin_s=bin_s)


def _is_a_guess(trust):
    """Whether the spikes cannot tell, and not even a hint speaks for the motion."""
    return trust.verdict == "cannot tell" and (trust.num_spikes < MIN_SPIKES or not trust.gain > 0)


def _no_motion(motion):
    still = [np.zeros_like(part) for part in motion.displacement]
    return Motion(still, motion.temporal_bins_s, motion.spatial_bins_um, direction=motion.direction)


def _warn(trust, motion, judged):
    """Say what the verdict is and what was done about it."""
    done = "the estimate is returned as it is"
    if motion is not judged:
        done = "a rigid motion is returned" if trust.verdict == "correct rigidly" else "no motion is returned"
        done += "; follow_verdict=False returns the estimate"
    warnings.warn(
        f"steady_auto: {trust.verdict}. {trust.reason} ({done})", MotionVerdictWarning, stacklevel=5
    )
