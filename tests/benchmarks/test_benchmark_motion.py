import json
import sys

import numpy as np
import pytest
from spikeinterface.core.motion import Motion
from typer.testing import CliRunner

from steadyspike_benchmarks import estimation, motion_tables
from steadyspike_benchmarks.cli.app import app
from steadyspike_benchmarks.code_version import code_key, module_key, settings_key
from steadyspike_benchmarks.motion import (
    StudyOptions,
    load_motion,
    load_results,
    run_motion_benchmark,
    stale_results,
)
from steadyspike_benchmarks.motion_report import write_motion_report
from steadyspike_benchmarks.motion_tables import format_motion_table, verdict_table
from steadyspike_benchmarks.study_peaks import StudyCase, list_cases, load_case, peaks_code
from steadyspike_benchmarks.study_presets import choose_presets, study_presets

CASE = StudyCase("bumps", "np2", seed=0, num_channels=32, duration_s=8.0)
PRESETS = ("steady_nonrigid", "dredge_fast", "dredge")


def run(folder, presets=PRESETS, **options):
    return run_motion_benchmark(
        folder,
        scenarios=[CASE.scenario],
        probes=[CASE.probe],
        seeds=[0],
        duration_s=CASE.duration_s,
        num_channels=CASE.num_channels,
        presets=presets,
        options=StudyOptions(**options),
        progress_bar=False,
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    run(folder)
    return folder


def of(folder, preset):
    return next(result for result in load_results(folder) if result["preset"] == preset)


def test_a_study_measures_ours_and_theirs_and_records_what_fails(study):
    assert {result["preset"]: result["ours"] for result in load_results(study)} == {
        "steady_nonrigid": True,
        "dredge_fast": False,
        "dredge": False,
    }
    for preset in ("steady_nonrigid", "dredge_fast"):
        result = of(study, preset)
        assert result["num_peaks"] > 20
        assert 0 <= result["mean_error_um"] <= result["p95_error_um"] <= result["max_error_um"]
        assert result["mean_error_offset_per_depth_um"] <= result["mean_error_um"] + 1e-9
        assert result["true_span_um"] > 10
        assert result["estimate_s"] > 0
        assert load_motion(study, result).displacement[0].shape == (
            result["num_times"],
            result["num_windows"],
        )
    # SpikeInterface's own dredge preset does not run in 0.105.3
    assert "batching_mode" in of(study, "dredge")["failed"]
    assert load_motion(study, of(study, "dredge")) is None


def test_presets_that_find_peaks_alike_share_them(study):
    assert list_cases(study) == [CASE]
    files = {file.name for file in (study / "recordings" / CASE.name).glob("peaks-*.npz")}
    assert len(files) == 2  # grid convolution for two presets, monopolar for the third
    ours, theirs = (load_case(study, CASE, preset) for preset in ("steady_nonrigid", "dredge_fast"))
    assert np.array_equal(ours.peaks, theirs.peaks)
    assert np.array_equal(ours.peak_locations, theirs.peak_locations)
    assert ours.recording.get_num_channels() == 32
    assert ours.recording.get_total_duration() == 8.0
    assert ours.code == peaks_code(ours.preset)
    with pytest.raises(FileNotFoundError, match="no peaks"):
        load_case(study, CASE, "kilosort_like")


def test_peaks_of_the_study_are_those_of_compute_motion(study):
    from spikeinterface.preprocessing import compute_motion

    simulated = CASE.simulate()
    recording = simulated.recording.save(format="memory", n_jobs=1, progress_bar=False)
    _, info = compute_motion(
        recording, preset="steady_nonrigid", output_motion_info=True, n_jobs=1, progress_bar=False
    )
    stored = load_case(study, CASE, "steady_nonrigid")
    # noise levels come from random chunks, so peaks at the threshold may differ
    found, expected = set(stored.peaks["sample_index"]), set(info["peaks"]["sample_index"])
    assert len(found & expected) > 0.98 * len(found | expected)
    assert np.array_equal(stored.truth.displacement_vector, simulated.displacement_vector)


def test_a_study_resumes_and_refreshes_what_is_out_of_date(study, tmp_path):
    import shutil

    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    file = folder / "results" / f"{CASE.name}-steady_nonrigid.json"
    result = json.loads(file.read_text())
    file.write_text(json.dumps({**result, "mean_error_um": 123.0}))
    run(folder, refresh=True)
    assert of(folder, "steady_nonrigid")["mean_error_um"] == 123.0
    file.write_text(json.dumps({**result, "mean_error_um": 123.0, "code": "of another day"}))
    run(folder)
    assert of(folder, "steady_nonrigid")["mean_error_um"] == 123.0
    assert stale_results(load_results(folder), study_presets()) == ["steady_nonrigid"]
    assert "OUT OF DATE" in format_motion_table(folder)
    run(folder, refresh=True, estimate_only=True)
    assert of(folder, "steady_nonrigid")["mean_error_um"] == pytest.approx(result["mean_error_um"], rel=1e-3)
    assert "OUT OF DATE" not in format_motion_table(folder)


def test_estimate_only_leaves_out_what_has_no_peaks(tmp_path):
    assert run(tmp_path, estimate_only=True) == []
    assert not (tmp_path / "recordings").exists()


def test_tables_and_figures_are_written_beside_the_results(study):
    tables = write_motion_report(study)
    assert (study / "results.md").read_text() == tables + "\n"
    assert "| bumps | 1 |" in tables
    assert "fails" in tables
    for name in ("errors.png", "examples.png"):
        assert (study / name).read_bytes().startswith(b"\x89PNG")


def test_table_averages_seeds_marks_the_best_and_compares(tmp_path):
    case = dict(scenario="bumps", probe="np1", duration_s=10.0, num_channels=32)
    errors = {"steady_nonrigid": (1.0, 2.0), "dredge_fast": (3.0, 5.0), "rigid_fast": (0.5,)}
    (tmp_path / "results").mkdir()
    for preset, values in errors.items():
        for seed, error in enumerate(values):
            result = dict(case, seed=seed, preset=preset, ours=preset.startswith("steady"))
            result |= dict(mean_error_um=error, max_error_um=error, uncorrected_error_um=6.0)
            result |= dict(mean_error_offset_per_depth_um=error / 2)
            result |= dict(true_span_um=20.0, estimate_s=0.1, peak_mb=None)
            (tmp_path / "results" / f"{preset}-{seed}.json").write_text(json.dumps(result))
    table = format_motion_table(tmp_path)
    # a preset that saw one of two recordings is no candidate for the best
    assert "| bumps | 2 | **1.50** | 4.00 | (0.50) | 6.00 |" in table
    assert "| bumps | 2 | **0.75** | 2.00 | (0.25) | 6.00 |" in table
    assert "| bumps | steady_nonrigid | 1.50 | dredge_fast | 4.00 | 0.38 |  | 0.38 |  |" in table
    assert "| rigid_fast | 0.10 |  |" in table
    results = load_results(tmp_path)
    assert len(motion_tables.behind_table(results).splitlines()) == 2
    for result in results:
        result["mean_error_um"] *= 10 if result["ours"] else 1
    behind = motion_tables.behind_table(results).splitlines()[2:]
    assert behind == ["| bumps | np1 | steady_nonrigid | 15.000 | dredge_fast | 4.000 |"]


def test_verdicts_are_counted_by_true_drift():
    def judged(span, verdict):
        return dict(preset="steady_auto", true_span_um=span, trust=dict(verdict=verdict))

    results = [judged(0.0, "do not correct")] * 3 + [judged(0.0, "correct")]
    results += [judged(4.0, "cannot tell"), judged(30.0, "correct"), judged(30.0, None)]
    rows = verdict_table(results, ["steady_auto"]).splitlines()
    assert rows[0].endswith(
        "| correct (%) | correct rigidly (%) | do not correct (%) | cannot tell (%) | error (%) |"
    )
    assert rows[2:] == [
        "| no drift | 4 | 25 | 0 | 75 | 0 | 0 |",
        "| drift up to 5 um | 1 | 0 | 0 | 0 | 100 | 0 |",
        "| drift over 5 um | 2 | 50 | 0 | 0 | 0 | 50 |",
    ]
    for result in results:
        result |= dict(scenario="bumps", probe="np1", seed=0, mean_error_um=1.0, uncorrected_error_um=9.0)
        result["trust"]["reason"] = "because"
    assert "| drift up to 5 um, np1 | 1 |" in verdict_table(results, ["steady_auto"], by_probe=True)
    assert motion_tables.wrong_verdicts_table(results, "steady_auto").splitlines()[2:] == [
        "| bumps | np1 | 0 | 0.0 | 1.0 | 9.0 | correct | because |",
        "| bumps | np1 | 0 | 30.0 | 1.0 | 9.0 | error | because |",
    ]
    assert verdict_table(results, ["other"]).splitlines()[2] == "| no drift | 0 |  |  |  |  |"


def test_still_recordings_have_a_table():
    still = dict(preset="p", true_span_um=0.0, mean_error_um=0.5, max_error_um=2.0)
    assert motion_tables.still_table([still]).splitlines()[-1] == "| p | 1 | 0.50 | 100 | 0 |"


def test_an_empty_folder_says_so(tmp_path):
    assert "no results" in format_motion_table(tmp_path)
    assert "no results" in write_motion_report(tmp_path)


def test_presets_are_all_of_both_with_the_repaired_one():
    presets = study_presets(medicine_steps=7)
    assert next(iter(presets)).startswith("steady_")
    assert {"steady_nonrigid", "dredge_fast", "medicine_7_steps", "dredge", "dredge_repaired"} <= set(presets)
    assert "medicine" not in presets
    assert "batching_mode" not in presets["dredge_repaired"].estimate_motion_kwargs
    assert presets["medicine_7_steps"].estimate_motion_kwargs["training_steps"] == 7
    assert presets["dredge"].localize_peaks_kwargs["method"] == "steady_monopolar"
    upstream = study_presets(upstream_localization=True)
    assert upstream["dredge"].localize_peaks_kwargs["method"] == "monopolar_triangulation"
    with pytest.raises(ValueError, match="presets=nobody"):
        choose_presets(["nobody"], presets)
    with pytest.raises(ValueError, match="medicine_steps=0"):
        study_presets(medicine_steps=0)


def test_keys_follow_code_and_settings_but_not_their_kind():
    assert settings_key(dict(a=np.array([1.0, 2.0]), b=1)) == settings_key(dict(b=1, a=[1.0, 2.0]))
    assert settings_key(dict(a=1)) != settings_key(dict(a=2))
    assert code_key(np.linspace).startswith("numpy-")
    own = module_key("steadyspike.simulation.truth")
    assert own == module_key("steadyspike.simulation.truth") != module_key("steadyspike.simulation.noise")


def test_key_of_code_sees_imported_modules_but_no_comments(tmp_path, monkeypatch):
    from steadyspike_benchmarks import code_version

    def key(kernel, module="from steadyspike import kernel\n"):
        files = {"steadyspike.module": module, "steadyspike.kernel": kernel}
        paths = {}
        for name, text in files.items():
            paths[name] = tmp_path / f"{name}.py"
            paths[name].write_text(text)
        monkeypatch.setattr(code_version, "_source_of", paths.get)
        code_version._read.cache_clear()
        return module_key("steadyspike.module")

    first = key('"""Doc."""\nx = 1\n')
    assert key('"""Other doc."""\nx = 1  # why\n') == first
    assert key("x = 2\n") != first
    assert key("x = 2\n", module="from . import kernel\n") != key("x = 1\n", module="from . import kernel\n")


def test_medicine_runs_in_another_python_and_says_where_it_is_missing(study, tmp_path, monkeypatch):
    # a package of that name which answers at once with the mean depth of each second
    (tmp_path / "medicine.py").write_text(
        "import numpy as np\n"
        "def run_medicine(peak_times, peak_depths, peak_amplitudes, time_bin_size, num_depth_bins, training_steps,\n"
        "                 motion_noise_steps, output_dir, plot_figures):\n"
        "    assert (training_steps, motion_noise_steps) == (10, 2)\n"
        "    return None, np.array([0.5, 1.5]), np.array([0.0, 100.0]), np.full((2, 2), peak_depths.size)\n"
    )
    (tmp_path / "torch.py").write_text("def manual_seed(seed): pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    case = load_case(study, CASE, "dredge")
    preset = study_presets(medicine_steps=10)["medicine_10_steps"]
    result = estimation.estimate(case, preset, medicine_python=sys.executable)
    assert np.all(result.motion.displacement[0] == case.peaks.size)
    monkeypatch.setattr(estimation, "find_spec", lambda name: None)
    with pytest.raises(estimation.MissingPackageError, match="medicine-neuro"):
        estimation.find_medicine()
    with pytest.raises(estimation.MissingPackageError, match="nowhere"):
        estimation.find_medicine("/nowhere/python")
    run(study, presets=["medicine"])
    assert "medicine was left out: medicine is not installed" in format_motion_table(study)


def test_a_failing_verdict_is_recorded(study, monkeypatch):
    def fail(*arguments):
        raise ZeroDivisionError("no spikes")

    monkeypatch.setattr(estimation, "find_motion_trust", lambda: fail)
    motion = Motion([np.zeros((8, 1))], [np.arange(8) + 0.5], np.array([50.0]))
    told = estimation.judge(load_case(study, CASE, "dredge_fast"), motion)
    assert told["verdict"] is None
    assert told["reason"] == "ZeroDivisionError: no spikes"
    monkeypatch.setattr(estimation, "find_motion_trust", lambda: None)
    assert estimation.judge(load_case(study, CASE, "dredge_fast"), motion) is None


def test_the_command_measures_and_reports(study, tmp_path):
    small = ["--scenario", "bumps", "--probe", "np2", "--channels", "32", "--preset", "steady_nonrigid"]
    command = ["motion", *small, "--seed", "0", "--no-progress-bar", "-o"]
    done = CliRunner().invoke(app, [*command, str(study), "--report-only"])
    assert done.exit_code == 0, done.output
    assert "### Mean error (um) for each scenario" in done.output
    # peaks of a recording of that length are not there
    done = CliRunner().invoke(app, [*command, str(tmp_path / "new"), "--estimate-only"])
    assert done.exit_code == 0, done.output
    assert "no results" in done.output
    done = CliRunner().invoke(app, ["motion", "--preset", "nobody", "-o", str(tmp_path / "new")])
    assert done.exit_code != 0
    assert "nobody" in done.output


@pytest.mark.parametrize(
    "wrong",
    [dict(scenarios=["earthquake"]), dict(presets=["nobody"]), dict(num_channels=1), dict(probes=["np9"])],
)
def test_unknown_names_stop_a_study_before_anything_is_done(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"earthquake|nobody|num_channels=1|np9"):
        run_motion_benchmark(tmp_path / "study", progress_bar=False, **wrong)
    assert not (tmp_path / "study").exists()
