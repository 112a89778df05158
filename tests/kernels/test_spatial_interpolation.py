import math

import numpy as np
import pytest

from steadyspike.kernels.channels import spatial_interpolation as kernel


def two_columns(num_channels=16, pitch_um=20.0):
    index = np.arange(num_channels)
    return np.stack([32.0 * (index % 2), pitch_um * (index // 2)], axis=1)


def slow_kriging(sources, targets, sigma_um, p):
    """Covariances entry by entry, the inverse from numpy, the sums row by row."""

    def similarity(a, b):
        return math.exp(-((math.dist(a, b) / sigma_um) ** p))

    between = np.array([[similarity(a, b) for b in sources] for a in sources])
    weights = np.array([[similarity(a, b) for b in sources] for a in targets])
    weights = weights @ np.linalg.inv(between + 1e-6 * np.eye(len(sources)))
    for row, target in zip(weights, targets, strict=True):
        low, high = sources.min(axis=0), sources.max(axis=0)
        if all(low[d] <= target[d] <= high[d] for d in range(len(target))):
            row /= sum(row)
    return weights


def slow_idw(sources, targets, num_closest):
    weights = np.zeros((len(targets), len(sources)))
    for i, target in enumerate(targets):
        distances = [(math.dist(target, source), j) for j, source in enumerate(sources)]
        closest = sorted(distances)[:num_closest]
        if closest[0][0] == 0:
            closest = [(1.0, closest[0][1])]
        total = sum(1 / distance for distance, _ in closest)
        for distance, j in closest:
            weights[i, j] = 1 / distance / total
    return weights


def slow_runs(times, edges):
    runs = []
    for sample, time in enumerate(times):
        found = [b for b in range(len(edges) - 1) if edges[b] <= time < edges[b + 1]]
        time_bin = found[0] if found else (0 if time < edges[0] else len(edges) - 2)
        if runs and runs[-1][2] == time_bin:
            runs[-1][1] = sample + 1
        else:
            runs.append([sample, sample + 1, time_bin])
    return [tuple(run) for run in runs]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("shift_um", [0.0, 7.3, 200.0])
@pytest.mark.parametrize("p", [1, 2])
def test_kriging_equals_the_loops(p, shift_um, seed):
    rng = np.random.default_rng(seed)
    sources = two_columns() + rng.normal(scale=2.0, size=(16, 2))
    targets = sources + [0.0, shift_um]
    inverse = kernel.inverse_covariance(sources, 20.0, p)
    value = kernel.kriging_weights(sources, targets, inverse, 20.0, p)
    np.testing.assert_allclose(value, slow_kriging(sources, targets, 20.0, p), atol=1e-9)


def test_kriging_on_the_contacts_returns_the_contacts():
    sources = two_columns()
    inverse = kernel.inverse_covariance(sources, 20.0, 1)
    value = kernel.kriging_weights(sources, sources, inverse, 20.0, 1)
    np.testing.assert_allclose(value, np.eye(16), atol=1e-5)


def test_kriging_far_from_every_contact_is_zero_not_nan():
    sources = np.array([[0.0, 0.0], [0.0, 20.0], [4000.0, 4000.0]])
    targets = np.array([[2000.0, 2000.0]])  # inside the box, where the covariance underflows
    inverse = kernel.inverse_covariance(sources, 20.0, 2)
    np.testing.assert_array_equal(kernel.kriging_weights(sources, targets, inverse, 20.0, 2), [[0, 0, 0]])


def test_one_length_scale_per_dimension_equals_the_loops():
    sources, targets = two_columns(), two_columns() + [1.0, 6.0]
    value = kernel.covariance(targets, sources, [30.0, 15.0], 2)
    for i, target in enumerate(targets):
        for j, source in enumerate(sources):
            exponent = (abs(target[0] - source[0]) / 30.0) ** 2 + (abs(target[1] - source[1]) / 15.0) ** 2
            assert math.isclose(value[i, j], math.exp(-exponent), abs_tol=1e-12)


@pytest.mark.parametrize("num_closest", [1, 3, 100])
@pytest.mark.parametrize("shift_um", [0.0, 7.3, 1e-300, 200.0])
def test_idw_equals_the_loops(num_closest, shift_um):
    sources = two_columns() + np.random.default_rng(0).normal(scale=2.0, size=(16, 2))
    targets = sources + [0.0, shift_um]
    value = kernel.idw_weights(sources, targets, num_closest)
    np.testing.assert_allclose(value, slow_idw(sources, targets, num_closest), atol=1e-12)
    np.testing.assert_allclose(value.sum(axis=1), 1.0)


def test_nearest_equals_the_loops():
    sources = two_columns() + np.random.default_rng(0).normal(scale=2.0, size=(16, 2))
    targets = sources + [3.0, 23.0]
    value = kernel.nearest_weights(sources, targets)
    for i, target in enumerate(targets):
        expected = min(range(16), key=lambda j: math.dist(target, sources[j]))
        np.testing.assert_array_equal(np.flatnonzero(value[i]), [expected])
        assert value[i, expected] == 1.0


def test_edges_lie_halfway_between_centers():
    np.testing.assert_array_equal(kernel.bin_edges([1.0, 2.0, 4.0]), [1.0, 1.5, 3.0, 4.0])
    np.testing.assert_array_equal(kernel.bin_edges([3.0, 4.0]), [3.0, 3.5, 4.0])
    np.testing.assert_array_equal(kernel.bin_edges([3.0]), [3.0, 3.0])
    np.testing.assert_array_equal(kernel.bin_edges(np.arange(3)), [0.0, 0.5, 1.5, 2.0])


@pytest.mark.parametrize("order", ["increasing", "shuffled"])
def test_runs_equal_the_loops(order):
    times = np.round(np.arange(-1.0, 6.0, 0.05), 10)
    if order == "shuffled":
        np.random.default_rng(0).shuffle(times)
    for edges in ([0.0, 1.0, 2.5, 5.0], [0.0, 3.0], [2.0, 2.0]):
        assert kernel.bin_runs(times, np.array(edges)) == slow_runs(times, edges)
    assert kernel.bin_runs(times[:0], np.array([0.0, 1.0])) == []


def displacement_weights(**changes):
    arguments = dict(
        positions=two_columns(64),
        dimension=1,
        method="kriging",
        sigma_um=20.0,
        p=2,
        num_closest=3,
        sparse_thresh=None,
        extrapolate=True,
        targets=np.arange(64),
        dtype="float32",
    )
    return kernel.DisplacementWeights(**{**arguments, **changes})


def test_weights_are_computed_once_per_displacement_and_memory_is_bounded():
    weights = displacement_weights()
    first = weights.at(np.full(64, 3.0))
    assert weights.at(np.full(64, 3.0)) is first
    assert weights.at(np.full(64, 3.1)) is not first
    for shift in range(3 * kernel.REMEMBERED_DISPLACEMENTS):
        weights.at(np.full(64, float(shift)))
    assert weights._remembered.cache_info().currsize == kernel.REMEMBERED_DISPLACEMENTS


def test_without_extrapolation_only_targets_outside_lose_their_weights():
    kept = displacement_weights(extrapolate=True).dense(np.full(64, 30.0))
    value = displacement_weights(extrapolate=False).dense(np.full(64, 30.0))
    outside = two_columns(64)[:, 1] + 30.0 > 620.0
    assert outside.sum() == 4
    np.testing.assert_array_equal(value[outside], 0.0)
    np.testing.assert_array_equal(value[~outside], kept[~outside])


def test_fewer_targets_are_rows_of_all():
    displacement = np.linspace(-10.0, 10.0, 64)
    targets = np.array([3, 10, 40])
    value = displacement_weights(targets=targets).dense(displacement)
    np.testing.assert_allclose(value, displacement_weights().dense(displacement)[targets], atol=1e-12)
