"""Small recordings that are awkward on purpose, as parents of the nodes under test."""

import dataclasses
from pathlib import Path

import numpy as np
import spikeinterface as si
from probeinterface import Probe

from steadyspike.core.probe_layout import attach_probe

SAMPLING_FREQUENCY = 30_000.0
NUM_CHANNELS = 12
LENGTHS = (1501, 977)
T_STARTS = (2.5, 100.25)
INTEGER_OFFSET = {"int16": 150.0, "uint16": 32_768.0}
GAIN_UV, OFFSET_UV = 0.195, -3.0
UNSIGNED_ZERO = 32_618


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


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of recordings that are awkward in one way; each holds the voltages of `PLAIN`, as far as it can.

    Parameters
    ----------
    name : str
    dtypes : tuple of str
        Sample types to try.
    lengths : tuple of int
        Samples of each segment.
    positions : tuple of tuple
        Of the contacts, in um.
    gains : tuple of float
        In uV, of the first channels, and then again.
    prefix : str
        Of the ids; without one they are digits.
    broken : bool
        Whether one channel is silent and another saturated.
    """

    name: str = "plain"
    dtypes: tuple = ("int16",)
    lengths: tuple = (331, 120)
    positions: tuple = tuple((32.0 * (i % 2), 20.0 * (i // 2)) for i in range(NUM_CHANNELS))
    gains: tuple = (GAIN_UV,)
    prefix: str = "AP"
    broken: bool = False

    @property
    def num_channels(self):
        """Number of channels."""
        return len(self.positions)

    def counts(self, num_samples, dtype, seed=0):
        """Samples of one segment."""
        signed = "int16" if dtype == "uint16" else dtype
        traces = make_traces(num_samples, signed, seed)[:, : self.num_channels]
        traces = traces * np.sign(self.gains_of())
        if dtype == "uint16":
            traces += UNSIGNED_ZERO
        if self.broken:
            traces[:, 1] = 150
            traces[:, 2] = np.where(np.arange(num_samples) % 50, 32_767, 32_000)
        return traces.astype(dtype)

    def gains_of(self):
        """Gain of each channel in uV."""
        return np.resize(self.gains, self.num_channels)

    def dress(self, recording):
        """Give a recording a probe that is wired in another order, properties, gains and annotations."""
        probe = Probe(ndim=2, si_units="um")
        probe.set_contacts(positions=np.array(self.positions), shapes="circle", shape_params={"radius": 5})
        probe.set_device_channel_indices(np.roll(np.arange(self.num_channels), 3))
        attach_probe(recording, probe)
        gains, dtype = self.gains_of(), recording.get_dtype()
        recording.set_channel_gains(gains)
        zero = UNSIGNED_ZERO if dtype == "uint16" else 0
        recording.set_channel_offsets(OFFSET_UV * (dtype.kind in "iu") - zero * gains)
        areas = np.resize(["CA1", "CA3", "DG"], self.num_channels)
        recording.set_property("brain_area", areas)
        recording.annotate(experimenter="Ada", is_filtered=False)
        return recording

    def channel_ids(self):
        """Ids that are neither integers nor sorted, so that an id taken for an index shows."""
        number = self.num_channels
        return [f"{self.prefix}{(5 * i) % number if number > 5 else number - 1 - i}" for i in range(number)]


PLAIN = Kind(dtypes=("int16", "float32"), lengths=LENGTHS)
UNSIGNED = Kind("unsigned with offset", dtypes=("uint16",))
NEGATIVE = Kind("negative gain", gains=(-GAIN_UV,))
FAR = tuple((100.0 * (i % 2), 100.0 * (i // 2)) for i in range(NUM_CHANNELS))
AWKWARD = (
    UNSIGNED,
    NEGATIVE,
    Kind("mixed gains", gains=(GAIN_UV, -0.39, 2.34)),
    Kind("tetrode", positions=((0.0, 0.0), (20.0, 0.0), (0.0, 20.0), (20.0, 20.0))),
    Kind("one contact", positions=((0.0, 0.0),)),
    Kind("contacts 100 um apart", positions=FAR),
    Kind("ids that are digits", prefix=""),
    Kind("silent and saturated", broken=True),
)
WORKERS = Kind("for workers", dtypes=("uint16",), lengths=LENGTHS, gains=(-GAIN_UV,), prefix="")
"""Awkward in several ways at once, as every worker takes long to start."""


def integer_type(recording):
    """An integer type that holds the range of a recording's."""
    return recording.get_dtype().name if recording.get_dtype().kind in "iu" else "int16"


def dress(recording):
    """Dress a recording of the plain kind."""
    return PLAIN.dress(recording)


def channel_ids():
    """Ids of the plain kind."""
    return PLAIN.channel_ids()


def numpy_parent(dtype="float32", lengths=None, kind=PLAIN):
    """Recording in memory (not serializable), read-only so that a write into the parent raises."""
    lengths = kind.lengths if lengths is None else lengths
    traces = [kind.counts(length, dtype, seed) for seed, length in enumerate(lengths)]
    for array in traces:
        array.flags.writeable = False
    t_starts = list(T_STARTS[: len(lengths)])
    return kind.dress(
        si.NumpyRecording(traces, SAMPLING_FREQUENCY, t_starts=t_starts, channel_ids=kind.channel_ids())
    )


def file_parent(folder, dtype="int16", time_vectors=False, kind=PLAIN):
    """Recording in raw files, which every kind of worker and a later process can open."""
    folder = Path(folder) / f"raw_{dtype}_{kind.name}_{time_vectors}"
    folder.mkdir(parents=True, exist_ok=True)
    files, timestamps = [], []
    for seed, length in enumerate(kind.lengths):
        files.append(folder / f"traces_{seed}.raw")
        kind.counts(length, dtype, seed).tofile(files[-1])
        timestamps.append(folder / f"times_{seed}.raw")
        irregular_times(length, seed).tofile(timestamps[-1])
    recording = si.BinaryRecordingExtractor(
        files,
        SAMPLING_FREQUENCY,
        dtype,
        num_channels=kind.num_channels,
        channel_ids=kind.channel_ids(),
        t_starts=None if time_vectors else list(T_STARTS[: len(files)]),
        # before 0.105 there is no such argument
        **(dict(file_timestamps_paths=timestamps) if time_vectors else {}),
    )
    return kind.dress(recording)


def irregular_times(num_samples, seed=0):
    """Sample times of a clock that drifts and starts late."""
    steps = 1.0 / SAMPLING_FREQUENCY * (1 + 0.01 * np.random.default_rng(seed).uniform(size=num_samples))
    return 10.0 * (seed + 1) + np.cumsum(steps)
