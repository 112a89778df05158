"""A recording is known again by its chain and by what its sources hold, wherever they lie."""

import json
import pickle

import numpy as np
import pytest
import spikeinterface.full as si

import steadyspike
from steadyspike.core.identity import describe_recording, flatten

TRACES = np.random.default_rng(0).integers(-99, 99, size=(4_000, 3), dtype="int16")


def saved(folder, traces=TRACES):
    recording = si.NumpyRecording([traces, traces[:70]], 1_000.0)
    recording.set_dummy_probe_from_locations(np.array([[0.0, 0.0], [0.0, 20.0], [0.0, 40.0]]))
    recording.save(folder=folder, n_jobs=1, verbose=False, progress_bar=False)
    return si.load(folder)


@pytest.fixture
def raw(tmp_path):
    return saved(tmp_path / "raw")


CHAINS = {
    "raw": lambda raw: raw,
    "ours": lambda raw: steadyspike.bandpass_filter(raw, freq_min=100.0, freq_max=400.0),
    "theirs": lambda raw: si.common_reference(raw),
    "concatenated": lambda raw: si.concatenate_recordings([raw, raw]),
    "appended": lambda raw: si.append_recordings([raw, raw]),
    "aggregated": lambda raw: si.aggregate_channels([raw, raw]),
    "array": lambda raw: si.phase_shift(raw, inter_sample_shift=np.linspace(0, 0.5, 3)),
    "in memory": lambda raw: si.NumpyRecording([raw.get_traces(0)], 1_000.0),
    "no JSON": lambda raw: si.common_reference(si.NumpyRecording([raw.get_traces(0)], 1_000.0)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_it_is_what_the_files_hold(raw, tmp_path, name):
    known = describe_recording(CHAINS[name](raw))
    assert json.loads(json.dumps(known)) == known
    again = pickle.loads(pickle.dumps(raw)) if name == "raw" else raw
    assert describe_recording(CHAINS[name](again)) == known
    assert describe_recording(CHAINS[name](saved(tmp_path / "copy"))) == known
    # of what is short, all is read
    changed = TRACES.copy()
    changed[1_234, 0] += 1
    other = describe_recording(CHAINS[name](saved(tmp_path / "other", changed)))
    differ = [key for key, value in flatten(other).items() if flatten(known)[key] != value]
    assert differ
    assert all(key.endswith("samples") or key.startswith("provenance") for key in differ)


def test_arguments_gains_and_contacts_count(raw):
    known = flatten(describe_recording(raw))
    raw.set_channel_gains(-0.2)
    raw.set_channel_offsets(3.0)
    changed = flatten(describe_recording(raw))
    assert [key for key in changed if changed[key] != known.get(key)] == ["gains", "offsets"]
    first, second = (
        flatten(describe_recording(steadyspike.bandpass_filter(raw, freq_min=freq, freq_max=400.0)))
        for freq in (100.0, 101.0)
    )
    assert [key for key in first if first[key] != second[key]] == ["provenance.kwargs.freq_min"]


def test_it_reads_little_and_computes_nothing(tmp_path, monkeypatch):
    recording = si.generate_recording(num_channels=64, durations=[3600.0], sampling_frequency=1_000.0)
    read = []
    monkeypatch.setattr(
        si.BaseRecording,
        "get_traces",
        lambda self, segment_index, start_frame, end_frame: (
            read.append((self is recording, start_frame, end_frame)),
            np.zeros((end_frame - start_frame, 64), bool),
        )[1],
    )
    describe_recording(si.common_reference(recording))
    assert all(is_source for is_source, _, _ in read)
    assert len(read) == 64
    assert sum(stop - start for _, start, stop in read) == 2**24 // 64
    assert (read[0][1], read[-1][2]) == (0, 3_600_000)
