"""The comparison on real peaks: known answers of its statistics, and a whole study of a few made-up peaks."""

import json

import numpy as np
import pytest
from spikeinterface.core.motion import Motion
from typer.testing import CliRunner

from steadyspike_benchmarks import agreement, real_peaks
from steadyspike_benchmarks.cli.app import app
from steadyspike_benchmarks.peak_folder import RealPeaks, as_spikeinterface, load_peaks

DURATION_S = 40
TIMES_S = np.arange(DURATION_S) + 0.5


def drift(times_s):
    return 30.0 * np.sin(2 * np.pi * np.asarray(times_s) / DURATION_S)


@pytest.fixture(scope="module")
def peaks():
    """Units every 60 um that move together by a known sine."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, DURATION_S, 6000))
    unit = rng.integers(10, size=times.size)
    depths = -200.0 + 60.0 * unit + drift(times) + rng.normal(0, 3.0, times.size)
    return RealPeaks(times, depths, -50.0 - 10.0 * (unit % 3) + rng.normal(0, 3.0, times.size))


@pytest.fixture(scope="module")
def folder(peaks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("peaks")
    for name, array in zip(("times", "depths", "amplitudes"), vars(peaks).values(), strict=True):
        np.save(folder / f"peak_{name}.npy", array)
    return folder


def motion(displacement, depths_um=(0.0,)):
    displacement = np.repeat(np.asarray(displacement, dtype=float)[:, None], len(depths_um), axis=1)
    return Motion(displacement, TIMES_S, np.array(depths_um, dtype=float))


def test_sharpness_is_zero_for_depths_spread_evenly():
    assert agreement.sharpness(np.arange(0.0, 100.0, 0.5) + 0.25, (0.0, 100.0)) == 0.0


def test_sharpness_of_one_full_bin_is_the_number_of_other_bins():
    assert agreement.sharpness(np.full(7, 11.0), (0.0, 100.0), bin_um=2.0) == pytest.approx(49.0)


def test_peaks_moved_out_of_the_histogram_do_not_make_it_sharper():
    depths = np.tile(np.arange(0.0, 100.0, 2.0) + 1.0, 4)
    inside = agreement.sharpness(depths[:100], (0.0, 100.0))
    assert agreement.sharpness(np.append(depths[:100], np.full(100, 500.0)), (0.0, 100.0)) == inside + 0.25


def test_true_motion_makes_the_raster_sharper_whatever_its_offset(peaks):
    limits = agreement.histogram_limits(peaks)
    raw = agreement.sharpness(peaks.depths_um, limits)
    shifted = [
        agreement.sharpness(agreement.corrected_depths(peaks, motion(drift(TIMES_S) + offset)), limits)
        for offset in (0.0, 500.0)
    ]
    opposite = agreement.sharpness(agreement.corrected_depths(peaks, motion(-drift(TIMES_S))), limits)
    assert shifted[0] == pytest.approx(shifted[1])
    assert shifted[0] > 3 * raw > 3 * opposite


def test_motions_that_differ_by_an_offset_agree(peaks):
    first = motion(drift(TIMES_S), (-200.0, 300.0))
    second = Motion(first.displacement[0] + [10.0, -40.0], TIMES_S, first.spatial_bins_um)
    measured = agreement.measure_agreement(peaks, first, second)
    assert measured["correlation"] == pytest.approx(1.0)
    assert measured["mean_difference_um"] == pytest.approx(0.0, abs=1e-9)
    assert measured["mean_difference_at_peaks_um"] == pytest.approx(0.0, abs=1e-9)


def test_disagreement_is_the_mean_absolute_difference(peaks):
    measured = agreement.measure_agreement(peaks, motion(drift(TIMES_S)), motion(-drift(TIMES_S)))
    assert measured["correlation"] == pytest.approx(-1.0)
    assert measured["mean_difference_um"] == pytest.approx(np.abs(2 * drift(TIMES_S)).mean(), rel=1e-6)


@pytest.mark.parametrize(("size", "correlation"), [(0.0, 1.0), (5.0, 0.0)])
def test_correlation_with_a_motion_that_stands_still_is_defined(peaks, size, correlation):
    measured = agreement.measure_agreement(peaks, motion(size * drift(TIMES_S)), motion(0 * TIMES_S))
    assert measured["correlation"] == correlation


def test_spikeinterface_gets_the_peaks_as_they_are(peaks):
    recording, found, locations = as_spikeinterface(peaks)
    np.testing.assert_allclose(
        recording.sample_index_to_time(found["sample_index"]), peaks.times_s, atol=1e-4
    )
    np.testing.assert_array_equal(locations["y"], peaks.depths_um)
    contacts = recording.get_channel_locations()[:, 1]
    assert contacts.min() <= peaks.depths_um.min() < peaks.depths_um.max() <= contacts.max()
    assert np.abs(contacts[found["channel_index"]] - peaks.depths_um).max() <= 10.0
    assert recording.get_total_duration() == DURATION_S


def test_folder_is_read_in_order_without_unusable_peaks(tmp_path):
    np.save(tmp_path / "peak_times.npy", [3.0, 1.0, 2.0, np.nan, 4.0, -1.0])
    np.save(tmp_path / "peak_depths.npy", [30.0, 10.0, np.inf, 40.0, 50.0, 60.0])
    np.save(tmp_path / "peak_amplitudes.npy", [-3, -1, -2, -4, -5, -6])
    loaded = load_peaks(tmp_path)
    assert loaded.times_s.tolist() == [1.0, 3.0, 4.0]
    assert loaded.depths_um.tolist() == [10.0, 30.0, 50.0]
    assert loaded.amplitudes.tolist() == [-1.0, -3.0, -5.0]


@pytest.mark.parametrize(
    ("times", "message"),
    [(None, "has no peak_times"), ([1.0, 2.0], "one for each peak"), ([np.nan], "no peak")],
)
def test_folder_that_cannot_work_says_why(tmp_path, times, message):
    if times is not None:
        np.save(tmp_path / "peak_times.npy", times)
    np.save(tmp_path / "peak_depths.npy", [1.0])
    np.save(tmp_path / "peak_amplitudes.npy", [1.0])
    with pytest.raises(ValueError, match=message):
        load_peaks(tmp_path)


@pytest.fixture(scope="module")
def study(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("study") / "out"
    command = [
        "real-peaks",
        str(folder),
        "-o",
        str(output),
        "--estimators",
        "steady_decentralized",
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return output, result.output, command


def test_study_finds_the_motion_and_writes_figures_and_tables(study, peaks):
    output, printed, _ = study
    results = json.loads((output / "results.json").read_text())
    raw, rigid, nonrigid = (row["sharpness"] for row in results["sharpness"])
    truth = agreement.sharpness(
        agreement.corrected_depths(peaks, motion(drift(TIMES_S))), agreement.histogram_limits(peaks)
    )
    assert rigid > 0.9 * truth > 3 * raw
    assert nonrigid > 0.9 * truth
    assert results["agreement"] == []
    for name in ("raster.png", "corrected.png", "estimates.png"):
        assert (output / name).read_bytes().startswith(b"\x89PNG")
    assert (output / "results.md").read_text() == printed
    assert f"| as recorded |  | {raw:.2f} |" in printed


def test_study_goes_on_where_it_stopped(study, folder):
    output, printed, command = study
    before = {file: file.stat().st_mtime_ns for file in output.rglob("run.json")}
    assert CliRunner().invoke(app, command).output == printed
    assert before == {file: file.stat().st_mtime_ns for file in output.rglob("run.json")}
    with pytest.raises(ValueError, match="other peaks or windows"):
        real_peaks.run_real_peaks_benchmark(folder, output, windows=real_peaks.Windows(win_step_um=100.0))


def test_estimators_agree_with_themselves_and_missing_packages_are_named(folder, tmp_path, monkeypatch):
    twin = real_peaks.Estimator("steady_decentralized", {})
    absent = real_peaks.Estimator("medicine", {}, "no_such_module", "no-such-package")
    monkeypatch.setattr(
        real_peaks, "ESTIMATORS", {"steady_decentralized": twin, "twin": twin, "absent": absent}
    )
    results = real_peaks.run_real_peaks_benchmark(
        folder, tmp_path / "out", kinds=["rigid"], progress_bar=False
    )
    assert [row["name"] for row in results["sharpness"]] == ["as recorded", "steady_decentralized", "twin"]
    (pair,) = results["agreement"]
    assert pair["correlation"] == pytest.approx(1.0)
    assert pair["mean_difference_at_peaks_um"] == 0.0
    assert results["left_out"] == ["absent is left out: it needs `pip install no-such-package`."]


def test_folder_of_something_else_is_refused(folder, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="something else"):
        real_peaks.run_real_peaks_benchmark(folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("option", ["--estimators", "--kinds"])
def test_unknown_names_are_refused(folder, tmp_path, option):
    output = tmp_path / "out"
    result = CliRunner().invoke(app, ["real-peaks", str(folder), "-o", str(output), option, "fancy"])
    assert result.exit_code == 2
    assert "allowed: " in result.output
    assert not output.exists()
