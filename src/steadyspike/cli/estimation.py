"""Peaks and motion for ``steadyspike correct``; peaks lie in a work folder that outlives an interrupt."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.cli.errors import UsageError, say
from steadyspike.cli.output import refused_work

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

INTERPOLATION = "interpolate_motion_kwargs"
GENERAL = ("direction", "rigid", "win_shape", "win_step_um", "win_scale_um", "win_margin_um")
"""Arguments of every motion estimator, which stay when a setting chooses another one."""

FORECAST_STEPS = ("detect_kwargs", "localize_peaks_kwargs", "estimate_motion_kwargs")
MARGIN = " " * 12

Overrides = dict[str, dict[str, Any]]


def check_overrides(preset: str, overrides: Overrides) -> None:
    """Raise unless the changes of a preset can work."""
    from spikeinterface.preprocessing import get_motion_parameters_preset

    from steadyspike.integration.register import INTERPOLATION_METHOD
    from steadyspike.library.presets.checks import check_motion

    known = get_motion_parameters_preset(preset)
    for step, changes in overrides.items():
        # whatever the preset, the recording is corrected by our node
        own = INTERPOLATION_METHOD if step == INTERPOLATION else known[step].get("method")
        method = {} if own is None else {"method": own}
        problems = list(check_motion({step: {**method, **changes}}))
        if problems:
            listed = "; ".join(f"{key.replace('_kwargs', '', 1)} {text}" for key, text in problems)
            raise UsageError(f"--set {listed}")


def estimation_parameters(preset: str, overrides: Overrides) -> dict[str, Any]:
    """Give the arguments of `estimate_motion`: the preset's, with changes."""
    from spikeinterface.preprocessing import get_motion_parameters_preset

    known = get_motion_parameters_preset(preset)["estimate_motion_kwargs"]
    changes = overrides.get("estimate_motion_kwargs", {})
    if changes.get("method", known["method"]) != known["method"]:
        known = {key: known[key] for key in GENERAL if key in known}
    return {**known, **changes}


def check_segments(recording: BaseRecording, preset: str, overrides: Overrides) -> None:
    """Raise if the recording has several segments and the preset's estimator takes one."""
    from steadyspike.motion.estimators import ESTIMATORS

    number = recording.get_num_segments()
    method = estimation_parameters(preset, overrides)["method"]
    if number > 1 and method not in ESTIMATORS:
        raise UsageError(
            f"the recording has {number} segments, and the estimator {method} of {preset} takes one; choose one with "
            f"--segment, or a preset that estimates with {' or '.join(sorted(ESTIMATORS))}"
        )


def forecast(
    recording: BaseRecording, work: Path, preset: str, overrides: Overrides, job_kwargs: dict[str, Any]
) -> str:
    """Say what the correction will take; peaks that an earlier run found are not searched for again."""
    from steadyspike.motion.forecast import forecast_motion
    from steadyspike.peaks.on_disk import finished_peaks

    arguments: dict[str, Any] = {
        step: changes for step, changes in overrides.items() if step in FORECAST_STEPS
    }
    if _selects_peaks(preset, overrides):
        return "not known for a preset that selects peaks"
    expected = forecast_motion(
        recording, preset=preset, peaks=finished_peaks(work), **arguments, **job_kwargs
    )
    return str(expected).replace("\n", f"\n{MARGIN}")


def _selects_peaks(preset: str, overrides: Overrides) -> bool:
    from spikeinterface.preprocessing import get_motion_parameters_preset

    return bool(get_motion_parameters_preset(preset)["select_kwargs"] or overrides.get("select_kwargs"))


