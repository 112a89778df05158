"""Small imitations of recordings in which the probe was moved on purpose, in the layouts that are documented."""

import h5py
import numpy as np

from steadyspike.simulation.drift import in_memory, simulate_drifting_recording

NUM_CHANNELS, DURATION_S, AMPLITUDE_UM = 32, 16.0, 40.0
UV_PER_BIT = 1.2 / 1024 / 500 * 1e6
"""Of Neuropixels 1.0 at a gain of 500."""
FIRST_SAMPLE = 197_820
GAIN = 0.8
"""Share of the manipulator's way by which the tissue is seen to move; the manipulator counts the other way."""


def simulate():
    """Simulate Neuropixels 1.0 in tissue that zigzags; gives int16 traces, the probe, and the manipulator's course."""
    simulated = simulate_drifting_recording(
        "rigid_zigzag",
        num_channels=NUM_CHANNELS,
        duration_s=DURATION_S,
        num_units=24,
        amplitude_um=AMPLITUDE_UM,
        firing_rates=(10.0, 20.0),
        seed=5,
    )
    traces = in_memory(simulated.recording).get_traces(0)
    samples = np.clip(np.round(traces / UV_PER_BIT), -512, 511).astype("int16")
    seconds = (
        np.arange(simulated.displacement_vector.size) + 0.5
    ) / simulated.displacement_sampling_frequency
    positions = 1000.0 - simulated.displacement_vector / GAIN
    return samples, simulated.recording.get_probe(), seconds, positions


def write_imposed_set(folder, samples, seconds, positions):
    """Write a data set of Steinmetz et al. (2021), with the files of p1 and the timestamps of both probes."""
    (folder / "p1").mkdir(parents=True)
    np.save(folder / "manip.positions.npy", positions[:, np.newaxis])
    np.save(folder / "manip.timestamps_p1.npy", seconds[:, np.newaxis])
    np.save(folder / "manip.timestamps_p2.npy", seconds[:, np.newaxis] + 3.0)
    stem = "p1_g0_t0.imec0.ap"
    with_sync = np.concatenate([samples, np.zeros((len(samples), 1), samples.dtype)], axis=1)
    with_sync.tofile(folder / "p1" / f"{stem}.bin")
    channels, num_saved = range(samples.shape[1]), samples.shape[1] + 1
    meta = {
        "imSampRate": 30000,
        "snsApLfSy": f"{samples.shape[1]},0,1",
        "nSavedChans": num_saved,
        "fileSizeBytes": with_sync.nbytes,
        "imAiRangeMax": 0.6,
        "imAiRangeMin": -0.6,
        "imMaxInt": 512,
        "imDatPrb_type": 0,
        "typeThis": "imec",
        "imDatPrb_pn": "NP1000",
        "imDatPrb_sn": 12345678,
        "firstSample": FIRST_SAMPLE,
        "fileName": f"D:/{stem}.bin",
        "~snsChanMap": f"({samples.shape[1]},0,1)"
        + "".join(f"(AP{i};{i}:{i})" for i in channels)
        + "(SY0;768:768)",
        "~imroTbl": f"(0,{samples.shape[1]})" + "".join(f"({i} 0 0 500 250 1)" for i in channels),
        "snsSaveChanSubset": f"0:{samples.shape[1] - 1},768",
    }
    (folder / "p1" / f"{stem}.meta").write_text(
        "\n".join(f"{key}={value}" for key, value in meta.items()) + "\n"
    )
    return folder / "p1"


def write_nwb(file, samples, probe, start_s, trigger, trigger_rate):
    """Write as much of a file of DANDI 000957 as is read: two bands, the trigger, and the electrodes of both bands."""
    num_channels = samples.shape[1]
    with h5py.File(file, "w") as nwb:
        nwb.attrs["neurodata_type"] = "NWBFile"
        for band, first in (("AP", 0), ("LF", num_channels)):
            series = nwb.create_group(f"acquisition/ElectricalSeries{band}")
            series.attrs["neurodata_type"] = "ElectricalSeries"
            series.create_dataset("data", data=samples).attrs["conversion"] = UV_PER_BIT * 1e-6
            series.create_dataset("starting_time", data=start_s).attrs["rate"] = 30000.0
            series["electrodes"] = np.arange(first, first + num_channels)
        signal = nwb.create_group("acquisition/manipulator_trigger")
        signal["data"] = trigger
        signal.create_dataset("starting_time", data=0.0).attrs["rate"] = trigger_rate
        table = nwb.create_group("general/extracellular_ephys/electrodes")
        table.attrs["colnames"] = ["rel_x", "rel_y", "group_name"]
        table["id"] = np.arange(2 * num_channels)
        for name, values in zip(("rel_x", "rel_y"), probe.contact_positions.T, strict=True):
            table[name] = np.tile(values, 2)
        table["group_name"] = np.full(2 * num_channels, "s0", dtype=h5py.string_dtype())
