"""Batches that are disturbed: tasks of a SLURM array that are killed, and corrupt sessions of a local one."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from steadyspike.cli.output import PEAKS, work_folder
from steadyspike.cluster import slurm
from steadyspike.peaks.on_disk import finished_peaks
from steadyspike_benchmarks.cluster import browser, sessions, slurm_here

Told = Callable[[str], None]
KILLED_SHARE = 0.2
CORRUPT = 3
EARLIEST_S, LATEST_S, POLL_S = 1.0, 25.0, 0.05


def slurm_study(folder: Path, number: int, duration_s: float, seed: int, told: Told) -> dict[str, Any]:
    """Run an array of sessions, one of them corrupt, twice: undisturbed, and with a fifth of its tasks killed."""
    os.environ.setdefault("USER", "root")
    data = folder / "data"
    table = sessions.make_sessions(data, number, duration_s)
    corrupt = sessions.corrupt(data, number - 1, 0)
    good = [name for name in _names(number) if name != corrupt]
    random = np.random.default_rng(seed)
    requeued, *victims = random.choice(good, 1 + math.ceil(KILLED_SHARE * number), replace=False).tolist()
    found: dict[str, Any] = dict(
        sessions=number, duration_s=duration_s, corrupt=corrupt, killed=sorted(victims)
    )
    with tempfile.TemporaryDirectory(prefix="slurm-") as place, slurm_here.slurm(Path(place)):
        told("undisturbed")
        sessions.run_batch(table, folder / "undisturbed", "--engine", "slurm")
        _wait_for_jobs()
        told(f"killing {', '.join(victims)}; requeueing {requeued}")
        sessions.run_batch(table, folder / "disturbed", "--engine", "slurm")
        found["processes_killed"] = _disturb(folder / "disturbed", victims, requeued, random)
        _wait_for_jobs()
        found["requeued"] = {requeued: _said(folder / "disturbed", requeued)}
        found["after_kills"] = _states(table, folder / "disturbed")
        _wait_for_jobs()
        told("once more")
        begun = _attempts(folder / "disturbed")
        found["exit_code"] = sessions.run_batch(table, folder / "disturbed", "--engine", "slurm")
        found["began_again"] = _attempts(folder / "disturbed") - begun
    found["states"] = dict(Counter(_states_of_table(folder / "disturbed").values()))
    found["failed"] = _errors(folder / "disturbed")
    same, other = sessions.differences(folder / "undisturbed" / "results", folder / "disturbed" / "results")
    return {**found, "same_files": same, "other_files": other, "left_out": list(sessions.TIMED)}


def local_study(folder: Path, number: int, duration_s: float, at_most: int, told: Told) -> dict[str, Any]:
    """Run a local batch with three corrupt sessions, and again."""
    data = folder / "data"
    table = sessions.make_sessions(data, number, duration_s)
    places = np.linspace(1, number - 1, CORRUPT).astype(int)
    corrupt = [sessions.corrupt(data, index, kind) for kind, index in enumerate(places)]
    told(f"{number} sessions, corrupt: {', '.join(corrupt)}")
    start = time.perf_counter()
    code = sessions.run_batch(table, folder / "results", "--at-most", str(at_most))
    seconds = time.perf_counter() - start
    begun, start = _attempts(folder / "results"), time.perf_counter()
    again = sessions.run_batch(table, folder / "results", "--at-most", str(at_most))
    states = _states_of_table(folder / "results")
    results = folder / "results" / "results"
    return dict(
        sessions=number,
        corrupt=corrupt,
        failed=_errors(folder / "results"),
        states=dict(Counter(states.values())),
        reports=len(list(results.glob("*/report.html"))),
        exit_code=code,
        seconds=round(seconds, 1),
        exit_code_again=again,
        seconds_again=round(time.perf_counter() - start, 1),
        began_again=_attempts(folder / "results") - begun,
        page=browser.open_page(folder / "results" / "index.html", folder / "pictures"),
    )


def _names(number: int) -> list[str]:
    return [f"session{index:02d}" for index in range(number)]


def _wait_for_jobs() -> None:
    while slurm_here.asked("squeue", "--noheader"):
        time.sleep(POLL_S)


def _disturb(output: Path, victims: list[str], requeued: str, random: np.random.Generator) -> int:
    """Kill each victim with all that it has started, some random time after it began, and requeue one task.

    That one is requeued when it has found its peaks. Returns how many processes were killed.
    """
    left = dict.fromkeys(victims, 0.0)
    killed, is_requeued = 0, False
    while (left or not is_requeued) and slurm_here.asked("squeue", "--noheader"):
        for name in list(left):
            running = sessions.processes_of("steadyspike.cluster", name)
            if running and not left[name]:
                left[name] = time.monotonic() + random.uniform(EARLIEST_S, LATEST_S)
            elif running and time.monotonic() > left[name]:
                killed += sum(sessions.kill_tree(one) for one in running)
                del left[name]
        if (
            not is_requeued
            and finished_peaks(work_folder(output / "results" / requeued).path / PEAKS) is not None
        ):
            is_requeued = _requeue(output, requeued)
        time.sleep(POLL_S)
    return killed


def _requeue(output: Path, name: str) -> bool:
    """Let SLURM begin a task again."""
    ((job, names),) = json.loads((output / slurm.JOBS).read_text()).items()
    return subprocess.run(["scontrol", "requeue", f"{job}_{names.index(name)}"], check=False).returncode == 0


def _said(output: Path, name: str) -> list[str]:
    """Give the lines of a task's log that say that it began, or went on with something."""
    lines = (output / "tasks" / name / "log.txt").read_text().splitlines()
    return [line[:80] for line in lines if line.startswith(("== ", "going on"))]


def _states(table: Path, output: Path) -> dict[str, int]:
    """Run the batch, which submits what is missing, and count the states before."""
    from steadyspike.cluster.tasks import Batch

    batch = Batch(output)
    states = Counter(batch.outcome(path.name).state for path in sorted((output / "tasks").glob("[!.]*")))
    sessions.run_batch(table, output, "--engine", "slurm")
    return dict(states)


def _states_of_table(output: Path) -> dict[str, str]:
    with (output / "table.csv").open(newline="") as stream:
        return {row["name"]: row["state"] for row in csv.DictReader(stream)}


def _errors(output: Path) -> dict[str, str]:
    with (output / "table.csv").open(newline="") as stream:
        return {row["name"]: row["error"] for row in csv.DictReader(stream) if row["state"] == "failed"}


def _attempts(output: Path) -> int:
    """Count how often tasks of a batch have begun."""
    files = (output / "tasks").glob("*/state.json")
    return sum(json.loads(file.read_text()).get("attempts", 0) for file in files)
