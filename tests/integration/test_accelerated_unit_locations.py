import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface.postprocessing import localization_tools
from spikeinterface.postprocessing.localization_tools import compute_monopolar_triangulation

import steadyspike
from steadyspike.integration.acceleration.replacements.monopoles import OPEN_POSITION

MONOPOLAR = "monopolar_triangulation"
JOB = {"n_jobs": 1, "chunk_duration": "1s", "progress_bar": False}


@pytest.fixture(scope="module")
def analyzer():
    recording, sorting = si.generate_ground_truth_recording(
        durations=[4.0, 2.0], num_channels=32, num_units=12, sampling_frequency=20_000.0, seed=0
    )
    in_memory = [recording.get_traces(segment_index=segment) for segment in range(2)]
    probe = recording.get_probe()
    recording = si.NumpyRecording(in_memory, 20_000.0, channel_ids=recording.channel_ids)
    recording.set_probe(probe)
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates"], **JOB)
    return analyzer


def both_ways(compute):
    with np.errstate(all="ignore"):
        theirs = compute()
        with steadyspike.accelerate():
            return theirs, compute()


@pytest.mark.parametrize("optimizer", ["least_square", "minimize_with_log_penality"])
@pytest.mark.parametrize("feature", ["ptp", "energy", "peak_voltage"])
def test_monopolar_units(analyzer, optimizer, feature):
    def compute():
        arguments = {"method": MONOPOLAR, "optimizer": optimizer, "feature": feature}
        return analyzer.compute("unit_locations", save=False, **arguments).get_data()

    theirs, ours = both_ways(compute)
    counted = steadyspike.accelerated()[MONOPOLAR]
    assert counted.taken >= 10
    assert counted.taken + counted.fell_back[OPEN_POSITION] == 12
    assert ours.dtype == theirs.dtype
    far = np.abs(ours - theirs).max(axis=1) >= (0.1 if optimizer == "least_square" else 3.0)
    assert far.sum() <= 1
    if optimizer == "least_square":
        # its steps shrink near a bound, so that it may stop before
        assert (ours[far, 2] == 1.0).all()


def test_the_function_of_scripts_that_imported_it_before(analyzer):
    theirs, ours = both_ways(
        lambda: compute_monopolar_triangulation(
            analyzer,
            unit_ids=analyzer.unit_ids[3:5],
            return_alpha=True,
            max_distance_um=400.0,
            radius_um=60.0,
        )
    )
    assert steadyspike.accelerated()[MONOPOLAR].taken == 2
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=0.1)


@pytest.mark.parametrize("optimizer", ["least_square", "minimize_with_log_penality"])
@pytest.mark.filterwarnings("ignore")
def test_templates_without_a_solution_are_left_to_spikeinterface(optimizer):
    positions = np.array([[0.0, 0.0], [0.0, 20.0], [0.0, 40.0]])
    for features in ([0.0, 0.0, 0.0], [np.nan, 1.0, 1.0], [-2.0, 1.0, 3.0]):
        theirs, ours = both_ways(
            lambda features=features: localization_tools.solve_monopolar_triangulation(
                np.array(features), positions, 100.0, optimizer
            )
        )
        np.testing.assert_array_equal(ours, theirs)
    assert sum(steadyspike.accelerated()[MONOPOLAR].fell_back.values()) == 3


@pytest.mark.parametrize("max_distance_um", [21.0, 40.0, 100.0])
@pytest.mark.filterwarnings("ignore:scipy")
def test_an_amplitude_beyond_its_bound_is_left_to_spikeinterface(max_distance_um):
    # nearly as large everywhere, so that the source seems far away
    features = np.random.default_rng(0).uniform(0.999, 1.0, 6)
    positions = np.column_stack([np.zeros(6), 6.0 * np.arange(6)])
    theirs, ours = both_ways(
        lambda: localization_tools.solve_monopolar_triangulation(
            features, positions, max_distance_um, "least_square"
        )
    )
    assert np.isnan(theirs[3]) or theirs[3] > 0.9 * max_distance_um
    np.testing.assert_array_equal(ours, theirs)
    assert sum(steadyspike.accelerated()[MONOPOLAR].fell_back.values()) == 1


