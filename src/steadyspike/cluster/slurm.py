"""One array job of SLURM for the tasks of a batch."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from steadyspike.cluster.tasks import Batch
from steadyspike.core.aside import written_aside

SCRIPT, JOBS = "slurm.sh", "slurm_jobs.json"
DEFAULT_JOBS = 4
LEAST_MEMORY_MB, LEAST_MINUTES = 2000, 15
# forecasts are of the work alone, on a quiet machine: compiling, figures and a shared disk come on top
MEMORY_MARGIN, TIME_MARGIN = 1.5, 3.0

TEXT = """#!/bin/bash
# Array job of {number} tasks, written by: steadyspike batch --engine slurm
# A task that was killed or requeued goes on where it was; one that is done does nothing. Run the same command again to
# submit what is missing, and to write the table and index.html.
{options}
tasks=({tasks})
cd {working}
exec {python} -m steadyspike.cluster {folder} "${{tasks[$SLURM_ARRAY_TASK_ID]}}" {n_jobs}
"""


@dataclass(frozen=True)
class Needs:
    """What each task is to be given: `memory_mb` and `minutes` are None where they are not known."""

    n_jobs: int = DEFAULT_JOBS
    memory_mb: float | None = None
    minutes: float | None = None
    gpu: bool = False
    at_most: int | None = None
    options: dict[str, str | None] = field(default_factory=dict)


def with_margin(memory_mb: float | None, seconds: float | None) -> tuple[float | None, float | None]:
    """Turn a forecast into what to ask for: MB, and minutes."""
    memory = None if memory_mb is None else max(LEAST_MEMORY_MB, MEMORY_MARGIN * memory_mb)
    minutes = None if seconds is None else max(LEAST_MINUTES, TIME_MARGIN * seconds / 60)
    return memory, minutes


def script(batch: Batch, names: list[str], needs: Needs) -> str:
    """Write the job script."""
    options = {**_options(batch, names, needs), **needs.options}
    lines = [f"#SBATCH --{name}" + ("" if value is None else f"={value}") for name, value in options.items()]
    return TEXT.format(
        number=len(names),
        options="\n".join(lines),
        tasks=" ".join(names),
        working=shlex.quote(str(Path.cwd())),
        python=shlex.quote(sys.executable),
        folder=shlex.quote(str(batch.folder)),
        n_jobs=needs.n_jobs,
    )


def _options(batch: Batch, names: list[str], needs: Needs) -> dict[str, str | None]:
    at_once = "" if needs.at_most is None else f"%{needs.at_most}"
    options: dict[str, str | None] = {
        "job-name": "steadyspike",
        "array": f"0-{len(names) - 1}{at_once}",
        "ntasks": "1",
        "cpus-per-task": str(needs.n_jobs),
        # what they say is kept with each task; here is what SLURM says
        "output": f"{batch.folder}/slurm-%A_%a.txt",
        "open-mode": "append",
        "requeue": None,
    }
    if needs.memory_mb is not None:
        options["mem"] = f"{math.ceil(needs.memory_mb)}M"
    if needs.minutes is not None:
        options["time"] = str(math.ceil(needs.minutes))
    if needs.gpu:
        options["gres"] = "gpu:1"
    return options


def submit(batch: Batch, names: list[str], needs: Needs) -> str | None:
    """Write the script and submit it; give the job's number, or None where there is no sbatch.

    Raises `RuntimeError` with the words of sbatch where it refuses.
    """
    file = batch.folder / SCRIPT
    with written_aside(file) as aside:
        aside.write_text(script(batch, names, needs), encoding="utf8")
        aside.chmod(0o755)
    if shutil.which("sbatch") is None:
        return None
    done = subprocess.run(["sbatch", "--parsable", str(file)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"sbatch refused {file}: {' '.join(done.stderr.split())}")
    job = done.stdout.strip().partition(";")[0]
    jobs = {**_jobs(batch), job: names}
    with written_aside(batch.folder / JOBS) as aside:
        aside.write_text(json.dumps(jobs, indent=1) + "\n", encoding="utf8")
    return job


def still_queued(batch: Batch) -> dict[str, str]:
    """Give the tasks that earlier jobs are still to run, or run, each with its job.

    Raises `RuntimeError` where SLURM cannot be asked: to submit a task twice is no harm, but waste.
    """
    jobs = _jobs(batch)
    if not jobs or shutil.which("squeue") is None:
        return {}
    asked = ["squeue", "--noheader", "--array", "--format=%F %K", "--me"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"squeue failed: {' '.join(done.stderr.split())}")
    queued = {}
    for line in done.stdout.splitlines():
        job, _, index = line.strip().partition(" ")
        if job in jobs and index.strip().isdigit():
            queued[jobs[job][int(index)]] = job
    return queued


def _jobs(batch: Batch) -> dict[str, list[str]]:
    try:
        return dict(json.loads((batch.folder / JOBS).read_text(encoding="utf8")))
    except FileNotFoundError:
        return {}
