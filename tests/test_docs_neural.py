"""The page on spike networks keeps up with the package: its Python runs, and its commands are understood."""

import functools
import shlex
from pathlib import Path

import numpy as np
import typer
from markdown_code import blocks

import steadyspike
from steadyspike.simulation.spiky import simulate_spiky_recording
from steadyspike_benchmarks.cli.app import app

PAGE = Path(__file__).resolve().parents[1] / "docs" / "neural.md"


def test_code_on_the_page_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    spiky = simulate_spiky_recording("np1", 8.0, 0, duration_s=2.0, num_channels=24)
    for name in ("train_spike_detector", "train_waveform_denoiser"):
        briefly = functools.partial(getattr(steadyspike, name), steps=3, overwrite=True)
        monkeypatch.setattr(steadyspike, name, briefly, raising=False)
    names = dict(steadyspike=steadyspike, recording=spiky.recording, sorting=spiky.sorting)
    ran = 0
    for block in blocks(PAGE):
        # the published files are no part of the package
        if block.language == "python" and "denoise.pt" not in block.code:
            exec(block.code, names)
            ran += 1
            assert np.isfinite(names["locations"]["y"]).all()
    assert ran == 5
    assert len(names["locations"]) == spiky.sorting.to_spike_vector().size


def test_commands_on_the_page_are_understood():
    command = typer.main.get_command(app)
    lines = [line for block in blocks(PAGE) if block.language == "bash" for line in block.code.splitlines()]
    assert len(lines) == 2
    for line in lines:
        *start, name, option, folder = shlex.split(line)
        assert start == ["python", "-m", "steadyspike_benchmarks"]
        found, arguments = command.commands[name], (option, folder)
        assert found.make_context(name, list(arguments)).params["output"] == Path(arguments[-1])


def test_the_page_names_the_seeds_and_files_that_there_are():
    page = PAGE.read_text(encoding="utf-8")
    for name in ("steady-detector", "steady-denoiser"):
        size = (steadyspike.load_model(name).folder / "model.safetensors").stat().st_size
        assert f"{size / 1000:.0f} kB" in page
    assert "TABLE" not in page
