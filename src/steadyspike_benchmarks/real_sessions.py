"""Real peaks cut into sessions that are moved apart, which `estimate_motion_sessions` has to undo."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike_benchmarks.peak_folder import as_spikeinterface, load_peaks

if TYPE_CHECKING:
    from spikeinterface.core.motion import Motion

    from steadyspike.motion.trust import MotionTrust

PRESET = "steady_auto"
NUM_DEPTHS = 30
# Peaks at the ends may have moved in or out of sight.
MARGIN_UM = 100.0


@dataclass(frozen=True)
class Cut:
    """One session: a part of the recording, moved.

    Parameters
    ----------
    start, stop : float
        Of the recording's duration, 0 to 1.
    offset_um : float
        By how much the session is moved.
    stretch_um : float
        By how much more its top is moved than its bottom.
    """

    start: float
    stop: float
    offset_um: float
    stretch_um: float

    def shift(self, depths_um: np.ndarray, limits_um: tuple[float, float]) -> np.ndarray:
        """Give the displacement in um of peaks at some depths."""
        low, high = limits_um
        return self.offset_um + self.stretch_um * ((depths_um - low) / (high - low) - 0.5)


CUTS = (
    Cut(0.0, 0.32, 0.0, 0.0),
    Cut(0.35, 0.63, 140.0, 25.0),
    Cut(0.68, 1.0, -75.0, -20.0),
)


@dataclass(frozen=True)
class RealSessions:
    """What came of the sessions.

    Attributes
    ----------
    results : dict
        "sessions" (a list of dict: "minutes", "offset_um", "found_um", "error_um"), "error_um" of all, "verdict" and
        "reason" of the recording as it is and "sessions_verdict" of the sessions, "num_peaks", "preset", "seconds".
    motion : Motion
        Of the recording as it is.
    trust : MotionTrust
        Of that motion.
    motions : list of Motion
        Of each session.
    """

    results: dict[str, Any]
    motion: Motion
    trust: MotionTrust
    motions: list[Motion]


def run_real_sessions(folder: str | Path, cuts: tuple[Cut, ...] = CUTS) -> RealSessions:
    """Cut real peaks into sessions, move these apart, and see how well they are put together again.

    The yardstick is the estimate on the recording as it is, to which each session's known offset is added.

    Parameters
    ----------
    folder : str or Path
        As for `load_peaks`.
    cuts : tuple of Cut
        The sessions.

    Returns
    -------
    sessions : RealSessions
    """
    import spikeinterface.full as si
    from spikeinterface.sortingcomponents.motion import motion_estimation

    import steadyspike

    recording, peaks, locations = as_spikeinterface(load_peaks(folder))
    kwargs = si.get_motion_parameters_preset(PRESET)["estimate_motion_kwargs"]
    whole, extra = motion_estimation.estimate_motion(
        recording, peaks, locations, extra_outputs=True, **kwargs
    )
    limits_um = (float(locations["y"].min()), float(locations["y"].max()))
    parts = [_cut(recording, peaks, locations, cut, limits_um) for cut in cuts]
    start = time.perf_counter()
    sessions = steadyspike.estimate_motion_sessions(
        *(list(column) for column in zip(*parts, strict=True)), preset=PRESET, progress_bar=False
    )
    seconds = time.perf_counter() - start
    depths_um = np.linspace(limits_um[0] + MARGIN_UM, limits_um[1] - MARGIN_UM, NUM_DEPTHS)
    differences = [
        _difference(motion, whole, cut, depths_um, limits_um)
        for motion, cut in zip(sessions.motions, cuts, strict=True)
    ]
    # what is zero at each depth is a choice
    common = np.median(np.concatenate(differences, axis=1), axis=1, keepdims=True)
    errors = [np.abs(difference - common) for difference in differences]
    results = dict(
        sessions=[
            dict(
                minutes=(cut.stop - cut.start) * recording.get_total_duration() / 60,
                offset_um=cut.offset_um,
                found_um=float(np.mean(offset)),
                error_um=float(error.mean()),
            )
            for cut, offset, error in zip(cuts, sessions.offsets_um, errors, strict=True)
        ],
        error_um=float(np.concatenate(errors, axis=1).mean()),
        verdict=extra["motion_trust"].verdict,
        reason=extra["motion_trust"].reason,
        sessions_verdict=sessions.extra["motion_trust"].verdict,
        num_peaks=len(peaks),
        preset=PRESET,
        seconds=seconds,
    )
    return RealSessions(results, whole, extra["motion_trust"], sessions.motions)


def _cut(recording: Any, peaks: Any, locations: Any, cut: Cut, limits_um: tuple[float, float]) -> tuple:
    num_samples = recording.get_num_samples()
    first, last = int(cut.start * num_samples), int(cut.stop * num_samples)
    mine = (peaks["sample_index"] >= first) & (peaks["sample_index"] < last)
    own, places = peaks[mine].copy(), locations[mine].copy()
    own["sample_index"] -= first
    places["y"] += cut.shift(places["y"], limits_um)
    return recording.frame_slice(first, last), own, places


def _difference(
    motion: Motion, whole: Motion, cut: Cut, depths_um: np.ndarray, limits_um: tuple[float, float]
) -> np.ndarray:
    """Give the session's estimate less the whole one's with the known offset, (num_depths, num_times)."""
    # the slices keep the times of the recording
    times_s = motion.temporal_bins_s[0]
    shift = cut.shift(depths_um, limits_um)
    estimate = motion.get_displacement_at_time_and_depth(times_s, depths_um + shift, grid=True)
    return estimate - whole.get_displacement_at_time_and_depth(times_s, depths_um, grid=True) - shift[:, None]


def format_real_sessions(results: dict[str, Any]) -> str:
    """Write the results as Markdown.

    Parameters
    ----------
    results : dict
        Of `run_real_sessions`.

    Returns
    -------
    text : str
    """
    lines = [
        f"Verdict on the recording as it is: **{results['verdict']}**. {results['reason']} As sessions: "
        f"**{results['sessions_verdict']}**.",
        "",
        "| session | minutes | moved by (um) | found (um, median, drift included) | mean error (um) |",
        "|---:|---:|---:|---:|---:|",
    ]
    for number, session in enumerate(results["sessions"]):
        lines.append(
            f"| {number} | {session['minutes']:.1f} | {session['offset_um']:.0f} | {session['found_um']:.1f} | "
            f"{session['error_um']:.2f} |"
        )
    lines += [
        "",
        f"{results['preset']}, {results['num_peaks']:,} real peaks, {results['seconds']:.1f} s. Mean error of all: "
        f"**{results['error_um']:.2f} um** against the estimate on the uncut recording, after removing one offset for "
        "each depth.",
    ]
    return "\n".join(lines)
