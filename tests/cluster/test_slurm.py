"""SLURM itself, which is started here for some seconds, with tasks that stand for commands."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from stand_ins import COMMAND

from steadyspike.cluster import slurm
from steadyspike.cluster.tasks import DONE, FAILED, STOPPED, Batch, Task
from steadyspike_benchmarks.cluster import slurm_here

MISSING = slurm_here.missing()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"SLURM is not here: no {', '.join(MISSING)}")

# stands for `python -m steadyspike.cluster FOLDER NAME N_JOBS`
JOB = f"""#!{sys.executable}
import sys
from steadyspike.cluster import tasks
from steadyspike.cluster.__main__ import main
command = {COMMAND!r}
tasks.command_line = lambda task, result, n_jobs: [
    sys.executable, "-S", "-c", command, *task.arguments, str(result)
]
sys.exit(main(*sys.argv[3:]))
"""


@pytest.fixture
def running(monkeypatch):
    """SLURM in a folder with a short path: that of a socket may have a hundred letters or so."""
    monkeypatch.setenv("USER", "root")
    with tempfile.TemporaryDirectory(prefix="slurm-") as place, slurm_here.slurm(Path(place)):
        yield


def states(batch, names):
    return [batch.outcome(name).state for name in names]


def submit_what_is_missing(batch, names):
    """Do as ``steadyspike batch`` does, and wait; return what was submitted."""
    assert slurm.still_queued(batch) == {}
    left = [
        name for name, state in zip(names, states(batch, names), strict=True) if state not in (DONE, FAILED)
    ]
    if left:
        assert slurm.submit(batch, left, slurm.Needs(1))
        assert set(slurm.still_queued(batch)) <= set(left)
        end = time.monotonic() + 300
        while slurm_here.asked("squeue", "--noheader"):
            assert time.monotonic() < end, subprocess.run(["squeue"], capture_output=True, text=True).stdout
            time.sleep(0.05)
    return left


def test_an_array_with_a_corrupt_session_and_a_killed_task_comes_to_its_end(running, tmp_path, monkeypatch):
    job = tmp_path / "job"
    job.write_text(JOB)
    job.chmod(0o755)
    monkeypatch.setattr(slurm.sys, "executable", str(job))
    batch = Batch(tmp_path / "batch")
    batch.begin("correct")
    names = ["good", "corrupt", "killed"]
    for name, what in zip(names, ("do", "fail", "die-once"), strict=True):
        batch.add(Task(name, [what]))
    assert submit_what_is_missing(batch, names) == names
    assert states(batch, names) == [DONE, FAILED, STOPPED]
    assert batch.outcome("corrupt").error == "no such probe"
    assert submit_what_is_missing(batch, names) == ["killed"]
    assert states(batch, names) == [DONE, FAILED, DONE]
    assert submit_what_is_missing(batch, names) == []
