import numpy as np
import pytest
from motion_inputs import assert_same, assert_same_extra, both, drifting_peaks, without_collection
from spikeinterface.sortingcomponents.motion import estimate_motion

import steadyspike
from steadyspike.integration.acceleration import calls
from steadyspike.kernels.motion import pair_least_squares

WINDOWS = {"win_step_um": 200.0, "win_scale_um": 200.0, "progress_bar": False}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    without_collection(monkeypatch)


@pytest.fixture(scope="module")
def inputs():
    return drifting_peaks()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"rigid": True, "bin_s": 5.0},
        {"time_horizon_s": 15.0},
        {"time_horizon_s": 15.0, "bin_s": 0.3, "bin_um": 5.0},
        {"time_horizon_s": None, "bin_um": 5.0},
        {"thomas_kw": {"lambda_s": 0.0}, "bin_um": 5.0},
        {"thomas_kw": {"lambda_s": 3.0, "lambda_t": 0.2, "eps": 0.1}, "bin_um": 5.0},
        {"do_window_weights": False, "mincorr": 0.5, "bin_um": 5.0},
        {"weights_threshold_low": (0.2, 5.0), "weights_threshold_high": (0.2, 5.0), "bin_um": 5.0},
        {"weights_threshold_low": 20.0, "weights_threshold_high": np.inf, "bin_um": 5.0},
        {"xcorr_kw": {"centered": False}, "max_disp_um": 30.0, "bin_um": 3.0},
        {
            "histogram_depth_smooth_um": None,
            "histogram_time_smooth_s": 2.0,
            "avg_in_bin": True,
            "bin_um": 5.0,
        },
        {"win_shape": "rect", "device": "cpu", "bin_um": 5.0},
    ],
    ids=str,
)
def test_same_estimates(inputs, arguments):
    arguments = {**WINDOWS, **arguments}
    (theirs, extra), (ours, our_extra), alone, report = both(inputs, method="dredge_ap", **arguments)
    assert report["dredge_ap"].taken == 2
    assert np.ptp(theirs.displacement[0]) > 5
    assert_same(theirs, ours, atol=0.03)
    # within the window of a weight that is nearly 0, what is solved by elimination has rounding errors
    assert_same(ours, alone, atol=1e-3)
    assert_same_extra(extra, our_extra)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"max_disp_um": 5000.0}, "max_disp_um as long as the probe"),
        ({"batching_mode": "online", "chunk_len_s": 20}, "batching_mode='online'"),
        ({"mincorr_percentile": 20.0}, "mincorr_percentile"),
        ({"xcorr_kw": {"normalized": False}}, "xcorr_kw with normalized=False"),
    ],
)
def test_left_to_spikeinterface(inputs, arguments, reason):
    arguments = {**WINDOWS, "bin_um": 5.0, **arguments}
    theirs = estimate_motion(*inputs, method="dredge_ap", **arguments)
    calls.forget()
    with steadyspike.accelerate():
        ours = estimate_motion(*inputs, method="dredge_ap", **arguments)
        (told,) = steadyspike.accelerated()["dredge_ap"].fell_back
    assert told.startswith(reason)
    np.testing.assert_allclose(ours.displacement[0], theirs.displacement[0], atol=1e-6)


def test_errors_are_spikeinterfaces(inputs):
    with steadyspike.accelerate():
        with pytest.raises(ValueError, match="No `batching_mode` called nonsense"):
            estimate_motion(*inputs, method="dredge_ap", batching_mode="nonsense")
        with pytest.raises(ValueError, match="chunk_len_s"):
            estimate_motion(*inputs, method="dredge_ap", batching_mode="online")
        with pytest.raises(TypeError, match="no_such"):
            estimate_motion(*inputs, method="dredge_ap", bin_um=5.0, xcorr_kw={"no_such": 1})


@pytest.mark.parametrize("sooner", [False, True])
def test_offline_is_repaired_with_acceleration_or_without(inputs, sooner):
    arguments = dict(method="dredge_ap", batching_mode="offline", bin_um=5.0)
    full = estimate_motion(*inputs, method="dredge_ap", bin_um=5.0)
    with steadyspike.accelerate(sooner):
        with pytest.raises(ValueError, match="offline"):
            estimate_motion(*inputs, **arguments)
        with steadyspike.repair():
            offline = estimate_motion(*inputs, **arguments)
            uncovered = estimate_motion(*inputs, mincorr_percentile=0.0, **arguments)
        assert steadyspike.repaired()["dredge_ap"].taken == 2
        assert steadyspike.accelerated().get("dredge_ap", calls.Calls()).taken == sooner
    assert_same(full, offline)
    assert uncovered.displacement[0].shape == full.displacement[0].shape


