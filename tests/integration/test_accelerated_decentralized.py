import numpy as np
import pytest
from motion_inputs import assert_same, assert_same_extra, both, drifting_peaks, without_collection
from spikeinterface.sortingcomponents.motion import estimate_motion, motion_utils

import steadyspike
from steadyspike.integration.acceleration import calls
from steadyspike.integration.acceleration.sources import original_of
from steadyspike.kernels.motion.binned_counts import histogram_2d
from steadyspike.kernels.motion.pair_correlation import PairCorrelation


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    without_collection(monkeypatch)


@pytest.fixture(scope="module")
def inputs():
    return drifting_peaks()


COVERED = [
    {},
    {"rigid": True},
    {"conv_engine": "numpy", "batch_size": 7},
    {"conv_engine": "torch", "batch_size": 100},
    {"time_horizon_s": 15.0},
    {"time_horizon_s": 15.0, "rigid": True},
    {"time_horizon_s": 15.0, "force_spatial_median_continuity": True},
    {"time_horizon_s": 15.0, "reference_displacement": "time", "reference_displacement_time_s": 5.0},
    {"time_horizon_s": 1000.0},
    {"spatial_prior": True},
    {"spatial_prior": True, "time_horizon_s": 15.0, "soft_weights": True},
    {"soft_weights": True, "corr_threshold": 0.4},
    {"weight_scale": "exp", "error_sigma": 0.1},
    {"weight_scale": "exp", "soft_weights": True},
    {"temporal_prior": False},
    {"normalized_xcorr": False},
    {"centered_xcorr": False},
    {"weight_with_amplitude": True},
    {"max_displacement_um": None},
    {"robust_regression_sigma": 0.5, "lsqr_robust_n_iter": 3},
    {"lsqr_robust_n_iter": 0},
    {"reference_displacement": "mean"},
    {"reference_displacement": "mode_search"},
    {"win_shape": "triangle"},
    {"win_shape": "rect", "direction": "y", "verbose": True},
    {"bin_s": 0.7, "bin_um": 3.3, "hist_margin_um": -10.0},
    {"histogram_depth_smooth_um": None, "histogram_time_smooth_s": None},
]


@pytest.mark.parametrize("arguments", COVERED, ids=str)
def test_same_estimates(inputs, arguments):
    arguments = {"win_step_um": 150.0, "win_scale_um": 150.0, **arguments}
    (theirs, extra), (ours, our_extra), alone, report = both(inputs, method="decentralized", **arguments)
    assert report["decentralized"].taken == 2
    assert np.ptp(theirs.displacement[0]) > 5
    assert_same(theirs, ours)
    # what extra outputs keep bears on nothing else
    assert_same(ours, alone, atol=1e-7)
    assert_same_extra(extra, our_extra)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"convergence_method": "gradient_descent"}, "convergence_method='gradient_descent'"),
        ({"convergence_method": "lsqr_robust", "time_horizon_s": 10.0}, "convergence_method='lsqr_robust'"),
        ({"win_shape": "rect", "win_scale_um": 12.0, "win_step_um": 300.0}, "a window of fewer than two"),
    ],
)
def test_left_to_spikeinterface(inputs, arguments, reason):
    arguments = {"win_step_um": 300.0, "win_scale_um": 150.0, **arguments}
    try:
        theirs = estimate_motion(*inputs, method="decentralized", **arguments)
    except Exception as error:
        theirs = error
    calls.forget()
    with steadyspike.accelerate():
        if isinstance(theirs, Exception):
            with pytest.raises(type(theirs)):
                estimate_motion(*inputs, method="decentralized", **arguments)
            return
        ours = estimate_motion(*inputs, method="decentralized", **arguments)
        (told,) = steadyspike.accelerated()["decentralized"].fell_back
    assert told.startswith(reason)
    np.testing.assert_array_equal(ours.displacement[0], theirs.displacement[0])


def test_stretch_without_peaks():
    recording, peaks, locations = drifting_peaks()
    kept = (peaks["sample_index"] < 20_000) | (peaks["sample_index"] > 32_000)
    (theirs, _), (ours, _), alone, _ = both(
        (recording, peaks[kept], locations[kept]), method="decentralized", time_horizon_s=10.0
    )
    assert_same(theirs, ours)
    assert_same(theirs, alone)


def test_nothing_moves_and_locations_that_are_not_numbers():
    recording, peaks, locations = drifting_peaks()
    locations["y"] = np.round(locations["y"] / 100) * 100
    locations["y"][::7] = np.nan
    (theirs, _), (ours, _), alone, report = both((recording, peaks, locations), method="decentralized")
    assert report["decentralized"].taken == 2
    assert_same(theirs, ours)
    assert_same(theirs, alone)


def test_times_of_the_recording():
    inputs = drifting_peaks(t_start=1000.0)
    (theirs, _), (ours, _), _, _ = both(inputs, method="decentralized")
    assert ours.temporal_bins_s[0][0] > 1000.0
    assert_same(theirs, ours)


def test_both_engines_agree(inputs):
    with steadyspike.accelerate():
        one, other = (
            estimate_motion(*inputs, method="decentralized", conv_engine=engine)
            for engine in ("numpy", "torch")
        )
    np.testing.assert_array_almost_equal(one.displacement[0], other.displacement[0])


