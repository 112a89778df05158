"""Figures of several motions, and of drift metrics."""

import numpy as np
import pytest
from spikeinterface.core.motion import Motion

from steadyspike.evaluation import drift_metrics_from_spikes
from steadyspike.evaluation import figures as report
from steadyspike.motion import compare_motions

TIMES = np.arange(60) + 0.5
WINDOWS = np.array([0.0, 500.0, 1000.0])


def wave(factors=(1.0, 0.8, 0.6), windows=WINDOWS, times=TIMES, level=0.0):
    return Motion(np.outer(10 * np.sin(times / 5), factors) + level, times, windows)


@pytest.fixture(scope="module")
def motions():
    return {
        "truth": wave(),
        "ours": wave(level=40.0),
        "coarse": wave((0.5, 0.3), WINDOWS[::2], TIMES[::3]),
        "rigid": wave((0.8,), np.array([700.0])),
    }


def test_motions_are_drawn_around_their_medians_at_the_same_depths(motions, tmp_path):
    figure = report.plot_motion_comparison(motions, truth="truth")
    figure.savefig(tmp_path / "figure.png", dpi=40)
    *depths, _matrix = figure.axes
    assert [axes.get_title(loc="left") for axes in depths] == ["at 1000 µm", "at 500 µm", "at 0 µm"]
    for axes, factor in zip(depths, (0.6, 0.8, 1.0), strict=True):
        lines = {line.get_label(): line.get_ydata() for line in axes.lines}
        assert set(lines) == set(motions)
        values = 10 * factor * np.sin(TIMES / 5)
        np.testing.assert_allclose(lines["ours"], values - np.median(values), atol=1e-9)
        np.testing.assert_allclose(lines["truth"], lines["ours"], atol=1e-9)
        assert axes.lines[-1].get_label() == "truth"
        assert axes.lines[-1].get_linewidth() > 2


def test_numbers_between_motions_are_those_of_the_comparison(motions):
    matrix = report.plot_motion_comparison(motions).axes[-1]
    texts = {text.get_position(): text.get_text() for text in matrix.texts}
    names = list(motions)
    assert len(texts) == 12
    for (column, row), text in texts.items():
        assert texts[row, column] == text
    expected = compare_motions(motions["truth"], motions["coarse"]).mean_um
    assert texts[names.index("coarse"), names.index("truth")] == f"{expected:.1f}"
    assert [label.get_text() for label in matrix.get_yticklabels()] == names


def test_rigid_and_single_bin_motions_and_a_second_segment_can_be_drawn():
    rigid = {"a": wave((1.0,), np.array([5.0])), "b": wave((0.5,), np.array([90.0]))}
    figure = report.plot_motion_comparison(rigid)
    assert [axes.get_title(loc="left") for axes in figure.axes[:-1]] == ["whole probe"]
    one = Motion(np.array([[2.0]]), np.array([1.0]), np.array([5.0]))
    assert len(report.plot_motion_comparison({"a": one, "b": one}).axes) == 2
    two = Motion([np.zeros((60, 3)), wave().displacement[0]], [TIMES, TIMES + 100], WINDOWS)
    figure = report.plot_motion_comparison({"a": two, "b": two}, segment_index=1)
    assert figure.axes[0].lines[0].get_xdata()[0] == 100.5
    apart = {"a": wave(windows=WINDOWS), "b": wave(windows=WINDOWS + 5000)}
    assert len(report.plot_motion_comparison(apart).axes) == 2


def test_what_can_not_be_compared(motions):
    with pytest.raises(ValueError, match="at least two"):
        report.plot_motion_comparison({"one": wave()})
    with pytest.raises(ValueError, match="truth='nobody'"):
        report.plot_motion_comparison(motions, truth="nobody")
    with pytest.raises(ValueError, match="segment_index=1"):
        report.plot_motion_comparison(motions, segment_index=1)


def make_metrics(leak=0.0, amplitudes=True, depths=True, cuts=()):
    rng = np.random.default_rng(0)
    times = np.arange(200) + 0.5
    moved = np.convolve(rng.normal(size=200), np.hanning(15), mode="same") * 10
    segment = np.searchsorted(cuts, times)
    parts = range(len(cuts) + 1)
    motion = Motion(
        [moved[segment == k][:, np.newaxis] for k in parts], [times[segment == k] for k in parts], np.zeros(1)
    )
    counts = rng.poisson(15 * np.exp(leak * moved / moved.std() * (np.arange(6) % 2)[:, np.newaxis]))
    units, bins = np.nonzero(counts)
    number = counts[units, bins]
    units, bins = np.repeat(units, number), np.repeat(bins, number)
    return drift_metrics_from_spikes(
        bins + 0.5,
        units,
        motion,
        amplitudes=rng.normal(50, 5, bins.size) if amplitudes else None,
        segment_index=segment[bins],
        unit_depths_um=np.arange(6) * 100.0 if depths else None,
        bin_s=1.0,
        num_permutations=99,
    )


def test_a_dot_for_each_unit_filled_where_it_is_significant(tmp_path):
    metrics = make_metrics(leak=0.8)
    figure = report.plot_drift_metrics(metrics, measure="codec")
    figure.savefig(tmp_path / "figure.png", dpi=40)
    amplitude, rate, population = figure.axes
    dots = rate.collections[0]
    np.testing.assert_allclose(
        dots.get_offsets(), np.column_stack([metrics.units["rate_codec"], metrics.units["depth_um"]])
    )
    filled = ~(dots.get_facecolors()[:, :3] == 1).all(axis=1)
    assert filled.tolist() == (metrics.units["rate_codec_qvalue"] <= 0.05).tolist()
    assert filled.any()
    assert not filled.all()
    assert f"{filled.sum()} of 6 units significant" in [
        text.get_text() for text in rate.get_legend().get_texts()
    ]
    assert amplitude.get_xlabel() == "codec T"
    assert "p = " in population.get_title(loc="left")
    assert population.get_xlabel() == "time (s)"


def test_before_and_after_and_several_segments():
    sets = {"before": make_metrics(0.8, cuts=(80.0,)), "after": make_metrics(cuts=(80.0,))}
    figure = report.plot_drift_metrics(sets)
    _, rate, first, second = figure.axes
    assert [text.get_text().split(":")[0] for text in rate.get_legend().get_texts()] == ["before", "after"]
    assert first.get_title(loc="left").startswith("before: population")
    assert second.get_xlabel().startswith("time, one segment")
    assert first.lines[0].get_xdata()[0] == 80.0


def test_little_to_draw(tmp_path):
    figure = report.plot_drift_metrics(make_metrics(amplitudes=False, depths=False))
    assert figure.axes[0].get_ylabel() == "unit"
    assert len(figure.axes) == 2
    motion = Motion(np.zeros((30, 1)), np.arange(30.0), np.zeros(1))
    silent = drift_metrics_from_spikes(
        np.zeros(0), np.zeros(0, dtype=int), motion, amplitudes=np.zeros(0), bin_s=1.0
    )
    figure = report.plot_drift_metrics(silent)
    figure.savefig(tmp_path / "silent.png", dpi=40)
    assert "does not change" in figure.axes[-1].get_title(loc="left")


def test_unknown_measures_and_nothing_at_all():
    with pytest.raises(ValueError, match="measure='pearson'"):
        report.plot_drift_metrics({}, measure="pearson")
    with pytest.raises(ValueError, match="metrics is empty"):
        report.plot_drift_metrics({})
