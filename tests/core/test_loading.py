import json
import pickle
import re
import warnings

import numpy as np
import pytest
import spikeinterface as si
from probeinterface import generate_linear_probe
from spikeglx_runs import write_spikeglx_run
from spikeinterface.core import NumpyRecording

from steadyspike.core.acquisition import reader_names
from steadyspike.core.loading import load_recording
from steadyspike.core.loading_errors import LoadingError

SAMPLING_FREQUENCY = 10_000.0


@pytest.fixture(scope="module")
def traces():
    return np.random.default_rng(0).integers(-500, 500, size=(2_000, 4)).astype("int16")


@pytest.fixture(scope="module")
def recording(traces):
    recording = NumpyRecording([traces], SAMPLING_FREQUENCY)
    probe = generate_linear_probe(4, ypitch=20)
    probe.set_device_channel_indices(np.arange(4))
    recording.set_probe(probe)
    return recording


@pytest.mark.parametrize("saved_as", ["binary", "zarr", "zarr without its suffix", "json", "pickle"])
def test_what_spikeinterface_saved(recording, traces, tmp_path, saved_as):
    binary = recording.save(folder=tmp_path / "binary", format="binary", verbose=False)
    path = tmp_path / "binary"
    if saved_as.startswith("zarr"):
        path = tmp_path / "recording.zarr"
        recording.save(folder=path, format="zarr", verbose=False)
        if saved_as != "zarr":
            path = path.rename(tmp_path / "recording")
    elif saved_as in ("json", "pickle"):
        path = tmp_path / ("recording.json" if saved_as == "json" else "recording.pkl")
        binary.dump(path, relative_to=tmp_path)
    loaded = load_recording(path, trust_pickle=saved_as == "pickle")
    assert np.array_equal(loaded.get_traces(), traces)
    assert np.array_equal(loaded.get_channel_locations(), recording.get_channel_locations())


