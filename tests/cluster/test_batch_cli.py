import json

import numpy as np
import pytest
import spikeinterface.full as si
import typer
from cli_runner import run
from probeinterface import generate_multi_shank
from spikeglx_runs import write_spikeglx_run

from steadyspike.cli.batching import COMMANDS, Request, plan
from steadyspike.cluster import slurm, tasks
from steadyspike.cluster.table import read_sessions
from steadyspike.cluster.tasks import Batch, Children, Task


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A run of two probes, a recording of two shanks, and a file that is none."""
    folder = tmp_path_factory.mktemp("sessions")
    traces = np.zeros((3000, 4), "int16")
    for probe in range(2):
        write_spikeglx_run(folder / "run_g0", traces, 30000, probe)
    probe = generate_multi_shank(num_shank=2, num_columns=1, num_contact_per_column=4)
    probe.set_device_channel_indices(range(8))
    recording = si.NumpyRecording([np.zeros((3000, 8), "int16")], 30000)
    recording.set_probe(probe)
    recording.save(folder=folder / "shanks", format="binary", n_jobs=1, progress_bar=False, verbose=False)
    (folder / "shanks" / "provenance.pkl").unlink(missing_ok=True)
    (folder / "broken.nwb").write_text("nothing")
    (folder / "sessions.csv").write_text("recording\nrun_g0\nshanks\nbroken.nwb\n")
    return folder


NAMES = ["run_g0-imec0.ap", "run_g0-imec1.ap", "shanks-shank0", "shanks-shank1", "broken.nwb"]


def test_a_task_for_each_session_probe_and_shank(data, tmp_path):
    request = Request(data / "sessions.csv", "correct", ("--preset", "steady_rigid"), tmp_path)
    planned = list(plan(request, read_sessions(request.sessions)))
    assert [task.name for task in planned] == NAMES
    assert planned[1].arguments[2:] == ["--preset", "steady_rigid", "--stream", "imec1.ap"]
    assert planned[3].arguments[-2:] == ["--shank", "1"]
    assert planned[3].about["num_channels"] == 4
    together = Request(data / "sessions.csv", "correct", (), tmp_path, shanks_apart=False)
    assert len(list(plan(together, read_sessions(request.sessions)))) == 4


@pytest.mark.parametrize(
    ("command", "more"), [("correct", []), ("denoise", ["--model", "m"]), ("sort", ["--sorter", "lupin"])]
)
def test_commands_take_what_tasks_give_them(command, more, tmp_path):
    line = tasks.command_line(Task("a", [command, "recording", *more]), tmp_path / "a", 2)
    app = typer.Typer()
    app.command(command)(COMMANDS[command])
    values = typer.main.get_command(app).make_context(command, line[4:]).params
    assert (values["output"], values["n_jobs"], values["debug"]) == (tmp_path / "a", 2, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--do", "correct", "--presett", "x"], "No such option: --presett"),
        (["--do", "denoise", "--recorded-share", "2"], "--recorded-share"),
        (["--do", "correct", "--restart"], "--restart is of one recording"),
    ],
)
def test_options_are_looked_at_before_anything_is_done(data, tmp_path, options, told):
    result = run("batch", data / "sessions.csv", "-o", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert told in result.output
    assert not (tmp_path / "out").exists()


def imitate(self, command, log):
    """Do as `correct` does: write a result, or fail."""
    from pathlib import Path

    result = Path(command[command.index("--output") + 1])
    if "broken" in str(result):
        log.write(b"Traceback: <here>\nerror: broken.nwb could not be read\n")
        return 2
    result.mkdir(parents=True)
    done = dict(verdict="do not correct", displacement_um=1.5, num_peaks=1234)
    (result / "steadyspike.json").write_text(json.dumps(dict(result=done, memory_mb=100.0)))
    (result / "report.html").write_text("report")
    return 0


def test_table_page_and_exit_code_say_what_failed(data, tmp_path, monkeypatch):
    monkeypatch.setattr(Children, "call", imitate)
    result = run("batch", data / "sessions.csv", "-o", tmp_path / "out", "--do", "correct", "--at-most", 2)
    assert result.exit_code == 1
    assert "not all are done: 4 done, 1 failed" in result.output
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf8")
    assert 'href="results/shanks-shank1/report.html"' in page
    assert "Traceback: &lt;here&gt;" in page
    assert "do not correct" in page
    rows = (tmp_path / "out" / "table.csv").read_text().splitlines()
    assert rows[0].startswith("name,recording,state,verdict,displacement_um,num_peaks")
    assert "failed" in rows[5]
    assert "broken.nwb could not be read" in rows[5]
    monkeypatch.setattr(Children, "call", None)
    assert run("batch", data / "sessions.csv", "-o", tmp_path / "out", "--do", "correct").exit_code == 1


def test_an_array_job_is_written_where_there_is_no_sbatch(data, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    options = ["--do", "sort", "--sorter", "kilosort4", "--engine", "slurm", "--at-most", 3, "-j", 2]
    more = ["--slurm", "partition=gpu", "--slurm", "time=120", "--slurm", "exclusive"]
    result = run("batch", data / "sessions.csv", "-o", tmp_path / "out", *options, *more)
    assert result.exit_code == 1
    assert "5 waiting" in result.output
    script = (tmp_path / "out" / "slurm.sh").read_text()
    for line in (
        "array=0-4%3",
        "cpus-per-task=2",
        "gres=gpu:1",
        "partition=gpu",
        "time=120",
        "exclusive",
        "requeue",
    ):
        assert f"#SBATCH --{line}\n" in script
    assert f"tasks=({' '.join(NAMES)})" in script


def test_memory_and_time_are_asked_for_with_a_margin(tmp_path):
    memory, minutes = slurm.with_margin(4000.0, 3600.0)
    script = slurm.script(Batch(tmp_path), ["a"], slurm.Needs(1, memory, minutes))
    assert "--mem=6000M" in script
    assert "--time=180" in script
    assert "gres" not in script
    assert slurm.with_margin(None, 1.0) == (None, 15)
