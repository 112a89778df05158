import numpy as np
import pytest
from spikeinterface.core import NumpyRecording

import steadyspike
from steadyspike.cli.denoising import handed_over
from steadyspike.preprocessing.denoise import RECIPE, RECOMMENDED, recommended_model
from steadyspike.simulation.probes import build_probe


def quiet_recording(probe, num_channels=16, rate=30_000.0):
    traces = np.random.default_rng(0).standard_normal((3000, num_channels)).astype("float32")
    recording = NumpyRecording([traces], rate)
    recording.set_probe(build_probe(probe, num_channels))
    recording.annotate(is_filtered=True)
    return recording


def test_the_model_follows_the_probe_and_the_rest_the_recipe():
    recording = quiet_recording("np2")
    denoised = steadyspike.denoise(recording)
    expected = {"model": RECOMMENDED[1], **RECIPE}
    assert {name: denoised._kwargs[name] for name in expected} == expected
    assert recommended_model(quiet_recording("np1")) == RECOMMENDED[0]
    plain = steadyspike.denoise(recording, output="prediction", recorded_share=0.0)
    by_hand = steadyspike.deepinterpolate(recording, RECOMMENDED[1])
    np.testing.assert_array_equal(plain.get_traces(end_frame=50), by_hand.get_traces(end_frame=50))


@pytest.mark.parametrize(("probe", "rate"), [("linear16", 30_000.0), ("np2", 20_000.0)])
def test_where_no_bundled_model_fits_one_is_asked_for(probe, rate):
    with pytest.raises(ValueError, match=r"denoise: model=None; allowed: .*steady-np1.*steady-np2"):
        steadyspike.denoise(quiet_recording(probe, rate=rate))


@pytest.mark.parametrize("number", [1, 2])
def test_presets_and_commands_hold_the_recipe(number):
    name, step = f"neuropixels{number}_denoised", dict(model=RECOMMENDED[number - 1], **RECIPE)
    assert steadyspike.load_preset(name).steps[-1] == {"name": "steady_deepinterpolate", "params": step}
    assert handed_over(None, None, None) == RECIPE
    assert handed_over("mine", None, None) == dict(output="prediction", recorded_share=0.0)
    assert handed_over(None, None, 0.2) == {**RECIPE, "recorded_share": 0.2}
