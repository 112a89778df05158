"""The pages keep up with the package; the build of the documentation runs the tutorials."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.full as si
from markdown_code import blocks

import steadyspike
from steadyspike.core.settings import Settings, settings_of
from steadyspike.simulation.drift import simulate_drifting_recording
from steadyspike_benchmarks import page_summary

DOCS = Path(__file__).resolve().parents[1] / "docs"
PRESETS = sorted((DOCS.parent / "presets").rglob("*.toml"))


def test_api_reference_lists_every_public_name():
    listed = set((DOCS / "api" / "index.rst").read_text(encoding="utf-8").split())
    short = {path.removeprefix("steadyspike.") for path in documented_objects()}
    assert {name for name in short if not name.startswith("preprocessing.")} <= listed


def test_api_reference_lists_public_names_only():
    listed = re.findall(
        r"^   ([a-z][\w.]+)$", (DOCS / "api" / "index.rst").read_text(encoding="utf-8"), re.MULTILINE
    )
    public = {path.removeprefix("steadyspike.") for path in documented_objects()}
    figures = {f"evaluation.figures.{name}" for name in dir(steadyspike.evaluation.figures)}
    assert [name for name in listed if name.removesuffix(".run") not in public | figures] == []


def test_the_numbers_at_the_top_of_the_benchmark_page_are_those_of_its_tables():
    assert page_summary.with_summary(DOCS) == (DOCS / page_summary.PAGE).read_text(encoding="utf8")


def test_code_on_the_presets_page_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    simulated = simulate_drifting_recording("rigid_zigzag", num_channels=32, duration_s=2.0, seed=0)
    recording = simulated.recording
    recording.set_property("inter_sample_shift", np.arange(32) % 12 / 13)
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    names = dict(si=si, steadyspike=steadyspike, recording=recording)
    for block in blocks(DOCS / "presets.md"):
        if block.language == "python":
            exec(block.code, names)
    assert names["recording_corrected"].get_num_channels() == 32
    assert names["recording_ready"].get_traces(end_frame=100).shape == (100, 32)
    assert steadyspike.load_preset("my_lab.toml").detect_kwargs["detect_threshold"] == 6.0


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_page_shows_every_preset(preset):
    page = (DOCS / "presets.md").read_text(encoding="utf-8")
    assert preset.relative_to(DOCS.parent).as_posix() in page


def test_readme_names_every_registered_part():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    names = {
        name for table in steadyspike.registered().values() for name in table if name.startswith("steady_")
    }
    assert names
    assert {name for name in names if f'"{name}"' not in readme} == set()


ROOMS = ("motion", "peaks", "sorting", "sorting.kilosort", "evaluation", "library", "training", "simulation")


def documented_objects():
    """Every public function and class, and every method or node that is registered."""
    public = {f"steadyspike.{name}" for name in steadyspike.__all__}
    for room in ROOMS:
        names = set(import_module(f"steadyspike.{room}").__all__) - set(steadyspike.__all__)
        public |= {f"steadyspike.{room}.{name}" for name in names}
    public -= {path for path in public if inspect.ismodule(_find(path))}
    tables = steadyspike.registered().values()
    return sorted(
        public | {path for table in tables for path in table.values() if not path.endswith(".toml")}
    )


def _find(path):
    module, name = path.rsplit(".", 1)
    return getattr(import_module(module), name)


@pytest.mark.parametrize("path", documented_objects())
def test_documented_defaults_are_the_real_ones(path):
    documented = _find(path)
    arguments = getattr(documented, "run", documented)
    if isinstance(documented, type) and issubclass(documented, Settings):
        defaults = documented.defaults()
    elif isinstance(documented, type) and issubclass(documented, BaseException):
        defaults = {}
    else:
        defaults = {name: one.default for name, one in inspect.signature(arguments).parameters.items()}
    for group in getattr(settings_of(documented), "groups", dict)().values():
        defaults |= group.defaults()
    params_doc = getattr(documented, "params_doc", "")
    texts = (
        inspect.getdoc(documented)
        + "\n"
        + inspect.cleandoc(params_doc() if callable(params_doc) else params_doc)
    )
    stated = re.findall(r"^ *(\w+) ?:[^\n]*default: ([^\n]+)$", texts, re.MULTILINE)
    wrong = {
        name: (text, defaults[name]) for name, text in stated if ast.literal_eval(text) != defaults[name]
    }
    assert not wrong
