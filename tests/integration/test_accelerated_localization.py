import pickle

import numpy as np
import pytest
from localization_inputs import contacts, on_probe, simulated
from spikeinterface.core.node_pipeline import (
    ExtractDenseWaveforms,
    PeakRetriever,
    run_node_pipeline,
)
from spikeinterface.postprocessing import localization_tools
from spikeinterface.sortingcomponents.peak_localization import localize_peaks
from spikeinterface.sortingcomponents.peak_localization.method_list import peak_localization_methods

import steadyspike
from steadyspike.integration.acceleration import calls, patching
from steadyspike.integration.acceleration.replacements.monopoles import NO_FEATURES, TOO_FEW_CONTACTS

JOB = {"n_jobs": 1, "chunk_size": 2000, "progress_bar": False}
MONOPOLAR = "monopolar_triangulation"
TOLERANCES_UM = {"center_of_mass": 0.1, MONOPOLAR: 2.0, "grid_convolution": 0.1}


def node_of(method, recording, peaks, extractor=ExtractDenseWaveforms, **kwargs):
    source = PeakRetriever(recording, peaks)
    extract = extractor(recording, parents=[source], ms_before=0.5, ms_after=0.7)
    return peak_localization_methods[method](recording, parents=[source, extract], **kwargs), extract


def both_ways(method, traces, peaks, change=None, left=None, **kwargs):
    """Locations as SpikeInterface computes them and as we do, after checking that we did, up to what is `left`."""
    node, extract = node_of(method, on_probe(traces), peaks, **kwargs)
    waveforms = extract.compute(traces, peaks)
    if change is not None:
        change(waveforms)
    with np.errstate(all="ignore"):
        theirs = node.compute(traces, peaks, waveforms)
        with steadyspike.accelerate():
            ours = node.compute(traces, peaks, waveforms)
            counted = steadyspike.accelerated()[method]
    assert counted.taken == (TOO_FEW_CONTACTS not in (left or {}))
    assert counted.fell_back == (left or {})
    return theirs, ours


def apart(theirs, ours):
    """Distance of each pair, the largest of x, y and z; NaN in both is none."""
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    fields = [name for name in theirs.dtype.names if name != "alpha"]
    differences = [np.abs(theirs[name].astype("f8") - ours[name]) for name in fields]
    same = [np.isnan(theirs[name]) & np.isnan(ours[name]) for name in fields]
    return np.max([np.where(nan, 0.0, one) for nan, one in zip(same, differences, strict=True)], axis=0)


@pytest.mark.parametrize("feature", ["ptp", "mean", "energy", "peak_voltage"])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_center_of_mass(feature, dtype):
    traces, peaks = simulated(dtype=dtype)
    theirs, ours = both_ways("center_of_mass", traces, peaks, feature=feature, radius_um=60.0)
    assert np.mean(apart(theirs, ours) < 0.1) >= 0.99


def excess(theirs, ours, traces, peaks, radius_um, feature):
    """By how much the objective is larger at our positions than at SpikeInterface's."""
    where = contacts(traces.shape[1])
    found = []
    for peak, one, other in zip(peaks, ours, theirs, strict=True):
        near = np.linalg.norm(where - where[peak["channel_index"]], axis=1) <= radius_um
        waveform = traces[peak["sample_index"] - 5 : peak["sample_index"] + 7, near].astype("float64")
        size = {
            "ptp": np.ptp(waveform, axis=0),
            "energy": np.linalg.norm(waveform, axis=0),
            "peak_voltage": np.abs(waveform[5]),
        }[feature]
        values = [
            localization_tools.estimate_distance_error_with_log(
                [float(position[axis]) for axis in "xyz"], size, where[near], size.max()
            )
            for position in (one, other)
        ]
        found.append(values[0] - values[1])
    return np.array(found)


@pytest.mark.parametrize(
    ("dtype", "kwargs"),
    [
        ("float32", {}),
        ("float32", {"feature": "energy", "radius_um": 50.0, "max_distance_um": 60.0}),
        ("float32", {"feature": "peak_voltage", "enforce_decrease": False, "radius_um": 120.0}),
        ("int16", {"max_distance_um": 1000.0}),
        ("int16", {"feature": "energy"}),
    ],
)
def test_monopoles_are_no_worse_and_near(dtype, kwargs):
    traces, peaks = simulated(60, dtype=dtype, seed=1)
    theirs, ours = both_ways(MONOPOLAR, traces, peaks, **kwargs)
    # SciPy stops short of the minimum
    distances = apart(theirs, ours)
    assert np.median(distances) < 0.15
    assert np.percentile(distances, 95) < 3.0
    near = distances < 0.1
    np.testing.assert_allclose(ours["alpha"][near], theirs["alpha"][near], rtol=1e-2)
    worse = excess(theirs, ours, traces, peaks, kwargs.get("radius_um", 75.0), kwargs.get("feature", "ptp"))
    assert (worse <= 1e-6).all()


