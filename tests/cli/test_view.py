"""`steadyspike view`: what it gives a viewer, and what it says where there is none."""

import sys

import numpy as np
import pytest
from cli_runner import run
from report_runs import make_info

from steadyspike.cli import view
from steadyspike.reports.contents import contents_of
from steadyspike.reports.run import run_of


def test_spikes_are_trains_of_depth_bins_the_highest_first():
    info = make_info()
    trains = view.spike_trains(run_of(info))
    assert sum(train["time"].size for train in trains) == len(info["peaks"])
    depths = [float(train["name"].split()[0]) for train in trains]
    assert depths == sorted(depths, reverse=True)
    assert all((np.diff(train["time"]) >= 0).all() for train in trains)
    highest = info["peak_locations"]["y"] >= depths[0]
    times = info["peaks"]["sample_index"][highest] / 30_000
    np.testing.assert_allclose(trains[0]["time"], times, atol=1e-4)


def test_traces_are_shown_around_the_stretch_that_a_report_shows_first():
    run_of_spikes = run_of(make_info())
    middle = view.liveliest_depth(run_of_spikes)
    low, high = contents_of(run_of_spikes).windows[0]
    assert middle == pytest.approx((low + high) / 2)
    depths = np.arange(100)[::-1] * 10.0
    shown = np.delete(depths, view.hidden_channels(depths, 304.0))
    assert (shown.min(), shown.max(), shown.size) == (190.0, 420.0, view.SHOWN_CHANNELS)
    assert view.hidden_channels(depths[:8], None).size == 0


@pytest.mark.parametrize(("folders", "wanted"), [(["analyzer"], "spikeinterface_gui"), ([], "ephyviewer")])
def test_without_a_viewer_it_is_said_what_to_install(monkeypatch, tmp_path, folders, wanted):
    for name in folders:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(view, "find_spec", lambda name: None)
    result = run("view", tmp_path)
    assert result.exit_code == 2
    assert wanted in result.output
    assert "report.html" in result.output


def test_a_folder_with_nothing_to_show_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(view, "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "ephyviewer", None)
    result = run("view", tmp_path)
    assert result.exit_code == 1
    assert "ephyviewer" in result.output
