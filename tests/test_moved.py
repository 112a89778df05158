"""Paths of public objects that 0.1.0 documented still work, and say where the objects are now."""

import importlib
import warnings
from pathlib import Path

import pytest

import steadyspike
from steadyspike.core.moved import MOVED, MOVED_NAMES

PATHS = (Path(__file__).parent / "saved_by_0_1_0" / "public_paths.txt").read_text(encoding="utf-8").split()


def find(path):
    """Import the longest module of a path, and walk down the rest."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise AssertionError(path)


@pytest.fixture
def forgotten(monkeypatch):
    """Let stand-ins of moved modules be made anew, as in a new process, and leave none to other tests."""
    forget(monkeypatch)
    yield
    forget(monkeypatch)


def forget(monkeypatch):
    for name in MOVED:
        monkeypatch.delitem(importlib.sys.modules, name, raising=False)
        parent, _, child = name.rpartition(".")
        vars(importlib.sys.modules.get(parent, steadyspike)).pop(child, None)


@pytest.mark.parametrize("path", PATHS)
def test_path_of_0_1_0_leads_to_the_object(path, forgotten):
    moved = any(path == old or path.startswith(f"{old}.") for old in MOVED)
    moved |= path.removeprefix("steadyspike.").split(".")[0] in MOVED_NAMES
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DeprecationWarning)
        found = find(path)
    assert found is not None
    sentences = [str(one.message) for one in told if "the old path works up to" in str(one.message)]
    assert bool(sentences) == moved


def test_objects_are_the_same_at_both_paths(forgotten):
    with pytest.warns(
        DeprecationWarning, match="steadyspike.report is now steadyspike.evaluation.figures"
    ) as told:
        from steadyspike.report import plot_raster
    assert told[0].filename == __file__
    assert plot_raster is steadyspike.evaluation.figures.plot_raster
    # the module's name is a function's now, which the old import must not take away
    with pytest.raises(ValueError, match="source=3"):
        steadyspike.report(3)
    with pytest.warns(
        DeprecationWarning, match="steadyspike.embed_peaks is now steadyspike.peaks.embed_peaks"
    ) as told:
        assert steadyspike.embed_peaks is steadyspike.peaks.embed_peaks
    assert told[0].filename == __file__


def test_every_entry_leads_somewhere():
    for modules in MOVED.values():
        for module in modules:
            importlib.import_module(module)
    for name, module in MOVED_NAMES.items():
        assert getattr(importlib.import_module(module), name) is not None


def test_what_never_was_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = steadyspike.nonsense
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("steadyspike.nonsense")