def test_more_contacts_than_numpy_adds_in_one_go():
    traces, peaks = simulated(12, num_channels=150, seed=3)
    theirs, ours = both_ways(MONOPOLAR, traces, peaks, radius_um=2000.0, enforce_decrease=False)
    assert np.median(apart(theirs, ours)) < 0.5
    assert (excess(theirs, ours, traces, peaks, 2000.0, "ptp") <= 1e-6).all()


def test_monopoles_by_least_squares():
    traces, peaks = simulated(60, seed=2)
    theirs, ours = both_ways(MONOPOLAR, traces, peaks, optimizer="least_square")
    assert np.mean(apart(theirs, ours) < 0.1) >= 0.98
    assert np.median(apart(theirs, ours)) < 0.01


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"peak_sign": "pos"},
        {"percentile": 0.0},
        {"percentile": 100.0},
        {"percentile": 33.0, "radius_um": 25.0, "upsampling_um": 7.0, "margin_um": 20.0, "sigma_ms": 0.4},
        {"weight_method": {"mode": "gaussian_2d", "sigma_list_um": np.array([10.0, 20.0])}},
        {"weight_method": {"z_list_um": [0.0, 40.0], "sigma_3d": 20.0, "sparsity_threshold": 0.0}},
        {"prototype": np.linspace(-1, 1, 12, dtype="float32")},
    ],
)
def test_grid(kwargs):
    traces, peaks = simulated(seed=4)
    theirs, ours = both_ways("grid_convolution", traces, peaks, **kwargs)
    assert np.mean(apart(theirs, ours) < 0.1) >= 0.99


def spoil(waveforms):
    waveforms[0] = 0
    waveforms[1] = np.nan
    waveforms[2, 3, :] = np.inf
    waveforms[3, :, 5] = -np.inf
    waveforms[4] = 2.5
    waveforms[5, :, 1:] = 0


@pytest.mark.parametrize("method", ["center_of_mass", MONOPOLAR, "grid_convolution"])
@pytest.mark.filterwarnings("ignore")
def test_nan_infinite_silent_and_constant_waveforms(method):
    traces, peaks = simulated(30, seed=5)
    left = {NO_FEATURES: 1} if method == MONOPOLAR else {}
    theirs, ours = both_ways(method, traces, peaks, spoil, left)
    distances = apart(theirs, ours)
    assert (distances[:5] < 0.1).all()
    assert np.sum(distances >= TOLERANCES_UM[method]) <= 1


