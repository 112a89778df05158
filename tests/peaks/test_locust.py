"""A real raw file, four electrodes in a locust's brain, through filters, detection and localization."""

import os
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface import generate_tetrode
from spikeinterface.sortingcomponents.peak_detection import detect_peaks
from spikeinterface.sortingcomponents.peak_localization import localize_peaks

import steadyspike

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("STEADYSPIKE_DATA", ROOT.parent / "shared" / "data"))
RAW_FILE = DATA / "locust_tetrode" / "locust_trial_01.raw"
JOB = {"n_jobs": 1, "chunk_duration": "1s", "progress_bar": False}
WINDOW = {"ms_before": 0.4, "ms_after": 0.8}

pytestmark = pytest.mark.skipif(
    not RAW_FILE.exists(), reason=f"the real recording {RAW_FILE} is not on this machine"
)


@pytest.fixture(scope="module")
def raw():
    recording = si.read_binary(RAW_FILE, sampling_frequency=15_000.0, dtype="int16", num_channels=4)
    probe = generate_tetrode(r=20)
    probe.set_device_channel_indices(np.arange(4))
    recording.set_probe(probe)
    return recording


@pytest.fixture(scope="module")
def clean(raw):
    return steadyspike.common_reference(steadyspike.bandpass_filter(raw, freq_min=300.0, freq_max=5000.0))


@pytest.fixture(scope="module")
def peaks(clean):
    # SpikeInterface would measure the noise on chunks drawn at random
    noise_levels = np.median(np.abs(clean.get_traces()), axis=0) / 0.6745
    method_kwargs = {"peak_sign": "neg", "radius_um": 100.0, "noise_levels": noise_levels}
    return detect_peaks(clean, method="locally_exclusive", method_kwargs=method_kwargs, job_kwargs=JOB)


def localize(recording, peaks, **job_kwargs):
    return localize_peaks(
        recording,
        peaks,
        method="steady_monopolar",
        method_kwargs={"enforce_decrease": True, "return_goodness_of_fit": True},
        job_kwargs={**JOB, **job_kwargs},
        **WINDOW,
    )


def assert_close(locations, expected):
    """Equal up to the last digits of a filter whose margin another chunking cuts elsewhere."""
    assert locations.dtype == expected.dtype
    for field in ("x", "y", "z"):
        assert np.mean(np.abs(locations[field] - expected[field]) < 0.1) > 0.98, field


def test_the_raw_file_is_what_we_take_it_for(raw):
    assert raw.get_num_samples() == 431_548
    medians = np.median(raw.get_traces(), axis=0)
    np.testing.assert_allclose(medians, 2056, atol=5)


def test_filtered_and_referenced_traces(clean):
    assert clean.get_dtype() == np.float32
    traces = clean.get_traces()
    np.testing.assert_allclose(np.median(traces, axis=1), 0, atol=1e-3)
    expected = si.common_reference(
        si.bandpass_filter(clean.get_parent().get_parent(), freq_min=300.0, freq_max=5000.0, dtype="float32")
    ).get_traces()
    assert np.abs(traces - expected).max() < 1e-3 * expected.std()
    piece = clean.get_traces(start_frame=200_000, end_frame=203_000)
    assert np.abs(piece - traces[200_000:203_000]).max() < 1e-3 * expected.std()


def test_peaks_are_localized_around_the_tetrode(clean, peaks):
    assert 500 < peaks.size < 3000
    locations = localize(clean, peaks)
    assert locations.size == peaks.size
    for field in locations.dtype.names:
        assert np.isfinite(locations[field]).all()
    beside = np.hypot(locations["x"], locations["y"])
    assert np.median(beside) < 40
    assert ((locations["z"] >= 1) & (locations["z"] <= 1500)).all()
    assert np.median(locations["goodness_of_fit"]) > 0.9
    # a spike lies nearer to the contact that sees it best than to the one across
    contacts = clean.get_channel_locations()[peaks["channel_index"]]
    assert np.mean(locations["x"] * contacts[:, 0] + locations["y"] * contacts[:, 1] > 0) > 0.9


def test_a_saved_result_is_the_result(clean, peaks, tmp_path):
    locations = localize(clean, peaks)
    clean.dump_to_json(tmp_path / "clean.json", relative_to=None)
    np.save(tmp_path / "peaks.npy", peaks)
    np.save(tmp_path / "peak_locations.npy", locations)
    again = localize(si.load(tmp_path / "clean.json"), np.load(tmp_path / "peaks.npy"), chunk_duration="0.3s")
    saved = np.load(tmp_path / "peak_locations.npy")
    np.testing.assert_array_equal(saved, locations)
    assert_close(again, saved)


def test_a_recording_saved_as_binary_gives_the_same_locations(clean, peaks, tmp_path):
    # SpikeInterface's writer collects garbage after each chunk, for up to half a second: few chunks
    saved = clean.save(folder=tmp_path / "clean", **{**JOB, "chunk_duration": "15s"})
    reloaded = si.load(tmp_path / "clean")
    np.testing.assert_array_equal(reloaded.get_traces(), saved.get_traces())
    np.testing.assert_array_equal(localize(reloaded, peaks), localize(saved, peaks, chunk_duration="3s"))
    assert_close(localize(reloaded, peaks), localize(clean, peaks))