def estimate(
    recording: BaseRecording,
    work: Path,
    *,
    preset: str,
    overrides: Overrides,
    periods: np.ndarray | None,
    job_kwargs: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Find peaks, or those that are missing in the work folder, and estimate the motion.

    The recording is filtered, with contact positions; `work` is where peaks are kept. `overrides` are changes of the
    preset, as the arguments of `correct_motion`, and `periods` times that the estimator leaves out. Returns the motion
    info as `compute_motion` gives it, and what the estimator tells besides, among it "motion_trust", the verdict.
    """
    from spikeinterface.sortingcomponents.motion import estimate_motion

    from steadyspike.motion.auto import MotionVerdictWarning

    if periods is not None:
        step = {**overrides.get("estimate_motion_kwargs", {}), "periods": periods}
        overrides = {**overrides, "estimate_motion_kwargs": step}
    with warnings.catch_warnings():
        # the verdict is printed at the end
        warnings.simplefilter("ignore", MotionVerdictWarning)
        if _selects_peaks(preset, overrides):
            info, extra = _estimate_at_once(recording, preset, overrides, job_kwargs)
        else:
            info = _peaks_on_disk(recording, work, preset, overrides, job_kwargs)
            start = time.perf_counter()
            info["parameters"]["estimate_motion_kwargs"] = estimation_parameters(preset, overrides)
            info["motion"], extra = estimate_motion(
                recording,
                info["peaks"],
                info["peak_locations"],
                progress_bar=job_kwargs.get("progress_bar", False),
                extra_outputs=True,
                **info["parameters"]["estimate_motion_kwargs"],
            )
            info["run_times"]["estimate_motion"] = time.perf_counter() - start
    if "motion_trust" not in extra:
        from steadyspike.motion.trust import motion_trust

        extra["motion_trust"] = motion_trust(
            recording, info["motion"], info["peaks"], info["peak_locations"], periods=periods
        )
    arguments = info["parameters"]["estimate_motion_kwargs"]
    arguments.pop("periods", None)
    arguments.update(extra.get("chosen", {}))
    return info, extra


def find_artifacts(recording: BaseRecording, job_kwargs: dict[str, Any]) -> np.ndarray:
    """Find periods of artifacts with SpikeInterface's detector."""
    from spikeinterface.preprocessing import detect_artifact_periods

    periods = detect_artifact_periods(recording, method="envelope", job_kwargs=job_kwargs)
    samples = int((periods["end_sample_index"] - periods["start_sample_index"]).sum())
    seconds = samples / recording.get_sampling_frequency()
    say(f"[bold]artifacts[/bold]   {len(periods)} periods, {seconds:.2f} s, are left out")
    return periods


def _peaks_on_disk(
    recording: BaseRecording, work: Path, preset: str, overrides: Overrides, job_kwargs: dict[str, Any]
) -> dict[str, Any]:
    from steadyspike.peaks.on_disk import compute_peaks, finished_blocks, peak_parameters

    steps = (overrides.get("detect_kwargs", {}), overrides.get("localize_peaks_kwargs", {}))
    if finished_blocks(work):
        say(f"[bold]going on[/bold]    with the peaks in {work}")
    start = time.perf_counter()
    with refused_work():
        peaks, locations = compute_peaks(
            recording,
            work,
            preset=preset,
            detect_kwargs=steps[0],
            localize_peaks_kwargs=steps[1],
            **job_kwargs,
        )
    detect, localize = peak_parameters(preset, *steps)
    parameters = dict(
        preset=preset,
        detect_kwargs=detect,
        select_kwargs={},
        localize_peaks_kwargs=localize,
        job_kwargs=job_kwargs,
        sampling_frequency=recording.sampling_frequency,
    )
    return dict(
        parameters=parameters,
        run_times=dict(detect_and_localize=time.perf_counter() - start),
        peaks=peaks,
        peak_locations=locations,
    )


def _estimate_at_once(
    recording: BaseRecording, preset: str, overrides: Overrides, job_kwargs: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Do all in memory: a selection between detection and localization needs all peaks."""
    import spikeinterface.full as si

    arguments = {step: dict(changes) for step, changes in overrides.items() if step != INTERPOLATION}
    arguments.setdefault("estimate_motion_kwargs", {})["extra_outputs"] = True
    (motion, extra), info = si.compute_motion(
        recording, preset=preset, output_motion_info=True, **arguments, **job_kwargs
    )
    info["motion"] = motion
    info["parameters"]["estimate_motion_kwargs"].pop("extra_outputs", None)
    return info, extra
