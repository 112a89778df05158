"""Corrections and denoising by workers of Dask that are killed on the way, held against those of one machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike_benchmarks.cluster import dask_here, sessions

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

Told = Callable[[str], None]

CORRECT = ("correct", "--preset", "steady_rigid", "--format", "binary")
DENOISE = ("denoise",)
DETECTION, SAVING, INFERENCE = "detect-and-localize", "correct", "denoise"
"""Names of the jobs, as the keys of their tasks have them."""
LONGER = 3
"""Times as long is the recording that shows that memory does not grow with the duration."""


@dataclass(frozen=True)
class Kill:
    """What is killed, while which part of a command works on its chunks."""

    during: str
    command: tuple[str, ...]
    job: str
    what: str


KILLS = (
    Kill("detection", CORRECT, DETECTION, "worker"),
    Kill("saving", CORRECT, SAVING, "worker"),
    Kill("inference", DENOISE, INFERENCE, "worker"),
    Kill("detection", CORRECT, DETECTION, "scheduler"),
    Kill("saving", CORRECT, SAVING, "scheduler"),
    Kill("inference", DENOISE, INFERENCE, "scheduler"),
)


def dask_study(folder: Path, duration_s: float, told: Told) -> dict[str, Any]:
    """Run each command here, and on workers of which one, or whose scheduler, is killed with signal 9 halfway."""
    data = folder / "data"
    sessions.make_sessions(data, 1, duration_s)
    recording = data / "session00"
    longer = sessions.repeated(recording, data / "longer", LONGER)
    for command in (CORRECT, DENOISE):
        told(f"{command[0]}: on one machine")
        _run(command, recording, folder / "undisturbed" / command[0])
    rows = []
    for number, kill in enumerate(KILLS):
        told(f"{kill.command[0]}: the {kill.what} is killed during {kill.during}")
        rows.append(_killed(kill, recording, folder / f"kill{number}", folder / "undisturbed"))
        told(json.dumps(rows[-1]))
    told("memory")
    memory = [_memory(recording, folder / "memory1"), _memory(longer, folder / "memory2")]
    return dict(duration_s=duration_s, kills=rows, memory=memory, left_out=list(sessions.TIMED))


def _killed(kill: Kill, recording: Path, place: Path, undisturbed: Path) -> dict[str, Any]:
    """Kill once, run again where the command ended, and compare."""
    output, log = place / kill.command[0], place / "log.txt"
    place.mkdir()
    with dask_here.dask(place / "dask") as cluster:
        child = _start(kill.command, recording, output, log, cluster.address)
        halfway = _num_samples(recording) // 2
        killing = cluster.kill_worker if kill.what == "worker" else cluster.kill_scheduler
        chunk = killing(kill.job, halfway, child)
        code = child.wait()
    found = dict(
        during=kill.during, killed=kill.what, chunk=chunk.rpartition("-")[0].split("-")[-1], exit_code=code
    )
    if code:
        said = log.read_text()
        found["error"] = next((line for line in said.splitlines() if line.startswith("error: ")), said[-300:])
        with dask_here.dask(place / "dask2") as cluster:
            again = _start(kill.command, recording, output, place / "again.txt", cluster.address)
            found["exit_code_again"] = again.wait()
        lines = (place / "again.txt").read_text().splitlines()
        found["went_on"] = [line for line in lines if line.startswith("going on")]
    same, other = sessions.differences(undisturbed / kill.command[0], output)
    return {**found, "same_files": same, "other_files": other}


def _memory(recording: Path, place: Path) -> dict[str, Any]:
    """Give the highest memory of each worker in both commands."""
    place.mkdir()
    peaks: dict[str, Any] = dict(samples=_num_samples(recording))
    for command in (CORRECT, DENOISE):
        with dask_here.dask(place / f"dask-{command[0]}") as cluster:
            code = _start(command, recording, place / command[0], place / "log.txt", cluster.address).wait()
            peaks[command[0]] = dict(exit_code=code, worker_peak_mb=cluster.peak_memory_mb())
        shutil.rmtree(place / command[0], ignore_errors=True)
    return peaks


def _run(command: tuple[str, ...], recording: Path, output: Path) -> None:
    line = [sys.executable, "-m", "steadyspike", *command, str(recording), "-o", str(output), "--n-jobs", "1"]
    subprocess.run(line, check=True, stdout=sys.stderr)


def _start(
    command: tuple[str, ...], recording: Path, output: Path, log: Path, scheduler: str
) -> subprocess.Popen[bytes]:
    options = ("--engine", "dask", "--scheduler", scheduler, "--n-jobs", "1", "--no-progress-bar")
    line = [sys.executable, "-m", "steadyspike", *command, str(recording), "-o", str(output), *options]
    with log.open("wb") as out:
        return subprocess.Popen(line, stdout=out, stderr=subprocess.STDOUT)


def _num_samples(recording: Path) -> int:
    import spikeinterface.full as si

    opened: BaseRecording = si.load(recording)
    return int(opened.get_num_samples(0))
