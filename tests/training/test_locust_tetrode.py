"""A real tetrode, from the raw file to a trained network and denoised waveforms."""

import os
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface import generate_tetrode

import steadyspike

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("STEADYSPIKE_DATA", ROOT.parent / "shared" / "data"))
RAW_FILE = DATA / "locust_tetrode" / "locust_trial_01.raw"

pytestmark = pytest.mark.skipif(not RAW_FILE.is_file(), reason=f"needs the real data in {RAW_FILE.parent}")


@pytest.fixture(scope="module")
def recording():
    raw = si.read_binary(RAW_FILE, sampling_frequency=15_000.0, dtype="int16", num_channels=4)
    probe = generate_tetrode()
    probe.set_device_channel_indices(range(4))
    raw.set_probe(probe)
    return si.highpass_filter(raw, freq_min=300.0, dtype="float32")


@pytest.fixture(scope="module")
def model(recording, tmp_path_factory):
    return steadyspike.train_deepinterpolation(
        recording,
        tmp_path_factory.mktemp("locust") / "model",
        **dict(size="tiny", max_steps=400, evaluate_every=200, device="cpu", progress_bar=False),
    )


@pytest.fixture(scope="module")
def waveforms(recording, model):
    """Mean waveforms of the largest events of each channel, raw and denoised: (channels, samples, channels)."""
    raw = recording.get_traces()
    denoised = steadyspike.deepinterpolate(recording, model, device="cpu").get_traces()
    noise = np.median(np.abs(raw), axis=0) / 0.6745
    means = []
    for channel in range(4):
        low = raw[:, channel]
        inner = low[30:-30]
        troughs = 30 + np.flatnonzero((inner < low[29:-31]) & (inner <= low[31:-29]))
        troughs = troughs[np.argsort(low[troughs])[:100]]
        cut = troughs[:, None] + np.arange(-15, 25)
        means.append((raw[cut].mean(axis=0), denoised[cut].mean(axis=0)))
    return noise, np.array(means).swapaxes(0, 1), denoised


def test_context_follows_the_sampling_frequency_and_layout_the_probe(model):
    assert model.config.sampling_frequency == 15_000
    assert model.config.pre >= 15  # 1 ms
    assert model.layout_type.pattern == "group"


def test_it_predicts_better_than_linear_interpolation(model):
    scores = model.config.extra["scores"]
    assert scores["this network"]["mse"] < 0.9 * scores["linear interpolation"]["mse"]


def test_noise_falls_and_spikes_stay(waveforms):
    noise, (raw_mean, denoised_mean), denoised = waveforms
    left = np.median(np.abs(denoised - np.median(denoised, axis=0)), axis=0) / 0.6745
    assert (left < 0.75 * noise).all()
    judged = 0
    for channel in range(4):
        if raw_mean[channel, :, channel].min() > -6 * noise[channel]:
            continue  # hardly more than noise: the deepest troughs are chosen for their noise
        judged += 1
        kept = np.ptp(denoised_mean[channel, :, channel]) / np.ptp(raw_mean[channel, :, channel])
        assert 0.75 < kept < 1.1
        alike = np.corrcoef(denoised_mean[channel].ravel(), raw_mean[channel].ravel())[0, 1]
        assert alike > 0.95
    assert judged >= 2
    assert np.isfinite(denoised).all()
