"""Small sessions to make a batch of, and what came of them held against what should have."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

TABLE = "sessions.csv"
TIMED = ("report.html", "steadyspike.json", "run_times.png", "run_times.json")
"""Files of a result that hold times, memory or the place where they lie."""
PLACED = ("recording.json", "provenance.json", "parameters.json")
"""Files that hold paths or the number of workers: compared as they are, too, and named where they differ."""


def make_sessions(folder: Path, number: int, duration_s: float, num_channels: int = 24) -> Path:
    """Simulate drifting recordings of int16, and write a table of them."""
    import spikeinterface.full as si

    from steadyspike.simulation.drift import simulate_drifting_recording

    names = [f"session{index:02d}" for index in range(number)]
    for index, name in enumerate(names):
        if (folder / name).exists():
            continue
        simulated = simulate_drifting_recording(
            "rigid_zigzag", num_channels=num_channels, duration_s=duration_s, num_units=12, seed=index
        )
        whole = si.astype(simulated.recording, "int16", round=True)
        whole.save(folder=folder / name, format="binary", n_jobs=1, progress_bar=False, verbose=False)
    table = folder / TABLE
    table.write_text("\n".join(["recording", *names]) + "\n")
    return table


def repeated(session: Path, folder: Path, times: int) -> Path:
    """Write a session several times after itself."""
    import spikeinterface.full as si

    if not folder.exists():
        whole = si.concatenate_recordings([si.load(session)] * times)
        whole.save(folder=folder, format="binary", n_jobs=1, progress_bar=False, verbose=False)
    return folder


def corrupt(folder: Path, index: int, kind: int) -> str:
    """Break a session, in one of three ways; give its name."""
    name = f"session{index:02d}"
    place = folder / name
    if kind == 0:
        (place / "si_folder.json").write_text("{")
    elif kind == 1:
        (place / "traces_cached_seg0.raw").unlink(missing_ok=True)
    else:
        (place / "probegroup.json").write_text("no probe")
    return name


def batch_command(table: Path, output: Path, *options: str) -> list[str]:
    """Give the command of a batch of corrections whose traces are written too."""
    how = ("--preset", "steady_rigid", "--format", "binary")
    start = (sys.executable, "-m", "steadyspike", "batch", str(table), "--do", "correct")
    return [*start, "--output", str(output), "--n-jobs", "1", *options, *how]


def run_batch(table: Path, output: Path, *options: str) -> int:
    """Run a batch, and give its exit code."""
    return subprocess.run(batch_command(table, output, *options), check=False).returncode


def differences(results: Path, others: Path) -> tuple[int, list[str]]:
    """Compare two folders of results byte for byte: the number of files that are the same, and names of the others.

    Files that hold times are left out.
    """
    files = [_files(results), _files(others)]
    names = sorted(files[0].keys() | files[1].keys())
    other = [name for name in names if files[0].get(name) != files[1].get(name)]
    return len(names) - len(other), other


def _files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in TIMED)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def kill_tree(process: int) -> int:
    """Kill a process and all that it has started with signal 9; give how many that were."""
    tree = tree_of(process)
    for one in reversed(tree):
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(tree)


def tree_of(process: int) -> list[int]:
    """Give a process and all that it has started, and these have started."""
    tree = [process]
    for one in tree:
        tree += _children(one)
    return tree


def _children(process: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        return [int(one) for task in tasks for one in (task / "children").read_text().split()]
    except OSError:
        return []


def processes_of(*words: str) -> list[int]:
    """Find processes of this machine by words that stand in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if all(word.encode() in line for word in words):
            found.append(int(path.parent.name))
    return found
