"""Batches that are disturbed: tasks of a SLURM array that are killed, and corrupt sessions of a local one."""

from __future__ import annotations

import csv
import json
import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from steadyspike_benchmarks.cluster import sessions, slurm_here

Told = Callable[[str], None]
KILLED_SHARE = 0.2
CORRUPT = 3
EARLIEST_S, LATEST_S, POLL_S = 1.0, 25.0, 0.05


def slurm_study(folder: Path, number: int, duration_s: float, seed: int, told: Told) -> dict[str, Any]:
    """Run an array of sessions, one of them corrupt, twice: undisturbed, and with a fifth of its tasks killed."""
    os.environ.setdefault("USER", "root")
    data = folder / "data"
    table = sessions.make_sessions(data, number, duration_s)
    corrupt = sessions.corrupt(data, number - 1)
    good = [name for name in _names(number) if name != corrupt]
    random = np.random.default_rng(seed)
    victims = sorted(random.choice(good, math.ceil(KILLED_SHARE * number), replace=False).tolist())
    found: dict[str, Any] = dict(sessions=number, duration_s=duration_s, corrupt=corrupt, killed=victims)
    with tempfile.TemporaryDirectory(prefix="slurm-") as place, slurm_here.slurm(Path(place)):
        told("undisturbed")
        sessions.run_batch(table, folder / "undisturbed", "--engine", "slurm")
        _wait_for_jobs()
        told(f"killing {', '.join(victims)}")
        sessions.run_batch(table, folder / "disturbed", "--engine", "slurm")
        found["processes_killed"] = _kill_when_running(folder / "disturbed", victims, random)
        _wait_for_jobs()
        found["after_kills"] = _states(table, folder / "disturbed")
        _wait_for_jobs()
        told("once more")
        begun = _attempts(folder / "disturbed")
        found["exit_code"] = sessions.run_batch(table, folder / "disturbed", "--engine", "slurm")
        found["began_again"] = _attempts(folder / "disturbed") - begun
    found["states"] = dict(Counter(_states_of_table(folder / "disturbed").values()))
    same, other = sessions.differences(folder / "undisturbed" / "results", folder / "disturbed" / "results")
    return {**found, "same_files": same, "other_files": other, "left_out": list(sessions.TIMED)}


def local_study(folder: Path, number: int, duration_s: float, at_most: int, told: Told) -> dict[str, Any]:
    """Run a local batch with three corrupt sessions, and again."""
    data = folder / "data"
    table = sessions.make_sessions(data, number, duration_s)
    corrupt = [sessions.corrupt(data, index) for index in np.linspace(1, number - 1, CORRUPT).astype(int)]
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
        failed=sorted(name for name, state in states.items() if state == "failed"),
        states=dict(Counter(states.values())),
        reports=len(list(results.glob("*/report.html"))),
        exit_code=code,
        seconds=round(seconds, 1),
        exit_code_again=again,
        seconds_again=round(time.perf_counter() - start, 1),
        began_again=_attempts(folder / "results") - begun,
    )


def _names(number: int) -> list[str]:
    return [f"session{index:02d}" for index in range(number)]


def _wait_for_jobs() -> None:
    while slurm_here.asked("squeue", "--noheader"):
        time.sleep(POLL_S)


def _kill_when_running(output: Path, victims: list[str], random: np.random.Generator) -> int:
    """Kill each victim with all that it has started, some random time after it began."""
    left = dict.fromkeys(victims, 0.0)
    killed = 0
    while left and slurm_here.asked("squeue", "--noheader"):
        for name in list(left):
            running = sessions.processes_of("steadyspike.cluster", name)
            if running and not left[name]:
                left[name] = time.monotonic() + random.uniform(EARLIEST_S, LATEST_S)
            elif running and time.monotonic() > left[name]:
                killed += sum(sessions.kill_tree(one) for one in running)
                del left[name]
        time.sleep(POLL_S)
    return killed


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


def _attempts(output: Path) -> int:
    """Count how often tasks of a batch have begun."""
    files = (output / "tasks").glob("*/state.json")
    return sum(json.loads(file.read_text()).get("attempts", 0) for file in files)
