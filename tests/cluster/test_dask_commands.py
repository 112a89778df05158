"""Commands that start a cluster of Dask themselves: the same results as without, and no process left."""

import sys
import time
from pathlib import Path
from secrets import token_hex

import pytest
import spikeinterface.full as si
from cli_runner import run
from stand_ins import begun, small_batch

from steadyspike_benchmarks.cluster.sessions import PLACED, differences

pytest.importorskip("distributed", reason="needs the extra cluster")

QUICK = ("--preprocess", "none", "--no-progress-bar")
RIGID = ("--preset", "steady_rigid", "--no-figures", "-f", "binary")
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_batch(tmp_path_factory.mktemp("commands"))


def ended(*arguments):
    """Run a command in a process of its own; give its exit code and its words when all that it started has ended."""
    mark = token_hex(8)
    process = begun(*arguments, environment={"STEADYSPIKE_MARK": mark})
    assert sys.platform != "linux" or process.pid in marked(mark)
    said, _ = process.communicate()
    end = time.monotonic() + PATIENCE_S
    while left := marked(mark):
        assert time.monotonic() < end, left
        time.sleep(0.1)
    return process.returncode, said


def marked(mark):
    """Give the processes of this machine that were started with a mark in their environment."""
    if sys.platform != "linux":
        return []
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in file.read_bytes():
                found.append(int(file.parent.name))
        except OSError:
            continue
    return found


def test_a_long_recording(data, tmp_path):
    line = ("denoise", data / "good", "-m", data / "model", "--no-report", *QUICK)
    here = run(*line, "-o", tmp_path / "here" / "out", "--n-jobs", "1")
    assert here.exit_code == 0, here.output
    code, said = ended(*line, "-o", tmp_path / "there" / "out", "--engine", "dask", "--n-jobs", "2")
    assert code == 0, said
    assert "2 workers, 2 threads" in said
    same, others = differences(tmp_path / "here", tmp_path / "there")
    assert same
    assert {name.rpartition("/")[2] for name in others} <= set(PLACED)


def test_a_batch(data, tmp_path):
    alone = run("correct", data / "good", "-o", tmp_path / "good", "--n-jobs", "1", *RIGID, *QUICK)
    assert alone.exit_code == 0, alone.output
    line = ("batch", data / "sessions.csv", "--do", "correct", "-o", tmp_path / "out", "--n-jobs", "1")
    code, said = ended(*line, "--engine", "dask", "--at-most", "2", *RIGID, "--preprocess", "none")
    assert code == 1, said
    assert "not all are done: 1 done, 1 failed" in said
    same, others = differences(tmp_path / "good", tmp_path / "out" / "results" / "good")
    assert same
    assert {name.rpartition("/")[2] for name in others} <= set(PLACED)
    assert si.load(tmp_path / "out" / "results" / "good" / "recording").get_num_channels()
