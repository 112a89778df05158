"""The page on denoising keeps up with the package: its Python runs, and its commands are understood."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.full as si
import torch
import typer
from markdown_code import blocks

import steadyspike
from steadyspike.cli import app
from steadyspike.evaluation.denoising import methods as denoising_methods
from steadyspike.training import run as training_run

PAGE = Path(__file__).resolve().parents[1] / "docs" / "denoising.md"
COMMANDS = [
    line
    for block in blocks(PAGE)
    if block.language == "bash"
    for line in block.code.splitlines()
    if line.startswith("steadyspike ")
]


def test_code_on_the_page_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training_run, "RIDGE_ROWS", 10_000)
    monkeypatch.setattr(denoising_methods, "LINEAR_ROWS", 10_000)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    recording, sorting = si.generate_ground_truth_recording(
        durations=[1.5], sampling_frequency=30_000.0, num_channels=8, num_units=2, seed=0
    )
    train, evaluate = steadyspike.train_deepinterpolation, steadyspike.evaluate_deepinterpolation

    def train_briefly(*arguments, **settings):
        """What is a matter of hours on the page."""
        if "init_from" not in settings:
            settings |= dict(size="tiny", pre_ms=0.5, post_ms=0.5)
        for name in ("max_time_s", "test_start_s"):
            settings.pop(name, None)
        brief = dict(max_steps=2, gap_s=0.02, batch_size=2, device="cpu", progress_bar=False)
        return train(*arguments, **(settings | brief))

    def evaluate_briefly(*arguments, **settings):
        return evaluate(*arguments, **(settings | dict(start_s=0.8, min_spikes=4, progress_bar=False)))

    monkeypatch.setattr(steadyspike, "train_deepinterpolation", train_briefly, raising=False)
    monkeypatch.setattr(steadyspike, "evaluate_deepinterpolation", evaluate_briefly, raising=False)
    names = dict(si=si, steadyspike=steadyspike, recording=recording, sorting=sorting)
    names["another_recording"] = recording
    for block in blocks(PAGE):
        if block.language == "python":
            exec(block.code, names)
    torch.set_num_threads(threads)
    assert set(names["evaluation"].summary["method"]) == {"raw", "center", "linear", "before", "fine-tuned"}
    assert (tmp_path / "evaluation" / "evaluation.md").is_file()
    traces = names["recording_denoised"].get_traces(end_frame=500)
    assert traces.shape == (500, 8)
    assert np.abs(traces).max() > 0


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_on_the_page_are_understood(command):
    group = typer.main.get_command(app)
    _, name, *arguments = shlex.split(command)
    context = group.commands[name].make_context(name, arguments)
    assert context.params["output"] is not None


def test_the_page_has_commands_of_all_three():
    assert {command.split()[1] for command in COMMANDS} >= {"train", "denoise", "evaluate"}
