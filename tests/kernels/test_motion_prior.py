import numpy as np
import pytest

from steadyspike.kernels.motion import motion_prior


def slow_solution(target, precision, alpha, kappa, beta, gamma, rho):
    """Minimize the quadratic of `smooth_motion` with dense matrices, one row per penalty."""
    num_times, num_windows = target.shape
    size = num_times * num_windows
    rows, right = [], []

    def unit(t, k):
        row = np.zeros(size)
        row[t * num_windows + k] = 1.0
        return row

    def penalize(precision, row, value=0.0):
        rows.append(np.sqrt(precision) * row)
        right.append(np.sqrt(precision) * value)

    for t in range(num_times):
        for k in range(num_windows):
            penalize(precision[t, k], unit(t, k), target[t, k])
            if t + 1 < num_times:
                penalize(alpha[t], unit(t + 1, k) - unit(t, k))
            if t + 2 < num_times:
                penalize(kappa[t], unit(t + 2, k) - 2 * unit(t + 1, k) + unit(t, k))
            if k + 1 < num_windows:
                penalize(gamma, unit(t, k + 1) - unit(t, k))
                if t + 1 < num_times:
                    step = unit(t + 1, k) - unit(t, k)
                    penalize(beta[t], unit(t + 1, k + 1) - unit(t, k + 1) - step)
            if 0 < k < num_windows - 1 and t + 1 < num_times:
                curve = [
                    sign * (unit(t + 1, k + d) - unit(t, k + d)) for d, sign in ((-1, 1), (0, -2), (1, 1))
                ]
                penalize(rho[t], sum(curve))
    return np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0].reshape(target.shape)


@pytest.mark.parametrize("num_windows", [1, 2, 3, 5])
@pytest.mark.parametrize("num_times", [1, 2, 3, 9])
def test_banded_solution_equals_dense_oracle(num_times, num_windows):
    rng = np.random.default_rng(num_times * 10 + num_windows)
    target = rng.standard_normal((num_times, num_windows))
    precision = rng.random(target.shape)
    alpha, beta, rho = rng.random((3, num_times - 1))
    kappa = rng.random(max(num_times - 2, 0))
    solved = motion_prior.solve_smooth(target, precision, alpha, kappa, beta, 0.3, rho)
    expected = slow_solution(target, precision, alpha, kappa, beta, 0.3, rho)
    np.testing.assert_allclose(solved, expected, atol=1e-6)


def simulated(truth, noise_um, seed=0):
    rng = np.random.default_rng(seed)
    target = truth + noise_um * rng.standard_normal(truth.shape)
    return target, np.full(truth.shape, 1.0 / noise_um**2)


def smooth(target, precision, typical_bend_um=0.0):
    x = target
    for _ in range(4):
        x = motion_prior.smooth_motion(x, target, precision, typical_bend_um)
    return x


def test_noise_is_smoothed_and_a_jump_is_kept():
    truth = np.repeat(np.where(np.arange(120) < 60, 0.0, 15.0)[:, None], 4, axis=1)
    target, precision = simulated(truth, 0.5)
    x = smooth(target, precision)
    assert np.abs(x - truth).mean() < 0.5 * np.abs(target - truth).mean()
    np.testing.assert_allclose(x[61] - x[58], 15.0, atol=1.0)


def test_motion_that_differs_between_depths_is_kept():
    factors = np.linspace(1.0, 0.2, 6)
    truth = 15 * np.abs((np.arange(200) / 20) % 2 - 1)[:, None] * factors
    target, precision = simulated(truth, 0.3)
    x = smooth(target, precision, motion_prior.bend_scale(truth))
    assert np.abs(x - truth).mean() < np.abs(target - truth).mean()
    assert np.abs((x - truth)[:, [0, -1]]).mean() < 0.4