@pytest.mark.parametrize("padding", [0, 3, 9])
@pytest.mark.parametrize(("normalized", "centered"), [(True, True), (False, True), (True, False)])
def test_correlations_of_pairs(padding, normalized, centered):
    rng = np.random.default_rng(0)
    templates, signals, weights = (
        rng.poisson(0.7, (5, 11)).astype(float),
        rng.poisson(0.7, (4, 17)),
        rng.random(11),
    )
    templates[2] = 0
    signals = signals.astype(float)
    signals[1] = 0
    correlation = PairCorrelation(templates, signals, weights, padding, normalized, centered, "float64")
    best, where = correlation.best_lags(slice(0, 4), slice(0, 5))
    for i, signal in enumerate(np.pad(signals, ((0, 0), (padding, padding)))):
        for j, template in enumerate(templates):
            values = []
            for lag in range(17 + 2 * padding - 10):
                there = [k for k in range(11) if padding <= k + lag < padding + 17]
                a, b, w = (
                    template[there],
                    signal[[k + lag for k in there]],
                    weights[there] / weights[there].sum(),
                )
                means = (np.sum(w * a), np.sum(w * b)) if centered else (0.0, 0.0)
                value = np.sum(w * a * b) - means[0] * means[1]
                if normalized:
                    for one, mean in zip((a, b), means, strict=True):
                        variance = np.sum(w * one * one) - mean**2
                        value /= np.sqrt(variance) if variance > 1e-12 else 1.0
                values.append(value)
            assert best[i, j] == pytest.approx(max(values), abs=1e-9)
            assert values[where[i, j]] == pytest.approx(max(values), abs=1e-9)


def test_long_rows_are_correlated_by_their_spectra():
    rng = np.random.default_rng(0)
    signals = rng.poisson(0.5, (70, 900)).astype("float64")
    templates, weights = signals[:9, 100:800] + rng.poisson(0.1, (9, 700)), rng.random(700)
    templates[3] = 0
    signals[5] = 0
    quick = PairCorrelation(templates, signals, weights, 20)
    assert quick._fft_size is not None
    slow = PairCorrelation(templates, signals, weights, 20, dtype="float64")
    assert slow._fft_size is None
    for rows, columns in ((slice(0, 70), slice(0, 9)), (slice(3, 68), slice(2, 3))):
        (best, where), (expected, place) = (one.best_lags(rows, columns) for one in (quick, slow))
        np.testing.assert_allclose(best, expected, atol=2e-5)
        assert np.mean(where != place) < 0.01


@pytest.mark.parametrize("method", ["decentralized", "dredge_ap"])
def test_number_of_threads_changes_nothing(inputs, method):
    with steadyspike.accelerate(num_threads=1):
        one = estimate_motion(*inputs, method=method, bin_s=0.2, bin_um=5.0)
    with steadyspike.accelerate(num_threads=3):
        three = estimate_motion(*inputs, method=method, bin_s=0.2, bin_um=5.0)
    np.testing.assert_array_equal(one.displacement[0], three.displacement[0])


@pytest.mark.parametrize("weighted", [False, True])
def test_counts_are_those_of_numpy(weighted):
    rng = np.random.default_rng(1)
    times = np.concatenate([rng.uniform(-1, 11, 500), np.arange(0, 11), [np.nan, 5.0]])
    depths = np.concatenate([rng.uniform(-10, 60, 500), np.arange(0, 55, 5), [5.0, np.nan]])
    edges_s, edges_um = np.arange(0.0, 10.1, 0.1), np.arange(0.0, 51.0, 3.3)
    weights = rng.random(times.size) if weighted else None
    summed, counts = histogram_2d(times, depths, edges_s, edges_um, weights, with_counts=True)
    bins = {"bins": (edges_s, edges_um)}
    np.testing.assert_array_equal(summed, np.histogramdd(np.c_[times, depths], weights=weights, **bins)[0])
    np.testing.assert_array_equal(counts, np.histogramdd(np.c_[times, depths], **bins)[0])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"weight_with_amplitude": True},
        {"weight_with_amplitude": True, "avg_in_bin": False, "depth_smooth_um": 3.0},
        {"spatial_bin_edges": np.arange(0.0, 600.0, 7.0), "time_smooth_s": 2.0, "bin_s": 0.3},
    ],
    ids=str,
)
def test_histogram_of_motion(inputs, arguments):
    theirs = motion_utils.make_2d_motion_histogram(*inputs, **arguments)
    with steadyspike.accelerate():
        ours = motion_utils.make_2d_motion_histogram(*inputs, **arguments)
        assert steadyspike.accelerated()["motion_histogram"].taken
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol=1e-12)


def test_memory_is_linear_with_a_horizon():
    import tracemalloc

    def peak_mb(duration_s):
        inputs = drifting_peaks(num_peaks=int(20 * duration_s), duration_s=duration_s, frequency=100.0)
        with steadyspike.accelerate():
            tracemalloc.start()
            estimate_motion(
                *inputs, method="decentralized", time_horizon_s=50.0, bin_s=0.5, rigid=True, bin_um=10.0
            )
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak / 1e6

    peak_mb(100.0)
    # one matrix of all pairs of the longer would be 46 MB
    assert peak_mb(1200.0) < 20.0
    assert (
        original_of(motion_utils.__name__, "make_2d_motion_histogram")
        is motion_utils.make_2d_motion_histogram
    )
