"""A motion estimator that needs no tuning: windows and time bins follow the probe and its spikes."""

import warnings

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.core.arguments import check_arguments
from steadyspike.motion.decentralized import SteadyDecentralizedRegistration
from steadyspike.motion.plan import plan_estimation
from steadyspike.motion.problem import check_common, check_layout
from steadyspike.motion.trust import MIN_SPIKES, motion_trust


class MotionVerdictWarning(UserWarning):
    """The spikes say that this motion should not be corrected, or not like this."""


class SteadyAutoRegistration:
    """Decentralized registration with windows and time bins chosen from the probe and its spikes, and a verdict.

    Runs `steady_decentralized` as `plan_estimation` says, then `steadyspike.motion_trust`. Where held-out spikes say
    that the motion should be corrected rigidly, a rigid one is estimated; where they say that it should not be
    corrected, or cannot tell and give no hint, no motion is returned, because a bad correction is worse than none. A
    warning tells what was done and why, and ``follow_verdict=False`` returns the estimate whatever the verdict.
    """

    name = "steady_auto"
    need_peak_location = True
    params_doc = """
    bin_s : float or None, default: None
        Duration of the time bins in s; None: 1 s, or longer where there are few peaks. (The windows are chosen too:
        win_step_um, win_scale_um, win_margin_um and win_shape are not used.)
    max_displacement_um : float, default: 100.0
        Largest displacement between two time bins of a segment in um, larger than 0.
    max_segment_displacement_um : float, default: 400.0
        Largest displacement between two segments in um, larger than 0.
    periods : None, sequence of tuple or ndarray, default: None
        Times to leave out, as in `steady_decentralized`.
    reference_displacement : "midrange" | "mean" | "median", default: "midrange"
        Which displacement is called zero, as in `steady_decentralized`.
    follow_verdict : bool, default: True
        Do as held-out spikes say: return a rigid motion, or none, with a warning. False: warn only.
    """

    @classmethod
    def run(
        cls,
        recording,
        peaks,
        peak_locations,
        direction,
        rigid,
        win_shape,
        win_step_um,
        win_scale_um,
        win_margin_um,
        verbose,
        progress_bar,
        extra,
        bin_s=None,
        max_displacement_um=100.0,
        max_segment_displacement_um=400.0,
        periods=None,
        reference_displacement="midrange",
        follow_verdict=True,
    ):
        """Estimate the motion; called by SpikeInterface's `estimate_motion`.

        Parameters
        ----------
        recording, peaks, peak_locations, direction, rigid
            As in `SteadyDecentralizedRegistration.run`.
        win_shape, win_step_um, win_scale_um, win_margin_um
            Not used.
        verbose, progress_bar
            As in `SteadyDecentralizedRegistration.run`.
        extra : dict or None
            Filled, where given, as by `SteadyDecentralizedRegistration.run`, and with "motion_trust" (a
            `steadyspike.motion.trust.MotionTrust`) and "estimate", the motion that it judged.
        bin_s, max_displacement_um, max_segment_displacement_um, periods, reference_displacement, follow_verdict
            See `params_doc`.

        Returns
        -------
        motion : Motion

        Raises
        ------
        ValueError
            For an argument outside its range.

        Warns
        -----
        MotionVerdictWarning
            If the verdict is anything but "correct"; with what was done about it.
        """
        check_arguments(cls.name, bin_s=(bin_s, bin_s is None or bin_s > 0, "larger than 0 s, or None"))
        check_common(
            cls.name,
            bin_s or 1.0,
            0.0,
            max_displacement_um,
            max_segment_displacement_um,
            reference_displacement,
        )
        depths_um = check_layout(cls.name, recording, direction)
        plan = plan_estimation(float(np.ptp(depths_um)), _peaks_per_s(recording, peaks), rigid)
        if verbose:
            print(f"{cls.name}: {plan}")

        def estimate(rigid, filled):
            return SteadyDecentralizedRegistration.run(
                recording,
                peaks,
                peak_locations,
                direction,
                rigid,
                "gaussian",
                plan.win_step_um,
                plan.win_scale_um,
                0.0,
                verbose,
                progress_bar,
                filled,
                bin_s=bin_s or plan.bin_s,
                max_displacement_um=max_displacement_um,
                max_segment_displacement_um=max_segment_displacement_um,
                periods=periods,
                reference_displacement=reference_displacement,
            )

        motion = judged = estimate(plan.rigid, extra)
        trust = motion_trust(recording, motion, peaks, peak_locations, periods=periods)
        if follow_verdict and trust.verdict == "correct rigidly" and not plan.rigid:
            if extra is not None:
                extra.clear()
            motion = estimate(True, extra)
        if follow_verdict and (trust.verdict == "do not correct" or _is_a_guess(trust)):
            motion = _no_motion(motion)
        if trust.verdict != "correct":
            _warn(trust, motion, judged)
        if extra is not None:
            extra.update(motion_trust=trust, estimate=judged)
        return motion


def _is_a_guess(trust):
    """Whether nobody can tell, and not even a hint speaks for the motion."""
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
        f"steady_auto: {trust.verdict}. {trust.reason} ({done})", MotionVerdictWarning, stacklevel=3
    )


def _peaks_per_s(recording, peaks):
    duration_s = recording.get_total_duration()
    return len(peaks) / duration_s if duration_s > 0 else 0.0