def test_stretch_without_peaks_and_start_time():
    recording, peaks, locations = drifting_peaks(t_start=50.0)
    kept = (peaks["sample_index"] < 20_000) | (peaks["sample_index"] > 32_000)
    arguments = {**WINDOWS, "bin_um": 5.0, "time_horizon_s": 10.0}
    inputs = (recording, peaks[kept], locations[kept])
    (theirs, _), (ours, _), alone, _ = both(inputs, method="dredge_ap", **arguments)
    assert ours.temporal_bins_s[0][0] > 50.0
    assert_same(theirs, ours)
    assert_same(theirs, alone)


def test_blocks_that_spikeinterface_leaves_out():
    # a horizon of 1,700 s is compared with 1,600 bins (of 3 s) and masks nothing: only whole blocks are left out
    inputs = drifting_peaks(num_peaks=40_000, duration_s=4800.0, frequency=20.0)
    arguments = {"bin_s": 3.0, "bin_um": 40.0, "rigid": True, "time_horizon_s": 1700.0, "progress_bar": False}
    (theirs, extra), (ours, our_extra), alone, _ = both(inputs, method="dredge_ap", **arguments)
    assert extra["C"][0, 0, :1536].any()
    assert not extra["C"][0, 0, 1536:].any()
    np.testing.assert_array_equal(our_extra["C"] == 0, extra["C"] == 0)
    assert_same(theirs, ours, atol=0.05)
    assert_same(theirs, alone, atol=0.05)


@pytest.mark.parametrize("num_windows", [1, 3])
def test_equations_are_solved_as_by_dense_algebra(num_windows):
    rng = np.random.default_rng(0)
    num_times = 13
    weights = rng.random((num_windows, num_times, num_times)) * (
        rng.random((num_windows, num_times, num_times)) > 0.4
    )
    pulls = weights * rng.normal(size=weights.shape)
    bands = np.zeros((num_windows, num_times - 1, num_times))
    right_side = np.zeros((num_windows, num_times))
    for index in range(num_windows):
        for rows, columns in (
            (slice(0, 5), slice(0, 13)),
            (slice(5, 13), slice(0, 7)),
            (slice(5, 13), slice(7, 13)),
        ):
            tile = index, rows, columns
            pair_least_squares.add_pairs(
                rows.start,
                columns.start,
                weights[tile].copy(),
                pulls[tile].copy(),
                bands[index],
                right_side[index],
            )
    chain, cross, bend = (
        rng.random((num_windows, num_times - 1)),
        rng.random((num_windows - 1, num_times)),
        0.7,
    )
    ridge = rng.random((num_windows, num_times))
    ours = pair_least_squares.solve(bands, right_side, np.zeros_like(ridge), None, chain, cross, bend, ridge)

    size = num_windows * num_times
    matrix, right = np.diag(ridge.ravel()), np.zeros(size)

    def difference(first, second):
        row = np.zeros(size)
        row[first] += 1
        row[second] -= 1
        return row

    for b in range(num_windows):
        for i in range(num_times):
            for j in range(num_times):
                row = difference(b * num_times + i, b * num_times + j)
                matrix += weights[b, i, j] * np.outer(row, row)
                right += pulls[b, i, j] * row
        for t in range(num_times - 1):
            row = difference(b * num_times + t, b * num_times + t + 1)
            matrix += chain[b, t] * np.outer(row, row)
    for b in range(num_windows - 1):
        for t in range(num_times):
            row = difference(b * num_times + t, (b + 1) * num_times + t)
            matrix += cross[b, t] * np.outer(row, row)
        for t in range(num_times - 1):
            row = difference(b * num_times + t, b * num_times + t + 1)
            row -= difference((b + 1) * num_times + t, (b + 1) * num_times + t + 1)
            matrix += bend * np.outer(row, row)
    np.testing.assert_allclose(ours.ravel(), np.linalg.solve(matrix, right), atol=1e-9)
    energy = sum(
        weights[b, i, j] * (ours[b, i] - ours[b, j]) ** 2
        for b in range(num_windows)
        for i in range(num_times)
        for j in range(num_times)
    )
    assert pair_least_squares.energy(bands, pair_least_squares.degrees_of(bands), ours) == pytest.approx(
        energy
    )


def test_memory_is_linear_with_a_horizon():
    import tracemalloc

    def peak_mb(duration_s):
        inputs = drifting_peaks(num_peaks=int(20 * duration_s), duration_s=duration_s, frequency=100.0)
        arguments = {
            "rigid": True,
            "bin_um": 20.0,
            "bin_s": 0.5,
            "time_horizon_s": 50.0,
            "progress_bar": False,
        }
        with steadyspike.accelerate():
            tracemalloc.start()
            estimate_motion(*inputs, method="dredge_ap", **arguments)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak / 1e6

    peak_mb(100.0)
    # one matrix of all pairs of the longer would be 46 MB
    assert peak_mb(1200.0) < 20.0
