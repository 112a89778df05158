"""Covariance of tissue that moves past contacts: against plain loops, and against units that are known."""

from functools import cache

import numpy as np
import pytest
from probeinterface.neuropixels_tools import build_neuropixels_probe

from steadyspike.kernels.channels import tissue_covariance
from steadyspike.kernels.channels.tissue_covariance import (
    BIN_UM,
    EVERYWHERE,
    FEWEST_SAMPLES,
    Lattice,
    Observed,
    Tissue,
    TissueMoments,
    fit_patch,
)
from steadyspike.kernels.channels.tissue_weights import TissueWeights
from steadyspike.kernels.channels.trace_covariance import Mixture, noise_between, separations
from steadyspike.kernels.channels.wiener_weights import WienerWeights

SIGNAL = Mixture(np.array([[14.0, 14.0], [40.0, 28.0]]), np.array([0.6, 0.4]))
NOISE = Mixture(np.array([[14.0, 14.0]]), np.array([0.3]), 0.7)
POSITIONS = build_neuropixels_probe("NP1000").contact_positions[:40].astype("float64")
LEVELS = np.random.default_rng(0).uniform(0.8, 1.2, 40)
PATCH = 10
WIDTH_UM, AMPLITUDE = 13.0, 40.0


def footprint(unit, places):
    """Amplitude at some places of a unit, whose footprint is narrower than the contacts are apart."""
    return AMPLITUDE * np.exp(-np.linalg.norm(places - unit, axis=-1) / WIDTH_UM)


def units_around(tissue, seed, number=2):
    rng = np.random.default_rng(seed)
    middle = [30.0, tissue.depths[PATCH]]
    return middle + rng.uniform([-25, -15], [25, 15], (number, 2))


def seen_units(tissue, units, displacements, noise):
    """What contacts covary like, without an error of sampling, as these units fire as often at each displacement."""
    observed = []
    for displacement in displacements:
        bin_um = tissue_covariance.BIN_UM
        contacts, place = tissue.view(PATCH, bin_um * round(displacement / bin_um))
        at = POSITIONS[contacts] - [0.0, displacement]
        covariance = noise[np.ix_(contacts, contacts)].copy()
        for unit in units:
            covariance += np.outer(footprint(unit, at), footprint(unit, at)) / len(units)
        observed.append(Observed(contacts, place, covariance, 500))
    return observed


@cache
def fitted_parts():
    tissue = Tissue(POSITIONS, 1)
    noise = noise_between(NOISE, POSITIONS, 1, LEVELS)
    units = units_around(tissue, seed=1)
    observed = seen_units(tissue, units, np.arange(-24.0, 25.0, 2.0), noise)
    return tissue, Lattice(tissue, SIGNAL), noise, units, observed


def plain_expectation_maximization(observed, lattice, noise, iterations):
    """One displacement after the other, and inverses written out."""
    total = sum(one.num_samples for one in observed)
    variance = sum(
        one.num_samples
        * (one.covariance - noise[np.ix_(one.contacts, one.contacts)]).trace()
        / len(one.contacts)
        for one in observed
    )
    variance /= total
    fitted = lattice.general.copy()
    for _ in range(iterations):
        expected = np.zeros_like(fitted)
        for one in observed:
            seen = lattice.interpolation(one.contacts, one.place)
            heard = noise[np.ix_(one.contacts, one.contacts)] / variance
            gain = fitted @ seen.T @ np.linalg.inv(seen @ fitted @ seen.T + heard)
            left = fitted - gain @ seen @ fitted
            expected += one.num_samples / total * (gain @ (one.covariance / variance) @ gain.T + left)
        fitted = (1 - EVERYWHERE) * expected + EVERYWHERE * lattice.general
    return fitted


def test_a_fit_is_expectation_maximization(monkeypatch):
    """Patches at an end of the probe have fewer contacts in view at one displacement than at another."""
    monkeypatch.setattr(tissue_covariance, "ITERATIONS", 7)
    monkeypatch.setattr(tissue_covariance, "LEFT_OUT", 1e-12)
    _, lattice, noise, _, observed = fitted_parts()
    observed = [observed[0]._replace(num_samples=90), *observed[3:7]]
    short = observed[1]
    fewer = [np.delete(part, 2) for part in short[:2]]
    observed[1] = Observed(*fewer, np.delete(np.delete(short.covariance, 2, 0), 2, 1), 200)
    factors = fit_patch(observed, lattice, noise)
    expected = plain_expectation_maximization(observed, lattice, noise, 7)
    np.testing.assert_allclose(
        factors.T @ factors + EVERYWHERE * lattice.general, expected, atol=1e-6 * expected.max()
    )


def test_factors_leave_hardly_anything_out_and_are_few():
    _, lattice, noise, _, observed = fitted_parts()
    factors = fit_patch(observed, lattice, noise)
    expected = plain_expectation_maximization(observed, lattice, noise, tissue_covariance.ITERATIONS)
    given = factors.T @ factors + EVERYWHERE * lattice.general
    assert 0.98 * np.trace(expected) < np.trace(given) < np.trace(expected)
    assert len(factors) <= 16 < len(lattice.general)


