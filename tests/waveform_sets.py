"""Simulated waveforms with labels, and the real ones of zebra finches where they are."""

import os
from pathlib import Path

import numpy as np
import pytest

ZEBRA_FINCH = (
    Path(os.environ.get("STEADYSPIKE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    / "zebra_finch_spikes"
)


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks wait for each other's threads where tests run side by side; import it into a test file."""
    from steadyspike.library.models.inference import torch_threads

    with torch_threads(1):
        yield


def need_zebra_finch():
    if not ZEBRA_FINCH.is_dir():
        pytest.skip(f"no zebra finch waveforms at {ZEBRA_FINCH}")
    return ZEBRA_FINCH


def spikes_and_noise(seed=0, num_noise=600, num_spikes=80, num_samples=42, num_channels=1, offset=-5.0):
    """Waveforms (n, num_samples, num_channels) in no order, and labels (1: spike)."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_samples)
    shape = -np.exp(-((time - 13) ** 2) / 18) + 0.4 * np.exp(-((time - 26) ** 2) / 40)
    labels = np.repeat([0, 1], [num_noise, num_spikes])
    waveforms = 20 * rng.standard_normal((len(labels), num_samples, num_channels)) + offset
    gains = 90 * rng.uniform(0.8, 1.4, (num_spikes, 1, 1)) * np.linspace(1, 0.3, num_channels)
    waveforms[num_noise:] += gains * shape[:, np.newaxis]
    order = rng.permutation(len(labels))
    return waveforms[order].astype("float32"), labels[order]
