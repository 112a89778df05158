"""Whitening from the nearest channels against square roots of matrices."""

import numpy as np
import pytest
from scipy.linalg import inv, sqrtm

from steadyspike.kernels.channels.nearest_whitening import nearest_channels, nearest_whitening

STAGGERED = np.array([(16.0 * (i % 2) + 8.0 * (i // 2 % 2), 20.0 * (i // 2)) for i in range(17)])


def nearest_by_hand(positions, number):
    listed = []
    for channel, own in enumerate(positions):
        by_distance = sorted(
            (other != channel, round(float(((own - place) ** 2).sum()), 6), other)
            for other, place in enumerate(positions)
        )
        listed.append([other for _, _, other in by_distance[:number]])
    return np.array(listed)


@pytest.mark.parametrize("number", [1, 6, 100])
def test_nearest(number):
    np.testing.assert_array_equal(nearest_channels(STAGGERED, number), nearest_by_hand(STAGGERED, number))
    together = np.zeros((4, 2))
    np.testing.assert_array_equal(nearest_channels(together, 9)[:, 0], np.arange(4))


@pytest.mark.parametrize(("number", "silent"), [(1, ()), (5, (3,)), (17, (0, 16)), (40, tuple(range(17)))])
def test_rows_are_those_of_symmetric_matrices(number, silent):
    rng = np.random.default_rng(number)
    traces = rng.normal(size=(500, 17)) @ rng.normal(size=(17, 17)) * rng.uniform(1, 90, 17)
    traces[:, list(silent)] = 0.0
    covariance, neighbors, eps = np.cov(traces.T), nearest_by_hand(STAGGERED, number), 1e-3
    live = [channel for channel in range(17) if channel not in silent]
    added = eps * np.mean([covariance[channel, channel] for channel in live]) if live else 0.0
    expected = np.zeros((17, 17))
    for channel in live:
        near = [other for other in neighbors[channel] if other in live]
        root = inv(sqrtm(covariance[np.ix_(near, near)] + added * np.eye(len(near))))
        expected[channel, near] = root[near.index(channel)].real
    matrix = nearest_whitening(covariance, nearest_channels(STAGGERED, number), eps)
    np.testing.assert_allclose(matrix, expected, atol=1e-9 * max(np.abs(expected).max(), 1))