@pytest.mark.parametrize("method", ["center_of_mass", MONOPOLAR, "grid_convolution"])
@pytest.mark.parametrize("num_channels", [1, 2, 24])
@pytest.mark.filterwarnings("ignore")
def test_few_channels_and_no_peaks(method, num_channels):
    traces, peaks = simulated(10, num_channels, seed=6)
    # with one ring of contacts SpikeInterface cannot list the parents of a contact
    kwargs = {"enforce_decrease": False} if method == MONOPOLAR else {}
    left = {TOO_FEW_CONTACTS: 1} if method == MONOPOLAR and num_channels < 24 else {}
    for some in (peaks, peaks[:0]):
        theirs, ours = both_ways(method, traces, some, left=left, **kwargs)
        calls.forget()
        assert (apart(theirs, ours) < TOLERANCES_UM[method]).all()
        if left:
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("method", ["center_of_mass", MONOPOLAR, "grid_convolution"])
def test_threads_change_nothing(method):
    traces, peaks = simulated(200, seed=7)
    node, extract = node_of(method, on_probe(traces), peaks)
    waveforms = extract.compute(traces, peaks)
    with steadyspike.accelerate():
        alone = node.compute(traces, peaks, waveforms)
        with steadyspike.accelerate(num_threads=3):
            np.testing.assert_array_equal(node.compute(traces, peaks, waveforms), alone)


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"optimizer": "other"}, "optimizer='other'"),
        ({"max_distance_um": 1.0}, "max_distance_um=1.0"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_monopoles_do_not_cover(kwargs, reason):
    traces, peaks = simulated(5)
    node, extract = node_of(MONOPOLAR, on_probe(traces), peaks, **kwargs)
    waveforms = extract.compute(traces, peaks)

    def outcome():
        try:
            return node.compute(traces, peaks, waveforms)
        except (TypeError, ValueError) as error:
            return type(error)

    theirs = outcome()
    with steadyspike.accelerate():
        ours = outcome()
    if isinstance(theirs, type):
        assert ours is theirs
    else:
        assert (apart(theirs, ours) == 0).all()
        assert steadyspike.accelerated()[MONOPOLAR].fell_back == {reason: 1}


def test_sparse_waveforms_and_other_types_are_left_to_spikeinterface():
    traces, peaks = simulated(20)
    node, extract = node_of("center_of_mass", on_probe(traces), peaks)
    for waveforms in (
        extract.compute(traces, peaks).astype("float16"),
        extract.compute(traces, peaks)[:, :0],
    ):
        try:
            theirs = node.compute(traces, peaks, waveforms)
        except ValueError as error:
            theirs = error
        with steadyspike.accelerate():
            if isinstance(theirs, Exception):
                with pytest.raises(ValueError, match="zero-size"):
                    node.compute(traces, peaks, waveforms)
            else:
                np.testing.assert_array_equal(node.compute(traces, peaks, waveforms), theirs)
    assert steadyspike.accelerated()["center_of_mass"].fell_back == {"waveforms of float16": 1}
    sparse = np.zeros((20, 12, 5), dtype="float32")
    with steadyspike.accelerate(), pytest.raises(IndexError):
        node.compute(traces, peaks, sparse)


# whole pipelines


@pytest.mark.parametrize("method", ["center_of_mass", MONOPOLAR, "grid_convolution"])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_localize_peaks_reads_the_traces(method, dtype):
    first, peaks = simulated(60, dtype=dtype, seed=8)
    second, more = simulated(40, dtype=dtype, seed=9, length=3500)
    more["segment_index"] = 1
    recording = on_probe([first, second])
    arguments = (recording, np.concatenate([peaks, more]))
    kwargs = {"method": method, "job_kwargs": JOB, "ms_before": 0.4, "ms_after": 0.9, "seed": 0}
    theirs = localize_peaks(*arguments, **kwargs)
    with steadyspike.accelerate():
        ours = localize_peaks(*arguments, **kwargs)
        report = steadyspike.accelerated()
    # each chunk, and once the weights of templates, or the order of contacts
    assert report[method].taken == 5 + (method != "center_of_mass")
    assert not report[method].fell_back
    assert np.sum(apart(theirs, ours) >= TOLERANCES_UM[method]) <= 3


def test_waveforms_that_someone_reads_are_made():
    traces, peaks = simulated(50, seed=10)
    recording = on_probe(traces)
    source = PeakRetriever(recording, peaks)
    extract = ExtractDenseWaveforms(
        recording, parents=[source], ms_before=0.5, ms_after=0.5, return_output=True
    )
    locate = peak_localization_methods["center_of_mass"](recording, parents=[source, extract])
    theirs = run_node_pipeline(recording, [source, extract, locate], JOB)
    with steadyspike.accelerate():
        ours = run_node_pipeline(recording, [source, extract, locate], JOB)
        assert steadyspike.accelerated()["center_of_mass"].taken == 3
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert (apart(theirs[1], ours[1]) < 0.1).all()


def test_only_what_was_named_reads_the_traces():
    traces, peaks = simulated(30, seed=11)
    arguments = (on_probe(traces), peaks)
    with steadyspike.accelerate(names=["node_pipeline", "grid_convolution"]):
        localize_peaks(*arguments, method="center_of_mass", job_kwargs=JOB)
        assert "center_of_mass" not in steadyspike.accelerated()


def test_a_class_of_someone_else_keeps_its_waveforms():
    kind = peak_localization_methods["center_of_mass"]

    class Own(kind):
        def compute(self, traces, peaks, waveforms):
            assert waveforms.shape[0] == peaks.size
            return super().compute(traces, peaks, waveforms)

    traces, peaks = simulated(30, seed=12)
    recording = on_probe(traces)
    source = PeakRetriever(recording, peaks)
    extract = ExtractDenseWaveforms(recording, parents=[source], ms_before=0.5, ms_after=0.5)
    with steadyspike.accelerate():
        found = run_node_pipeline(
            recording, [source, extract, Own(recording, parents=[source, extract])], JOB
        )
    assert found.size == 30


@pytest.mark.parametrize(
    "settings", [{"pool_engine": "thread"}, {"pool_engine": "process", "mp_context": "fork"}]
)
def test_workers(settings):
    traces, peaks = simulated(60, seed=13)
    arguments = (on_probe(traces), peaks, MONOPOLAR)
    with steadyspike.accelerate():
        alone = localize_peaks(*arguments, job_kwargs=JOB)
        together = localize_peaks(*arguments, job_kwargs={**JOB, **settings, "n_jobs": 2})
    np.testing.assert_array_equal(together, alone)


def test_nodes_are_pickled_as_before():
    traces, peaks = simulated(20)
    node, extract = node_of("grid_convolution", on_probe(traces), peaks)
    with steadyspike.accelerate():
        node.compute(traces, peaks, extract.compute(traces, peaks))
        assert b"steadyspike" not in pickle.dumps(node.__dict__.keys() - {"parents"})
        assert "steadyspike" not in repr(sorted(node.__dict__))


# nodes beside


def test_scipys_solver_is_what_is_asked_when_nothing_can_be_solved():
    """The text of a warning, and the NaN that comes with it, are SciPy's own."""
    theirs = localization_tools.solve_monopolar_triangulation
    with steadyspike.accelerate():
        assert localization_tools.solve_monopolar_triangulation is not theirs
        found = patching.original_of(
            "spikeinterface.postprocessing.localization_tools", "solve_monopolar_triangulation"
        )
    assert found is theirs
