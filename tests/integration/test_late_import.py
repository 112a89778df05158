"""What is done right after a module is imported, and only then."""

import subprocess
import sys

import pytest

from steadyspike.integration.late_import import AfterImport, after_import


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "imported_late.py").write_text("value = 1\n", encoding="utf8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "imported_late", raising=False)
    yield "imported_late"
    sys.modules.pop("imported_late", None)
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if getattr(finder, "module", None) != "imported_late"
    ]


def test_it_is_done_once_after_the_module_has_run(module):
    done = []

    def look():
        done.append(sys.modules[module].value)

    after_import(module, lambda: done.append("replaced by the next"))
    after_import(module, look)
    assert done == []
    __import__(module)
    assert done == [1]
    del sys.modules[module]
    __import__(module)
    assert done == [1]
    assert not any(isinstance(finder, AfterImport) and finder.module == module for finder in sys.meta_path)


def test_an_error_is_that_of_the_import(module):
    def fail():
        raise ValueError("no entry")

    after_import(module, fail)
    with pytest.raises(ValueError, match="no entry"):
        __import__(module)
    assert module not in sys.modules


def test_the_table_of_detectors_gets_its_entry_without_loading_it_before():
    script = """
import sys, steadyspike
name = "spikeinterface.sortingcomponents.peak_detection"
assert not [module for module in sys.modules if module.startswith(name)]
assert "steady_neural" in str(steadyspike.registered())
from spikeinterface.sortingcomponents.peak_detection import detect_peak_methods, detect_peaks
assert detect_peak_methods["steady_neural"].__module__ == "steadyspike.peaks.detection"
assert "steady-detector" in detect_peaks.__doc__
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
