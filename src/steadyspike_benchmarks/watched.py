"""Run a piece of Python in a process of its own that is stopped when it takes too much memory or time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MB = 1e6
POLL_S = 0.1


class StoppedError(RuntimeError):
    """A process passed a limit, or could not get the memory it asked for; the message says which."""


def run_watched(
    script: str,
    argument: str,
    *,
    limit_mb: float | None = None,
    limit_s: float | None = None,
    nice: int = 0,
) -> dict[str, Any]:
    """Run a script that prints one line of JSON at the end.

    Parameters
    ----------
    script : str
        Python.
    argument : str
        Its ``sys.argv[1]``.
    limit_mb : float or None, default: None
        Resident memory in MB beyond which it is stopped; looked at ten times a second, on Linux only.
    limit_s : float or None, default: None
        Seconds after which it is stopped.
    nice : int, default: 0
        How far it stands back behind other processes, 0 to 19; POSIX only.

    Returns
    -------
    result : dict
        The last line that it printed.

    Raises
    ------
    StoppedError
        If it passed a limit, or an allocation failed.
    RuntimeError
        If it failed otherwise; with the last line of its error.
    """
    stand_back: Callable[[], Any] | None = (lambda: os.nice(nice)) if nice else None
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", script, argument], stdout=output, stderr=errors, preexec_fn=stand_back
        )
        try:
            reason = _watch(process, limit_mb, limit_s)
        finally:
            process.kill()
            process.wait()
        if reason is not None:
            raise StoppedError(reason)
        output.seek(0)
        errors.seek(0)
        if process.returncode == 0:
            return json.loads(output.read().strip().splitlines()[-1])
        lines = errors.read().strip().splitlines() or [f"exit code {process.returncode}"]
    if "MemoryError" in lines[-1] or "llocate" in lines[-1]:
        raise StoppedError(lines[-1].rpartition("Error: ")[2])
    raise RuntimeError(lines[-1])


def _watch(process: subprocess.Popen, limit_mb: float | None, limit_s: float | None) -> str | None:
    """Wait for the end of a process; gives the reason for which it must be stopped."""
    start = time.monotonic()
    while True:
        try:
            process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            seconds = time.monotonic() - start
            if limit_mb is not None and _resident_mb(process.pid) > limit_mb:
                return f"passed {limit_mb / 1000:g} GB after {seconds:.0f} s"
            if limit_s is not None and seconds > limit_s:
                return f"passed {limit_s:g} s"
        else:
            return None


def _resident_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return float(fields["VmRSS"].split()[0]) * 1024 / MB if "VmRSS" in fields else 0.0
