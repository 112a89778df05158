"""The test pair of a model folder: reproduced by what was saved, and not by anything else."""

import shutil

import pytest
import torch
from cli_runner import run
from hub_examples import small_model
from safetensors.torch import load_file, save_file

from steadyspike.library.hub.artifact import PAIR
from steadyspike.library.models.config import ModelError
from steadyspike.library.models.find import bundled_models
from steadyspike.library.models.pair_check import check_pair


@pytest.fixture
def folder(tmp_path):
    small_model().save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_models_reproduce_theirs(name):
    tested = check_pair(name)
    assert tested.passed, tested
    assert load_file(bundled_models()[name] / PAIR[1])["output"].abs().max() > 0.01


def test_other_weights_do_not(folder):
    assert check_pair(folder).passed
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.startswith("encoder"))
    save_file({**weights, name: weights[name] * 1.5}, folder / "model.safetensors")
    tested = check_pair(folder)
    assert not tested.passed
    assert tested.difference > 10 * tested.allowed


def test_the_command_tells(folder):
    for model in (folder, "steady-np1"):
        told = run("models", "test", model, "--device", "cpu")
        assert told.exit_code == 0
        assert "differs from its test pair" in told.output
    output = load_file(folder / PAIR[1])["output"]
    save_file({"output": output + 0.01 * output.abs().max()}, folder / PAIR[1])
    assert run("models", "test", folder, "--device", "cpu").exit_code == 1


@pytest.mark.parametrize(
    ("pair", "match"),
    [
        ({"output": torch.zeros(2)}, "gives the shape"),
        ({"other": torch.zeros(2)}, "not of this network"),
        (None, "has no test_output"),
    ],
)
def test_pairs_that_are_none(folder, pair, match):
    (folder / PAIR[1]).unlink()
    if pair is not None:
        save_file(pair, folder / PAIR[1])
    with pytest.raises(ModelError, match=match):
        check_pair(folder)


def test_a_pair_of_another_network(folder):
    shutil.copyfile(bundled_models()["steady-classifier-zebra-finch"] / PAIR[0], folder / PAIR[0])
    with pytest.raises(ModelError, match="not of this network"):
        check_pair(folder)