def errors_between(factors, units, tissue):
    """Relative errors of a patch's contacts for each unit, over displacements: with these factors, and in general."""
    everywhere = [np.empty((0, len(tissue.points)))] * len(tissue.depths)
    everywhere[PATCH] = factors
    members = np.flatnonzero(tissue.patch_of == PATCH)
    arguments = (POSITIONS, 1, SIGNAL, NOISE, LEVELS, members, "float64")
    kinds = TissueWeights(*arguments, factors=everywhere), WienerWeights(*arguments)
    errors = np.zeros(2)
    energy = 0.0
    for displacement in np.arange(-22.0, 23.0, 4.0):
        dense = [kind.dense(np.full(40, displacement)) for kind in kinds]
        for unit in units:
            wanted = footprint(unit, POSITIONS[members])
            seen = footprint(unit, POSITIONS - [0.0, displacement])
            errors += [((weights @ seen - wanted) ** 2).sum() for weights in dense]
            energy += (wanted**2).sum()
    return np.sqrt(errors / energy)


def test_weights_follow_the_units_nearby():
    """Narrow footprints: the same weights everywhere miss a third of them, those of the patch much less."""
    tissue, lattice, noise, units, observed = fitted_parts()
    local, general = errors_between(fit_patch(observed, lattice, noise), units, tissue)
    assert general > 0.2
    assert local < 0.6 * general


@pytest.mark.parametrize(
    ("name", "value"),
    [("ITERATIONS", 4), ("LEFT_OUT", 0.4), ("STEP_UM", 30.0), ("BIN_UM", 24.0), ("HALF_UM", 20.0)],
)
def test_each_constant_matters(name, value, monkeypatch):
    tissue, lattice, noise, units, observed = fitted_parts()
    usual, _ = errors_between(fit_patch(observed, lattice, noise), units, tissue)
    monkeypatch.setattr(tissue_covariance, name, value)
    monkeypatch.setattr(tissue_covariance, "HALF_ROWS", 1)
    tissue = Tissue(POSITIONS, 1)
    lattice = Lattice(tissue, SIGNAL)
    observed = seen_units(tissue, units, np.arange(-24.0, 25.0, 2.0), noise)
    changed, _ = errors_between(fit_patch(observed, lattice, noise), units, tissue)
    assert changed > 1.15 * usual


def test_moments_are_sums_over_samples_in_spikes_at_each_displacement():
    rng = np.random.default_rng(0)
    tissue = Tissue(POSITIONS, 1)
    moments = TissueMoments(tissue)
    chunks = [
        (rng.normal(size=(200, 40)), rng.random((200, 40)) < 0.03, shift) for shift in (0.0, 10.0, 9.5, -7.0)
    ]
    for traces, in_spike, shift in chunks:
        moments.add(traces.astype("float32"), in_spike, np.full(40, shift))
    for patch in (0, PATCH, len(tissue.depths) - 1):
        expected = {}
        for traces, in_spike, shift in chunks:
            number = round(shift / BIN_UM)
            contacts, _ = tissue.view(patch, number * BIN_UM)
            rows = [row for row in range(200) if in_spike[row, contacts].any()]
            for row in rows:
                total, count = expected.get(number, (0.0, 0))
                part = traces[row, contacts].astype("float32")
                expected[number] = total + np.outer(part, part).astype("float64"), count + 1
        seen = moments.means(patch)
        kept = [(total / count, count) for total, count in expected.values() if count >= FEWEST_SAMPLES]
        assert len(seen) == len(kept) > 0
        for one, (mean, count) in zip(seen, kept, strict=True):
            assert one.num_samples == count
            np.testing.assert_allclose(one.covariance, mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("silent", ["no samples", "one displacement", "noise only"])
def test_what_tells_nothing_leaves_the_general_covariance(silent):
    _, lattice, noise, _, observed = fitted_parts()
    given = {
        "no samples": [],
        "one displacement": observed[:1],
        "noise only": [
            one._replace(covariance=0.9 * noise[np.ix_(one.contacts, one.contacts)]) for one in observed
        ],
    }[silent]
    assert fit_patch(given, lattice, noise).shape == (0, len(lattice.general))


@pytest.mark.parametrize("displacement", [0.0, 7.0, -20.0])
@pytest.mark.parametrize("layout", ["np1", "tetrode", "two", "one", "sparse", "same place"])
def test_weights_of_no_factors_are_those_that_are_the_same_everywhere(layout, displacement):
    """Of the contacts in view of a patch, which are nearly all that matter."""
    positions = {
        "np1": POSITIONS[:30],
        "tetrode": np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0], [20.0, 20.0]]),
        "two": np.array([[0.0, 0.0], [0.0, 25.0]]),
        "one": np.zeros((1, 2)),
        "sparse": np.stack([np.zeros(6), 100.0 * np.arange(6)], axis=1),
        "same place": np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 20.0]]),
    }[layout]
    tissue = Tissue(positions, 1)
    arguments = (positions, 1, SIGNAL, NOISE, np.ones(len(positions)), np.arange(len(positions)), "float64")
    none = [np.empty((0, len(tissue.points)))] * len(tissue.depths)
    value = TissueWeights(*arguments, factors=none).dense(np.full(len(positions), displacement))
    expected = WienerWeights(*arguments).dense(np.full(len(positions), displacement))
    np.testing.assert_allclose(value, expected, atol=0.06)


