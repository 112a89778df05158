import numpy as np
import pytest
from spikeinterface.core.motion import Motion
from spikeinterface.core.node_pipeline import base_peak_dtype

from steadyspike.evaluation import figures as report
from steadyspike.evaluation.figures.motion_maps import draw_map
from steadyspike.evaluation.figures.raster import depths_before_after, draw_raster
from steadyspike.simulation.drift import build_probe
from steadyspike.simulation.noise import CorrelatedNoiseRecording

DURATION_S = 10.0


@pytest.fixture(scope="module")
def recording():
    probe = build_probe("np1", 16)
    recording = CorrelatedNoiseRecording(probe.contact_positions, np.ones(16), int(DURATION_S * 30_000))
    recording.set_probe(probe)
    return recording


def make_info(num_peaks=300, num_windows=3, displacement_um=10.0):
    rng = np.random.default_rng(3)
    times = np.arange(0.5, DURATION_S)
    windows = np.linspace(0, 140, num_windows) if num_windows > 1 else np.array([70.0])
    displacement = np.full((times.size, num_windows), displacement_um)
    displacement[:5] = 0.0
    peaks = np.zeros(num_peaks, dtype=base_peak_dtype)
    peaks["sample_index"] = np.sort(rng.integers(int(DURATION_S * 30_000), size=num_peaks))
    peaks["amplitude"] = -rng.uniform(10, 200, num_peaks)
    locations = np.zeros(num_peaks, dtype=[("x", "f8"), ("y", "f8"), ("z", "f8")])
    locations["x"] = rng.uniform(0, 50, num_peaks)
    locations["y"] = 60.0 + displacement_um * (peaks["sample_index"] > DURATION_S * 15_000)
    return dict(
        peaks=peaks,
        peak_locations=locations,
        motion=Motion(displacement, times, windows),
        run_times=dict(detect_and_localize=2.0, estimate_motion=0.5),
        parameters=dict(preset="steady_nonrigid", sampling_frequency=30_000.0),
    )


def points_of(axes):
    return np.asarray(axes.collections[0].get_offsets())


def test_raster_shows_the_drift_before_and_none_after(recording):
    info = make_info()
    figure = report.plot_raster(info, recording)
    left, right = figure.axes[:2]
    assert np.ptp(points_of(left)[:, 1]) == pytest.approx(10.0)
    middle = np.abs(points_of(right)[:, 0] - DURATION_S / 2) > 1.0
    assert np.ptp(points_of(right)[middle, 1]) < 0.1
    assert len(left.lines) == 3
    assert points_of(left)[:, 0].max() <= DURATION_S


def test_lines_of_a_rigid_motion_are_spread_over_the_probe(recording):
    figure = report.plot_raster(make_info(num_windows=1), recording)
    heights = sorted(line.get_ydata()[0] for line in figure.axes[0].lines)
    assert len(heights) > 2
    assert heights[0] < 60 < heights[-1]


def test_depths_before_and_after(recording):
    before, after = depths_before_after(make_info(), recording)
    assert np.ptp(before) == pytest.approx(10.0)
    assert np.median(np.abs(after - 60.0)) < 1e-6


def test_more_peaks_than_can_be_drawn_are_thinned_out(monkeypatch, recording):
    monkeypatch.setattr("steadyspike.evaluation.figures.raster.MAX_PEAKS", 50)
    figure = report.plot_raster(make_info(num_peaks=300), recording)
    assert len(points_of(figure.axes[0])) == 50


def test_of_more_peaks_than_fit_into_memory_some_are_moved(monkeypatch, recording, tmp_path):
    monkeypatch.setattr("steadyspike.evaluation.figures.save.MOST_PEAKS", 40)
    seen = []
    monkeypatch.setattr(
        "steadyspike.evaluation.figures.save.plot_raster",
        lambda info, recording, **which: seen.append(info) or report.plot_raster(info, recording, **which),
    )
    info = make_info(num_peaks=300)
    report.save_figures(info, recording, tmp_path / "figures")
    samples = seen[0]["peaks"]["sample_index"]
    assert len(samples) == len(seen[0]["peak_locations"]) == 40
    assert samples[0] == info["peaks"]["sample_index"][0]
    assert samples[-1] == info["peaks"]["sample_index"][-1]


