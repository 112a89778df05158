"""Small recordings with something to learn: slow sources seen by neighbouring contacts, and independent noise."""

import numpy as np
import spikeinterface.core as si
from probeinterface import generate_linear_probe, generate_multi_columns_probe
from scipy.ndimage import gaussian_filter1d

RATE = 10_000.0


def traces_of(num_samples, num_channels, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    clean = gaussian_filter1d(rng.standard_normal((num_samples, num_channels)), 3, axis=0)
    clean = gaussian_filter1d(clean, 1.0, axis=1)
    clean *= 2 / clean.std()
    return (clean + noise * rng.standard_normal(clean.shape)).astype("float32")


def recording_of(num_channels=8, samples=(12_000,), seed=0, gains=None, columns=1, rate=RATE, traces=None):
    if traces is None:
        traces = [traces_of(size, num_channels, seed + index) for index, size in enumerate(samples)]
    if gains is not None:
        traces = [segment * gains for segment in traces]
    recording = si.NumpyRecording(traces, rate)
    if columns == 1:
        probe = generate_linear_probe(num_channels, ypitch=20)
    else:
        probe = generate_multi_columns_probe(columns, num_channels // columns, xpitch=16, ypitch=20)
    probe.set_device_channel_indices(np.arange(num_channels))
    recording.set_probe(probe)
    return recording


# what makes a run last less than a second
FAST = {
    "size": "tiny",
    "pre_ms": 0.6,
    "post_ms": 0.6,
    "max_steps": 40,
    "batch_size": 4,
    "chunk_frames": 64,
    "test_windows": 8,
    "gap_s": 0.02,
    "device": "cpu",
    "progress_bar": False,
}
