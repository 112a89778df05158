"""Traces with spikes on a small probe, and their peaks."""

import numpy as np
import spikeinterface.full as si
from probeinterface import Probe

RATE = 10_000.0
PEAK_DTYPE = [
    ("sample_index", "int64"),
    ("channel_index", "int64"),
    ("amplitude", "float64"),
    ("segment_index", "int64"),
]


def contacts(num_channels):
    return np.array([[16.0 * ((3 * i) % 4), 20.0 * (i // 2)] for i in range(num_channels)])


def on_probe(traces):
    recording = si.NumpyRecording(traces if isinstance(traces, list) else [traces], sampling_frequency=RATE)
    num_channels = recording.get_num_channels()
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(contacts(num_channels), shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(num_channels))
    recording.set_probe(probe)
    return recording


def simulated(num_spikes=120, num_channels=24, dtype="float32", seed=0, length=6000):
    """Traces with spikes that fall off with the distance from where they are, and the peaks."""
    generator = np.random.default_rng(seed)
    where = contacts(num_channels)
    traces = generator.normal(scale=3.0, size=(length, num_channels))
    shape = -np.exp(-(np.arange(-8, 9) ** 2) / 6.0)
    samples = np.sort(generator.choice(np.arange(20, length - 20, 19), num_spikes, replace=False))
    peaks = np.zeros(num_spikes, dtype=PEAK_DTYPE)
    for peak, sample in zip(peaks, samples, strict=True):
        x, y = generator.uniform((-10, 0), (60, where[:, 1].max()))
        distances = np.sqrt(((where - [x, y]) ** 2).sum(axis=1) + generator.uniform(5, 40) ** 2)
        size = generator.uniform(1500, 6000) / distances * np.exp(-distances / 100)
        traces[sample - 8 : sample + 9] += shape[:, np.newaxis] * size
        peak["sample_index"], peak["channel_index"] = sample, size.argmax()
    if np.dtype(dtype).kind in "iu":
        traces = np.round(traces + (1000 if np.dtype(dtype).kind == "u" else 0))
    return traces.astype(dtype), peaks
