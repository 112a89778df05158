"""The tutorials run, and the pages keep up with the package."""

import ast
import inspect
import os
import re
import runpy
from importlib import import_module
from pathlib import Path

import pytest

import steadyspike

DOCS = Path(__file__).resolve().parents[1] / "docs"
PRESETS = sorted((DOCS.parent / "presets").rglob("*.toml"))


@pytest.mark.parametrize(
    "tutorial", sorted((DOCS / "tutorials").glob("plot_*.py")), ids=lambda path: path.stem
)
def test_tutorial_runs(tutorial, monkeypatch, tmp_path):
    monkeypatch.setitem(os.environ, "MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(tutorial))
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.close("all")


def test_api_reference_lists_every_public_name():
    listed = set((DOCS / "api" / "index.rst").read_text(encoding="utf-8").split())
    missing = {name for name in steadyspike.__all__ if not name.startswith("__")} - listed
    assert not missing


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_page_shows_every_preset(preset):
    page = (DOCS / "presets.md").read_text(encoding="utf-8")
    assert preset.relative_to(DOCS.parent).as_posix() in page


def documented_objects():
    """Every public function, and every method or node that is registered."""
    public = {f"steadyspike.{name}" for name in steadyspike.__all__ if not name.startswith("__")}
    tables = steadyspike.registered().values()
    return sorted(
        public | {path for table in tables for path in table.values() if not path.endswith(".toml")}
    )


@pytest.mark.parametrize("path", documented_objects())
def test_documented_defaults_are_the_real_ones(path):
    module, name = path.rsplit(".", 1)
    documented = getattr(import_module(module), name)
    arguments = getattr(documented, "run", documented)
    parameters = inspect.signature(arguments).parameters
    texts = inspect.getdoc(documented) + "\n" + inspect.cleandoc(getattr(documented, "params_doc", ""))
    stated = re.findall(r"^ *(\w+) ?:[^\n]*default: ([^\n]+)$", texts, re.MULTILINE)
    wrong = {
        name: (text, parameters[name].default)
        for name, text in stated
        if ast.literal_eval(text) != parameters[name].default
    }
    assert not wrong
