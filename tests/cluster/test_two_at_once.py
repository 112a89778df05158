"""Two processes of one command, with one output: one does it, or they share it, and neither harms the other."""

import json

import pytest
from cli_runner import run
from stand_ins import begun, small_batch

from steadyspike_benchmarks.cluster.sessions import PLACED, differences

QUICK = ("--preprocess", "none", "--n-jobs", "1", "--no-progress-bar")
RIGID = ("--preset", "steady_rigid", "--no-figures")
REFUSED = ("is being written by another run", "exists; replace it")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_batch(tmp_path_factory.mktemp("two"))


def test_one_of_two_is_refused(data, tmp_path):
    line = ("denoise", data / "good", "-m", data / "model", "--no-report", *QUICK)
    alone = run(*line, "-o", tmp_path / "alone" / "out")
    assert alone.exit_code == 0, alone.output
    both = [begun(*line, "-o", tmp_path / "both" / "out") for _ in range(2)]
    said = [one.communicate()[0] for one in both]
    assert sorted(one.returncode for one in both) == [0, 2], said
    refusal = said[both.index(max(both, key=lambda one: one.returncode))]
    assert any(words in refusal for words in REFUSED), refusal
    same, others = differences(tmp_path / "alone", tmp_path / "both")
    assert same
    assert {name.rpartition("/")[2] for name in others} <= set(PLACED)
    assert [path.name for path in (tmp_path / "both").iterdir()] == ["out"]


def test_two_batches_share_the_tasks(data, tmp_path):
    line = ("batch", data / "sessions.csv", "--do", "correct", "-o", tmp_path / "out", "--n-jobs", "1")
    line = (*line, *RIGID, "--preprocess", "none")
    both = [begun(*line) for _ in range(2)]
    said = [one.communicate()[0] for one in both]
    # of the two sessions one is corrupt
    assert [one.returncode for one in both] == [1, 1], said
    assert attempts(tmp_path / "out") == {"good": 1, "broken.nwb": 1}
    assert "1 done, 1 failed" in run(*line).output
    assert attempts(tmp_path / "out") == {"good": 1, "broken.nwb": 1}
    assert (tmp_path / "out" / "results" / "good" / "motion_info").is_dir()


def attempts(output):
    files = (output / "tasks").glob("*/state.json")
    return {file.parent.name: json.loads(file.read_text())["attempts"] for file in files}
