"""Dask with its scheduler killed while traces are written, and the same call made again with another scheduler."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

NUM_CHANNELS, RATE, CHUNK, NUM_CHUNKS, NUM_WORKERS = 64, 30_000.0, 600, 200, 2
KILLED_AFTER, PATIENCE = 20, "60s"


@contextmanager
def dask_here() -> Iterator[tuple[str, int]]:
    """Run a scheduler and its workers as processes of their own; give its address and process."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    address, quiet = f"tcp://127.0.0.1:{port}", dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    python = (sys.executable, "-m")
    started = [subprocess.Popen([*python, "distributed.cli.dask_scheduler", "--port", str(port)], **quiet)]
    worker = [*python, "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
    started += [subprocess.Popen(worker, **quiet) for _ in range(NUM_WORKERS)]
    try:
        yield address, started[0].pid
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def scheduler_study(folder: Path) -> dict[str, Any]:
    """Kill the scheduler with signal 9 while filtered traces are written; write them again; compare."""
    import spikeinterface.full as si
    from distributed import Client

    from steadyspike.cluster import save_recording

    counts = np.random.default_rng(0).integers(-200, 200, (CHUNK * NUM_CHUNKS, NUM_CHANNELS), dtype="int16")
    si.NumpyRecording(counts, RATE).save(folder=folder / "raw", progress_bar=False, verbose=False)
    recording = si.bandpass_filter(si.load(folder / "raw"))
    jobs: dict[str, Any] = dict(n_jobs=1, chunk_size=CHUNK, progress_bar=False)
    notes = folder / "saved.part" / "traces" / "done.txt"
    told = "nothing failed"
    with dask_here() as (address, process), Client(address, timeout=PATIENCE) as client:
        client.wait_for_workers(NUM_WORKERS)
        threading.Thread(target=_kill, args=(process, notes), daemon=True).start()
        try:
            save_recording(recording, folder / "saved", client=client, **jobs)
        except RuntimeError as error:
            told = f"{type(error).__name__}: {error}"
    noted = _count(notes)
    with dask_here() as (address, _), Client(address, timeout=PATIENCE) as client:
        saved = save_recording(recording, folder / "saved", client=client, **jobs)
    recording.save(folder=folder / "here", format="binary", verbose=False, **jobs)
    same = np.array_equal(saved.get_traces(), si.load(folder / "here").get_traces())
    return dict(chunks=NUM_CHUNKS, told=told, noted_before=noted, same_as_on_one_machine=bool(same))


def _kill(process: int, notes: Path) -> None:
    while _count(notes) < KILLED_AFTER:
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)


def _count(notes: Path) -> int:
    return len(notes.read_bytes().splitlines()) if notes.exists() else 0
