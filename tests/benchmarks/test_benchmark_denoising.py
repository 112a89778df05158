import json
import shutil

import numpy as np
import pytest

from steadyspike.evaluation.denoising.result import DenoisingEvaluation
from steadyspike.evaluation.figures.style import new_figure
from steadyspike_benchmarks.denoising import NETWORKS as NETWORKS_KNOWN
from steadyspike_benchmarks.denoising import (
    RIDGE,
    UNET,
    StudySettings,
    run_denoising_benchmark,
)
from steadyspike_benchmarks.denoising_data import NoisyCase, training_cases
from steadyspike_benchmarks.denoising_tables import format_denoising_tables, write_denoising_report

TINY = StudySettings(
    budget_s=5.0,
    max_steps=2,
    train_recordings=1,
    train_s=2.0,
    test_s=2.0,
    num_channels=8,
    learning_rates={"blindspot": (1e-3, 1e-4)},
    device="cpu",
)
NETWORKS = ("blindspot-tiny", UNET, RIDGE)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "one"
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        # the paper's network is too wide for a test
        patch.setitem(NETWORKS_KNOWN, UNET, {"network": UNET, "network_kwargs": {"width": 2}})
        for rows in ("benchmark.denoising_data.RIDGE_ROWS", "training.run.RIDGE_ROWS"):
            patch.setattr(f"steadyspike.{rows}", 4000)
        patch.setattr("steadyspike.evaluation.denoising.methods.LINEAR_ROWS", 4000)
        for figure in ("plot", "plot_traces", "plot_templates"):
            patch.setattr(DenoisingEvaluation, figure, lambda evaluation: new_figure(1, 1))
        results = run_denoising_benchmark(
            folder, networks=NETWORKS, probes=("np1",), settings=TINY, tell=lines.append, progress_bar=False
        )
    return folder, results, lines


def test_every_network_is_trained_on_other_seeds_and_judged_against_clean_traces(study):
    folder, results, lines = study
    assert {result["network"] for result in results} == set(NETWORKS)
    assert len(lines) == 3
    assert sorted(each.name for each in (folder / "recordings").iterdir()) == [
        "np1-8ch-2s-0",
        "np1-8ch-2s-1000-noisy",
    ]
    for result in results:
        assert 0 < result["summary"]["rms_error"] < 5
        assert result["raw"]["rms_error"] == pytest.approx(1.0, abs=0.2)
        assert result["summary"]["noise_reduction"] > 0
        assert 0.1 < result["center"]["rms_error"] < 2
        assert result["center"]["noise_reduction"] is None
        assert [row["size"] for row in result["sizes"]] == ["small", "medium", "large"]
    json.dumps(results, allow_nan=False)


def test_the_learning_rate_with_the_lowest_held_out_loss_is_judged(study):
    result = next(one for one in study[1] if one["network"] == "blindspot-tiny")
    tried = result["training"]["tried"]
    assert {one["learning_rate"] for one in tried} == {1e-3, 1e-4}
    assert result["training"]["best_loss"] == min(one["best_loss"] for one in tried)


def test_a_study_goes_on_without_doing_again_what_is_there(study, tmp_path):
    folder, results, _ = study
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "results" / next((copy / "results").glob("*ridge*")).name).unlink()
    lines = []
    again = run_denoising_benchmark(
        copy, networks=NETWORKS, probes=("np1",), settings=TINY, tell=lines.append, progress_bar=False
    )
    assert len(lines) == 1
    assert lines[0].startswith(RIDGE)
    assert len(again) == len(results)
    for one, two in zip(again, results, strict=True):
        assert one["summary"] == pytest.approx(two["summary"], nan_ok=True)


def test_tables_name_all_networks_and_who_is_better(study):
    folder, results, _ = study
    tables = write_denoising_report(folder)
    assert (folder / "results.md").read_text() == tables
    assert (folder / "results.png").stat().st_size > 1000
    for name in (*NETWORKS, "nothing"):
        assert f"| {name}" in tables
    assert "blindspot-tiny against unet_single_ephys_1024: lower error on" in tables
    stale = format_denoising_tables([dict(results[0], code="other")])
    assert "Measured with other code" in stale
    assert "Measured with other code" not in tables


def test_training_and_judged_seeds_never_meet():
    train = {case.seed for seed in range(5) for case in training_cases("np1", seed, 7, 8, 3.0)}
    assert len(train) == 35
    assert min(train) >= 1000


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (dict(networks=("other",)), "networks"),
        (dict(probes=("other",)), "probe"),
        (dict(settings=StudySettings(budget_s=0)), "budget_s"),
        (dict(settings=StudySettings(test_s=1)), "duration_s"),
        (dict(settings=StudySettings(train_recordings=0)), "train_recordings"),
    ],
)
def test_what_cannot_work_is_refused_at_once(tmp_path, arguments, name):
    with pytest.raises(ValueError, match=name):
        run_denoising_benchmark(tmp_path / "study", **arguments)
    assert not (tmp_path / "study").exists()


def test_cases_tell_noise_apart():
    names = {NoisyCase("np1", 0, 8, 3, factor, clean).name for factor in (1, 1.5) for clean in (True, False)}
    assert len(names | {NoisyCase("np1", 0, 8, 3, noise="white").name}) == 5
    with pytest.raises(ValueError, match="noise='pink' is not known; allowed: coloured, white"):
        NoisyCase("np1", 0, noise="pink")
    with pytest.raises(ValueError, match="noise_factor"):
        NoisyCase("np1", 0, noise_factor=np.inf)
