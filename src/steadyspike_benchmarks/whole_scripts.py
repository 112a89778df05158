"""A plain script of SpikeInterface, unchanged, with and without acceleration, each run in a process of its own.

The script is that of SpikeInterface's tutorial on drift: a lazy chain of band-pass and common reference, one call of
`correct_motion`, and the corrected recording read once. It knows nothing of steadyspike;
``steadyspike run script.py`` makes the difference. The recording is simulated once and lies on disk, in the page cache
as far as memory allows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from steadyspike.core.environment import machine, versions

PRESETS = ("rigid_fast", "kilosort_like", "nonrigid_accurate")
SLOW_S = 150.0
"""What takes longer is run once."""
STEPS = {
    "detect_and_localize": "detect and localize",
    "estimate_motion": "estimate motion",
    "noise_levels": "noise levels",
    "read_corrected": "read corrected",
}

SCRIPT = """\
import json
import sys
import time

imported = time.perf_counter()
import numpy as np
import spikeinterface.full as si
import spikeinterface.sortingcomponents.motion
import spikeinterface.sortingcomponents.peak_detection
import spikeinterface.sortingcomponents.peak_localization

imported = time.perf_counter() - imported


def chunks(recording):
    step = int(recording.sampling_frequency)
    for start in range(0, recording.get_num_samples(), step):
        yield dict(start_frame=start, end_frame=min(start + step, recording.get_num_samples()))


if __name__ == "__main__":
    folder, preset, motion_file = sys.argv[1:]
    si.set_global_job_kwargs(n_jobs=1, chunk_duration="1s", progress_bar=False)

    raw = si.load(folder)
    recording = si.bandpass_filter(raw, freq_min=300.0, freq_max=6000.0, dtype="float32")
    recording = si.common_reference(recording, reference="global", operator="median")

    wall, processor = time.perf_counter(), time.process_time()
    corrected, motion_info = si.correct_motion(recording, preset=preset, output_motion_info=True)
    wall_motion, processor_motion = time.perf_counter() - wall, time.process_time() - processor

    wall, processor = time.perf_counter(), time.process_time()
    for chunk in chunks(corrected):
        corrected.get_traces(**chunk)
    wall_read, processor_read = time.perf_counter() - wall, time.process_time() - processor

    steps = dict(motion_info["run_times"], read_corrected=wall_read)
    steps["noise_levels"] = wall_motion - sum(motion_info["run_times"].values())
    motion = motion_info["motion"]
    np.savez(motion_file, displacement=motion.displacement[0], times=motion.temporal_bins_s[0])
    print(
        json.dumps(
            dict(
                import_s=imported,
                steps_s=steps,
                total_s=wall_motion + wall_read,
                motion_cpu_s=processor_motion,
                read_cpu_s=processor_read,
                num_peaks=int(motion_info["peaks"].size),
                num_channels=corrected.get_num_channels(),
            )
        )
    )
"""


def run_whole_scripts(
    presets: Sequence[str] = PRESETS,
    duration_s: float = 100.0,
    num_channels: int = 128,
    repeats: int = 3,
    tell: Callable[[str], None] = lambda line: None,
    dtype: str = "float32",
    seed: int = 0,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Run the script for each preset, without and with acceleration in turns.

    Parameters
    ----------
    presets : sequence of str
        Motion presets of SpikeInterface.
    duration_s : float, default: 100.0
        Length of the recording, at least 2 s.
    num_channels : int, default: 128
        Contacts of a Neuropixels 1.0 probe.
    repeats : int, default: 3
        Runs of each, at least 1; one of what takes longer than `SLOW_S`.
    tell : callable
        Called with one line of text after each run.
    dtype : "float32" | "int16", default: "float32"
        Of the raw samples.
    seed : int, default: 0
        Of the simulation.
    folder : Path or None, default: None
        Where the recording and the results of runs are put; None: a temporary folder.

    Returns
    -------
    results : dict
        "settings", "versions", "machine", and "rows": for each preset the medians of both sides, their ratios, and how
        far the two motions differ.

    Raises
    ------
    ValueError
        For an unknown preset, or no repeats.
    RuntimeError
        If the script fails; with the end of its error.
    """
    from spikeinterface.preprocessing.motion import get_motion_presets

    unknown = sorted(set(presets) - set(get_motion_presets()))
    if unknown or not presets:
        raise ValueError(f"presets={list(presets)}; allowed: {', '.join(get_motion_presets())}")
    if repeats < 1:
        raise ValueError(f"repeats={repeats} must be at least 1")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        script = Path(place) / "script.py"
        script.write_text(SCRIPT, encoding="utf8")
        recordings = {
            name: _simulate(Path(place) / name, seconds, num_channels, dtype, seed)
            for name, seconds in (("recording", duration_s), ("warm_up", 2.0))
        }
        rows = []
        for preset in presets:
            for accelerated in (False, True):
                # kernels are compiled, and files read, before anything is timed
                run_script(script, recordings["warm_up"], preset, accelerated)
            rows.append(_compare(script, recordings["recording"], preset, repeats, tell))
    return {
        "settings": dict(
            duration_s=duration_s, num_channels=num_channels, repeats=repeats, dtype=dtype, seed=seed
        ),
        "versions": versions(),
        "machine": machine(),
        "rows": rows,
    }