def test_bins_without_measurement_are_bridged():
    truth = np.repeat(np.linspace(0, 20, 100)[:, None], 3, axis=1)
    target, precision = simulated(truth, 0.2)
    target[40:50], precision[40:50] = 1e3, 0.0
    x = smooth(target, precision)
    assert np.abs(x - truth)[40:50].max() < 1.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 1), (2, 3), (5, 1)])
def test_nothing_measured_gives_no_motion(shape):
    x = motion_prior.smooth_motion(np.zeros(shape), np.zeros(shape), np.zeros(shape), 0.0)
    np.testing.assert_array_equal(x, 0)


def test_measured_bend_takes_the_noise_out():
    rigid = np.repeat(np.cumsum(np.random.default_rng(0).standard_normal(300))[:, None], 5, axis=1)
    target, precision = simulated(rigid, 0.5)
    assert motion_prior.measured_bend_scale(target, precision) < 0.05
    bent = rigid * np.linspace(1, 2, 5)
    target, precision = simulated(bent, 0.5)
    assert motion_prior.measured_bend_scale(target, precision) > 0.05


def test_weighted_median_equals_repeated_values():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values, weights = rng.standard_normal(9), rng.integers(0, 5, 9)
        weights[0] += 1
        repeated = np.sort(np.repeat(values, weights))
        expected = repeated[(repeated.size - 1) // 2]
        assert motion_prior.weighted_median(values, weights.astype(float)) == expected


def test_pairs_of_time_bins_in_one_segment():
    edges = np.array([0, 3, 3, 7])
    segment = np.array([0, 0, 0, 2, 2, 2, 2])
    for lag in range(9):
        expected = segment[lag:] == segment[: max(7 - lag, 0)]
        np.testing.assert_array_equal(motion_prior.same_segment(edges, 7, lag), expected)
    assert motion_prior.same_segment(None, 4, 1).tolist() == [True] * 3


def test_a_bin_alone_is_told_from_a_jump_and_a_turn():
    precision = np.full((40, 2), 4.0)
    alone = np.zeros((40, 2))
    alone[20] = 15.0
    jump = np.zeros((40, 2))
    jump[20:] = 15.0
    turn = 1.5 * np.abs(np.arange(40.0) - 20)[:, None] * np.ones(2)
    assert np.flatnonzero(motion_prior.lone_bins(alone, precision)).tolist() == [20]
    assert not motion_prior.lone_bins(jump, precision).any()
    assert not motion_prior.lone_bins(turn, precision).any()
    assert not motion_prior.lone_bins(alone, precision, np.array([0, 20, 40])).any()
    assert not motion_prior.lone_bins(alone[:2], np.zeros((2, 2))).any()


def test_bins_of_few_spikes_lean_on_as_many_as_see_enough():
    assert motion_prior.lean_bins(np.array([0.0, 3.0, 3.0, 3.0])) == 10
    assert motion_prior.lean_bins(np.array([100.0, 40.0])) == motion_prior.lean_bins(np.zeros(3)) == 1
    precision, run = np.full((40, 1), 1.0), np.zeros((40, 1))
    run[18:21] = 30.0
    assert not motion_prior.lone_bins(run, precision).any()
    assert np.flatnonzero(motion_prior.lone_bins(run, precision, lean=8)).tolist() == [18, 19, 20]
    jump = np.zeros((40, 1))
    jump[20:] = 30.0
    assert not motion_prior.lone_bins(jump, precision, lean=8).any()


def test_changes_of_velocity_are_measured_beyond_noise_that_precision_does_not_tell():
    rng = np.random.default_rng(0)
    motion = np.cumsum(np.cumsum(0.2 * rng.standard_normal(2000)))[:, None]
    precision = np.full((2000, 1), 4.0)
    assert motion_prior.acceleration_scale(motion, 1e4 * precision) == pytest.approx(0.2, abs=0.05)
    noisy = motion + 3.0 * rng.standard_normal(motion.shape)
    assert motion_prior.acceleration_scale(noisy, precision) > 5.0
    assert motion_prior.acceleration_scale(noisy, precision, lean=15) == pytest.approx(0.2, abs=0.1)
