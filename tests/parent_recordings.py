"""Small recordings that are awkward on purpose, as parents of the nodes under test."""

from pathlib import Path

import numpy as np
import spikeinterface as si
from probeinterface import Probe

SAMPLING_FREQUENCY = 30_000.0
NUM_CHANNELS = 12
LENGTHS = (1501, 977)
T_STARTS = (2.5, 100.25)
INTEGER_OFFSET = {"int16": 150.0, "uint16": 32_768.0}


def make_traces(num_samples, dtype, seed=0):
    """Noise, slow common drift, common artefacts and spikes with a constant offset on each channel."""
    rng = np.random.default_rng(seed)
    traces = rng.normal(scale=20.0, size=(num_samples, NUM_CHANNELS))
    time = np.arange(num_samples)[:, None] / SAMPLING_FREQUENCY
    traces += 40.0 * np.sin(2 * np.pi * 12.0 * time) + 15.0 * np.sin(2 * np.pi * 900.0 * time)
    traces += rng.uniform(-30.0, 30.0, size=NUM_CHANNELS)
    spikes = rng.integers(0, max(num_samples, 1), size=num_samples // 40)
    traces[spikes, rng.integers(0, NUM_CHANNELS, size=spikes.size)] -= 150.0
    if dtype in INTEGER_OFFSET:
        traces = np.round(traces + INTEGER_OFFSET[dtype])
    return traces.astype(dtype)


def dress(recording):
    """Give a recording a probe of two columns wired in another order, properties, gains and annotations."""
    positions = np.array([[32.0 * (i % 2), 20.0 * (i // 2)] for i in range(NUM_CHANNELS)])
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=positions, shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.roll(np.arange(NUM_CHANNELS), 3))
    recording.set_probe(probe)
    recording.set_channel_gains(0.195)
    recording.set_channel_offsets(-3.0 if recording.get_dtype().kind in "iu" else 0.0)
    recording.set_property("brain_area", np.array(["CA1", "CA3", "DG"] * (NUM_CHANNELS // 3)))
    recording.annotate(experimenter="Ada", is_filtered=False)
    return recording


def channel_ids():
    """Ids that are neither integers nor sorted, so that an id taken for an index shows."""
    return [f"AP{(5 * i) % NUM_CHANNELS}" for i in range(NUM_CHANNELS)]


def numpy_parent(dtype="float32", lengths=LENGTHS):
    """Recording in memory (not serializable), read-only so that a write into the parent raises."""
    traces = [make_traces(length, dtype, seed) for seed, length in enumerate(lengths)]
    for array in traces:
        array.flags.writeable = False
    recording = si.NumpyRecording(
        traces, SAMPLING_FREQUENCY, t_starts=list(T_STARTS[: len(lengths)]), channel_ids=channel_ids()
    )
    return dress(recording)


def file_parent(folder, dtype="int16", lengths=LENGTHS, time_vectors=False):
    """Recording in raw files, which every kind of worker and a later process can open."""
    folder = Path(folder) / f"raw_{dtype}_{len(lengths)}_{time_vectors}"
    folder.mkdir(parents=True, exist_ok=True)
    files, timestamps = [], []
    for seed, length in enumerate(lengths):
        files.append(folder / f"traces_{seed}.raw")
        make_traces(length, dtype, seed).tofile(files[-1])
        timestamps.append(folder / f"times_{seed}.raw")
        irregular_times(length, seed).tofile(timestamps[-1])
    recording = si.BinaryRecordingExtractor(
        files,
        SAMPLING_FREQUENCY,
        dtype,
        num_channels=NUM_CHANNELS,
        channel_ids=channel_ids(),
        t_starts=None if time_vectors else list(T_STARTS[: len(lengths)]),
        file_timestamps_paths=timestamps if time_vectors else None,
    )
    return dress(recording)


def irregular_times(num_samples, seed=0):
    """Sample times of a clock that drifts and starts late."""
    steps = 1.0 / SAMPLING_FREQUENCY * (1 + 0.01 * np.random.default_rng(seed).uniform(size=num_samples))
    return 10.0 * (seed + 1) + np.cumsum(steps)