@pytest.mark.parametrize("num_peaks", [0, 1])
@pytest.mark.parametrize("num_windows", [1, 3])
def test_hardly_any_peaks_can_be_drawn(recording, tmp_path, num_peaks, num_windows):
    info = make_info(num_peaks=num_peaks, num_windows=num_windows)
    files = report.save_figures(info, recording, tmp_path / "figures")
    assert [file.read_bytes()[:4] for file in files] == [b"\x89PNG"] * 4


def test_motion_map_lays_truth_and_estimate_over_each_other():
    motion = make_info()["motion"]
    truth = Motion(motion.displacement[0] - 40.0, motion.temporal_bins_s[0], motion.spatial_bins_um)
    figure = report.plot_motion_map(motion, truth=truth)
    estimate, known, difference = (
        np.asarray(figure.axes[index].collections[0].get_array()) for index in (0, 1, 3)
    )
    np.testing.assert_allclose(estimate, known, atol=1e-9)
    np.testing.assert_allclose(difference, 0.0, atol=1e-9)


def test_map_has_time_across_and_depth_upwards():
    motion = make_info()["motion"]
    values = np.arange(30.0).reshape(10, 3)
    axes = report.plot_explained_map(motion, values / 30).axes[0]
    mesh = axes.collections[0]
    assert np.asarray(mesh.get_array()).shape == (3, 10)
    assert mesh.get_clim() == (0.0, 1.0)
    assert axes.get_xlim() == (0.0, 10.0)
    assert axes.get_ylim() == (-35.0, 175.0)


def test_the_old_name_of_the_map_warns():
    with pytest.warns(DeprecationWarning, match="plot_explained_map"):
        assert report.plot_trust_map is report.plot_explained_map
    with pytest.raises(AttributeError, match="plot_nothing"):
        report.plot_nothing  # noqa: B018


def test_single_bin_has_a_width():
    from matplotlib.figure import Figure

    motion = Motion.__new__(Motion)
    motion.temporal_bins_s, motion.spatial_bins_um = [np.array([2.0])], np.array([50.0])
    axes = Figure().subplots()
    draw_map(axes, motion, np.ones((1, 1)), 1.0)
    assert axes.get_xlim() == (1.5, 2.5)


def test_run_times_add_up():
    figure = report.plot_run_times({"ours": {"a": 1.0, "b": 2.0}, "theirs": {"a": 4.0}})
    texts = [text.get_text().strip() for text in figure.axes[0].texts]
    assert texts == ["4.0 s", "3.0 s"]


def test_overview_and_probe(recording, tmp_path):
    info = make_info()
    times = {"steady_nonrigid": {"detect": 1.0}, "rigid_fast": {"detect": 3.0}}
    errors = {"steady_nonrigid": 0.5, "rigid_fast": 2.0}
    figure = report.plot_overview(info, recording, info["motion"], times, errors, title="hello", zoom_um=100)
    figure.savefig(tmp_path / "overview.png", dpi=40)
    labels = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    assert "steady_nonrigid\nerror 0.5 µm" in labels
    figure = report.plot_peaks_on_probe(info, recording)
    assert len(figure.axes[0].collections[1].get_offsets()) == 300


def test_peaks_outside_the_depth_limits_are_left_out():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    draw_raster(axes, np.array([1.0, 2.0]), np.array([10.0, 500.0]), np.array([-5.0, -6.0]), (0.0, 100.0))
    assert points_of(axes).tolist() == [[1.0, 10.0]]


def test_figures_leave_no_window_and_no_setting_behind(recording):
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    report.plot_raster(make_info(), recording)
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []
