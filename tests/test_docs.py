"""The tutorials run, and the pages keep up with the package."""

import os
import runpy
from pathlib import Path

import pytest

import steadyspike

DOCS = Path(__file__).resolve().parents[1] / "docs"
PRESETS = sorted((DOCS.parent / "presets").rglob("*.toml"))


@pytest.mark.parametrize("tutorial", sorted((DOCS / "tutorials").glob("plot_*.py")), ids=lambda path: path.stem)
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
