"""Wiener weights against one equation for each target, and what they promise of noise and error."""

import numpy as np
import pytest
from probeinterface.neuropixels_tools import build_neuropixels_probe
from scipy.optimize import brentq

from steadyspike.kernels.channels.spatial_interpolation import inverse_covariance, kriging_weights
from steadyspike.kernels.channels.trace_covariance import Mixture, separations
from steadyspike.kernels.channels.wiener_weights import (
    KEPT_LEVEL,
    LARGEST_SHARE,
    SMALLEST_SHARE,
    WienerWeights,
)

SIGNAL = Mixture(np.array([[20.0, 20.0], [57.0, 28.0]]), np.array([0.6, 0.4]))
NOISE = Mixture(np.array([[14.0, 14.0]]), np.array([0.7]), 0.3)


def lowest_contacts(part_number, num_channels):
    return build_neuropixels_probe(part_number).contact_positions[:num_channels].astype("float64")


def weights_of(positions, levels=None, targets=None, signal=SIGNAL):
    levels = np.ones(len(positions)) if levels is None else levels
    targets = np.arange(len(positions)) if targets is None else targets
    return WienerWeights(positions, 1, signal, NOISE, levels, targets, "float64")


def covariances(positions, levels, signal=SIGNAL):
    """Covariances of signal and noise between contacts."""
    across, along = separations(positions, 1)
    noise = NOISE.at(across, along) + NOISE.own * np.eye(len(positions))
    return signal.at(across, along), noise * np.outer(levels, levels)


def oracle(positions, displacement, levels, wanted):
    """One equation for the share of each target."""
    signal, noise = covariances(positions, levels)
    rows = []
    for index, moved in enumerate(displacement):
        place = positions[index] + [0.0, moved]
        with_contacts = SIGNAL.at(*separations(place[None], 1, positions))[0]

        def weights(share, with_contacts=with_contacts):
            return np.linalg.solve(signal + share * noise, with_contacts)

        def excess(share, index=index, weights=weights):
            row = weights(share)
            return row @ noise @ row - wanted[index]

        ends = SMALLEST_SHARE, LARGEST_SHARE
        share = ends[0] if excess(ends[0]) < 0 else ends[1] if excess(ends[1]) > 0 else brentq(excess, *ends)
        rows.append(weights(share))
    return np.array(rows)


@pytest.mark.parametrize("displacement", [0.0, 7.3, -20.0, 150.0])
@pytest.mark.parametrize("layout", ["np1", "tetrode", "two", "one", "sparse", "same place"])
def test_weights_solve_the_equation_of_each_target(layout, displacement):
    positions = {
        "np1": lowest_contacts("NP1000", 30),
        "tetrode": np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0], [20.0, 20.0]]),
        "two": np.array([[0.0, 0.0], [0.0, 25.0]]),
        "one": np.zeros((1, 2)),
        "sparse": np.stack([np.zeros(6), 100.0 * np.arange(6)], axis=1),
        "same place": np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 20.0]]),
    }[layout]
    rng = np.random.default_rng(0)
    levels = rng.uniform(0.7, 1.3, len(positions))
    moved = displacement * rng.uniform(0.8, 1.0, len(positions))
    weights = weights_of(positions, levels)
    expected = oracle(positions, moved, levels, weights.wanted)
    np.testing.assert_allclose(weights.dense(moved), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("spread", "most"), [(0.0, 0.01), (0.1, 0.015)])
@pytest.mark.parametrize("part_number", ["NP1000", "NP2003"])
def test_noise_keeps_its_level_whatever_the_displacement(part_number, spread, most):
    positions = lowest_contacts(part_number, 60)
    levels = np.random.default_rng(1).uniform(1 - spread, 1 + spread, 60)
    weights, (_, noise) = weights_of(positions, levels), covariances(positions, levels)
    gains = []
    for displacement in np.linspace(-20, 20, 17):
        dense = weights.dense(np.full(60, displacement))
        gains.append(np.sqrt(np.einsum("ij,jk,ik->i", dense, noise, dense)) / levels)
    gains = np.array(gains)[:, 12:-12]
    assert gains.max() <= KEPT_LEVEL * 1.0001
    variation = gains.std(axis=0) / gains.mean(axis=0)
    assert np.median(variation) < most
    assert variation.max() < 4 * most


def test_error_is_less_than_that_of_kriging():
    positions, levels = lowest_contacts("NP1000", 60), np.full(60, 1.0)
    signal, _ = covariances(positions, levels)
    weights, inverse = weights_of(positions), inverse_covariance(positions, 20.0, 2)
    errors = {"wiener": 0.0, "kriging": 0.0}
    for displacement in np.linspace(-20, 20, 17):
        moved = positions + [0.0, displacement]
        crossing = SIGNAL.at(*separations(moved, 1, positions))
        both = {
            "wiener": weights.dense(np.full(60, displacement)),
            "kriging": kriging_weights(positions, moved, inverse, 20.0, 2),
        }
        for name, dense in both.items():
            error = 1.0 - 2 * (dense * crossing).sum(axis=1) + np.einsum("ij,jk,ik->i", dense, signal, dense)
            errors[name] += error[12:-12].mean()
    assert errors["wiener"] < 0.8 * errors["kriging"]


def test_some_targets_have_their_rows_of_all():
    positions = lowest_contacts("NP1000", 30)
    targets = np.array([20, 3, 11])
    moved = np.linspace(0, 30, 30)
    everything = weights_of(positions).dense(moved)
    np.testing.assert_allclose(weights_of(positions, targets=targets).dense(moved), everything[targets])


def test_weights_fall_beyond_the_probe_or_are_none():
    positions = lowest_contacts("NP1000", 30)
    far = np.full(30, 500.0)
    weights = weights_of(positions)
    assert np.abs(weights.dense(far)).sum(axis=1)[-1] < 0.01
    weights = WienerWeights(
        positions, 1, SIGNAL, NOISE, np.ones(30), np.arange(30), "float64", extrapolate=False
    )
    assert not weights.dense(np.full(30, 60.0))[-1].any()
    assert weights.dense(np.full(30, 60.0))[0].any()
