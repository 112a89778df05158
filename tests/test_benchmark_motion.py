import json

from steadyspike.benchmark.motion import format_motion_table, load_results, run_motion_benchmark


def run(folder):
    return run_motion_benchmark(
        folder,
        scenarios=["rigid_zigzag"],
        probes=["np2"],
        seeds=[0],
        duration_s=8.0,
        num_channels=32,
        presets=["steady_nonrigid"],
        progress_bar=False,
    )


def test_a_study_measures_and_resumes(tmp_path):
    (result,) = run(tmp_path)
    assert result["preset"] == "steady_nonrigid"
    assert result["num_peaks"] > 20
    assert 0 <= result["mean_error_um"] <= result["max_error_um"]
    (file,) = tmp_path.glob("*.json")
    file.write_text(json.dumps({**result, "mean_error_um": 123.0}))
    (resumed,) = run(tmp_path)
    assert resumed["mean_error_um"] == 123.0


def test_table_averages_seeds_and_marks_the_best(tmp_path):
    case = dict(scenario="bump", probe="np1", duration_s=10.0, num_channels=32)
    for seed, ours, theirs in ((0, 1.0, 3.0), (1, 2.0, 5.0)):
        for preset, error in (("steady_nonrigid", ours), ("dredge_fast", theirs)):
            result = dict(case, seed=seed, preset=preset, mean_error_um=error)
            (tmp_path / f"{preset}-{seed}.json").write_text(json.dumps(result))
    assert len(load_results(tmp_path)) == 4
    table = format_motion_table(tmp_path)
    assert "| bump | np1 | 2 | **1.50** | 4.00 |" in table


def test_an_empty_folder_says_so(tmp_path):
    assert "no results" in format_motion_table(tmp_path)