def test_noise_keeps_its_level_in_a_fitted_patch():
    tissue, lattice, noise, _, observed = fitted_parts()
    factors = [fit_patch(observed, lattice, noise)] * len(tissue.depths)
    weights = TissueWeights(POSITIONS, 1, SIGNAL, NOISE, LEVELS, np.arange(40), "float64", factors=factors)
    levels = []
    for displacement in np.arange(-18.0, 19.0, 3.0):
        dense = weights.dense(np.full(40, displacement))[10:30]
        levels.append(np.sqrt(np.einsum("ij,jk,ik->i", dense, noise, dense)))
    levels = np.array(levels)
    assert (levels <= np.sqrt(weights.wanted[10:30]) * 1.001).all()
    assert np.median(levels.std(axis=0) / levels.mean(axis=0)) < 0.05


def test_some_targets_have_their_rows_of_all_and_none_outside():
    tissue, lattice, noise, _, observed = fitted_parts()
    factors = [fit_patch(observed, lattice, noise)] * len(tissue.depths)
    arguments = (POSITIONS, 1, SIGNAL, NOISE, LEVELS)
    moved = np.linspace(-30, 30, 40)
    everything = TissueWeights(*arguments, np.arange(40), "float64", factors=factors).dense(moved)
    targets = np.array([20, 3, 11])
    some = TissueWeights(*arguments, targets, "float64", factors=factors).dense(moved)
    np.testing.assert_allclose(some, everything[targets])
    inside = TissueWeights(*arguments, np.arange(40), "float64", False, factors=factors).dense(moved)
    outside = POSITIONS[:, 1] + moved < POSITIONS[:, 1].min()
    assert outside.any()
    assert not inside[outside].any()
    np.testing.assert_allclose(inside[10:30], everything[10:30])


def test_columns_of_points_are_spread_and_too_many_are_none():
    rng = np.random.default_rng(0)
    dense = np.stack(np.meshgrid(6.0 * np.arange(8), 6.0 * np.arange(20)), axis=-1).reshape(-1, 2)
    tissue = Tissue(dense, 1)
    assert np.diff(np.unique(tissue.points[:, 0])).min() >= 10.0
    assert np.diff(tissue.depths).min() >= 14.0
    assert np.abs(dense[:, 1] - tissue.depths[tissue.patch_of]).max() <= 14.0
    anywhere = Tissue(rng.uniform(0, 1000, (60, 2)), 1)
    assert len(anywhere.points) == 0
    moments = TissueMoments(anywhere)
    moments.add(rng.normal(size=(50, 60)), np.ones((50, 60), bool), np.zeros(60))
    assert moments.means(0) == []


def test_points_are_interpolated_as_the_covariance_says():
    tissue = Tissue(POSITIONS, 1)
    lattice = Lattice(tissue, SIGNAL)
    contacts = np.array([20, 21])
    place = np.array([-13.0, 31.0])
    rows = lattice.interpolation(contacts, place)
    at = np.stack([POSITIONS[contacts, 0], place], axis=1)
    crossing = SIGNAL.at(*separations(at, 1, tissue.points))
    np.testing.assert_allclose(rows @ lattice.general, crossing, atol=0.01)


def test_weights_are_those_of_whole_micrometers():
    """As finely as `motion_arguments.edges_along` steps; between two, spikes hardly change."""
    tissue, lattice, noise, _, observed = fitted_parts()
    factors = [fit_patch(observed, lattice, noise)] * len(tissue.depths)
    weights = TissueWeights(POSITIONS, 1, SIGNAL, NOISE, LEVELS, np.arange(40), "float64", factors=factors)
    near, same, next_one = (weights.dense(np.full(40, moved)) for moved in (6.6, 7.0, 8.0))
    np.testing.assert_array_equal(near, same)
    assert 0 < np.abs(next_one - same).max() < 0.3


def test_where_no_spike_was_seen_the_general_covariance_stays():
    """A share of it, without which a place that the units do not reach would have no signal at all."""
    tissue, lattice, noise, units, observed = fitted_parts()
    far = int(np.argmax(np.linalg.norm(tissue.points - (units[0] - [0.0, tissue.depths[PATCH]]), axis=1)))
    factors = fit_patch(observed, lattice, noise)
    fitted = factors.T @ factors + EVERYWHERE * lattice.general
    assert 0.02 < fitted[far, far] < 0.2 * fitted.diagonal().max()