@pytest.mark.parametrize(
    ("method", "kwargs"),
    [
        ("center_of_mass", {"feature": "energy"}),
        (MONOPOLAR, {}),
        ("grid_convolution", {"prototype": None}),
        ("grid_convolution", {}),
    ],
)
def test_spike_locations(analyzer, method, kwargs):
    def compute():
        arguments = {"method": method, "method_kwargs": kwargs, "seed": 0}
        return analyzer.compute("spike_locations", save=False, **arguments, **JOB).get_data()

    theirs, ours = both_ways(compute)
    counted = steadyspike.accelerated()[method]
    # each chunk, and once the weights of templates, or the order of contacts
    assert counted.taken == 6 + (method != "center_of_mass")
    assert not counted.fell_back
    assert ours.dtype == theirs.dtype
    fields = [name for name in theirs.dtype.names if name != "alpha"]
    distances = np.max([np.abs(theirs[name] - ours[name]) for name in fields], axis=0)
    assert distances.size > 200
    # SciPy's optimizer stops short of the minimum
    near, median = (3.0, 0.1) if method == MONOPOLAR else (0.1, 0.01)
    assert np.mean(distances < near) >= (0.95 if method == MONOPOLAR else 0.98)
    assert np.median(distances) < median


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"percentile": 40.0, "invert_prototype_waveform": False},
        {"weight_method": {"mode": "gaussian_2d"}, "upsampling_um": 9.0},
    ],
)
def test_units_on_the_grid(analyzer, kwargs):
    theirs, ours = both_ways(
        lambda: analyzer.compute("unit_locations", save=False, method="grid_convolution", **kwargs).get_data()
    )
    counted = steadyspike.accelerated()["grid_convolution"]
    assert counted.taken == 1
    assert not counted.fell_back
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("radius_um", [10.0, 45.0, 200.0])
@pytest.mark.parametrize("jumps", [{}, {"n_jumps_per_growth": 2, "n_jumps_parent": 1}])
def test_order_of_contacts(radius_um, jumps):
    generator = np.random.default_rng(1)
    regular = np.array([[16.0 * ((3 * i) % 4), 20.0 * (i // 2)] for i in range(40)])
    for geom in (regular, generator.uniform(0, 100, (25, 2)), regular[generator.permutation(40)]):
        mask = np.linalg.norm(geom[:, np.newaxis] - geom, axis=2) <= radius_um
        theirs, ours = both_ways(
            lambda geom=geom, mask=mask: localization_tools.make_radial_order_parents(geom, mask, **jumps)
        )
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert [contact for contact, _ in one] == [contact for contact, _ in other]
            for (_, before), (_, expected) in zip(one, other, strict=True):
                np.testing.assert_array_equal(before, expected)
    assert steadyspike.accelerated()[MONOPOLAR].taken == 3


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({}, None),
        ({"z_list_um": [1.0, 90.0, 400.0], "sigma_3d": 7.0}, None),
        ({"sigma_3d": 60.0, "sparsity_threshold": 1e-3}, None),
        ({"mode": "gaussian_2d", "sigma_list_um": np.array([4.0, 33.0])}, None),
        ({"sparsity_threshold": 0.0}, "sparsity_threshold=0.0"),
        ({"sigma_3d": 0.0}, "scales that are not above 0"),
    ],
)
def test_weights_of_templates(kwargs, reason):
    distances = np.random.default_rng(0).uniform(0, 900, (60, 333))
    distances[:, 5] = 0.0
    distances[:, 6] = 1e5
    theirs, ours = both_ways(lambda: localization_tools.get_convolution_weights(distances, **kwargs))
    counted = steadyspike.accelerated()["grid_convolution"]
    assert dict(counted.fell_back) == ({reason: 1} if reason else {})
    assert counted.taken == (0 if reason else 1)
    assert ours[0].dtype == theirs[0].dtype
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=0)
    assert ours[1] is theirs[1]
