import numpy as np
import pytest

from steadyspike.kernels.spikes.lattice import lattice_of, undo_lattice
from steadyspike.simulation.drift import build_probe


@pytest.mark.parametrize(("probe", "expected"), [("np1", (40.0, 2)), ("np2", (15.0, 1))])
def test_period_of_a_probe(probe, expected):
    assert lattice_of(build_probe(probe, 64).contact_positions, 1) == expected


@pytest.mark.parametrize(
    "contacts",
    [
        np.zeros((8, 2)),
        np.array([[0.0, 0.0], [0.0, 25.0]]),
        np.random.default_rng(0).uniform(0, 400, (40, 2)),
    ],
)
def test_no_period(contacts):
    assert lattice_of(contacts, 1) == (None, 0)


def biased(num_units, bias_um, seed=0):
    rng = np.random.default_rng(seed)
    units = rng.uniform(0, 1000, num_units)
    true = units[rng.integers(num_units, size=30_000)] + 6.0 * rng.standard_normal(30_000)
    return true, true - bias_um * np.sin(2 * np.pi * true / 20.0)


def test_a_bias_towards_rows_is_undone():
    true, seen = biased(100, 1.5)
    assert np.std(undo_lattice(seen, 0.0, 20.0) - true) < 0.15 * np.std(seen - true)


@pytest.mark.parametrize("num_units", [10, 100])
def test_depths_without_a_bias_stay(num_units):
    true, seen = biased(num_units, 0.0)
    assert np.std(undo_lattice(seen, 0.0, 20.0) - true) < 0.05


@pytest.mark.parametrize("depths", [np.zeros(0), np.array([3.0]), np.full(50, 12.0)])
def test_few_depths_stay(depths):
    np.testing.assert_array_equal(undo_lattice(depths, 0.0, 20.0), depths)


def test_order_is_kept():
    _, seen = biased(30, 2.0)
    order = np.argsort(seen)
    assert (np.diff(undo_lattice(seen, 0.0, 20.0)[order]) >= 0).all()