def run_script(script: Path, recording: Path, preset: str, accelerated: bool) -> dict[str, Any]:
    """Run the script once in a new process with one thread.

    Parameters
    ----------
    script : Path
        Python.
    recording : Path
        Folder of the raw recording.
    preset : str
        Motion preset.
    accelerated : bool
        Whether it is run by ``steadyspike run``.

    Returns
    -------
    told : dict
        What it prints, with "displacement" and "times" of its motion.
    """
    one = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
    )
    environment = {**os.environ, **one}
    run = ["-m", "steadyspike", "run"] if accelerated else []
    motion_file = script.with_name("motion.npz")
    done = subprocess.run(
        [sys.executable, *run, str(script), str(recording), preset, str(motion_file)],
        env=environment,
        cwd=script.parent,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"the script failed with preset={preset!r}, accelerated={accelerated}: {done.stderr[-1000:]}"
        )
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    with np.load(motion_file) as motion:
        told.update({name: motion[name] for name in motion.files})
    return told


def format_whole_scripts(results: dict[str, Any]) -> str:
    """Write results as a Markdown table with versions and machine below.

    Parameters
    ----------
    results : dict
        As `run_whole_scripts` returns them.

    Returns
    -------
    text : str
    """
    lines = [
        "| preset | step | SpikeInterface (s) | accelerated (s) | ratio | ratio, CPU | largest difference of motion |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for row in results["rows"]:
        upstream, ours = row["upstream"], row["accelerated"]
        for step, words in STEPS.items():
            if step in upstream["steps_s"]:
                lines.append(
                    _line([row["preset"], words], upstream["steps_s"][step], ours["steps_s"][step], "", "")
                )
        ratio = f"{_ratio(upstream['cpu_s'], ours['cpu_s'])}"
        difference = f"{row['largest_difference_um']:.3f} um"
        if row["own_difference_um"] is not None:
            difference += f" ({row['own_difference_um']:.3f} um between runs)"
        difference += f"; {row['num_peaks'][0]:,} and {row['num_peaks'][1]:,} peaks"
        lines.append(
            _line([row["preset"], "**in all**"], upstream["total_s"], ours["total_s"], ratio, difference)
        )
    settings, used = results["settings"], results["machine"]
    numbers = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    lines += [
        "",
        f"{settings['num_channels']} channels, {settings['duration_s']:g} s, {settings['dtype']}, one thread, each run"
        f" in a process of its own, medians of up to {settings['repeats']} runs in turns; imports are not counted."
        " SpikeInterface estimates noise levels from chunks drawn at random, so that peaks and motion differ a little"
        " from run to run; how much, without acceleration, is told where it was run more than once.",
        "",
        f"Measured with {numbers} on {used['processor']} ({used['cores']} cores).",
    ]
    return "\n".join(lines)


def _line(cells: list[str], upstream_s: float, ours_s: float, cpu: str, difference: str) -> str:
    cells = [*cells, f"{upstream_s:.2f}", f"{ours_s:.2f}", _ratio(upstream_s, ours_s), cpu, difference]
    return "| " + " | ".join(cells) + " |"


def _ratio(upstream_s: float, ours_s: float) -> str:
    return f"{upstream_s / max(ours_s, 1e-9):.1f}"


def _simulate(folder: Path, duration_s: float, num_channels: int, dtype: str, seed: int) -> Path:
    from steadyspike_benchmarks.speed_parts import Data

    Data(num_channels, duration_s, dtype, seed).raw.save(
        folder=folder, n_jobs=1, chunk_duration="1s", progress_bar=False, verbose=False
    )
    return folder


def _compare(
    script: Path, recording: Path, preset: str, repeats: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    runs: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for _ in range(repeats):
        for accelerated, done in runs.items():
            if done and done[0]["total_s"] > SLOW_S:
                continue
            start = time.perf_counter()
            done.append(run_script(script, recording, preset, accelerated))
            whole_s = time.perf_counter() - start
            side = "accelerated" if accelerated else "SpikeInterface"
            tell(f"{preset}, {side}: {done[-1]['total_s']:.2f} s ({whole_s:.1f} s with imports)")
    theirs, ours = runs[False][0], runs[True][0]
    return {
        "preset": preset,
        "upstream": _medians(runs[False]),
        "accelerated": _medians(runs[True]),
        "ratio": median(one["total_s"] for one in runs[False]) / median(one["total_s"] for one in runs[True]),
        "largest_difference_um": _difference(theirs, ours),
        "own_difference_um": _difference(*runs[False][:2]) if len(runs[False]) > 1 else None,
        "num_peaks": [theirs["num_peaks"], ours["num_peaks"]],
        "num_channels": [theirs["num_channels"], ours["num_channels"]],
    }


def _difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Largest difference of two motions; infinite if their bins are not the same."""
    if one["displacement"].shape != other["displacement"].shape:
        return float("inf")
    return float(np.abs(one["displacement"] - other["displacement"]).max())


def _medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "runs": len(runs),
        "steps_s": {step: median(run["steps_s"][step] for run in runs) for step in runs[0]["steps_s"]},
        "total_s": median(run["total_s"] for run in runs),
        "cpu_s": median(run["motion_cpu_s"] + run["read_cpu_s"] for run in runs),
        "import_s": median(run["import_s"] for run in runs),
    }
