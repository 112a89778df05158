import pickle

import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface.core.node_pipeline import (
    ExtractDenseWaveforms,
    ExtractSparseWaveforms,
    PeakRetriever,
    base_peak_dtype,
    run_node_pipeline,
)
from spikeinterface.sortingcomponents.peak_localization import localize_peaks
from spikeinterface.sortingcomponents.peak_localization.method_list import peak_localization_methods

import steadyspike  # noqa: F401  (enters the localizers into SpikeInterface's table)
from steadyspike.peaks.on_demand import UnreadWaveforms

NUM_CHANNELS, NUM_SAMPLES = 24, 5000
JOBS = dict(n_jobs=1, chunk_size=997, progress_bar=False)
MS = dict(ms_before=0.4, ms_after=0.6)
METHODS = {
    "monopolar": ("steady_monopolar", {}),
    "monopolar, voltage": ("steady_monopolar", dict(feature="peak_voltage", radius_um=40.0)),
    "monopolar, energy": ("steady_monopolar", dict(feature="energy", enforce_decrease=True)),
    "grid": ("steady_grid_convolution", {}),
    "auto": ("steady_auto", {}),
    "denoised": ("steady_denoised_monopolar", dict(noise_levels=np.full(NUM_CHANNELS, 5.0))),
}


class OwnDense(ExtractDenseWaveforms):
    """A class that is not SpikeInterface's own, whose waveforms are read."""


class OwnSparse(ExtractSparseWaveforms):
    """Likewise, of the channels around each peak."""


EXTRACTORS = {"dense": (ExtractDenseWaveforms, OwnDense), "sparse": (ExtractSparseWaveforms, OwnSparse)}


