import inspect
import pickle

import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface import Probe
from spikeinterface.core.node_pipeline import (
    ExtractDenseWaveforms,
    ExtractSparseWaveforms,
    PeakRetriever,
    run_node_pipeline,
)
from spikeinterface.sortingcomponents.peak_detection import detect_peaks
from spikeinterface.sortingcomponents.peak_localization import localize_peaks
from spikeinterface.sortingcomponents.peak_localization.base import LocalizeBase
from spikeinterface.sortingcomponents.peak_localization.grid import LocalizeGridConvolution
from spikeinterface.sortingcomponents.peak_localization.method_list import peak_localization_methods
from threadpoolctl import threadpool_limits

from steadyspike.core.settings import settings_of
from steadyspike.peaks.grid_localization import LocalizeSteadyGridConvolution

JOB = {"n_jobs": 1, "chunk_duration": "1s", "progress_bar": False}
SHORT = {"ms_before": 0.1, "ms_after": 0.3}
NUM_SAMPLES = 12
PEAK_DTYPE = [
    ("sample_index", "int64"),
    ("channel_index", "int64"),
    ("amplitude", "float64"),
    ("segment_index", "int64"),
]
KILOSORT_LIKE = {"mode": "gaussian_2d", "sigma_list_um": np.linspace(5, 25, 5)}
PROTOTYPE = -np.sin(np.linspace(0, 4, NUM_SAMPLES)) + 0.1
CHANGED = {
    "radius_um": 60.0,
    "upsampling_um": 7.0,
    "sigma_ms": 0.15,
    "margin_um": 20.0,
    "prototype": PROTOTYPE,
    "percentile": 12.0,
    "peak_sign": "pos",
    "weight_method": {"z_list_um": [5.0, 50.0], "sigma_3d": 20.0, "sparsity_threshold": 0.1},
}


@pytest.fixture(autouse=True)
def _method_in_the_table(monkeypatch):
    monkeypatch.setitem(peak_localization_methods, "steady_grid_convolution", LocalizeSteadyGridConvolution)


