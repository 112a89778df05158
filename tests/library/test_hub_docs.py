"""The code on the page about sharing runs, against a Hub that has what it names."""

import numpy as np
import spikeinterface.full as si
from hub_examples import POSITIONS, small_model
from markdown_code import blocks
from probeinterface import Probe
from test_hub_hostile import DOCS

import steadyspike


def test_code_on_the_sharing_page_runs(hub, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    small_model().push_to_hub("lab/denoiser", tag="v1")
    detection = dict(method="by_channel", peak_sign="neg", detect_threshold=5.0, exclude_sweep_ms=0.8)
    mine = steadyspike.load_preset("steady_rigid").replace(detect_kwargs=detection)
    mine.push_to_hub("lab/drift", tag="v1")
    steps = [{"name": "steady_common_reference", "params": {}}]
    steadyspike.load_preset("neuropixels1").replace(steps=steps).push_to_hub("lab/filters")
    small_model().save("my_model")
    steadyspike.save_preset(mine, "my_lab.toml")

    traces = np.random.default_rng(0).standard_normal((30_000, len(POSITIONS))).astype("float32")
    probe = Probe()
    probe.set_contacts(POSITIONS, shapes="square", shape_params={"width": 12})
    probe.set_device_channel_indices(np.arange(len(POSITIONS)))
    recording = si.NumpyRecording([traces], 30_000.0)
    recording.set_probe(probe)
    names = dict(si=si, steadyspike=steadyspike, recording=recording)
    code = [block.code for block in blocks(DOCS / "sharing.md") if block.language == "python"]
    assert len(code) == 3
    for block in code:
        exec(block, names)
    for name in ("recording_denoised", "recording_corrected", "recording_ready"):
        assert names[name].get_traces(0, 0, 100).shape == (100, 16)
    assert list(hub.repos) == ["lab/denoiser", "lab/drift", "lab/filters", "lab/my-denoiser", "lab/my-drift"]
    assert names["model"].config == small_model().config