def spiky(dtype="float32", order="C", num_segments=2):
    """Noise with spikes on both sides of every border, and their peaks."""
    rng = np.random.default_rng(0)
    where = np.array([[16.0 * ((3 * i) % 4), 20.0 * (i // 2)] for i in range(NUM_CHANNELS)])
    inside = rng.integers(20, NUM_SAMPLES - 20, 70)
    samples = np.unique(np.concatenate([[0, 2, 996, 997, 1994, NUM_SAMPLES - 1], inside]))
    peaks = np.zeros(samples.size * num_segments, dtype=base_peak_dtype)
    peaks["sample_index"] = np.tile(samples, num_segments)
    peaks["segment_index"] = np.repeat(np.arange(num_segments), samples.size)
    peaks["channel_index"] = rng.integers(0, NUM_CHANNELS, peaks.size)
    level = 200.0 if np.dtype(dtype).kind == "u" else 0.0
    segments = [rng.normal(level, 5.0, (NUM_SAMPLES, NUM_CHANNELS)) for _ in range(num_segments)]
    for peak in peaks:
        distances = np.linalg.norm(where - where[peak["channel_index"]] - rng.normal(0, 8, 2), axis=1)
        start = max(peak["sample_index"] - 3, 0)
        shape = segments[peak["segment_index"]][start : start + 7]
        shape -= np.hanning(9)[1 : len(shape) + 1, np.newaxis] * 90 * np.exp(-distances / 30)
    traces = [np.asarray(np.round(one), dtype=dtype, order=order) for one in segments]
    recording = si.NumpyRecording(traces, 30_000.0)
    # in place in every series
    recording.set_dummy_probe_from_locations(where)
    return recording, peaks


def nodes_of(recording, peaks, method, extractor=ExtractDenseWaveforms, **kwargs):
    source = PeakRetriever(recording, peaks)
    extract = extractor(recording, parents=[source], **MS)
    return [source, extract, peak_localization_methods[method](recording, [source, extract], **kwargs)]


def refused(self, traces, peaks):
    raise AssertionError("waveforms that nobody reads were extracted")


@pytest.mark.parametrize("kind", EXTRACTORS)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("dtype", "order"), [("float32", "C"), ("float32", "F"), ("float64", "C"), ("int16", "C")]
)
def test_locations_are_those_of_waveforms(name, kind, dtype, order, monkeypatch):
    recording, peaks = spiky(dtype, order)
    (method, kwargs), (own, other) = METHODS[name], EXTRACTORS[kind]
    expected = run_node_pipeline(recording, nodes_of(recording, peaks, method, other, **kwargs), JOBS)
    monkeypatch.setattr(own, "compute", refused)
    found = run_node_pipeline(recording, nodes_of(recording, peaks, method, own, **kwargs), JOBS)
    assert len(np.unique(expected["y"])) > 0.9 * peaks.size
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float16"])
def test_traces_of_other_types_are_extracted(name, dtype):
    recording, peaks = spiky(dtype)
    method, kwargs = METHODS[name]
    expected, found = (
        run_node_pipeline(recording, nodes_of(recording, peaks, method, extractor, **kwargs), JOBS)
        for extractor in (OwnDense, ExtractDenseWaveforms)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "jobs",
    [
        dict(n_jobs=2, pool_engine="thread"),
        dict(n_jobs=2, pool_engine="process", mp_context="fork"),
        dict(n_jobs=2, pool_engine="process", mp_context="spawn", chunk_size=4000),
    ],
    ids=["threads", "forked", "spawned"],
)
def test_workers(jobs):
    recording, peaks = spiky()
    for method in ("steady_monopolar", "steady_grid_convolution"):
        expected = run_node_pipeline(recording, nodes_of(recording, peaks, method, OwnDense), JOBS)
        found = localize_peaks(recording, peaks, method=method, job_kwargs={**JOBS, **jobs}, **MS)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("extractor", [ExtractDenseWaveforms, ExtractSparseWaveforms])
@pytest.mark.parametrize("ours_first", [True, False], ids=["made before", "made after"])
@pytest.mark.parametrize("jobs", [{}, dict(n_jobs=2, pool_engine="thread")], ids=["one", "threads"])
def test_other_nodes_read_the_waveforms(extractor, ours_first, jobs, monkeypatch):
    recording, peaks = spiky()
    source = PeakRetriever(recording, peaks)
    expected = run_node_pipeline(
        recording, [source, extractor(recording, parents=[source], return_output=True, **MS)], JOBS
    )
    extracted = []
    original = extractor.compute
    monkeypatch.setattr(
        extractor, "compute", lambda self, *given: extracted.append(1) or original(self, *given)
    )
    extract = extractor(recording, parents=[source], **MS)
    kinds = [peak_localization_methods["steady_monopolar"], Returned]
    nodes = [kind(recording, [source, extract]) for kind in (kinds if ours_first else kinds[::-1])]
    nodes.append(Returned(recording, [source, extract, nodes[1]]))
    outputs = run_node_pipeline(recording, [source, extract, *nodes], {**JOBS, **jobs})
    # once in each chunk that has a peak, for both
    assert len(extracted) == len(np.unique(peaks["segment_index"] * 100 + peaks["sample_index"] // 997))
    for waveforms in (outputs[1 if ours_first else 0], outputs[2]):
        np.testing.assert_array_equal(waveforms, expected)
    alone = nodes_of(recording, peaks, "steady_monopolar", extractor)
    located = run_node_pipeline(recording, alone, JOBS)
    np.testing.assert_array_equal(outputs[0 if ours_first else 1], located)


class Returned(ExtractDenseWaveforms):
    """Returns the waveforms of its parent."""

    def __init__(self, recording, parents):
        super().__init__(recording, parents=parents, return_output=True, **MS)

    def compute(self, traces, peaks, waveforms, *others):
        assert type(waveforms) is np.ndarray
        return waveforms


def test_waveforms_that_the_pipeline_returns():
    recording, peaks = spiky()
    expected = nodes_of(recording, peaks, "steady_monopolar", OwnDense)
    nodes = nodes_of(recording, peaks, "steady_monopolar")
    for one in (expected, nodes):
        one[1].return_output = True
    theirs, ours = (run_node_pipeline(recording, one, JOBS) for one in (expected, nodes))
    for one, other in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(one, other)


def test_who_calls_the_nodes_gets_waveforms():
    recording, peaks = spiky(num_segments=1)
    _, extract, locate = nodes_of(recording, peaks, "steady_monopolar")
    traces, inside = recording.get_traces(), peaks[(peaks["sample_index"] > 20)][:-1]
    waveforms = extract.compute(traces, inside)
    assert type(waveforms) is np.ndarray
    assert waveforms.shape == (inside.size, 30, NUM_CHANNELS)
    np.testing.assert_array_equal(locate.compute(traces, inside, waveforms), locate.compute(traces, inside))
    # a spike at the end of traces without a margin is SpikeInterface's to refuse
    with pytest.raises(IndexError, match="out of bounds"):
        locate.compute(traces, peaks)


def test_the_localizer_asks_for_a_margin_of_its_own():
    recording, peaks = spiky()
    source, extract, locate = nodes_of(recording, peaks, "steady_grid_convolution")
    assert locate.get_margin() == extract.get_margin() == 18
    expected = run_node_pipeline(recording, [source, extract, locate], JOBS)
    np.testing.assert_array_equal(run_node_pipeline(recording, [source, locate], JOBS), expected)


def test_waveforms_of_other_peaks_are_read():
    """An extractor with another source of peaks than the localizer."""
    recording, peaks = spiky()
    source, other = PeakRetriever(recording, peaks), PeakRetriever(recording, peaks[::-1][::-1])
    extract = ExtractDenseWaveforms(recording, parents=[other], **MS)
    locate = peak_localization_methods["steady_monopolar"](recording, [source, extract])
    assert type(extract) is ExtractDenseWaveforms
    assert locate.parents == [source, extract]


def test_unread_waveforms_are_a_tuple():
    waveforms, made = np.arange(3), []
    unread = UnreadWaveforms(lambda: made.append(1) or waveforms)
    assert isinstance(unread, tuple)
    assert not made
    for read in (
        (1, 2) + unread,
        (1, 2, *unread),
        (1, 2) + tuple(unread),
        (1, 2, unread[0]),
        (1, 2, unread[-1]),
    ):
        assert read[:2] == (1, 2)
        assert read[2] is waveforms
        assert type(read) is tuple
    assert len(unread) == 1
    assert (unread + (1,))[0] is waveforms
    assert made == [1]
    copied = pickle.loads(pickle.dumps(unread))
    assert type(copied) is tuple
    np.testing.assert_array_equal(copied[0], waveforms)