def staggered_positions(num_channels):
    return np.array([[16.0 * ((3 * i) % 4), 20.0 * (i // 2)] for i in range(num_channels)])


def in_memory(traces, positions):
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=np.array(positions), shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(len(positions)))
    recording = si.NumpyRecording(traces, sampling_frequency=30_000.0)
    recording.set_probe(probe)
    return recording


def make_peaks(samples, channels, segments=0):
    peaks = np.zeros(len(samples), dtype=PEAK_DTYPE)
    peaks["sample_index"], peaks["channel_index"], peaks["segment_index"] = samples, channels, segments
    return peaks


@pytest.fixture(scope="module")
def simulated():
    positions = staggered_positions(48)
    probe = in_memory([np.zeros((1, 48), "float32")], positions).get_probe()
    recording, _ = si.generate_ground_truth_recording(
        durations=[6.0], num_channels=48, num_units=15, probe=probe, sampling_frequency=30_000.0, seed=0
    )
    recording = in_memory([recording.get_traces().astype("float32")], positions)
    # SpikeInterface measures the noise on chunks drawn at random, so the peaks would differ from run to run
    detection = {"peak_sign": "neg", "noise_levels": np.full(48, 5.0)}
    peaks = detect_peaks(recording, method="locally_exclusive", method_kwargs=detection, job_kwargs=JOB)
    return recording, peaks


def localize(recording, peaks, waveform_kwargs=SHORT, job_kwargs=JOB, **method_kwargs):
    return localize_peaks(
        recording,
        peaks,
        method="steady_grid_convolution",
        method_kwargs=method_kwargs,
        job_kwargs=job_kwargs,
        **waveform_kwargs,
    )


def build_nodes(
    recording,
    peaks=None,
    extractor=ExtractDenseWaveforms,
    extractor_kwargs=SHORT,
    node=LocalizeSteadyGridConvolution,
    **kwargs,
):
    source = PeakRetriever(recording, make_peaks([], []) if peaks is None else peaks)
    extract = extractor(recording, parents=[source], **extractor_kwargs)
    return [source, extract, node(recording, parents=[source, extract], **kwargs)]


def distances(ours, theirs):
    return np.sqrt(sum((ours[k].astype("float64") - theirs[k]) ** 2 for k in "xyz"))


def locations_that_fit(theirs):
    """SpikeInterface puts the spikes that fit no template at the origin."""
    return (theirs["x"] != 0) | (theirs["y"] != 0) | (theirs["z"] != 0)


PARITY = {
    "defaults": {},
    "like Kilosort": {"weight_method": KILOSORT_LIKE},
    "a prototype": {"prototype": PROTOTYPE},
    "the best fit alone": {"percentile": 0.0},
    "all fits": {"percentile": 100.0},
    "everything changed": CHANGED,
    "no sparsity": {"weight_method": {"sparsity_threshold": 0.0}},
    "one plane": {"weight_method": {"z_list_um": np.array([30.0])}},
    "flat weights": {"weight_method": {"sigma_3d": 60.0}},
}


@pytest.mark.parametrize("name", PARITY)
@pytest.mark.filterwarnings("ignore:All-NaN")
def test_locations_are_spikeinterfaces(simulated, name):
    recording, peaks = simulated
    peaks = peaks[:1200]
    with threadpool_limits(1):
        nodes = build_nodes(recording, peaks, node=LocalizeGridConvolution, **PARITY[name])
        theirs = run_node_pipeline(recording, nodes, JOB)
    ours = localize(recording, peaks, **PARITY[name])
    assert ours.dtype == theirs.dtype
    fitted = locations_that_fit(theirs)
    assert fitted.mean() > 0.9
    close = distances(ours, theirs)[fitted] <= 0.1
    # in the rest two fits at the percentile differ by less than their rounding
    assert close.mean() >= 0.999


def noise_on(positions, num_samples=20_000):
    """Noise, and peaks on channels drawn at random."""
    rng = np.random.default_rng(1)
    traces = rng.standard_normal((num_samples, len(positions))).astype("float32")
    samples = np.arange(50, num_samples - 50, 40)
    return in_memory([traces], positions), make_peaks(samples, rng.integers(0, len(positions), samples.size))


@pytest.mark.parametrize("weight_method", [{}, KILOSORT_LIKE], ids=["exponential", "gaussian"])
def test_noise_on_scattered_contacts_is_located_as_spikeinterface_does(weight_method):
    recording, peaks = noise_on(np.random.default_rng(2).uniform([0, 0], [80, 300], (40, 2)))
    kwargs = {"weight_method": weight_method}
    theirs = run_node_pipeline(
        recording, build_nodes(recording, peaks, node=LocalizeGridConvolution, **kwargs), JOB
    )
    fitted = locations_that_fit(theirs)
    ours = localize(recording, peaks, **kwargs)
    assert fitted.mean() > 0.9
    assert np.mean(distances(ours, theirs)[fitted] <= 0.1) >= 0.999
    unmoved = recording.get_channel_locations()[peaks["channel_index"]][~fitted]
    np.testing.assert_array_equal(ours["y"][~fitted], unmoved[:, 1].astype("float32"))


def test_moving_the_probe_moves_the_locations():
    """SpikeInterface's differ for a few peaks: by rounding, points exactly at the radius are in or out."""
    move = np.array([0.1, -1234.567])
    positions = staggered_positions(40)
    here, there = (localize(*noise_on(where)) for where in (positions, positions + move))
    np.testing.assert_allclose(there["x"] - here["x"], move[0], atol=1e-3)
    np.testing.assert_allclose(there["y"] - here["y"], move[1], atol=1e-3)
    np.testing.assert_allclose(there["z"], here["z"], atol=1e-3)


def test_a_spike_of_the_other_sign_stays_on_its_channel():
    """Nothing fits; SpikeInterface puts it at the origin, where it would count as a spike at depth zero."""
    traces = np.zeros((200, 8), "float32")
    traces[100] = 50.0
    positions = staggered_positions(8) + 100
    recording = in_memory([traces], positions)
    peaks = make_peaks([100], [6])
    node = build_nodes(recording, peaks, node=LocalizeGridConvolution, weight_method={"sigma_3d": 1e3})
    assert run_node_pipeline(recording, node, JOB).tolist() == [(0.0, 0.0, 0.0)]
    located = localize(recording, peaks, weight_method={"sigma_3d": 1e3})
    assert located.tolist() == [(*positions[6], 0.0)]


@pytest.mark.parametrize("kwargs", [{}, CHANGED], ids=["defaults", "changed"])
@pytest.mark.parametrize("chunk_size", [997, 10**7])
def test_any_chunk_size_gives_the_same_locations(simulated, kwargs, chunk_size):
    recording, peaks = simulated
    job = {"n_jobs": 1, "chunk_size": chunk_size, "progress_bar": False}
    whole = localize(recording, peaks, **kwargs)
    np.testing.assert_array_equal(localize(recording, peaks, job_kwargs=job, **kwargs), whole)


def test_threads_give_the_same_locations(simulated):
    recording, peaks = simulated
    job = {"n_jobs": 2, "chunk_duration": "0.5s", "progress_bar": False, "pool_engine": "thread"}
    parallel = localize(recording, peaks, job_kwargs=job, **CHANGED)
    np.testing.assert_array_equal(parallel, localize(recording, peaks, **CHANGED))


def test_a_pickled_node_computes_the_same(simulated):
    recording, peaks = simulated
    nodes = build_nodes(recording, peaks, **CHANGED)
    again = pickle.loads(pickle.dumps(nodes))
    np.testing.assert_array_equal(
        run_node_pipeline(recording, again, JOB), run_node_pipeline(recording, nodes, JOB)
    )


def test_the_node_keeps_every_argument(simulated):
    node = build_nodes(simulated[0], **CHANGED)[-1]
    assert isinstance(node, LocalizeBase)
    assert {name: node._kwargs[name] for name in CHANGED} == CHANGED
    for name in CHANGED:
        assert f"{name} :" in LocalizeSteadyGridConvolution.params_doc


def test_arguments_and_defaults_are_spikeinterfaces():
    ours, theirs = (
        [(one.name, one.kind, one.default) for one in inspect.signature(node).parameters.values()]
        for node in (LocalizeSteadyGridConvolution, LocalizeGridConvolution)
    )
    assert ours == theirs


def test_sparse_waveforms_give_the_same_locations(simulated):
    recording, peaks = simulated
    expected = run_node_pipeline(recording, build_nodes(recording, peaks), JOB)
    layout = {**SHORT, "radius_um": 140.0}
    nodes = build_nodes(recording, peaks, ExtractSparseWaveforms, layout)
    np.testing.assert_array_equal(run_node_pipeline(recording, nodes, JOB), expected)
    # contacts that the waveforms do not hold count as silent
    narrow = run_node_pipeline(
        recording, build_nodes(recording, peaks, ExtractSparseWaveforms, {**SHORT, "radius_um": 30.0}), JOB
    )
    assert np.mean(distances(narrow, expected) > 0) > 0.2
    assert np.median(distances(narrow, expected)) < 20


@pytest.mark.parametrize("dtype", ["float64", "int16"])
def test_traces_of_other_types(simulated, dtype):
    recording, peaks = simulated
    rounded = np.round(recording.get_traces()).astype("float32")
    positions = recording.get_channel_locations()
    expected = localize(in_memory([rounded], positions), peaks)
    np.testing.assert_array_equal(localize(in_memory([rounded.astype(dtype)], positions), peaks), expected)


def test_a_correction_runs_with_it(simulated, tmp_path):
    recording, _ = simulated
    kwargs = {"method": "steady_grid_convolution", "weight_method": KILOSORT_LIKE}
    _, motion_info = si.compute_motion(
        recording,
        preset="rigid_fast",
        localize_peaks_kwargs=kwargs,
        folder=tmp_path / "motion",
        output_motion_info=True,
        **JOB,
    )
    locations = motion_info["peak_locations"]
    assert locations.dtype.names == ("x", "y", "z")
    assert locations.size == motion_info["peaks"].size > 100


def test_segments_and_a_spike_at_the_very_edge():
    rng = np.random.default_rng(0)
    traces = [rng.standard_normal((n, 12)).astype("float32") for n in (500, 1, 0, 700)]
    recording = in_memory(traces, staggered_positions(12))
    peaks = make_peaks([0, 250, 499, 0, 0, 699], [0, 5, 11, 3, 2, 7], [0, 0, 0, 1, 3, 3])
    locations = localize(recording, peaks)
    assert np.isfinite(locations.view("float32")).all()
    alone = in_memory([traces[0]], staggered_positions(12))
    np.testing.assert_array_equal(localize(alone, peaks[:3]), locations[:3])


def test_no_peak_and_one_peak(simulated):
    recording, peaks = simulated
    node = build_nodes(recording)[-1]
    none = node.compute(None, peaks[:0], np.zeros((0, NUM_SAMPLES, 48), "float32"))
    assert none.shape == (0,)
    assert none.dtype == node.get_dtype()
    np.testing.assert_array_equal(localize(recording, peaks[7:8]), localize(recording, peaks)[7:8])


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan, np.inf, -3e38])
@pytest.mark.parametrize("num_channels", [1, 12])
def test_dead_and_broken_channels_are_ordinary(value, num_channels):
    traces = np.random.default_rng(2).standard_normal((900, num_channels)).astype("float32")
    broken, alone = traces.copy(), np.full_like(traces, value)
    broken[:, num_channels // 3] = value
    for bad in (broken, alone):
        recording = in_memory([bad], staggered_positions(num_channels))
        channels = np.minimum([4, 5, 0], num_channels - 1)
        located = localize(recording, make_peaks([100, 300, 500], channels))
        assert np.isfinite(located.view("float32")).all()
        offsets = np.stack([located["x"], located["y"]], axis=1) - recording.get_channel_locations()[channels]
        assert (np.linalg.norm(offsets, axis=1) <= 40.001).all()
        assert ((located["z"] >= 0) & (located["z"] <= 120)).all()


def test_a_probe_of_thousands_of_contacts():
    recording = in_memory([np.ones((200, 3000), "float32")], staggered_positions(3000))
    node = build_nodes(recording)[-1]
    assert len(node.grids.sizes) < 50
    assert len(pickle.dumps(node.grids)) < 5e6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius_um": 0.0}, "radius_um=0.0; allowed: a number > 0 um"),
        ({"radius_um": np.nan}, "radius_um=nan"),
        ({"upsampling_um": -5.0}, "upsampling_um=-5.0"),
        ({"sigma_ms": np.inf}, "sigma_ms=inf"),
        ({"margin_um": -1.0}, "margin_um=-1.0; allowed: a number >= 0 um"),
        ({"percentile": 100.5}, "percentile=100.5; allowed: a number >= 0 and <= 100"),
        ({"peak_sign": "both"}, "peak_sign='both'; allowed: 'neg' or 'pos'"),
        ({"prototype": np.ones(11)}, r"prototype=array\(\[1.*the 12 samples"),
        ({"prototype": np.zeros(12)}, r"prototype=array\(\[0.*not all zero"),
        ({"prototype": np.full(12, np.nan)}, r"prototype=array\(\[nan.*finite"),
        ({"weight_method": {"kind": "flat"}}, "weight_method: kind is no parameter; .*z_list_um"),
        (
            {"weight_method": {"mode": "flat"}},
            "weight_method: mode='flat'; allowed: 'exponential_3d' or 'gaussian_2d'",
        ),
        ({"weight_method": {"z_list_um": []}}, r"z_list_um=\[\]; .*>= 0"),
        ({"weight_method": {"z_list_um": [-1.0]}}, r"z_list_um=\[-1.0\]; .*>= 0"),
        ({"weight_method": {"sigma_list_um": [0.0]}}, r"sigma_list_um=\[0.0\]; .*> 0"),
        ({"weight_method": {"sigma_3d": 0.0}}, "sigma_3d=0.0"),
        ({"weight_method": {"sparsity_threshold": 2.0}}, "sparsity_threshold=2.0; .*<= 1"),
    ],
)
def test_parameters_that_cannot_work_are_refused(simulated, change, message):
    with pytest.raises(ValueError, match=message):
        build_nodes(simulated[0], **change)


def test_presets_see_what_is_wrong_with_the_weights():
    settings = settings_of(LocalizeSteadyGridConvolution)
    assert settings.problem("weight_method", {"mode": "gaussian_2d", "sigma_list_um": [5.0]}) is None
    for wrong in ({"mode": "flat"}, {"sigma_3d": -1}, {"kind": 1}, 3):
        assert "mode ('exponential_3d' or 'gaussian_2d')" in settings.problem("weight_method", wrong)


def test_waveforms_are_needed(simulated):
    recording, peaks = simulated
    with pytest.raises(TypeError, match="needs a WaveformsNode"):
        LocalizeSteadyGridConvolution(recording, parents=[PeakRetriever(recording, peaks)])
