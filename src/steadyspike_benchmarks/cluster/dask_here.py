"""A scheduler and workers of Dask as processes of this machine, and the killing of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steadyspike_benchmarks.cluster.sessions import kill_tree

PATIENCE_S, POLL_S = 120.0, 0.01
SCHEDULER_FILE = "scheduler.json"
KB_PER_MB = 1024


@dataclass
class Cluster:
    """Processes that were started, each worker with a nanny that starts it again; `client` watches them."""

    folder: Path
    client: Any = None
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def kill_worker(self, job: str, after: int, child: subprocess.Popen[bytes]) -> str:
        """Kill the worker that has a chunk of a job which begins at a sample or later; give the chunk's name.

        The job is that of a command, `child`.
        """
        name, address = self._wait_for_chunk(job, after, child)
        process = self.client.run(os.getpid, workers=[address])[address]
        os.kill(process, signal.SIGKILL)
        return name

    def kill_scheduler(self, job: str, after: int, child: subprocess.Popen[bytes]) -> str:
        """Kill the scheduler when such a chunk is being worked on."""
        name, _ = self._wait_for_chunk(job, after, child)
        assert self.scheduler is not None
        self.scheduler.kill()
        return name

    def _wait_for_chunk(self, job: str, after: int, child: subprocess.Popen[bytes]) -> tuple[str, str]:
        while child.poll() is None:
            for address, keys in self.client.processing().items():
                for key in map(str, keys):
                    if key.startswith(f"{job}-") and int(key.split("-")[-2]) >= after:
                        return key, address
            time.sleep(POLL_S)
        raise RuntimeError(f"no chunk of {job} was seen on the workers before the command ended")

    def peak_memory_mb(self) -> list[int]:
        """Give the highest memory of each worker so far."""
        return sorted(round(value) for value in self.client.run(peak_memory_mb).values())


def peak_memory_mb() -> float:
    """Give the highest memory of this process so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / KB_PER_MB


@contextmanager
def dask(folder: Path, num_workers: int = 2) -> Iterator[Cluster]:
    """Run a scheduler and workers, and end them."""
    from distributed import Client

    folder.mkdir(parents=True)
    file = folder / SCHEDULER_FILE
    cluster = Cluster(folder)
    try:
        cluster.scheduler = _start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file), log=folder
        )
        for _ in range(num_workers):
            how = ("--nthreads", "1", "--scheduler-file", str(file), "--local-directory", str(folder))
            cluster.workers.append(_start("worker", *how, log=folder))
        while not file.exists():
            time.sleep(POLL_S)
        cluster.address = json.loads(file.read_text())["address"]
        with Client(cluster.address) as cluster.client:
            cluster.client.wait_for_workers(num_workers, timeout=PATIENCE_S)
            yield cluster
    finally:
        for process in (*cluster.workers, cluster.scheduler):
            if process is not None:
                kill_tree(process.pid)
                process.wait()


def _start(what: str, *options: str, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *options, "--no-dashboard"]
    with (log / f"{what}.txt").open("ab") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
