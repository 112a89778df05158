"""Nodes of spikes take their models by reference, and keep the commit that the reference named when they were made."""

import pickle

import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface.core.node_pipeline import ExtractDenseWaveforms, PeakRetriever, base_peak_dtype
from spikeinterface.sortingcomponents.peak_detection import detect_peaks
from spikeinterface.sortingcomponents.peak_localization import localize_peaks

import steadyspike
from steadyspike.library.sharing import push_to_hub
from steadyspike.peaks.classification import ClassifyPeaks, KeepSpikes
from steadyspike.peaks.denoised_localization import LocalizeSteadyDenoisedMonopolar
from steadyspike.peaks.detection import DetectSteadyNeural
from steadyspike.peaks.waveforms import DenoiseWaveforms

QUIET = dict(n_jobs=1, progress_bar=False)
REPO, TAG = "hf:lab/spikes", "hf:lab/spikes@v1"


@pytest.fixture(scope="module")
def recording():
    """A recording of 4 contacts with large troughs on the first."""
    traces = np.random.default_rng(0).standard_normal((9_000, 4)).astype("float32")
    traces[PEAKS["sample_index"][:, np.newaxis] + np.arange(-3, 4), 0] -= [4, 12, 25, 30, 22, 10, 4]
    made = si.NumpyRecording(traces, 30_000.0)
    made.set_dummy_probe_from_locations(np.stack([np.zeros(4), 20.0 * np.arange(4)], axis=1))
    made.set_channel_gains(1.0)
    made.set_channel_offsets(0.0)
    return made


PEAKS = np.zeros(20, base_peak_dtype)
PEAKS["sample_index"] = np.arange(200, 8_200, 400)


def detector(recording, model):
    return DetectSteadyNeural(recording, model=model, noise_levels=np.ones(4))


def behind_waveforms(node):
    def make(recording, model):
        source = PeakRetriever(recording, PEAKS)
        waveforms = ExtractDenseWaveforms(recording, parents=[source], ms_before=1.5, ms_after=2.5)
        return node(recording, parents=[source, waveforms], model=model)

    return make


def classifier(node):
    return lambda recording, model: node(
        recording, [PeakRetriever(recording, PEAKS)], model=model, nbefore=13
    )


NODES = {
    "steady_neural": ("steady-detector", detector),
    "steady_denoised_monopolar": ("steady-denoiser", behind_waveforms(LocalizeSteadyDenoisedMonopolar)),
    "DenoiseWaveforms": ("steady-denoiser", behind_waveforms(DenoiseWaveforms)),
    "ClassifyPeaks": ("steady-classifier-zebra-finch", classifier(ClassifyPeaks)),
    "KeepSpikes": ("steady-classifier-zebra-finch", classifier(KeepSpikes)),
}


@pytest.mark.parametrize("name", NODES)
def test_a_node_keeps_the_commit(hub, offline, recording, name):
    bundled, make = NODES[name]
    first = push_to_hub(bundled, "lab/spikes", tag="v1").ref
    node = make(recording, TAG)
    assert node._kwargs["model"] == first
    asked = len(hub.requests)
    pickled = pickle.dumps(node)
    assert TAG.encode() not in pickled
    assert first.encode() in pickled
    assert pickle.loads(pickled)._kwargs["model"] == first
    assert len(hub.requests) == asked, "a worker that gets the node does not ask again"

    second = push_to_hub(bundled, "lab/spikes", license_name="cc0-1.0").ref
    assert second != first
    assert make(recording, REPO)._kwargs["model"] == second, "without a revision, the newest one"
    offline()
    assert make(recording, first)._kwargs["model"] == first, "what was kept is found without a network"
    assert make(recording, bundled)._kwargs["model"] == bundled


def test_references_work_like_names(hub, recording):
    push_to_hub("steady-detector", "lab/spikes", tag="v1")
    push_to_hub("steady-denoiser", "lab/denoiser", tag="v1")
    push_to_hub("steady-classifier-zebra-finch", "lab/classifier", tag="v1")
    peaks, expected = (
        detect_peaks(recording, method="steady_neural", method_kwargs=dict(model=one), job_kwargs=QUIET)
        for one in (TAG, "steady-detector")
    )
    assert len(expected) >= len(PEAKS) - 1
    np.testing.assert_array_equal(peaks, expected)
    shared, bundled = (
        localize_peaks(
            recording,
            peaks,
            method="steady_denoised_monopolar",
            method_kwargs=dict(model=one),
            job_kwargs=QUIET,
        )
        for one in ("hf:lab/denoiser@v1", "steady-denoiser")
    )
    np.testing.assert_array_equal(shared, bundled)
    shared, bundled = (
        steadyspike.classify_peaks(recording, PEAKS, one, nbefore=13, **QUIET)
        for one in ("hf:lab/classifier@v1", "steady-classifier-zebra-finch")
    )
    np.testing.assert_array_equal(shared, bundled)


def test_presets_are_no_models(hub, preset, recording):
    preset.push_to_hub("lab/spikes")
    for _, make in NODES.values():
        with pytest.raises(ValueError, match="holds a preset; what is wanted here is a model"):
            make(recording, REPO)
