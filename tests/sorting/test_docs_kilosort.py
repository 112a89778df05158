"""The page about sorters runs as it stands."""

import warnings
from pathlib import Path

import kilosort_folders as made
import numpy as np
from markdown_code import blocks
from spikeinterface.core.motion import Motion
from test_handover import noisy
from test_parameters import prepared

from steadyspike.sorting.advice import ADVISERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "kilosort.md"


def test_code_on_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = made.kilosort4_folder(tmp_path / "kilosort4")
    motion = Motion(np.zeros((2, 1)), np.array([1.0, 50.0]), np.array([100.0]))
    names = dict(recording=prepared(noisy("int16", 20.0)), folder=folder, motion=motion)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in blocks(PAGE):
            if block.language == "python":
                exec(block.code, names)
                names["other"] = names.get("output")
    assert names["written"].probe.is_file()
    assert len(names["output"].units) == made.NUM_UNITS
    assert "do not correct" in repr(names["result"])
    assert len(names["comparison"].matched) == made.NUM_UNITS


def test_the_page_names_every_sorter():
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{sorter}`" in text for sorter in ADVISERS)
