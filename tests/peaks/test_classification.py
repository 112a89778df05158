"""Peaks labelled, and noise dropped inside pipelines."""

import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface.core.node_pipeline import (
    ExtractDenseWaveforms,
    ExtractSparseWaveforms,
    PeakDetector,
    PeakRetriever,
    base_peak_dtype,
    run_node_pipeline,
)
from waveform_sets import one_thread, spikes_and_noise  # noqa: F401

import steadyspike
from steadyspike.peaks.classification import ClassifyPeaks, KeepSpikes
from steadyspike.peaks.localization import LocalizeSteadyMonopolar

QUIET = dict(n_jobs=1, progress_bar=False)


@pytest.fixture(scope="module")
def model():
    return steadyspike.train_spike_classifier(*spikes_and_noise(0), nbefore=13, sampling_frequency=30_000)


@pytest.fixture(scope="module")
def model3():
    return steadyspike.train_spike_classifier(*spikes_and_noise(0, num_channels=3), nbefore=13)


@pytest.fixture(scope="module")
def data():
    """A recording of 6 channels in two segments, peaks in it, and which of them are spikes."""
    rng = np.random.default_rng(0)
    segments, peaks, truth = [], [], []
    for segment, length in enumerate((12_000, 5_000)):
        samples = np.arange(60, length - 60, 97)
        channels = rng.integers(0, 6, len(samples))
        waveforms, labels = spikes_and_noise(segment + 5, len(samples), len(samples))
        waveforms, labels = waveforms[: len(samples), :, 0], labels[: len(samples)]
        traces = (20 * rng.standard_normal((length, 6)) - 5).astype("float32")
        for sample, channel, waveform in zip(samples, channels, waveforms, strict=True):
            traces[sample - 13 : sample + 29, channel] = waveform
        found = np.zeros(len(samples), base_peak_dtype)
        found["sample_index"], found["channel_index"], found["segment_index"] = samples, channels, segment
        segments.append(traces)
        peaks.append(found)
        truth.append(labels)
    recording = si.NumpyRecording(segments, 30_000)
    recording.set_dummy_probe_from_locations(np.stack([np.zeros(6), 20.0 * np.arange(6)], axis=1))
    return recording, np.concatenate(peaks), np.concatenate(truth) == 1


def cut(recording, peaks, channels=None):
    found = []
    for peak in peaks:
        traces = recording.get_traces(segment_index=peak["segment_index"])
        rows = slice(peak["sample_index"] - 13, peak["sample_index"] + 29)
        found.append(
            traces[rows][:, [peak["channel_index"]] if channels is None else channels[peak["channel_index"]]]
        )
    return np.array(found)


def test_labels_are_those_of_the_waveforms(data, model):
    recording, peaks, truth = data
    labels = steadyspike.classify_peaks(recording, peaks, model, **QUIET)
    waveforms = cut(recording, peaks)
    np.testing.assert_allclose(labels["probability"], model.predict_proba(waveforms)[:, 1], atol=1e-5)
    np.testing.assert_array_equal(labels["is_spike"], model.predict(waveforms) == 1)
    assert np.mean(labels["is_spike"] == truth) > 0.97


def test_chunks_jobs_and_references_do_not_matter(data, model, tmp_path):
    recording, peaks, _ = data
    model.save(tmp_path / "model")
    whole = steadyspike.classify_peaks(recording, peaks, model, chunk_size=20_000, **QUIET)
    small = steadyspike.classify_peaks(
        recording,
        peaks,
        tmp_path / "model",
        chunk_size=701,
        n_jobs=2,
        pool_engine="thread",
        progress_bar=False,
    )
    np.testing.assert_array_equal(whole["is_spike"], small["is_spike"])
    np.testing.assert_allclose(whole["probability"], small["probability"], atol=1e-6)


def test_worker_processes(data, model):
    recording, peaks, _ = data
    options = dict(n_jobs=2, mp_context="fork", chunk_size=4000, progress_bar=False)
    found = steadyspike.classify_peaks(recording, peaks, model, **options)
    np.testing.assert_array_equal(
        found["is_spike"], steadyspike.classify_peaks(recording, peaks, model, **QUIET)["is_spike"]
    )


def test_several_channels_are_the_nearest(data, model3):
    recording, peaks, _ = data
    nearest = np.array([[0, 1, 2], [1, 0, 2], [2, 1, 3], [3, 2, 4], [4, 3, 5], [5, 4, 3]])
    labels = steadyspike.classify_peaks(recording, peaks, model3, **QUIET)
    expected = model3.predict_proba(cut(recording, peaks, nearest))[:, 1]
    np.testing.assert_allclose(labels["probability"], expected, atol=1e-5)


def test_microvolts(data):
    recording, peaks, _ = data
    model = steadyspike.train_spike_classifier(*spikes_and_noise(0), nbefore=13, unit="uV")
    raw = [recording.get_traces(segment_index=i) for i in (0, 1)]
    scaled = si.NumpyRecording([(part - 7.0) / 0.5 for part in raw], 30_000)
    with pytest.raises(ValueError, match="no gains"):
        steadyspike.classify_peaks(scaled, peaks, model, **QUIET)
    scaled.set_channel_gains(0.5)
    scaled.set_channel_offsets(7.0)
    found = steadyspike.classify_peaks(scaled, peaks, model, **QUIET)
    expected = model.predict_proba(cut(recording, peaks))[:, 1]
    np.testing.assert_allclose(found["probability"], expected, atol=1e-4)


