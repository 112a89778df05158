"""What one peak, cell, pair and product of motion estimation costs: the constants of `steadyspike.motion.forecast`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import numpy as np

from steadyspike.motion.costs import Costs, ProblemSize, calibrate, problem_size
from steadyspike.motion.decentralized import DecentralizedSettings
from steadyspike.motion.settings import WindowSettings
from steadyspike_benchmarks.memory import MB, Settings, measure, peak_memory_mb, unread_recording

# each case has more of one thing: time, peaks, channels, windows
CASES = (
    Settings(hours=1.0),
    Settings(hours=4.0),
    Settings(hours=1.0, peaks_per_second=2000.0),
    Settings(hours=1.0, num_channels=128),
    Settings(hours=1.0, win_step_um=100.0, win_scale_um=100.0),
    Settings(hours=1.0, win_step_um=1900.0, win_scale_um=1900.0),
)
DETECTION_S = 6.0
DETECTION_SCRIPT = "from steadyspike_benchmarks.motion_costs import measure_detection_here as m; print(m())"


def measure_costs(cases: tuple[Settings, ...] = CASES) -> Costs:
    """Measure the costs of an estimator, each case in a process of its own.

    Parameters
    ----------
    cases : tuple of Settings
        With at least three different mixtures of peaks, cells and pairs.

    Returns
    -------
    costs : Costs
        The non-negative least squares fit of memory and time.
    """
    before_s = calibrate()
    results = [measure(case) for case in cases]
    return fit_costs(results, 0.5 * (before_s + calibrate()))


def fit_costs(results: list[dict[str, Any]], calibration_s: float) -> Costs:
    """Fit the costs to what was measured.

    Parameters
    ----------
    results : list of dict
        From `memory.measure_here`.
    calibration_s : float
        What `calibrate` gave beside them.

    Returns
    -------
    costs : Costs
    """
    from scipy.optimize import nnls

    sizes = [size_of(result) for result in results]
    memory = np.array([(result["peak_mb"] - result["imports_mb"]) * MB for result in results])
    seconds = np.array([result["cpu_seconds"] for result in results])
    fitted = []
    for features, measured in (
        (np.array([size.memory_features() for size in sizes]), memory),
        (np.array([size.time_features() for size in sizes]), seconds),
    ):
        # relative errors count, so that the short cases tell as much as the long one
        scale = features.max(axis=0)
        fitted.append(nnls(features / scale / measured[:, None], np.ones(measured.size))[0] / scale)
    base_mb = float(np.median([result["imports_mb"] for result in results]))
    return Costs(base_mb, *map(float, fitted[0]), *map(float, fitted[1]), calibration_s)


def size_of(result: dict[str, Any]) -> ProblemSize:
    """Give the size of the problem that a result of `memory.measure_here` was measured on."""
    recording = unread_recording(result["hours"], result["num_channels"])
    windows = WindowSettings.of(
        win_step_um=result["win_step_um"], win_scale_um=result["win_scale_um"], win_margin_um=0.0
    )
    return problem_size(recording, result["num_peaks"], windows, DecentralizedSettings.of())


def measure_detection() -> float:
    """Measure, in a process of its own, the memory to find peaks, in bytes per byte of a chunk of 1 s."""
    done = subprocess.run(
        [sys.executable, "-c", DETECTION_SCRIPT], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def measure_detection_here() -> float:
    """Find peaks behind our filters in chunks of 1 s, in this process, which should have done nothing else before."""
    import tempfile
    from pathlib import Path

    import steadyspike
    from steadyspike.motion.forecast import TRACE_BYTES
    from steadyspike.peaks.on_disk import compute_peaks

    noise = unread_recording(DETECTION_S / 3600)
    filtered = steadyspike.bandpass_filter(noise, freq_min=300.0, freq_max=6000.0)
    recording = steadyspike.common_reference(filtered)
    jobs = dict(n_jobs=1, progress_bar=False)
    with tempfile.TemporaryDirectory() as folder:
        short = recording.frame_slice(0, 3000)
        compute_peaks(short, Path(folder) / "short", chunk_duration="50ms", **jobs)
        before_mb = peak_memory_mb()
        compute_peaks(recording, Path(folder) / "long", chunk_duration="1s", **jobs)
        more_mb = peak_memory_mb() - before_mb
    chunk_mb = recording.get_num_channels() * recording.sampling_frequency * TRACE_BYTES / MB
    return more_mb / chunk_mb


def format_costs(method: str, costs: Costs, bytes_per_chunk_byte: float) -> str:
    """Write costs as the table in `steadyspike.motion.forecast` holds them."""
    lines = [f'    "{method}": Costs(']
    lines += [f"        {name}={float(f'{value:.3g}')!r}," for name, value in asdict(costs).items()]
    lines += ["    ),", f"BYTES_PER_CHUNK_BYTE = {float(f'{bytes_per_chunk_byte:.3g}')!r}"]
    return "\n".join(lines)


def costs_as_json(costs: Costs, bytes_per_chunk_byte: float) -> str:
    """Write costs as JSON."""
    return json.dumps(dict(asdict(costs), bytes_per_chunk_byte=bytes_per_chunk_byte), indent=1)
