"""Benchmarks on real recordings: noise beside its fit, held-out losses, and networks that are taught."""

import json

import numpy as np
import pytest
from cli_runner import run_benchmark

import steadyspike
from steadyspike.library.models.folder import load_model
from steadyspike.simulation.noise_model import NoiseModel
from steadyspike_benchmarks import denoising_checks, denoising_held_out, denoising_teachers, taught


@pytest.fixture(scope="module", autouse=True)
def small():
    patch = pytest.MonkeyPatch()
    for name, value in dict(CHANNELS=24, NOISES=2, NOISE_S=0.05, FRAMES=32, BATCH=2).items():
        patch.setattr(denoising_teachers, name, value)
    patch.setattr(denoising_checks, "DRAWN_S", 0.2)
    patch.setattr(taught, "LEVELS", (9.0,))
    patch.setattr(taught, "SEEDS", (0,))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def raw():
    return denoising_teachers.drawn_recording("np2", 0.4)


@pytest.fixture(scope="module")
def folder(raw, tmp_path_factory):
    place = tmp_path_factory.mktemp("raw") / "raw"
    raw.save(folder=place, n_jobs=1, progress_bar=False, verbose=False)
    return place


def test_noise_is_fitted_drawn_and_compared(folder, tmp_path):
    files = dict(figure=tmp_path / "noise.png", write=tmp_path / "noise.json")
    options = [part for name, file in files.items() for part in (f"--{name}", file)]
    done = run_benchmark("denoising-noise", folder, "--fit-until", "0.2", *options)
    assert done.exit_code == 0, done.output
    assert "fitted to the first part" in done.output
    assert files["figure"].stat().st_size > 10_000
    model = NoiseModel.from_dict(json.loads(files["write"].read_text()))
    assert model.correlation(lags=2)[1] > 0.3


def test_losses_are_those_of_fits_and_models(raw, monkeypatch):
    monkeypatch.setattr(denoising_held_out, "OWN_TAPS", (4, 10))
    losses = denoising_held_out.held_out_losses(raw, ["steady-np2"], 0.2)
    assert losses["predicting the median"] == pytest.approx(1, abs=0.2)
    short, longer = (losses[f"linear fit, own contact, {taps} samples"] for taps in (4, 10))
    assert longer < short < losses["predicting the median"]
    assert losses["steady-np2"] < losses["predicting the median"]


def test_fusion_and_what_a_seeing_network_makes_are_taken_together(raw):
    models = ("steady-np2", "steady-np2-seeing")
    found = denoising_teachers._treated(raw.frame_slice(0, 3000), models, True, (0.0, 0.25))
    fused, seeing, both = "steady-np2, fused", "steady-np2-seeing", "steady-np2, fused and steady-np2-seeing"
    assert [name for name in found if " and " in name] == [both]
    np.testing.assert_allclose(found[both], (found[fused] + found[seeing]) / 2, atol=1e-4)
    assert np.abs(found[fused] - found[seeing]).max() > 0.1


def test_a_taught_network_comes_with_its_scores_beside_the_baseline(tmp_path):
    done = run_benchmark("denoising-teach", "steady-np2-seeing", "-o", tmp_path / "model", "--steps", "3")
    assert done.exit_code == 0, done.output
    model = load_model(tmp_path / "model")
    assert {"recorded", "this network", "linear interpolation"} <= set(
        model.config.extra["scores"]["drawn noise"]
    )
    assert model._lacking(model.card) == []
    assert "refractory violations" in model.card
    recording = denoising_teachers.drawn_recording("np2", 0.05)
    assert np.isfinite(steadyspike.deepinterpolate(recording, model).get_traces()).all()
    with pytest.raises(ValueError, match=r"output='posterior'.*has seen the samples already"):
        steadyspike.deepinterpolate(recording, model, output="posterior")


def test_all_checks_are_made_and_put_into_cards(folder, tmp_path):
    for name in ("steady-np2", "steady-np2-seeing"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(
            f"# {name}\n\n## Artifact checks\n\nold\n\n## Data\n\nnone\n"
        )
    options = (
        "-m",
        "steady-np2",
        "-m",
        "steady-np2-seeing",
        "--level",
        "9",
        "--seed",
        "0",
        "--cards",
        tmp_path,
    )
    done = run_benchmark("denoising-checks", folder, "--start", "0.15", *options)
    assert done.exit_code == 0, done.output
    for place in ("drawn noise, np2", "real noise"):
        assert f"{place}:" in done.output
    seeing, blind = (
        (tmp_path / name / "README.md").read_text() for name in ("steady-np2-seeing", "steady-np2")
    )
    for words in ("amplitude bias of medium", "smearing", "refractory", "gain (spikes of 9)", " linear |"):
        assert words in seeing
    assert "with 0.5 of the recorded traces kept" in seeing
    assert "as it predicts" in blind
    for card in (seeing, blind):
        assert "old" not in card
        assert card.endswith("## Data\n\nnone\n")


def test_checks_are_made_with_another_share_too(tmp_path):
    options = ("-m", "steady-np2-seeing", "--level", "9", "--seed", "0")
    found = []
    for share in ("0.1", "0.9"):
        file = tmp_path / f"{share}.json"
        done = run_benchmark("denoising-checks", *options, "--share", share, "-o", file)
        assert done.exit_code == 0, done.output
        (checks,) = json.loads(file.read_text()).values()
        found.append(checks["steady-np2-seeing"]["false_samples"]["value"])
    assert found[0] > 10 * max(found[1], 0.1)
    done = run_benchmark("denoising-checks", *options, "--share", "0.9", "--cards", tmp_path)
    assert done.exit_code == 2
    assert "--cards" in done.output


def test_shares_of_the_recorded_traces_are_compared(folder):
    options = ("-m", "steady-np2-seeing", "--share", "0,0.25", "--level", "9", "--seed", "0")
    done = run_benchmark("denoising-teachers", folder, "--start", "0.15", *options)
    assert done.exit_code == 0, done.output
    assert "steady-np2-seeing, 0.25 recorded" in done.output
    assert "outliers, 9" in done.output


def test_spikes_are_of_the_sizes_and_places_that_are_drawn():
    noises = denoising_teachers.draw_noises("np2", 3)
    assert noises.images.std() == pytest.approx(1, abs=0.05)
    assert not noises.shifts[0].any()
    assert np.ptp(noises.shifts[1]) > 0.5
    rng = np.random.default_rng(0)
    peaks = [
        np.abs(denoising_teachers.draw_spikes(rng, noises.positions, 200, noises.shifts[0])).max()
        for _ in range(8)
    ]
    low, high = denoising_teachers.SIZES
    assert low < np.median(peaks) < 1.2 * high