class KnownPeaks(PeakDetector):
    """A detector that finds the peaks it is told."""

    def __init__(self, recording, peaks, return_output=True):
        PeakDetector.__init__(self, recording, return_output=return_output)
        self.peaks = peaks
        self._kwargs.update(peaks=peaks)

    def get_margin(self):
        return 5

    def compute(self, traces, start_frame, end_frame, segment_index, max_margin):
        mine = self.peaks[self.peaks["segment_index"] == segment_index]
        mine = mine[(mine["sample_index"] >= start_frame) & (mine["sample_index"] < end_frame)].copy()
        mine["sample_index"] += self.get_margin() - start_frame
        return (mine,)


def test_nodes_behind_never_see_noise(data, model):
    recording, peaks, _ = data
    spikes = peaks[steadyspike.classify_peaks(recording, peaks, model, **QUIET)["is_spike"]]
    source = PeakRetriever(recording, spikes)
    waveforms = ExtractDenseWaveforms(recording, ms_before=0.3, ms_after=0.5, parents=[source])
    localizer = LocalizeSteadyMonopolar(recording, parents=[source, waveforms])
    expected = run_node_pipeline(recording, [source, waveforms, localizer], dict(QUIET))

    for chunk_size in (901, 50_000):
        detector = KnownPeaks(recording, peaks, return_output=False)
        keep = KeepSpikes(recording, parents=[detector], model=model, return_output=True)
        waveforms = ExtractDenseWaveforms(recording, ms_before=0.3, ms_after=0.5, parents=[keep])
        localizer = LocalizeSteadyMonopolar(recording, parents=[keep, waveforms])
        labels = ClassifyPeaks(recording, parents=[keep], model=model)
        found, locations, again = run_node_pipeline(
            recording, [detector, keep, waveforms, localizer, labels], dict(chunk_size=chunk_size, **QUIET)
        )
        np.testing.assert_array_equal(found, spikes)
        np.testing.assert_array_equal(locations, expected)
        assert again["is_spike"].all()


@pytest.mark.parametrize("which", ["model", "model3"])
@pytest.mark.parametrize("sparse", [False, True])
def test_waveforms_of_a_parent(data, request, which, sparse):
    recording, peaks, _ = data
    model = request.getfixturevalue(which)
    source = PeakRetriever(recording, peaks)
    options = dict(nbefore=20, nafter=40, parents=[source])
    if sparse:
        waveforms = ExtractSparseWaveforms(recording, radius_um=45.0, **options)
    else:
        waveforms = ExtractDenseWaveforms(recording, **options)
    node = ClassifyPeaks(recording, parents=[source, waveforms], model=model)
    labels = run_node_pipeline(recording, [source, waveforms, node], dict(QUIET))
    expected = steadyspike.classify_peaks(recording, peaks, model, **QUIET)
    np.testing.assert_allclose(labels["probability"], expected["probability"], atol=1e-5)
    short = ExtractDenseWaveforms(recording, nbefore=5, nafter=40, parents=[source])
    with pytest.raises(ValueError, match="5 samples before"):
        ClassifyPeaks(recording, parents=[source, short], model=model)
    with pytest.raises(TypeError, match="last parent"):
        ClassifyPeaks(recording, parents=[waveforms, source], model=model)


def test_sparse_waveforms_that_lack_channels(data, model3):
    recording, peaks, _ = data
    source = PeakRetriever(recording, peaks)
    narrow = ExtractSparseWaveforms(recording, radius_um=25.0, nbefore=20, nafter=40, parents=[source])
    with pytest.raises(ValueError, match="larger radius_um"):
        KeepSpikes(recording, parents=[source, narrow], model=model3)


def test_no_peaks(data, model):
    recording, peaks, _ = data
    labels = steadyspike.classify_peaks(recording, peaks[:0], model, **QUIET)
    assert labels.shape == (0,)
    assert labels.dtype.names == ("probability", "is_spike")


def test_what_cannot_work_is_refused(data, model, model3):
    recording, peaks, _ = data
    with pytest.raises(ValueError, match="not in order"):
        steadyspike.classify_peaks(recording, peaks[::-1], model)
    with pytest.raises(ValueError, match="nbefore=42"):
        steadyspike.classify_peaks(recording, peaks, model, nbefore=42)
    with pytest.raises(ValueError, match="classify_peaks: model=3; allowed: a SpikeClassifier"):
        steadyspike.classify_peaks(recording, peaks, 3)
    with pytest.raises(FileNotFoundError):
        steadyspike.classify_peaks(recording, peaks, "./nothing")
    slow = si.NumpyRecording([np.zeros((100, 6), "float32")], 20_000)
    with pytest.raises(ValueError, match="20000 Hz"):
        steadyspike.classify_peaks(slow, peaks[:1], model)
    narrow = si.NumpyRecording([np.zeros((100, 2), "float32")], 30_000)
    with pytest.raises(ValueError, match="waveforms of 3"):
        steadyspike.classify_peaks(narrow, peaks[:1], model3)
    with pytest.raises(TypeError, match="PeakSource"):
        KeepSpikes(recording, parents=[], model=model)
    with pytest.raises(ValueError, match="PeakRetriever"):
        KeepSpikes(recording, parents=[PeakRetriever(recording, peaks)], model=model, return_output=True)
