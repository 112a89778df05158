"""The study that counts units: what it scores, that it goes on where it stopped, and its tables."""

import json

import numpy as np
import pytest
import spikeinterface.full as si

from steadyspike.motion.trust import VERDICTS
from steadyspike.simulation.truth import true_motion
from steadyspike_benchmarks.sorting import scores, tables
from steadyspike_benchmarks.sorting.bound import best_linear
from steadyspike_benchmarks.sorting.cases import SimulatedCase, TrueUnits
from steadyspike_benchmarks.sorting.plots import plot_units
from steadyspike_benchmarks.sorting.study import known_motion, run_sorting_benchmark
from steadyspike_benchmarks.sorting.treatments import choose_treatments

CASE = SimulatedCase("rigid_zigzag", "np1", 3, num_channels=16, duration_s=3.0)
BOUND = "weights that know the truth"
CHOSEN = ["static", "uncorrected", "steady_rigid", BOUND]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study with a sorter that knows the truth, but for the uncorrected recording, where it fails."""
    folder = tmp_path_factory.mktemp("study")
    sorted_recordings, truth = [], CASE.make().sorting

    def sort(sorter, recording, folder, **_):
        sorted_recordings.append(recording)
        if len(sorted_recordings) == 2:
            raise RuntimeError("out of\nmemory")
        return truth

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikeinterface.sorters.run_sorter", sort)
        results = run_sorting_benchmark(
            folder, [CASE], choose_treatments(CHOSEN), ["lupin"], progress_bar=False
        )
        again = run_sorting_benchmark(
            folder, [CASE], choose_treatments(CHOSEN), ["lupin"], progress_bar=False
        )
    assert again == results
    return folder, results, sorted_recordings


def of(results, treatment, sorter=None):
    (found,) = [row for row in results if row["treatment"] == treatment and row.get("sorter") == sorter]
    return found


def test_each_treatment_is_sorted_once_and_failures_are_results(study):
    _, results, sorted_recordings = study
    assert len(sorted_recordings) == len(CHOSEN)
    assert of(results, "uncorrected", "lupin")["failed"] == "RuntimeError: memory"
    for name in ("static", "steady_rigid"):
        row = of(results, name, "lupin")
        assert row["good"] == row["units"] == len(row["accuracy"]) > 3
        assert row["false"] == row["redundant"] == 0
    # the correction reaches the sorter
    static, uncorrected, corrected, _ = (one.get_traces(0, 60_000, 60_100) for one in sorted_recordings)
    assert np.abs(corrected - static).max() > 0
    assert np.abs(uncorrected - corrected).max() > 0


def test_traces_are_scored_without_a_sorter(study):
    _, results, _ = study
    assert of(results, "static")["spike_error"] == 0.0
    uncorrected, corrected = of(results, "uncorrected"), of(results, "steady_rigid")
    assert uncorrected["noise_gain"] == pytest.approx(1.0)
    assert uncorrected["correlation_added"] == pytest.approx(0.0)
    assert corrected["noise_gain"] < 1.0
    assert len(corrected["snr"]) == len(of(results, "static", "lupin")["accuracy"])
    lowest, usual = of(results, "static")["lowest_snr"], corrected["snr"]
    assert len(lowest) == len(usual)
    assert 0 < np.mean(lowest) < np.mean(usual)


def test_no_interpolation_betters_weights_that_know_the_truth(study):
    _, results, _ = study
    bound, corrected = of(results, BOUND), of(results, "steady_rigid")
    assert 0.0 < bound["spike_error"] < corrected["spike_error"]
    assert bound["noise_gain"] == pytest.approx(corrected["noise_gain"], rel=0.05)
    with pytest.raises(ValueError, match="need a simulated recording"):
        best_linear(None, TrueUnits(None, None, False))


def test_weights_that_know_the_truth_are_the_same_in_any_chunk(study):
    made = CASE.make()
    read = best_linear(made.recording, made)
    whole, step = read.get_traces(0, 0, 20_000), 7_001
    parts = [read.get_traces(0, start, min(start + step, 20_000)) for start in range(0, 20_000, step)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(read.get_traces(0, 9, 50, read.channel_ids[3:5]), whole[9:50, 3:5])


def test_tables_hold_the_means(study):
    folder, results, _ = study
    text = tables.format_sorting_tables(results)
    assert "| uncorrected | fails: RuntimeError: memory |" in text
    good = of(results, "static", "lupin")["good"]
    assert f"| static | {good:.1f} |" in text
    assert "| static | 0.0 % |" in text
    assert "Traces" not in tables.format_sorting_tables([row for row in results if "sorter" in row])
    assert len(list((folder / "results").glob("*.json"))) == 2 * len(CHOSEN)
    assert json.loads(next((folder / "results").glob("*static--lupin.json")).read_text())["sorter"] == "lupin"


def test_kinds_of_recordings_are_compared_over_the_same_seeds():
    counted = [
        ("a", "static", 0, 9),
        ("a", "static", 1, 5),
        ("a", "uncorrected", 1, 4),
        ("b", "static", 0, 7),
    ]
    rows = [
        dict(group=group, sorter="lupin", treatment=name, seed=seed, good=good, false=1)
        for group, name, seed, good in counted
    ]
    assert tables.cell_table(rows).splitlines()[2:] == [
        "| a | lupin | 5.0 (1.0) | 4.0 (1.0) | 1 |",
        "| b | lupin | 7.0 (1.0) |  | 1 |",
    ]
    assert tables.cell_table(rows[:3]) == ""


def test_differences_are_of_the_seeds_that_both_have():
    about = dict(sorter="lupin", accuracy=[0.9, 0.7, 0.8], false=1)
    rows = [
        dict(about, group=group, treatment=name, seed=seed, good=good)
        for group, name, seed, good in (
            *(("a", "static", seed, 5) for seed in range(4)),
            *(("a", "uncorrected", seed, seed) for seed in range(3)),
            ("b", "static", 0, 7),
        )
    ]
    assert tables.difference_table(rows[:6]) == ""
    rows += [
        dict(group="a", treatment="static", seed=seed, snr=[4.0, 2.0, 9.0], spike_error=0.0)
        for seed in range(4)
    ]
    (line,) = tables.difference_table(rows).splitlines()[2:]
    interval = tables.with_interval([-5, -4, -3])
    assert line == f"| a | lupin | uncorrected | 5.0 | 1.0 | {interval} | 1.0 | 1.0 | 3 of 6 | 3 of 6 | 3 |"


def test_verdicts_stand_beside_what_came_of_them(study):
    _, results, _ = study
    corrected, uncorrected = of(results, "steady_rigid"), of(results, "uncorrected")
    assert corrected["verdict"] in VERDICTS
    units = dict(seed=3, group=corrected["group"], sorter="other", case=corrected["case"])
    counted = [
        dict(units, treatment=name, good=good) for name, good in (("uncorrected", 4), ("steady_rigid", 9))
    ]
    (line,) = tables.verdict_table(results + counted).splitlines()[2:]
    assert f"| steady_rigid | {corrected['verdict']} 1 |" in line
    assert f"({100 * uncorrected['spike_error'] ** 2:.2g} %)" in line
    assert f"({100 * corrected['spike_error'] ** 2:.2g} %)" in line
    # no difference for the sorter that failed on one of the two
    assert line.endswith("|  | +5.0 |")
    assert tables.verdict_table([uncorrected]) == ""


def test_the_figure_draws_each_sorted_treatment(study):
    _, results, _ = study
    good, false = plot_units(results).axes
    assert [label.get_text() for label in good.get_yticklabels()] == ["static", "steady_rigid", BOUND]
    assert len(good.patches) == 3
    assert good.patches[0].get_width() == of(results, "static", "lupin")["good"]
    assert false.patches[0].get_width() == 0
    assert plot_units([row for row in results if "sorter" not in row]) is None


def test_differences_are_paired_and_have_an_interval():
    assert tables.with_interval([-1.0, -1.0, -1.0]) == "-1.0"
    assert tables.with_interval([2.0, 1.0]) == "+1.5"
    assert tables.with_interval([0.0, -2.0, -4.0, -2.0]).startswith("-2.0 (-")


def test_an_empty_sorting_finds_nothing():
    known = si.generate_sorting(num_units=3, durations=[2.0], seed=0)
    nothing = si.NumpySorting.from_unit_dict({}, known.sampling_frequency)
    assert scores.unit_scores(nothing, known, True)["good"] == 0


def test_error_is_that_of_a_loop(study):
    made = CASE.make()
    half = si.scale(made.static_spikes, gain=0.5)
    assert scores.spike_error(half, made.static_spikes, made.sorting, 0) == pytest.approx(0.5, rel=1e-5)


def test_where_a_motion_is_called_zero_is_no_error():
    """A constant at each depth goes; what changes over time stays."""
    truth = CASE.make().truth
    times, depths = np.arange(0.05, 3.0, 0.1), np.linspace(*truth.depth_range_um, 5)
    known = true_motion(truth, times, depths)
    wrong = known.copy()
    wrong.displacement[0] = wrong.displacement[0] + np.linspace(-3, 5, 5)
    wrong.displacement[0][7] += 2.0
    shifted = scores.with_same_rest(wrong, truth).displacement[0]
    known.displacement[0][7] += 2.0
    np.testing.assert_allclose(shifted, known.displacement[0], atol=1e-9)


def test_the_true_motion_is_what_was_simulated(tmp_path):
    made = CASE.make()
    motion = known_motion(made)
    periods = made.truth.displacement_vector[: len(motion.temporal_bins_s[0])]
    # a rigid drift
    np.testing.assert_allclose(motion.displacement[0], np.tile(periods[:, None], (1, 20)), atol=1e-9)
    with pytest.raises(ValueError, match="simulated recordings only"):
        known_motion(TrueUnits(made.recording, made.sorting, True))
    names = ["uncorrected", "steady_auto, true motion"]
    results = run_sorting_benchmark(tmp_path, [CASE], choose_treatments(names), [], progress_bar=False)
    uncorrected, corrected = (of(results, name)["spike_error"] for name in names)
    assert 0 < corrected < 0.8 * uncorrected


def test_noise_that_keeps_its_level_is_said_to_keep_it():
    """Two channels turned into each other have other samples and the same level at all times."""
    noise = np.random.default_rng(0).standard_normal((30_000 * 20, 2)).astype("float32")
    turned = noise @ np.array([[1.0, 1.0], [-1.0, 1.0]], "float32") / np.sqrt(2.0, dtype="float32")
    recordings = []
    for traces in (turned, noise):
        one = si.NumpyRecording(traces, 30_000.0)
        one.set_dummy_probe_from_locations(np.array([[0.0, 0.0], [0.0, 20.0]]))
        recordings.append(one)
    found = scores.noise_scores(*recordings)
    assert found["noise_over_time"] < 0.007
    assert abs(found["noise_gain"] - 1.0) < 0.007
    assert abs(found["correlation_added"]) < 0.007


def test_unknown_treatments_are_refused():
    with pytest.raises(ValueError, match="treatments=nothing cannot work; allowed: static"):
        choose_treatments(["nothing"])
