import json

import pytest

from steadyspike.library.models.folder import load_model
from steadyspike_benchmarks import bundled, denoising_data
from steadyspike_benchmarks.bundled import BundledSettings, train_bundled

TINY = BundledSettings(
    budget_s=5.0,
    recordings=1,
    train_s=2.0,
    tests=1,
    test_s=2.0,
    num_channels=8,
    network="blindspot-tiny",
    max_steps=2,
    device="cpu",
)


def test_a_model_is_trained_judged_and_written_with_its_card(tmp_path, monkeypatch):
    monkeypatch.setattr(denoising_data, "RIDGE_ROWS", 4000)
    monkeypatch.setattr("steadyspike.training.run.RIDGE_ROWS", 4000)
    monkeypatch.setattr("steadyspike.evaluation.denoising.methods.LINEAR_ROWS", 4000)
    folder, told = tmp_path / "out" / "model", []
    model = train_bundled("steady-np1", folder, work=tmp_path / "work", settings=TINY, tell=told.append)
    assert sorted(each.name for each in folder.iterdir()) == [
        *("README.md", "config.json", "log.jsonl", "loss.png", "model.safetensors"),
        *("test_input.safetensors", "test_output.safetensors"),
    ]
    assert [each.name for each in folder.parent.iterdir()] == ["model"]
    assert f"{folder} is written" in told
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n")
    for text in (
        "# steady-np1\n",
        "**Trained on simulation only.**",
        'init_from="steady-np1"',
        "## Simulation",
    ):
        assert card.count(text) == 1
    for text in ("linear interpolation", "noise of 6 to 10 uV", "simulated: np1-8ch-2s-500000-noisy"):
        assert text in card
    extra = json.loads((folder / "config.json").read_text())["extra"]
    assert extra["trained_on_simulation_only"] is True
    scores = extra["simulation"]["scores"]
    assert list(scores) == ["this network", "linear interpolation", "no denoising"]
    assert scores["no denoising"]["rms_error"] == pytest.approx(1.0, abs=0.2)
    assert f"{scores['this network']['rms_error']:.3f}" in card
    assert model.config.extra == extra
    # what is there is taken from the work folder
    with pytest.raises(FileExistsError):
        train_bundled("steady-np1", folder, work=tmp_path / "work", settings=TINY)
    monkeypatch.setattr(bundled, "judge", None)
    monkeypatch.setattr(bundled, "_scores", lambda *rest: scores)
    again = train_bundled("steady-np1", folder, work=tmp_path / "work", settings=TINY, overwrite=True)
    assert again.card == load_model(folder).card == card


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("steady-np9", TINY, "name="),
        ("steady-np1", BundledSettings(network="unet_single_ephys_1024"), "network="),
        ("steady-np1", BundledSettings(budget_s=0), "budget_s="),
        ("steady-np2", BundledSettings(recordings=0), "recordings="),
        ("steady-np2", BundledSettings(tests=0), "tests="),
        ("steady-np2", BundledSettings(num_channels=1), "num_channels="),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, name, settings, problem):
    with pytest.raises(ValueError, match=problem):
        train_bundled(name, tmp_path / "model", settings=settings)
    assert not list(tmp_path.iterdir())


def test_no_folder_but_a_model_is_replaced(tmp_path):
    with pytest.raises(FileExistsError):
        train_bundled("steady-np1", tmp_path, overwrite=True)


def test_training_recordings_differ_in_noise_and_never_meet_the_judged():
    train, test = BundledSettings().cases("np2")
    assert len({case.seed for case in train}) == 6
    assert {case.noise_factor for case in train} == {0.75, 1.0, 1.5}
    assert {case.seed for case in test} == {0, 1}
