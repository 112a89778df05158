"""Of `make.py`: the recording that chains start from, and peaks, cutouts and training are made of."""

import numpy as np
import spikeinterface.full as si
from probeinterface import Probe

RATE = 20_000.0
NUM_CHANNELS = 16
LENGTHS = (900, 600)
T_STARTS = (2.5, 100.25)
POSITIONS = np.array([[32.0 * (i % 2), 20.0 * (i // 2)] for i in range(NUM_CHANNELS)])
IDS = [f"AP{(5 * i) % NUM_CHANNELS}" for i in range(NUM_CHANNELS)]
QUIET = dict(n_jobs=1, progress_bar=False)


def traces_of(num_samples, seed):
    """Noise, slow common drift, offsets, and spikes of a source that moves along the probe; int16."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_samples)[:, None]
    traces = rng.normal(scale=15.0, size=(num_samples, NUM_CHANNELS))
    traces += 40.0 * np.sin(2 * np.pi * 90.0 * time / RATE) + rng.uniform(-30.0, 30.0, NUM_CHANNELS)
    shape = -np.exp(-(np.arange(-6, 10) ** 2) / 6.0)
    for number, at in enumerate(range(20, num_samples - 20, 24)):
        source = (16.0, (35.0, 75.0, 110.0)[number % 3] + 25.0 * at / num_samples)
        distance = np.linalg.norm(POSITIONS - source, axis=1)
        traces[at - 6 : at + 10] += rng.uniform(400, 500) * shape[:, None] * np.exp(-distance / 25.0)
    return np.round(traces + 150.0).astype("int16")


def write_parent(folder):
    (folder / "parent").mkdir()
    for segment, length in enumerate(LENGTHS):
        traces_of(length, segment).tofile(folder / "parent" / f"traces_{segment}.raw")


def dressed(recording):
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=POSITIONS, shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(NUM_CHANNELS))
    recording.set_probe(probe)
    recording.set_channel_gains(0.195)
    recording.set_channel_offsets(-3.0)
    return recording


def parent_of(folder):
    files = [folder / "parent" / f"traces_{segment}.raw" for segment in range(len(LENGTHS))]
    return dressed(
        si.BinaryRecordingExtractor(
            files, RATE, "int16", num_channels=NUM_CHANNELS, channel_ids=IDS, t_starts=list(T_STARTS)
        )
    )


def parent_in_memory(folder):
    """The same samples less their offset; folders of work know it again by its traces, and not by its files."""
    parent = parent_of(folder)
    traces = [parent.get_traces(segment_index=segment) - np.int16(150) for segment in range(len(LENGTHS))]
    return dressed(si.NumpyRecording(traces, RATE, channel_ids=IDS))
