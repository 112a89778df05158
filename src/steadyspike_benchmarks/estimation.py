"""One estimate of motion from stored peaks: its error, time, peak memory and verdict."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.simulation.truth import error_summary
from steadyspike_benchmarks.code_version import code_key, settings_key
from steadyspike_benchmarks.study_peaks import LoadedCase
from steadyspike_benchmarks.study_presets import StudyPreset

if TYPE_CHECKING:
    from spikeinterface.core.motion import Motion

WARM_UP_PEAKS = 2000
MB = 1e6


@dataclass(frozen=True)
class Estimate:
    """A motion and what it took.

    Attributes
    ----------
    motion : Motion
        The estimate.
    seconds : float
        Of the estimation alone, compiled beforehand.
    peak_mb : float or None
        By how much the process grew at most, in MB; None where the system does not tell.
    """

    motion: Motion
    seconds: float
    peak_mb: float | None


class MissingPackageError(RuntimeError):
    """An estimator needs a package that is not installed."""


def estimate(case: LoadedCase, preset: StudyPreset, *, medicine_python: str | None = None) -> Estimate:
    """Estimate the motion of stored peaks.

    `medicine` runs in a process of its own.

    Parameters
    ----------
    case : LoadedCase
        The peaks.
    preset : StudyPreset
        Names the estimator and its arguments.
    medicine_python : str or None, default: None
        A Python that has the package medicine, where this one has not.

    Returns
    -------
    result : Estimate

    Raises
    ------
    MissingPackageError
        If medicine is wanted and is nowhere.
    """
    from spikeinterface.sortingcomponents.motion import estimate_motion

    if preset.method == "medicine":
        return _estimate_with_medicine(case, preset, find_medicine(medicine_python))
    arguments = preset.estimate_motion_kwargs
    start = time.perf_counter()
    motion, peak_mb = _with_peak_memory(
        lambda: estimate_motion(case.recording, case.peaks, case.peak_locations, **arguments)
    )
    return Estimate(motion, time.perf_counter() - start, peak_mb)


def warm_up(case: LoadedCase, preset: StudyPreset) -> None:
    """Compile what an estimator of ours compiles, and load what others load, on few peaks."""
    from spikeinterface.sortingcomponents.motion import estimate_motion

    if preset.method == "dredge_ap":
        import torch  # noqa: F401
    if preset.method.startswith("steady_"):
        peaks, locations = case.peaks[:WARM_UP_PEAKS], case.peak_locations[:WARM_UP_PEAKS]
        estimate_motion(case.recording, peaks, locations, **preset.estimate_motion_kwargs)


def estimator_code(preset: StudyPreset) -> str:
    """Give the key of the code of a preset's estimator and of its arguments."""
    from spikeinterface.sortingcomponents.motion.motion_estimation import estimate_motion_methods

    return f"{code_key(estimate_motion_methods[preset.method])}-{settings_key(preset.estimate_motion_kwargs)}"


def judge(case: LoadedCase, motion: Motion) -> dict[str, Any] | None:
    """Ask `steadyspike.motion.trust.motion_trust` for its verdict.

    Parameters
    ----------
    case : LoadedCase
        The peaks.
    motion : Motion
        An estimate.

    Returns
    -------
    verdict : dict or None
        "verdict", "reason", "seconds", "code" and "details" (its numbers and words); None where this version has no
        `motion_trust`. With "verdict" None and the error as "reason" where it fails.
    """
    motion_trust = find_motion_trust()
    if motion_trust is None:
        return None
    start = time.perf_counter()
    try:
        trust = motion_trust(case.recording, motion, case.peaks, case.peak_locations)
    except Exception as error:  # a study goes on, and shows it
        told = dict(verdict=None, reason=f"{type(error).__name__}: {error}", details={})
    else:
        plain = {key: _plain(value) for key, value in trust.to_dict().items()}
        details = {key: value for key, value in plain.items() if isinstance(value, str | int | float | bool)}
        told = dict(verdict=str(trust.verdict), reason=str(trust.reason), details=details)
    return dict(told, seconds=round(time.perf_counter() - start, 3), code=code_key(motion_trust))


def find_motion_trust() -> Callable[..., Any] | None:
    """Give `steadyspike.motion.trust.motion_trust`, or None where it is not there."""
    try:
        from steadyspike.motion.trust import motion_trust
    except ImportError:
        return None
    return motion_trust


def find_medicine(python: str | None = None) -> str:
    """Give a Python that has the package medicine, or raise `MissingPackageError`."""
    if python is None:
        if find_spec("medicine") is None:
            raise MissingPackageError(
                "medicine is not installed here; pip install medicine-neuro, or name another Python that has it"
            )
        return sys.executable
    command = [
        python,
        "-c",
        "import importlib.util, sys; sys.exit(importlib.util.find_spec('medicine') is None)",
    ]
    try:
        found = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        found = False
    if not found:
        raise MissingPackageError(f"{python} is no Python that has the package medicine")
    return python


def measure(case: LoadedCase, result: Estimate) -> dict[str, Any]:
    """Give the numbers that a study keeps of an estimate: errors, seconds and memory."""
    span = np.ptp(result.motion.displacement[0], axis=0)
    return dict(
        **error_summary(case.truth, result.motion),
        estimated_span_um=float(span.max()) if span.size else 0.0,
        num_peaks=int(case.peaks.size),
        num_times=int(result.motion.displacement[0].shape[0]),
        num_windows=int(result.motion.displacement[0].shape[1]),
        estimate_s=round(result.seconds, 4),
        peak_mb=None if result.peak_mb is None else round(result.peak_mb, 1),
    )


def _estimate_with_medicine(case: LoadedCase, preset: StudyPreset, python: str) -> Estimate:
    from spikeinterface.core.motion import Motion

    settings = {key: value for key, value in preset.estimate_motion_kwargs.items() if key != "method"}
    with tempfile.TemporaryDirectory() as folder:
        peaks_file, result_file = Path(folder) / "peaks.npz", Path(folder) / "motion.npz"
        np.savez(
            peaks_file,
            times_s=case.peaks["sample_index"] / case.recording.sampling_frequency,
            depths_um=case.peak_locations["y"],
            amplitudes=case.peaks["amplitude"],
            settings=json.dumps(settings),
        )
        script = Path(__file__).with_name("medicine_run.py")
        command = [python, str(script), str(peaks_file), str(result_file)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"medicine failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        with np.load(result_file) as stored:
            motion = Motion(
                [stored["displacement"]],
                [stored["temporal_bins_s"]],
                stored["spatial_bins_um"],
                direction="y",
            )
            return Estimate(motion, float(stored["seconds"]), float(stored["peak_mb"]))


def _with_peak_memory(function: Callable[[], Any]) -> tuple[Any, float | None]:
    """Call, and tell by how many MB the process grew at most meanwhile; Linux only."""
    gc.collect()
    try:
        # hands back what earlier estimates left on the heap, which this one would fill first
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        # makes the system forget the highest memory so far
        Path("/proc/self/clear_refs").write_text("5")
        before = _memory_kb("VmRSS")
    except (OSError, AttributeError):
        return function(), None
    result = function()
    return result, max(0.0, (_memory_kb("VmHWM") - before) * 1024 / MB)


def _memory_kb(entry: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf8").splitlines()
    return float(next(line for line in lines if line.startswith(f"{entry}:")).split()[1])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
