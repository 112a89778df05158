"""Model folders come back as they were saved, and broken, foreign or newer ones are refused before they are used."""

import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from spikeinterface.core import NumpyRecording

import steadyspike
from steadyspike.core.probe_layout import layout_of
from steadyspike.library.models.config import ModelError, read_config
from steadyspike.library.models.deepinterpolation import (
    DeepInterpolationModel,
    ModelConfig,
    Normalization,
    config_of,
)
from steadyspike.library.models.find import bundled_models, find_model
from steadyspike.library.models.folder import SavedModel, load_model, save_model
from steadyspike.library.models.references import find_source
from steadyspike.networks import make_network, network_class
from steadyspike.training.spike_detector import train_spike_detector
from steadyspike.training.waveform_denoiser import train_waveform_denoiser

POSITIONS = np.stack(np.divmod(np.arange(24), 2)[::-1], axis=1) * [32.0, 15.0]
SIZES = {
    "blindspot": {
        "unit": [[1, 1], [1, 1]],
        "features": 4,
        "dilations": [1, 2],
        "centre": 1,
        "linear_taps": 3,
    },
    "ridge": {"unit": [[1, 1], [1, 1]], "taps": 3, "omission": 2},
    "seeing": {"unit": [[1, 1], [1, 1]], "features": 4, "kernel": 3, "linear_taps": 4},
    "unet_single_ephys_1024": {"pre": 4, "post": 3, "width": 2},
}


def made(name="blindspot", **others):
    torch.manual_seed(0)
    network = make_network(name, SIZES[name])
    layout = layout_of(POSITIONS, arrangement=network.arrangement)
    return network, config_of(network, layout.type, 30_000.0, **others)


@pytest.fixture
def folder(tmp_path):
    network, config = made(normalization=Normalization(center=[1.0] * 24, scale=[2.0] * 24, unit="uV"))
    save_model(tmp_path / "model", network, config, card="# A card\n")
    return tmp_path / "model"


def change(folder, **fields):
    """Change fields of a config; a name with dots goes into nested ones."""
    content = json.loads((folder / "config.json").read_text())
    for name, value in fields.items():
        *path, last = name.split("__")
        inner = content
        for part in path:
            inner = inner[part]
        inner[last] = value
    (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", ModelConfig.networks)
def test_a_model_comes_back(name, tmp_path):
    network, config = made(name, extra={"steps": 3, "note": None})
    save_model(tmp_path / "new" / "model", network, config, card="# µ\n")
    model = load_model(tmp_path / "new" / "model")
    assert (model.config, model.card) == (config, "# µ\n")
    assert model.layout_type == layout_of(POSITIONS, arrangement=network.arrangement).type
    assert model.context == network.context == model.network.context
    assert type(model.network) is network_class(name)
    assert not model.network.training
    image = torch.randn(1, sum(model.context) + 2, 12, 2)
    with torch.inference_mode():
        torch.testing.assert_close(model.network(image), network.eval()(image), rtol=0, atol=0)
    names = sorted(path.name for path in (tmp_path / "new" / "model").iterdir())
    assert names == [
        "README.md",
        "config.json",
        "model.safetensors",
        "test_input.safetensors",
        "test_output.safetensors",
    ]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]


def test_the_config_says_what_the_network_reads():
    _, config = made("ridge")
    assert (config.pre, config.post, config.omission) == (3, 3, 2)
    assert config.context_ms == pytest.approx((5 / 30, 5 / 30), abs=1e-5)


def test_nothing_is_replaced_unasked(folder):
    network, config = made()
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_model(folder, network, config)
    assert (folder / "model.safetensors").read_bytes() == before
    with torch.no_grad():
        network.out.bias.fill_(7)
    save_model(folder, network, config, overwrite=True)
    assert (load_model(folder).network.out.bias == 7).all()
    assert load_model(folder).card == ""
    other = folder.parent / "letters"
    other.mkdir()
    with pytest.raises(FileExistsError, match="no model folder"):
        save_model(other, network, config, overwrite=True)


@pytest.mark.parametrize("name", ["steady-np1", "./steady-np2", "hf:lab/denoiser", "mine.h5", "mine.KERAS"])
def test_a_name_by_which_something_else_is_loaded_is_none_for_ones_own(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    network, config = made()
    recording = NumpyRecording([np.zeros((100, 24), "float32")], 30_000.0)
    recording.set_dummy_probe_from_locations(POSITIONS)
    for make in (
        lambda: save_model(name, network, config),
        lambda: DeepInterpolationModel(network, config).save(Path(name)),
        lambda: steadyspike.train_deepinterpolation(recording, name),
        lambda: train_spike_detector(recording, None, name),
        lambda: train_waveform_denoiser(recording, None, name),
    ):
        with pytest.raises(ValueError, match=rf"folder='(\./)?{Path(name)}'; allowed: another name"):
            make()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["lab/steady-np1", "steady-np1-mine"])