def test_pickle_is_not_opened_unless_trusted(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(LoadingError, match="--trust-pickle"):
        load_recording(tmp_path / "bomb.pkl")
    assert not (tmp_path / "exploded").exists()


def test_pickle_inside_a_saved_folder_is_not_opened_either(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "cached.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(LoadingError, match="pickle"):
        load_recording(tmp_path / "saved")


def test_json_that_would_start_a_program_is_refused(tmp_path):
    target = tmp_path / "exploded"
    chain = {
        "class": "subprocess.Popen",
        "module": "subprocess",
        "version": "1",
        "annotations": {},
        "properties": {},
        "relative_paths": False,
        "kwargs": {"args": ["touch", str(target)]},
    }
    (tmp_path / "bad.json").write_text(json.dumps(chain))
    with pytest.raises(LoadingError, match="no SpikeInterface object"):
        load_recording(tmp_path / "bad.json")
    assert not target.exists()


def test_raw_binary_through_a_named_reader(traces, tmp_path):
    traces.tofile(tmp_path / "traces.raw")
    options = dict(sampling_frequency=SAMPLING_FREQUENCY, num_channels=4, dtype="int16")
    loaded = load_recording(tmp_path / "traces.raw", reader="binary", reader_options=options)
    assert np.array_equal(loaded.get_traces(), traces)


def test_spikeglx_run_folder(traces, tmp_path):
    run = write_spikeglx_run(tmp_path / "run_g0", traces, SAMPLING_FREQUENCY)
    loaded = load_recording(run)
    assert np.array_equal(loaded.get_traces(), traces)
    assert loaded.stream_id == "imec0.ap"
    assert loaded.has_probe()
    named = load_recording(next(run.rglob("*.ap.bin")), stream="imec0.lf")
    assert named.get_sampling_frequency() == SAMPLING_FREQUENCY / 10
    with pytest.raises(LoadingError, match=r"imec0\.ap.*imec0\.lf"):
        load_recording(run, stream="imec7.ap")


def test_open_ephys_binary_folder(traces, tmp_path):
    write_open_ephys(tmp_path / "session", traces)
    loaded = load_recording(tmp_path / "session")
    assert np.array_equal(loaded.get_traces(), traces)
    named = load_recording(tmp_path / "session", reader="openephys")
    assert np.array_equal(named.get_traces(), traces)


def test_nwb_file(traces, tmp_path):
    pytest.importorskip("pynwb")
    write_nwb(tmp_path / "session.nwb", traces)
    assert np.array_equal(load_recording(tmp_path / "session.nwb").get_traces(), traces)
    assert np.array_equal(load_recording(tmp_path).get_traces(), traces)


def test_errors_say_what_was_tried(tmp_path):
    with pytest.raises(LoadingError, match="does not exist"):
        load_recording(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(LoadingError, match=r"spikeglx.*nwb"):
        load_recording(tmp_path / "notes.txt")
    (tmp_path / "broken.nwb").write_text("not a file of that kind")
    with pytest.raises(LoadingError, match="Tried: nwb"):
        load_recording(tmp_path / "broken.nwb")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(LoadingError, match="not readable as JSON"):
        load_recording(tmp_path / "broken.json")
    with pytest.raises(LoadingError, match="spikeglx"):
        load_recording(tmp_path, reader="telegraph")
    assert "openephys" in reader_names()


def test_a_sorting_is_no_recording(tmp_path):
    from spikeinterface.core import generate_sorting

    generate_sorting(num_units=2, durations=[1.0], seed=0).save(folder=tmp_path / "sorting")
    with pytest.raises(LoadingError, match="not a recording"):
        load_recording(tmp_path / "sorting")


def test_a_chain_with_a_missing_extension_names_it(recording, tmp_path):
    binary = recording.save(folder=tmp_path / "binary", format="binary", verbose=False)
    binary.dump(tmp_path / "recording.json")
    content = (tmp_path / "recording.json").read_text()
    (tmp_path / "recording.json").write_text(content.replace("spikeinterface.core.binary", "nowhere.binary"))
    with pytest.raises(LoadingError, match="not installed"):
        load_recording(tmp_path / "recording.json")
    assert isinstance(si.load(tmp_path / "binary"), si.BaseRecording)


def write_open_ephys(folder, traces):
    """Write the smallest session that neo takes for the Open Ephys binary format."""
    recording_folder = folder / "Record Node 101" / "experiment1" / "recording1"
    stream = recording_folder / "continuous" / "Probe-100.0"
    stream.mkdir(parents=True)
    traces.tofile(stream / "continuous.dat")
    np.save(stream / "sample_numbers.npy", np.arange(len(traces)))
    np.save(stream / "timestamps.npy", np.arange(len(traces)) / SAMPLING_FREQUENCY)
    channels = [
        {"channel_name": f"CH{i + 1}", "bit_volts": 0.195, "units": "uV", "identifier": ""}
        for i in range(traces.shape[1])
    ]
    structure = {
        "GUI version": "0.6.4",
        "continuous": [
            {
                "folder_name": "Probe-100.0/",
                "sample_rate": SAMPLING_FREQUENCY,
                "source_processor_name": "Probe",
                "source_processor_id": 100,
                "stream_name": "0",
                "recorded_processor": "Record Node",
                "recorded_processor_id": 101,
                "num_channels": traces.shape[1],
                "channels": channels,
            }
        ],
        "events": [],
        "spikes": [],
    }
    (recording_folder / "structure.oebin").write_text(json.dumps(structure))


def write_nwb(path, traces):
    from datetime import UTC, datetime

    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.ecephys import ElectricalSeries

    nwbfile = NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=UTC))
    group = nwbfile.create_electrode_group("shank", "unknown", "unknown", nwbfile.create_device("probe"))
    for _ in range(traces.shape[1]):
        nwbfile.add_electrode(group=group, location="unknown", group_name="shank")
    region = nwbfile.create_electrode_table_region(list(range(traces.shape[1])), "all")
    series = ElectricalSeries("ElectricalSeries", data=traces, electrodes=region, rate=SAMPLING_FREQUENCY)
    nwbfile.add_acquisition(series)
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "sampling_frequency is missing; allowed: a number > 0 Hz\nbinary: num_channels is missing"),
        ({"num_channels": None}, "num_channels=None; allowed: a whole number >= 1"),
        ({"num_channels": 0}, "num_channels=0; allowed: a whole number >= 1. Give it as --reader-option"),
        ({"num_channels": 2.5}, "num_channels=2.5; allowed"),
        ({"dtype": "int99"}, "dtype='int99'; allowed: a type of numpy"),
        ({"sampling_frequency": 0}, "sampling_frequency=0; allowed: a number > 0 Hz"),
    ],
)
def test_a_binary_file_of_which_too_little_is_known(tmp_path, options, words):
    np.zeros(1000, "int16").tofile(tmp_path / "traces.bin")
    known = (
        {"sampling_frequency": 30_000.0, "num_channels": 4, "dtype": "int16", **options} if options else {}
    )
    with pytest.raises(LoadingError, match=re.escape(words)):
        load_recording(tmp_path / "traces.bin", reader="binary", reader_options=known)


@pytest.mark.parametrize("dtype", ["int16", "<i2", np.int16, np.dtype("int16")])
def test_a_binary_file_that_cannot_be_as_it_is_said_to_be(tmp_path, dtype):
    np.zeros(1000, "int16").tofile(tmp_path / "traces.bin")
    known = {"sampling_frequency": 30_000.0, "num_channels": 4, "dtype": dtype}
    with warnings.catch_warnings(action="error"):
        assert (
            load_recording(tmp_path / "traces.bin", reader="binary", reader_options=known).get_num_samples()
            == 250
        )
    with pytest.warns(
        UserWarning, match="ends with 12 bytes that are no sample of 7 channels: are num_channels"
    ):
        load_recording(tmp_path / "traces.bin", reader="binary", reader_options={**known, "num_channels": 7})


def test_capitals_in_the_end_of_a_name(tmp_path):
    recording = si.generate_recording(num_channels=2, durations=[0.1])
    recording.dump_to_json(tmp_path / "saved.json")
    (tmp_path / "saved.json").rename(tmp_path / "SAVED.JSON")
    with pytest.raises(LoadingError, match="end of its name in small letters"):
        load_recording(tmp_path / "SAVED.JSON")
