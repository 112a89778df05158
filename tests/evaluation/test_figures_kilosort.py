"""Figures of Kilosort's output."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core.motion import Motion

from steadyspike import kilosort
from steadyspike.evaluation import figures

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sorting"))
import kilosort_folders as made

sys.path.pop(0)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    drift = np.outer(6 * np.sin(np.arange(30) / 4), [1.0, 0.5])
    folder = made.kilosort4_folder(
        tmp_path_factory.mktemp("kilosort"), dshift=drift, yblk=np.array([100.0, 400.0])
    )
    return kilosort.read_output(folder)


def test_every_spike_is_in_the_raster_at_its_time_and_depth(output):
    axes, bar = figures.plot_kilosort_raster(output).axes
    (drawn,) = axes.collections
    spikes = output.spikes.sort_values("amplitude")
    np.testing.assert_allclose(drawn.get_offsets(), spikes[["time_s", "y"]].to_numpy(), rtol=1e-6)
    np.testing.assert_allclose(drawn.get_array(), spikes["amplitude"])
    assert "amplitude" in bar.get_ylabel()
    assert axes.get_title(loc="left") == f"{len(spikes):,} spikes of 12 units"


def test_units_are_drawn_where_they_are_by_label(output):
    figure = figures.plot_kilosort_positions(output)
    contacts, good, mua = figure.axes[0].collections
    assert len(contacts.get_offsets()) == made.NUM_CHANNELS
    np.testing.assert_allclose(good.get_offsets(), output.units[["x", "y"]].iloc[:11])
    np.testing.assert_allclose(mua.get_offsets(), output.units[["x", "y"]].iloc[11:])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["11 good", "1 mua"]


def test_correlograms_show_their_counts_and_tests(output):
    figure = figures.plot_correlograms(output, [4, 7])
    auto, cross, hidden, other = figure.axes
    for axes, pair in ((auto, (4,)), (cross, (4, 7)), (other, (7,))):
        counts = output.correlogram(*pair)
        assert [bar.get_height() for bar in axes.patches] == counts[450:551].tolist()
        assert f"Q {output.refractory(*pair).q:.2f}" in axes.get_title(loc="left")
    assert auto.get_title(loc="left").endswith("refractory")
    assert not cross.get_title(loc="left").endswith("refractory")
    assert not hidden.patches
    for units in ([], list(range(9))):
        with pytest.raises(ValueError, match="1 to 8"):
            figures.plot_correlograms(output, units)


def test_units_move_as_the_drift_says(output):
    above, below, _ = figures.plot_kilosort_drift(output).axes
    assert len(above.lines) == 2
    *tracks, middle = below.lines
    assert len(tracks) == 12
    drift = output.motion.displacement[0]
    # positions that were written do not move, so what was seen moved as the drift
    expected = np.median([np.interp(y, [100, 400], [0, 1]) for y in output.units["y"]])
    curve = (1 - expected) * drift[:, 0] + expected * drift[:, 1]
    np.testing.assert_allclose(middle.get_ydata(), curve - np.median(curve), atol=0.6)
    assert np.ptp(above.lines[0].get_ydata()) == pytest.approx(np.ptp(drift[:, 0]))


def test_the_better_motion_leaves_straight_units(output):
    """Kilosort's drift, taken out of where spikes were seen, gives what it wrote; no motion at all, what was seen."""
    still = Motion(np.zeros((30, 1)), output.motion.temporal_bins_s[0], np.array([200.0]))
    left, middle, right, _ = figures.plot_kilosort_comparison(output, still).axes
    depths = [np.sort(axes.collections[0].get_offsets()[:, 1]) for axes in (left, middle)]
    np.testing.assert_allclose(depths[0], np.sort(output.spikes["y"]), atol=0.05)
    np.testing.assert_allclose(depths[1], np.sort(kilosort.peaks_as_seen(output)[1]["y"]), atol=1e-6)
    assert "Kilosort's drift taken out: correct" in left.get_title(loc="left")
    assert "The motion taken out: do not correct" in middle.get_title(loc="left")
    drift = output.motion.displacement[0]
    np.testing.assert_allclose(
        right.collections[0].get_array(), (np.median(drift, axis=0) - drift).T, atol=1e-6
    )


def test_what_is_not_there_can_not_be_drawn(output):
    with pytest.raises(ValueError, match="no drift"):
        figures.plot_kilosort_drift(replace(output, motion=None))
    bare = replace(output, spikes=output.spikes.drop(columns=["x", "y"]))
    for plot in (figures.plot_kilosort_drift, figures.plot_kilosort_raster):
        with pytest.raises(ValueError, match=r"no spike_positions\.npy"):
            plot(bare)
    plain = replace(output, spikes=output.spikes.drop(columns="amplitude"))
    assert len(figures.plot_kilosort_raster(plain).axes) == 1