def test_names_that_are_like_a_bundled_one_are_allowed(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    network, config = made()
    save_model(place, network, config)
    assert load_model(Path(place)).config == config
    monkeypatch.setenv("HOME", str(tmp_path))
    save_model("~/" + place + "2", network, config)
    assert load_model("~/" + place + "2").folder == tmp_path / (place + "2")


def test_a_folder_of_the_name_of_a_bundled_model_is_not_passed_over_in_silence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network, config = made()
    save_model(tmp_path / "steady-np1", network, config)
    for load in (find_model, find_source):
        with pytest.warns(
            UserWarning, match=r"'steady-np1' is what steadyspike brings along.* write '\./steady-np1'"
        ):
            load("steady-np1")
    with warnings.catch_warnings(action="error"):
        assert load_model("./steady-np1").config == config
        assert find_model("steady-np2") == bundled_models()["steady-np2"]


def test_weights_that_git_lfs_did_not_fetch(folder):
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ModelError, match="a pointer of Git LFS and not the file itself; run: git lfs pull"):
        load_model(folder)


def test_a_save_that_fails_leaves_the_old_model_and_nothing_else(folder, monkeypatch):
    network, config = made()
    before = (folder / "config.json").read_bytes()

    def full(*_arguments, **_keywords):
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="no space"):
        save_model(folder, network, config, overwrite=True)
    assert (folder / "config.json").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_newer_schema_says_what_to_upgrade(folder):
    change(folder, schema_version=2, something_new=[1])
    with pytest.raises(ModelError, match=r"schema_version 2.*pip install --upgrade steadyspike"):
        load_model(folder)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"surprise": 1}, "surprise: Extra inputs"),
        ({"sampling_frequency": 0}, "sampling_frequency"),
        ({"sampling_frequency": "fast"}, "sampling_frequency"),
        ({"sampling_frequency": 15000}, "context_ms"),
        ({"omission": 2}, "context_ms"),
        ({"pre": -1}, "pre"),
        ({"layout__unit": [[2]]}, "layout.unit"),
        ({"layout__arrangement": "packed"}, "layout.arrangement is 'packed'"),
        ({"layout__pattern": "round"}, "layout.pattern"),
        (
            {"network__name": "resnet"},
            "network.name: 'resnet' is none of kind 'deepinterpolation'; allowed: blindspot",
        ),
        ({"network__sizes": {"depth": 3}}, "cannot have the sizes"),
        ({"network__sizes__features": -1}, "features=-1"),
        ({"network__sizes__features": "many"}, "network"),
        ({"network__sizes__features": 8}, r"out.weight is \(\(4, 4, 1, 1\), 'float32'\), should be"),
        ({"network__sizes__features": 10**6}, "does not fit"),
        ({"network__sizes__centre": None}, "centre.out.bias is not of this network"),
        ({"normalization__scale": [0.0]}, "normalization.scale"),
        ({"schema_version": None}, "schema_version is missing"),
        ({"schema_version": 0}, "schema_version"),
    ],
)
def test_configs_that_do_not_fit(folder, fields, match):
    change(folder, **fields)
    with pytest.raises(ModelError, match=match):
        load_model(folder)


def test_weights_that_do_not_fit(folder):
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file({**weights, "out.bias": weights["out.bias"].double()}, path)
    with pytest.raises(ModelError, match=r"out\.bias is .*float64"):
        load_model(folder)
    save_file({name: value for name, value in weights.items() if name != "out.bias"}, path)
    with pytest.raises(ModelError, match=r"out\.bias is missing"):
        load_model(folder)
    for nasty in (float("nan"), float("inf")):
        save_file({**weights, "out.bias": torch.full_like(weights["out.bias"], nasty)}, path)
        with pytest.raises(ModelError, match=r"is not finite in out\.bias"):
            load_model(folder)
    save_file(weights, path)
    whole = path.read_bytes()
    for broken in (whole[:-100], b"", pickle.dumps(weights)):
        path.write_bytes(broken)
        with pytest.raises(ModelError, match="not a whole safetensors file"):
            load_model(folder)


def test_files_that_are_not_there(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_model(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        load_model(folder)
    (folder / "README.md").unlink()
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        read_config(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="schema_version is missing"):
        read_config(folder)


def test_a_model_of_another_kind_is_refused(folder):
    class Other(SavedModel):
        pass

    with pytest.raises(ModelError, match="is a model of kind 'deepinterpolation', no Other"):
        Other.load(folder)
    assert isinstance(DeepInterpolationModel.load(folder), DeepInterpolationModel)
    change(folder, kind="spike_sorter")
    with pytest.raises(ModelError, match="kind: 'spike_sorter' is not known; allowed: deepinterpolation"):
        load_model(folder)


def test_another_networks_config_is_not_saved(tmp_path):
    network, _ = made("ridge")
    _, config = made("blindspot")
    with pytest.raises(ModelError, match="does not fit"):
        save_model(tmp_path / "model", network, config)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="arrangement 'packed'"):
        config_of(network, layout_of(POSITIONS, arrangement="packed").type, 30_000.0)


def test_a_config_is_read_without_torch(folder):
    script = (
        "import sys; from steadyspike.library.models.config import read_config; read_config(sys.argv[1]); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"]


@pytest.mark.parametrize("ref", [None, 3, "", ["steady-np1"]])
def test_what_is_no_reference_to_a_model(ref):
    with pytest.raises(ModelError, match="is no model; allowed: a bundled name, a folder, or hf:owner/name"):
        load_model(ref)


def test_a_configuration_with_the_mark_that_editors_of_windows_write(folder):
    content = (folder / "config.json").read_bytes()
    (folder / "config.json").write_bytes(b"\xef\xbb\xbf" + content)
    assert load_model(folder).card == "# A card\n"
