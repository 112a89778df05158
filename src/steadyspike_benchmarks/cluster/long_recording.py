"""From raw to motion on hours of a recording that is never stored: time, and the peak memory of every process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from steadyspike_benchmarks.cluster.sessions import tree_of
from steadyspike_benchmarks.cluster.wandering import WanderingRecording

MB, POLL_S, TOLD_S = 1e6, 0.5, 300.0
RECORDING = "long.json"


def long_study(
    folder: Path,
    hours: float,
    workers: Iterable[int],
    *,
    num_channels: int = 384,
    spikes_per_second: float = 300.0,
    options: tuple[str, ...] = (),
    told: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Run ``steadyspike correct`` on a simulated recording with each number of workers.

    Parameters
    ----------
    folder : Path
        Where the recording's description, the results and what the commands said go.
    hours : float
        Duration of the recording, of at least a second.
    workers : iterable of int
        Numbers of workers; 1 works in the process of the command itself, unless the options say otherwise.
    num_channels : int, default: 384
        Contacts of a Neuropixels 1.0 probe; 2 to 384.
    spikes_per_second : float, default: 300.0
        On the whole probe, not negative.
    options : tuple of str, default: ()
        Further options of the command, such as ``--engine dask``.
    told : callable
        Takes words about how far it is.

    Returns
    -------
    results : list of dict
        For each number of workers "seconds" of the whole command and "cpu_seconds" of all its processes, "run_times" of
        its parts, "num_peaks", the peak memory of the command and of the largest of what it started, "command_mb" and
        "worker_mb" (None if it started nothing), in MB (1e6 bytes), and the "loads" of the machine before and after.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recording = WanderingRecording(hours, num_channels, spikes_per_second)
    recording.dump_to_json(folder / RECORDING)
    return [_measured(folder, number, recording, options, told) for number in workers]


def _measured(
    folder: Path,
    workers: int,
    recording: WanderingRecording,
    options: tuple[str, ...],
    told: Callable[[str], None],
) -> dict[str, Any]:
    output = folder / f"workers{workers}"
    command = [sys.executable, "-m", "steadyspike", "correct", str(folder / RECORDING), "-o", str(output)]
    command += ["--n-jobs", str(workers), "--no-progress-bar", *options]
    told(f"{recording.get_total_duration():.0f} s, {workers} workers: {' '.join(command[2:])}")
    loads, start = [os.getloadavg()[0]], time.perf_counter()
    with (folder / f"workers{workers}.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        cpu_start = _cpu_seconds()
        peaks = _watch(process, told)
    if process.returncode:
        raise RuntimeError(f"steadyspike correct failed; see {log.name}")
    seconds = time.perf_counter() - start
    loads.append(os.getloadavg()[0])
    result = json.loads((output / "steadyspike.json").read_text())["result"]
    others = [peak for pid, peak in peaks.items() if pid != process.pid]
    return dict(
        duration_s=recording.get_total_duration(),
        num_channels=recording.get_num_channels(),
        workers=workers,
        options=list(options),
        seconds=round(seconds, 1),
        cpu_seconds=round(_cpu_seconds() - cpu_start, 1),
        run_times={step: round(value, 1) for step, value in result["run_times"].items()},
        num_peaks=result["num_peaks"],
        command_mb=round(peaks[process.pid]),
        worker_mb=round(max(others)) if others else None,
        loads=[round(load, 1) for load in loads],
    )


def _watch(process: subprocess.Popen[bytes], told: Callable[[str], None]) -> dict[int, float]:
    """Wait for the end of a process, and give the peak memory of it and of all that it started."""
    peaks = {process.pid: 0.0}
    start = last = time.monotonic()
    while process.poll() is None:
        for pid in tree_of(process.pid):
            peaks[pid] = max(peaks.get(pid, 0.0), _peak_mb(pid))
        time.sleep(POLL_S)
        if time.monotonic() > last + TOLD_S:
            last = time.monotonic()
            told(
                f"{last - start:.0f} s: peaks so far {', '.join(f'{peak:.0f}' for peak in peaks.values())} MB"
            )
    return peaks


def _cpu_seconds() -> float:
    """Give the processor time of all processes that were started here and have ended, and of what they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak_mb(pid: int) -> float:
    """Give the highest memory that a process of Linux ever had; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    found = [line for line in lines if line.startswith("VmHWM:")]
    return float(found[0].split()[1]) * 1024 / MB if found else 0.0
