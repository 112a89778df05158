"""`steadyspike models` and `steadyspike presets` on the Hub, and presets of the Hub in other commands."""

import json
import os

import numpy as np
import pytest
import torch
from hub_examples import small_model
from hub_server import OWNER, READER
from huggingface_hub import hf_hub_download
from typer.testing import CliRunner

from steadyspike.cli import app
from steadyspike.library.models.folder import load_folder
from steadyspike.library.models.keras.weights import write_keras_unet
from steadyspike.library.models.legacy.convert import CONVERTERS, ImportOptions, import_model
from steadyspike.library.presets.presets import load_preset, save_preset
from steadyspike.networks import make_network
from steadyspike.simulation.drift import simulate_drifting_recording


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def works(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(code, *arguments):
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "mine")
    return tmp_path / "mine"


def test_brackets_of_others_are_shown_as_they_are(hub):
    card = b"---\ntags: [steadyspike, steadyspike-model, 'steadyspike-[/b]']\nlicense: '[red]x[/blue] :cat:'\n---\n"
    hub.put("lab/odd", {"README.md": card})
    listed = works("models", "list", "--hub")
    assert "[/b]" in listed
    assert "[red]x[/blue] :cat:" in listed


def test_push_list_show_and_pull_a_model(hub, folder, tmp_path, new_cache, offline):
    pushed = works(
        "models", "push", folder, "lab/small", "--tag", "v1", "--license", "mit", "--message", "Hello"
    )
    commit = hub.repos["lab/small"].tags["v1"]
    assert f"hf:lab/small@{commit} (tag v1): pushed" in pushed
    assert "licence" not in pushed
    assert "is there already; nothing was pushed" in works(
        "models", "push", folder, "lab/small", "--tag", "v1"
    )
    assert hub.repos["lab/small"].titles[commit] == "Hello"

    new_cache()
    listed = works("models", "list", "--hub", "--kind", "deepinterpolation", "--search", "small")
    assert "hf:lab/small" in listed
    assert "mit" in listed
    assert "nothing found" in works("models", "list", "--hub", "--search", "large")
    assert "hf:lab/small" not in works("models", "list")

    pulled = works("models", "pull", "hf:lab/small@v1", "--output", tmp_path / "copy")
    assert f"hf:lab/small@{commit}" in pulled
    assert load_folder(tmp_path / "copy").config == load_folder(folder).config
    assert not any(path.is_symlink() for path in (tmp_path / "copy").iterdir())
    assert "exists; choose another" in refused(2, "models", "pull", "hf:lab/small", "-o", tmp_path / "copy")

    shown = works("models", "show", "hf:lab/small@v1")
    for text in (f"hf:lab/small@{commit}", "deepinterpolation", f"v1 ({commit[:7]})", "# A small model"):
        assert text in shown
    hub.put("lab/bert", {"config.json": b"{}", "model.safetensors": b""})
    for name in ("config.json", "model.safetensors"):
        hf_hub_download("lab/bert", name)
    offline()
    assert commit not in works("models", "list", "--kind", "spike_detector")
    listed = works("models", "list")
    assert "lab/bert" not in listed
    assert commit in listed
    assert "v1" in listed
    assert "not known without a connection" in works("models", "show", "hf:lab/small@v1")


def test_push_list_show_and_pull_a_preset(hub, preset, tmp_path, new_cache):
    file = save_preset(preset, tmp_path / "lab.toml")
    assert "names no licence" in works("presets", "push", file, "lab/rigid", "--tag", "v1", "--private")
    assert hub.repos["lab/rigid"].private
    new_cache()
    assert "hf:lab/rigid" in works("presets", "list", "--hub", "--kind", "motion")
    assert "good" in works("presets", "validate", "hf:lab/rigid@v1")
    assert works("presets", "show", "hf:lab/rigid") == file.read_text()
    commit = hub.repos["lab/rigid"].tags["v1"]
    pulled = works("presets", "pull", "hf:lab/rigid@v1", "-o", tmp_path / "copy.toml")
    assert f"versions: v1 ({commit[:7]})" in pulled
    assert load_preset(tmp_path / "copy.toml") == preset
    assert hub.repos["lab/rigid"].branches["main"] in works("presets", "list")
    assert "ends in .toml" in refused(2, "presets", "pull", "hf:lab/rigid", "-o", tmp_path / "copy.txt")


