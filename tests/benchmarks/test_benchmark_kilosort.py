"""The comparison with a run of Kilosort4, on an imitation of what it writes."""

import numpy as np
import pytest
import spikeinterface.full as si
from cli_runner import run_benchmark

import steadyspike
from steadyspike_benchmarks.kilosort_preprocessing import correlations


@pytest.fixture(scope="module")
def recording_folder(tmp_path_factory):
    traces = np.random.default_rng(0).normal(scale=50.0, size=(61_000, 5)).astype("int16")
    recording = si.NumpyRecording([traces], 30_000.0)
    recording.set_dummy_probe_from_locations(np.stack([np.zeros(5), 20.0 * np.arange(5)], axis=1))
    folder = tmp_path_factory.mktemp("data") / "recording"
    recording.save(folder=folder, n_jobs=1, progress_bar=False)
    return folder


def test_a_run_is_held_against_the_preset(recording_folder, tmp_path):
    steps = steadyspike.load_preset("kilosort4").steps
    whitened = si.apply_preprocessing_pipeline(si.load(recording_folder), steps).get_traces()
    # whole batches, in counts, with noise at the border of two
    written = np.zeros((120_000, 5), "int16")
    written[:61_000] = np.round(200 * whitened)
    written[59_970:60_030] = np.random.default_rng(1).normal(scale=200, size=(60, 5))
    written.tofile(tmp_path / "temp_wh.dat")
    result = run_benchmark("kilosort", tmp_path, recording_folder)
    assert result.exit_code == 0, result.output
    rows = {
        line.split("|")[1].strip(): line.split("|")[2:] for line in result.output.splitlines() if "|" in line
    }
    assert float(rows["elsewhere"][0]) > 0.9999
    assert float(rows["near borders"][0]) < 0.9
    assert 0.99 < float(rows["all"][0]) < float(rows["elsewhere"][0])
    assert "5 channels, 2 batches" in result.output
    written[:100].tofile(tmp_path / "temp_wh.dat")
    result = run_benchmark("kilosort", tmp_path, recording_folder)
    assert result.exit_code == 1
    assert "has 100 samples; allowed: at least the recording's 61000" in result.output


def test_correlations_are_those_of_numpy():
    first, second = np.random.default_rng(2).normal(size=(2, 50, 3))
    expected = [np.corrcoef(first[:, i], second[:, i])[0, 1] for i in range(3)]
    np.testing.assert_allclose(correlations(first, second), expected)
