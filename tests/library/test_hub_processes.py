"""A trains and shares, B elsewhere uses a version and saves a chain, C loads it later, without a network."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import spikeinterface.full as si
from hub_server import OTHER, OWNER
from huggingface_hub import constants

import steadyspike
from steadyspike.simulation.drift import simulate_drifting_recording
from steadyspike.training import run as training_run

FAST = dict(max_steps=10, batch_size=4, chunk_frames=64, test_windows=4, gap_s=0.02, progress_bar=False)
# SpikeInterface's other detection is compiled for seconds in each process
DETECTION = dict(method="by_channel", peak_sign="neg", detect_threshold=5.0, exclude_sweep_ms=0.8)

LATER = """
import numpy as np, spikeinterface as si, steadyspike
from spikeinterface.preprocessing import correct_motion
for name in ("denoised", "corrected"):
    np.save(name + "_again.npy", si.load(name + ".json").get_traces(0, 0, 3000))
recording = si.load("recording")
anew = correct_motion(recording, preset="hf:lab/rigid@v1", progress_bar=False)
np.save("corrected_anew.npy", anew.get_traces(0, 0, 3000))
try:
    steadyspike.deepinterpolate(recording, "hf:lab/tiny@v2", device="cpu")
except OSError as error:
    print(error)
try:
    steadyspike.load_preset("hf:lab/rigid@v2")
except OSError as error:
    print(error)
"""

FROM_ENVIRONMENT = """
import steadyspike
print(steadyspike.load_preset("hf:lab/rigid@v2").estimate_motion_kwargs["bin_um"])
"""


@pytest.fixture
def recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training_run, "RIDGE_ROWS", 5_000)
    simulated = simulate_drifting_recording("rigid_zigzag", num_channels=16, duration_s=2.0, seed=0)
    simulated.recording.save(folder="recording", progress_bar=False, verbose=False)
    return si.load("recording")


def run(script, **environment):
    """Run a script in a process of its own, which knows the Hub from its environment only."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split("\n")[:-1], done.stdout + done.stderr


def shared(recording):
    """Train, fine-tune and push as A; return the references by commit."""
    sizes = dict(size="tiny", pre_ms=0.6, post_ms=0.6)
    first = steadyspike.train_deepinterpolation(recording, "first", device="cpu", **sizes, **FAST)
    refs = [first.push_to_hub("lab/tiny", tag="v1", license_name="cc-by-4.0").ref]
    tuned = dict(init_from="hf:lab/tiny@v1", license_name="cc-by-4.0")
    second = steadyspike.train_deepinterpolation(recording, "second", device="cpu", **tuned, **FAST)
    refs.append(second.push_to_hub("lab/tiny", tag="v2").ref)
    rigid = steadyspike.load_preset("steady_rigid").replace(name="ours", doc="Ours", detect_kwargs=DETECTION)
    refs.append(rigid.push_to_hub("lab/rigid", tag="v1").ref)
    bins = {**rigid.estimate_motion_kwargs, "bin_um": 20.0}
    refs.append(rigid.replace(estimate_motion_kwargs=bins).push_to_hub("lab/rigid", tag="v2").ref)
    assert second.config.extra["training"]["init_from"] == refs[0]
    return refs


def test_another_laboratory_and_a_later_year(hub, recording, new_cache, monkeypatch, tmp_path, capfd, caplog):
    refs = shared(recording)
    assert re.fullmatch(r"hf:lab/tiny@[0-9a-f]{40}", refs[0])
    assert len(set(refs)) == 4
    assert refs[0] in hub.repos["lab/tiny"].files["README.md"].data.decode(), (
        "the commit that it started from"
    )

    new_cache()
    monkeypatch.setitem(os.environ, "HF_TOKEN", OTHER)
    denoised = steadyspike.deepinterpolate(recording, "hf:lab/tiny@v1", device="cpu")
    newest = steadyspike.deepinterpolate(recording, "hf:lab/tiny", device="cpu")
    corrected = si.correct_motion(recording, preset="hf:lab/rigid@v1", progress_bar=False)
    denoised.dump_to_json("denoised.json")
    corrected.dump_to_json("corrected.json")
    now = {
        name: one.get_traces(0, 0, 3000) for name, one in (("denoised", denoised), ("corrected", corrected))
    }
    assert json.loads((tmp_path / "denoised.json").read_text())["kwargs"]["model"] == refs[0]
    assert [one._kwargs["model"] for one in (denoised, newest)] == refs[:2]
    assert not np.array_equal(now["denoised"], newest.get_traces(0, 0, 3000))

    hub.requests.clear()
    cache = {"HF_HUB_CACHE": constants.HF_HUB_CACHE, "HF_HOME": str(tmp_path / "home")}
    offline, said_later = run(LATER, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1", **cache)
    assert not hub.requests
    for name, traces in now.items():
        np.testing.assert_array_equal(np.load(f"{name}_again.npy"), traces)
    np.testing.assert_array_equal(np.load("corrected_anew.npy"), now["corrected"])
    assert "run: steadyspike models pull hf:lab/tiny@v2" in offline[0]
    assert "run: steadyspike presets pull hf:lab/rigid@v2" in offline[1]
    found, said_found = run(FROM_ENVIRONMENT, HF_ENDPOINT=hub.url, HF_TOKEN=OTHER, **cache)
    assert found == ["20.0"]
    assert {token for _, path, token in hub.requests if "lab/rigid" in path} == {OTHER}

    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    pushed = [
        file.data
        for repo in hub.repos.values()
        for commit in repo.commits.values()
        for file in commit.values()
    ]
    said = "".join([*capfd.readouterr(), caplog.text, said_later, said_found])
    for token in (OWNER, OTHER):
        assert not [one for one in [*written, *pushed] if token.encode() in one]
        assert token not in said