def test_what_cannot_be_is_said_in_a_line(hub, folder, monkeypatch):
    monkeypatch.setitem(os.environ, "HF_TOKEN", READER)
    output = refused(1, "models", "push", folder, "lab/small")
    assert "does not allow this" in output
    assert READER not in output
    monkeypatch.setitem(os.environ, "HF_TOKEN", OWNER)
    assert "allowed: owner/name" in refused(2, "models", "push", folder, "small")
    assert "--tag 'main' cannot be a tag" in refused(
        2, "models", "push", folder, "lab/small", "--tag", "main"
    )
    assert "presets push" in refused(2, "models", "push", "lab.toml", "lab/small")
    assert "no such repository" in refused(1, "models", "pull", "hf:lab/nothing")
    assert "is not on the Hub" in refused(2, "models", "pull", "steady-np1")
    assert "--kind motion is not known" in refused(2, "models", "list", "--kind", "motion")
    assert "--search is for --hub" in refused(2, "models", "list", "--search", "x")
    works("models", "push", folder, "lab/small")
    assert "what is wanted here is a preset" in refused(2, "presets", "pull", "hf:lab/small")


def test_a_card_cannot_steer_the_terminal(hub):
    small_model(card="# Good\x1b[2J\x9b31m bad\u202e card\n").push_to_hub("lab/small")
    shown = works("models", "show", "hf:lab/small")
    assert "# Good[2J31m bad card" in shown


def test_correct_with_a_preset_of_the_hub(hub, preset, tmp_path):
    detection = dict(method="by_channel", peak_sign="neg", detect_threshold=5.0, exclude_sweep_ms=0.8)
    first = preset.replace(detect_kwargs=detection).push_to_hub("lab/rigid", tag="v1")
    steps = [{"name": "steady_common_reference", "params": {}}]
    ready = load_preset("neuropixels1").replace(name="ready", steps=steps).push_to_hub("lab/ready", tag="v1")
    simulated = simulate_drifting_recording("rigid_zigzag", num_channels=16, duration_s=2.0, seed=0)
    simulated.recording.save(folder=tmp_path / "raw", progress_bar=False, verbose=False)
    how = ("-o", tmp_path / "out", "--preprocess", "hf:lab/ready@v1", "-j", 1, "--no-figures")
    works("correct", tmp_path / "raw", "--preset", "hf:lab/rigid@v1", *how)
    request = json.loads((tmp_path / "out" / "steadyspike.json").read_text())["request"]
    assert (request["preset"], request["preprocess"]) == (first.ref, ready.ref)
    assert "no such repository" in refused(
        1, "correct", tmp_path / "raw", "--preset", "hf:lab/no", "-o", tmp_path / "none"
    )


def test_import_of_a_keras_file(tmp_path):
    torch.manual_seed(0)
    network = make_network("unet_single_ephys_1024", {"pre": 2, "post": 2, "width": 2})
    write_keras_unet(network, tmp_path / "unet.h5")
    how = ("--probe", "NP1000", "--sampling-frequency", 30000, "--license", "mit")
    assert "unet_single_ephys_1024" in works(
        "models", "import", tmp_path / "unet.h5", tmp_path / "model", *how
    )
    model = load_folder(tmp_path / "model")
    for name, weights in network.state_dict().items():
        np.testing.assert_array_equal(model.network.state_dict()[name], weights)
    assert (model.config.layout.arrangement, model.config.sampling_frequency) == ("interleaved", 30_000.0)
    assert model.config.extra["imported_from"]["file"] == "unet.h5"
    assert "license: mit" in model.card
    assert "Converted from `unet.h5` (SHA-256" in model.card
    assert "exists already" in refused(2, "models", "import", tmp_path / "unet.h5", tmp_path / "model", *how)
    assert "needed: probe" in refused(2, "models", "import", tmp_path / "unet.h5", tmp_path / "other")
    assert "part number" in refused(
        2, "models", "import", tmp_path / "unet.h5", tmp_path / "other", "--probe", "NP9", *how[2:]
    )


def test_files_that_no_converter_reads(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"")
    assert "allowed: .h5, .hdf5: DeepInterpolation" in refused(
        2, "models", "import", tmp_path / "model.bin", tmp_path / "model"
    )
    assert "there is no file" in refused(2, "models", "import", tmp_path / "none.h5", tmp_path / "model")
    (tmp_path / "broken.h5").write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match="no HDF5 file"):
        import_model(
            tmp_path / "broken.h5", tmp_path / "model", ImportOptions(probe="NP1000", sampling_frequency=3e4)
        )
    assert not (tmp_path / "model").exists()
    assert len({suffix for one in CONVERTERS for suffix in one.suffixes}) == 4
