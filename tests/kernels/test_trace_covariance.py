"""Covariances of spikes and noise against sums over single samples, and mixtures against what they were made from."""

import numpy as np
import pytest

from steadyspike.kernels.channels.trace_covariance import (
    FARTHEST_UM,
    Mixture,
    TraceMoments,
    fit_mixture,
    separations,
)

SAMPLING_FREQUENCY = 10_000.0


def staggered(num_channels):
    """Contacts in two columns, 20 um from row to row."""
    rows = np.arange(num_channels)
    return np.stack([16.0 * (rows % 2), 20.0 * (rows // 2)], axis=1)


def spiky_traces(num_samples, positions, seed):
    """Noise of unlike levels, and a large spike of known place every 30 ms."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(2.0, 4.0, len(positions))
    traces = rng.normal(size=(num_samples, len(positions))) * levels
    frames = np.arange(150, num_samples - 100, 300)
    for frame in frames:
        center = positions[rng.integers(len(positions))]
        footprint = np.exp(-(((positions - center) / 30.0) ** 2).sum(axis=1))
        traces[frame - 1 : frame + 2] -= 200.0 * footprint * np.array([0.5, 1.0, 0.5])[:, None]
    return traces, frames, levels


def test_moments_are_sums_over_samples_around_spikes_and_away_from_them():
    positions = staggered(10)
    traces, frames, levels = spiky_traces(3000, positions, seed=0)
    moments = TraceMoments(positions, 1, SAMPLING_FREQUENCY)
    for chunk in (traces[:1500], traces[1500:]):
        moments.add(chunk)
    assert moments.num_spikes == len(frames)
    spikes, noise = moments.means()

    centered = np.concatenate([half - np.median(half, axis=0) for half in (traces[:1500], traces[1500:])])
    around, quiet = np.zeros(3000, dtype=bool), np.ones(3000, dtype=bool)
    for frame in frames:
        around[frame - 2 : frame + 4] = True  # 0.2 ms before, 0.4 ms after
        quiet[frame - 12 : frame + 14] = False  # and 1 ms to both sides
    # every contact is within reach of every spike here
    expected_noise = centered[quiet].T @ centered[quiet] / quiet.sum()
    expected_spikes = centered[around].T @ centered[around] / around.sum() - expected_noise
    np.testing.assert_allclose(noise, expected_noise, atol=1e-3)
    np.testing.assert_allclose(spikes, expected_spikes, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(np.sqrt(np.diag(noise)), levels, rtol=0.1)


def test_contacts_far_from_each_other_and_silent_ones_have_no_covariance():
    positions = staggered(60)
    traces, _, _ = spiky_traces(3000, positions, seed=1)
    traces[:, 7] = np.nan
    traces[:, 8] = 5.0
    moments = TraceMoments(positions, 1, SAMPLING_FREQUENCY)
    moments.add(traces)
    assert moments.num_spikes > 0
    spikes, noise = moments.means()
    assert np.isfinite(spikes).all()
    assert np.isfinite(noise).all()
    assert not noise[7].any()
    assert not noise[8].any()
    assert moments.counts["noise"][20, 23] > 0
    assert moments.counts["noise"][20, 21] > moments.counts["spikes"][20, 21]


def test_a_spike_is_one_among_contacts_near_each_other_and_seen_by_those_around():
    """Two at once: 60 um apart they are the larger one, 200 um apart two; what is 150 um away sees nothing of one."""
    positions = np.stack([np.zeros(40), 20.0 * np.arange(40)], axis=1)
    for apart, expected in ((3, 1), (10, 2)):
        traces = np.random.default_rng(0).normal(size=(1000, 40))
        traces[500, 10] -= 60.0
        traces[500, 10 + apart] -= 50.0
        moments = TraceMoments(positions, 1, SAMPLING_FREQUENCY)
        moments.add(traces)
        assert moments.num_spikes == expected
    seen = moments.counts["spikes"].diagonal() > 0
    assert seen[3:28].all()
    assert not seen[:3].any()
    assert not seen[28:].any()


def test_pairs_far_apart_are_left_out():
    positions = staggered(300)
    moments = TraceMoments(positions, 1, SAMPLING_FREQUENCY)
    moments.add(np.random.default_rng(0).normal(size=(200, 300)))
    apart = separations(positions, 1)[1]
    assert (moments.counts["noise"][apart <= FARTHEST_UM] > 0).all()
    assert not moments.counts["noise"][apart > 6 * FARTHEST_UM].any()


def test_no_samples_and_no_spikes_are_nothing():
    moments = TraceMoments(staggered(4), 1, SAMPLING_FREQUENCY)
    moments.add(np.zeros((50, 4)))
    assert moments.num_spikes == 0
    assert not moments.means()[0].any()


@pytest.mark.parametrize("own", [0.0, 0.3])
def test_a_mixture_is_found_again(own):
    positions = staggered(40)
    made = Mixture(np.array([[20.0, 20.0], [80.0, 40.0]]), np.array([0.6, 0.4]) * (1 - own), own)
    across, along = separations(positions, 1)
    covariance = made.at(across, along) + own * np.eye(40)
    found = fit_mixture(7.0 * covariance, np.ones_like(covariance), across, along, own=True)
    np.testing.assert_allclose(found.at(across, along) + found.own * np.eye(40), covariance, atol=1e-4)


def test_pairs_count_as_much_as_they_were_seen():
    positions = staggered(40)
    across, along = separations(positions, 1)
    covariance = Mixture(np.array([[20.0, 20.0]]), np.ones(1)).at(across, along)
    counts = np.ones_like(covariance)
    covariance[3, 4] = covariance[4, 3] = -50.0
    counts[3, 4] = counts[4, 3] = 0.0
    found = fit_mixture(covariance, counts, across, along)
    assert found.at(16.0, 0.0) == pytest.approx(covariance[0, 1], abs=1e-3)


def test_a_covariance_that_is_positive_nowhere_has_no_mixture():
    across, along = separations(staggered(6), 1)
    assert fit_mixture(-np.ones((6, 6)), np.ones((6, 6)), across, along) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_mixtures_are_positive_definite_on_any_layout(seed):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 300, (50, 3))
    made = Mixture(rng.uniform(5, 100, (4, 2)), rng.dirichlet(np.ones(4)))
    matrix = made.at(*separations(positions, 1))
    assert np.linalg.eigvalsh(matrix).min() > -1e-10
    np.testing.assert_allclose(np.diag(matrix), 1.0)


def test_after_enough_spikes_only_the_tissue_is_added_to(monkeypatch):
    """The chunk that brings enough of them still counts."""
    monkeypatch.setattr("steadyspike.kernels.channels.trace_covariance.GENERAL_SPIKES", 5)
    positions = staggered(10)
    traces, _, _ = spiky_traces(3000, positions, seed=0)

    class Seen(list):
        def add(self, *arguments):
            self.append(arguments)

    moments = TraceMoments(positions, 1, SAMPLING_FREQUENCY, Seen())
    expected = TraceMoments(positions, 1, SAMPLING_FREQUENCY)
    expected.add(traces)
    for _ in range(3):
        moments.add(traces, np.zeros(10))
    assert len(moments.tissue) == 3
    assert moments.num_spikes == 3 * expected.num_spikes > 15
    for value, known in zip(moments.means(), expected.means(), strict=True):
        np.testing.assert_array_equal(value, known)
