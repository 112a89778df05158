"""A trains and shares, B elsewhere uses a version and saves a chain, C loads it later without a network."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hub_server import OTHER, OWNER

from steadyspike.simulation.drift import simulate_drifting_recording

A = """
import spikeinterface as si, steadyspike
recording = si.load("recording")
fast = dict(size="tiny", pre_ms=0.6, post_ms=0.6, batch_size=4, chunk_frames=64, test_windows=8, gap_s=0.02,
            device="cpu", progress_bar=False, license_name="cc-by-4.0")
first = steadyspike.train_deepinterpolation(recording, "first", max_steps=20, **fast)
print(first.push_to_hub("lab/tiny", tag="v1").ref)
second = steadyspike.train_deepinterpolation(
    recording, "second", init_from="hf:lab/tiny@v1", max_steps=10, batch_size=4, chunk_frames=64, test_windows=8,
    gap_s=0.02, device="cpu", progress_bar=False)
print(second.push_to_hub("lab/tiny", tag="v2").ref)
# SpikeInterface's other detection is compiled for seconds in each process
detection = dict(method="by_channel", peak_sign="neg", detect_threshold=5.0, exclude_sweep_ms=0.8)
rigid = steadyspike.load_preset("steady_rigid").replace(name="ours", doc="Ours", detect_kwargs=detection)
print(rigid.push_to_hub("lab/rigid", tag="v1").ref)
bins = {**rigid.estimate_motion_kwargs, "bin_um": 20.0}
print(rigid.replace(estimate_motion_kwargs=bins).push_to_hub("lab/rigid", tag="v2").ref)
print(second.config.extra["training"]["init_from"])
"""

CORRECT = """
import numpy as np, spikeinterface.full as si, steadyspike
recording = si.load("recording")
def corrected():
    return si.correct_motion(recording, preset="hf:lab/rigid@v1", progress_bar=False)
"""

B = f"""{CORRECT}
denoised = steadyspike.deepinterpolate(recording, "hf:lab/tiny@v1", device="cpu")
denoised.dump_to_json("denoised.json")
np.save("denoised.npy", denoised.get_traces(0, 0, 3000))
newest = steadyspike.deepinterpolate(recording, "hf:lab/tiny", device="cpu")
np.save("newest.npy", newest.get_traces(0, 0, 3000))
moved = corrected()
moved.dump_to_json("corrected.json")
np.save("corrected.npy", moved.get_traces(0, 0, 3000))
print(denoised._kwargs["model"], newest._kwargs["model"])
"""

C = f"""{CORRECT}
for name in ("denoised", "corrected"):
    np.save(name + "_again.npy", si.load(name + ".json").get_traces(0, 0, 3000))
np.save("corrected_anew.npy", corrected().get_traces(0, 0, 3000))
try:
    steadyspike.deepinterpolate(recording, "hf:lab/tiny@v2", device="cpu")
except OSError as error:
    print(error)
try:
    steadyspike.load_preset("hf:lab/rigid@v2")
except OSError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    simulated = simulate_drifting_recording("rigid_zigzag", num_channels=16, duration_s=2.0, seed=0)
    simulated.recording.save(folder=folder / "recording", progress_bar=False, verbose=False)
    return folder


def run(script, folder, home, **environment):
    """Run a script in a process of its own, which knows the Hub from its environment only."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_HOME": str(folder / home), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**inherited, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split("\n")[:-1], done.stdout + done.stderr


def test_another_laboratory_and_a_later_year(hub, folder):
    refs, said_a = run(A, folder, "a", HF_ENDPOINT=hub.url, HF_TOKEN=OWNER)
    assert re.fullmatch(r"hf:lab/tiny@[0-9a-f]{40}", refs[0])
    assert len(set(refs)) == 4
    assert refs[4] == refs[0], "a fine-tuned model names the commit that it started from"
    assert refs[0] in hub.repos["lab/tiny"].files["README.md"].data.decode()

    models, said_b = run(B, folder, "b", HF_ENDPOINT=hub.url, HF_TOKEN=OTHER)
    assert models == [f"{refs[0]} {refs[1]}"]
    chain = json.loads((folder / "denoised.json").read_text())
    assert chain["kwargs"]["model"] == refs[0]
    first, newest = np.load(folder / "denoised.npy"), np.load(folder / "newest.npy")
    assert not np.array_equal(first, newest)

    hub.requests.clear()
    offline, said_c = run(C, folder, "b", HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
    assert not hub.requests
    for name in ("denoised", "corrected"):
        np.testing.assert_array_equal(np.load(folder / f"{name}_again.npy"), np.load(folder / f"{name}.npy"))
    np.testing.assert_array_equal(np.load(folder / "corrected_anew.npy"), np.load(folder / "corrected.npy"))
    assert "run: steadyspike models pull hf:lab/tiny@v2" in offline[0]
    assert "run: steadyspike presets pull hf:lab/rigid@v2" in offline[1]

    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    pushed = [
        file.data
        for repo in hub.repos.values()
        for commit in repo.commits.values()
        for file in commit.values()
    ]
    for token in (OWNER, OTHER):
        assert not [one for one in [*written, *pushed] if token.encode() in one]
        assert token not in said_a + said_b + said_c
