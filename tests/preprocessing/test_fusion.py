"""Prediction and sample fused: what is fitted, what comes back of spikes and of noise, and what a chain holds."""

import json

import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface import Probe

import steadyspike
from steadyspike.core.probe_layout import layout_of
from steadyspike.library.models.deepinterpolation import config_of
from steadyspike.library.models.folder import save_model
from steadyspike.networks import make_network
from steadyspike.preprocessing.fusion import Fusion
from steadyspike.preprocessing.residual_fit import SIZES, fit_residual

POSITIONS = np.array([[32.0 * (i % 2), 20.0 * (i // 2)] for i in range(12)])
ONE_SHANK = np.zeros(12, int)
NOISE = np.linspace(6.0, 12.0, 12)


def recording_of(traces):
    probe = Probe(ndim=2)
    probe.set_contacts(positions=POSITIONS)
    probe.set_device_channel_indices(np.arange(12))
    recording = si.NumpyRecording([np.asarray(traces, "float32")], 30_000.0)
    recording.set_probe(probe)
    recording.annotate(is_filtered=True)
    return recording


def simulated(num_samples=60_000, rate=0.002, seed=0):
    """Spikes of two units, noise that is correlated from sample to sample and between contacts, and a prediction."""
    rng = np.random.default_rng(seed)
    white = rng.normal(size=(num_samples + 2, 12))
    noise = white[2:] + 0.6 * white[1:-1]
    noise = (noise + 0.4 * np.roll(noise, 1, axis=1)) / 1.26 * NOISE
    ms = np.arange(-30, 50) / 30
    wave = -np.exp(-0.5 * (ms / 0.12) ** 2) + 0.3 * np.exp(-0.5 * ((ms - 0.5) / 0.25) ** 2)
    spikes = np.zeros((num_samples, 12))
    for main, height in ((3, 60.0), (8, 110.0)):
        footprint = height * np.exp(-np.linalg.norm(POSITIONS - POSITIONS[main], axis=1) / 25)
        for time in rng.choice(num_samples - 100, int(rate * num_samples), replace=False) if rate else ():
            spikes[time : time + 80] += np.outer(wave, footprint)
    # what it misses of spikes, and a little noise that it lets through
    predicted = 0.8 * spikes + 0.3 * NOISE * rng.normal(size=spikes.shape)
    return spikes, spikes + noise, predicted


def fused(samples, predicted, fit):
    fusion = Fusion(fit, POSITIONS, ONE_SHANK, np.arange(12))
    return predicted + NOISE * fusion.expected(
        ((samples - predicted) / NOISE).astype("float32"), predicted / NOISE, np.arange(12), 0, 0
    )


def fit_to(samples, predicted):
    return fit_residual(recording_of(samples), recording_of(predicted), POSITIONS, ONE_SHANK, NOISE)


def test_spikes_come_back_and_noise_does_not():
    fit = fit_to(*simulated()[1:])
    # other spikes and noise than it was fitted to
    spikes, samples, predicted = simulated(seed=1)
    posterior = fused(samples, predicted, fit)
    within = np.abs(spikes) > 2 * NOISE
    scaled = [(one - spikes) / NOISE for one in (samples, predicted, posterior)]
    recorded, before, after = (np.sqrt(np.mean(one[within] ** 2)) for one in scaled)
    assert after < 0.8 * min(before, recorded)
    quiet = [np.sqrt(np.mean(one[~within] ** 2)) for one in scaled]
    assert quiet[2] < quiet[1] + 0.15 * quiet[0]
    gain = [np.sum(one * spikes) / np.sum(spikes**2) for one in (predicted, posterior)]
    assert gain[0] < 0.81
    assert gain[1] > 0.9
    # the noise of each contact was told in `scale`
    np.testing.assert_allclose(fit.levels, np.median(fit.levels), rtol=0.1)


def test_where_there_are_no_spikes_it_is_the_prediction():
    _, samples, predicted = simulated(rate=0)
    posterior = fused(samples, predicted, fit_to(samples, predicted))
    assert np.std((posterior - predicted) / NOISE) < 0.15


def test_the_fit_is_the_same_each_time():
    _, samples, predicted = simulated(20_000)
    assert fit_to(samples, predicted) == fit_to(samples, predicted)


@pytest.mark.parametrize("num_samples", [0, 1, 7, 40])
def test_too_little_to_fit_gives_the_prediction(num_samples):
    _, samples, predicted = simulated(500)
    fit = fit_to(samples[:num_samples], predicted[:num_samples])
    assert [row[0] for row in fit.prior] == [1.0] * len(fit.prior)
    assert len(fit.sizes) == len(SIZES)
    if num_samples:
        np.testing.assert_array_equal(fused(samples, predicted, fit), predicted)


def test_samples_that_are_not_finite_and_dead_channels_do_no_harm():
    _, samples, predicted = simulated(20_000)
    samples[100:200, 3] = np.nan
    samples[500, :] = np.inf
    scale = np.where(np.arange(12) == 5, 0.0, NOISE)
    fit = fit_residual(recording_of(samples), recording_of(predicted), POSITIONS, ONE_SHANK, scale)
    assert np.isfinite(fit.noise).all()
    assert np.isfinite(fit.prior).all()


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A recording in a file, and its posterior by a model with random weights."""
    folder = tmp_path_factory.mktemp("fusion")
    recording = recording_of(simulated(20_000)[1]).save(folder=folder / "recording", verbose=False)
    layout = layout_of(recording).type
    network = make_network("ridge", {"unit": [list(row) for row in layout.unit], "taps": 3, "omission": 1})
    save_model(folder / "model", network, config_of(network, layout, 30_000.0))
    return recording, str(folder / "model")


def test_a_chain_holds_what_was_fitted(node, tmp_path):
    recording, model = node
    posterior = steadyspike.deepinterpolate(recording, model, output="posterior")
    posterior.dump_to_json(tmp_path / "chain.json")
    loaded = si.load(tmp_path / "chain.json")
    assert loaded._kwargs["fusion"] == posterior._kwargs["fusion"]
    np.testing.assert_array_equal(loaded.get_traces(), posterior.get_traces())


def test_a_chain_of_old_gives_the_prediction(node, tmp_path):
    recording, model = node
    prediction = steadyspike.deepinterpolate(recording, model, output="prediction")
    prediction.dump_to_json(tmp_path / "chain.json")
    chain = json.loads((tmp_path / "chain.json").read_text())
    for name in ("output", "recorded_share", "fusion"):
        del chain["kwargs"][name]
    (tmp_path / "old.json").write_text(json.dumps(chain))
    old = si.load(tmp_path / "old.json")
    assert old._kwargs["output"] == "prediction"
    np.testing.assert_array_equal(old.get_traces(), prediction.get_traces())


@pytest.mark.parametrize("output", ["posterior", "prediction"])
def test_a_share_of_what_was_recorded(node, output):
    recording, model = node
    whole = steadyspike.deepinterpolate(recording, model, output=output)
    fusion = whole._kwargs["fusion"]
    mixed = steadyspike.deepinterpolate(recording, model, output=output, fusion=fusion, recorded_share=0.3)
    wanted = 0.7 * whole.get_traces() + 0.3 * recording.get_traces()
    np.testing.assert_allclose(mixed.get_traces(), wanted, rtol=1e-3, atol=1e-3)


def test_what_cannot_be_fused_is_refused(node):
    recording, model = node
    fusion = steadyspike.deepinterpolate(recording, model, output="posterior")._kwargs["fusion"]
    for wrong, match in (
        ("fit", "fusion='fit'; allowed: None, or what a saved chain holds"),
        ({**fusion, "levels": fusion["levels"][1:]}, "levels=.*allowed: 12 numbers"),
        ({**fusion, "prior": fusion["prior"][1:]}, "prior=.*allowed: a row for each class"),
        ({**fusion, "noise": fusion["noise"][1:]}, "noise=.*allowed: as many rows"),
    ):
        with pytest.raises(ValueError, match=match):
            steadyspike.deepinterpolate(recording, model, output="posterior", fusion=wrong)
    with pytest.raises(ValueError, match="allowed: None where output"):
        steadyspike.deepinterpolate(recording, model, output="prediction", fusion=fusion)
    with pytest.raises(ValueError, match=r"recorded_share=1\.5; allowed"):
        steadyspike.deepinterpolate(recording, model, recorded_share=1.5)
