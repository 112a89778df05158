import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize
from spikeinterface.postprocessing.localization_tools import estimate_distance_error_with_log

from steadyspike.kernels.spikes.monopolar_descent import (
    descend_monopolar,
    objective_with_differences,
    sources_are_determined,
)

STAGGERED = np.array([[16.0 * ((3 * i) % 4), 20.0 * (i // 2)] for i in range(14)])
LINE = np.array([[0.0, 20.0 * i] for i in range(7)])


def objective_oracle(position, features, contacts, penalty):
    x, y, z = position
    weights = features / features.max()
    inverse = np.array([1 / np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + z**2) for cx, cy in contacts])
    alpha = sum(weights * inverse) / sum(inverse**2)
    return np.mean((weights - alpha * inverse) ** 2) - penalty * np.log1p(10 * z)


def start_of(features, contacts):
    return np.append((features[:, None] * contacts).sum(axis=0) / features.sum(), 20.0)


def layout_of(contacts, num_spikes):
    """One main channel that has all contacts in reach."""
    neighbours, counts = np.arange(len(contacts))[np.newaxis], np.array([len(contacts)])
    return np.zeros(num_spikes, dtype=np.int64), neighbours, counts, contacts


def simulate(contacts, num_spikes, seed, noise=0.05):
    rng = np.random.default_rng(seed)
    sources = np.column_stack(
        [
            rng.uniform(contacts.min(axis=0), contacts.max(axis=0), (num_spikes, 2)),
            rng.uniform(10, 50, num_spikes),
        ]
    )
    distances = np.sqrt(((sources[:, None, :2] - contacts) ** 2).sum(axis=2) + sources[:, 2:] ** 2)
    features = 3000.0 / distances
    return features + noise * features.max(axis=1, keepdims=True) * np.abs(rng.normal(size=features.shape))


def hessian_oracle(position, features, contacts, penalty, step=0.05):
    def gradient(point):
        moves = step * np.eye(3)
        return np.array(
            [
                objective_oracle(point + move, features, contacts, penalty)
                - objective_oracle(point - move, features, contacts, penalty)
                for move in moves
            ]
        ) / (2 * step)

    return np.array([gradient(position + m) - gradient(position - m) for m in step * np.eye(3)]) / (2 * step)


@pytest.mark.parametrize("penalty", [0.0, 1e-4])
def test_the_minimum_and_its_curvature(penalty):
    features = simulate(STAGGERED, 25, 0)
    solved = descend_monopolar(features, *layout_of(STAGGERED, 25), 150.0, penalty)
    compared = 0
    for row, (x, y, z, alpha, curvature) in zip(features, solved, strict=True):
        start = start_of(row, STAGGERED)
        bounds = [(start[0] - 150, start[0] + 150), (start[1] - 150, start[1] + 150), (1, 1500)]
        found = minimize(
            objective_oracle,
            start,
            args=(row, STAGGERED, penalty),
            bounds=bounds,
            method="L-BFGS-B",
            options={"ftol": 1e-15, "gtol": 1e-9},
        )
        place = np.array([x, y, z])
        assert objective_oracle(place, row, STAGGERED, penalty) <= found.fun + 1e-9
        inverse = 1 / np.sqrt(((STAGGERED - [x, y]) ** 2).sum(axis=1) + z**2)
        assert alpha == pytest.approx((row * inverse).sum() / (inverse**2).sum(), rel=1e-9)
        if z > 5:
            line = (place - start) / np.linalg.norm(place - start)
            hessian = hessian_oracle(place, row, STAGGERED, penalty)
            expected = 1 / (line @ np.linalg.solve(hessian, line))
            assert curvature == pytest.approx(expected, rel=0.05, abs=1.5e-7)
            compared += 1
    assert compared > 10


def test_across_a_line_nothing_is_told_and_nothing_is_asked():
    features = simulate(LINE, 20, 1)
    for penalty in (0.0, 1e-4):
        solved = descend_monopolar(features, *layout_of(LINE, 20), 150.0, penalty)
        np.testing.assert_array_equal(solved[:, 0], 0.0)
        assert (solved[:, 4] > 1e-6).mean() > 0.8


def test_a_bound_of_the_box_leaves_a_position_open():
    features = simulate(STAGGERED, 20, 2)
    assert (descend_monopolar(features, *layout_of(STAGGERED, 20), 1.5)[:, 4] == 0).any()
    # as large everywhere as on the nearest: the source is as far away as it may be
    flat = np.full((1, len(STAGGERED)), 7.0)
    z, curvature = descend_monopolar(flat, *layout_of(STAGGERED, 1), 150.0)[0, [2, 4]]
    assert (z, curvature) == (1500.0, 0.0)


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, -np.inf, -1.0])
def test_features_that_have_no_source(spoilt):
    features = simulate(STAGGERED, 3, 3)
    features[1, 4] = spoilt
    features[2] = 0.0
    solved = descend_monopolar(features, *layout_of(STAGGERED, 3))
    assert np.isfinite(solved[0]).all()
    assert np.isnan(solved[1:]).all()


def test_spikes_do_not_know_of_each_other():
    features = simulate(STAGGERED, 12, 4).astype(np.float32)
    together = descend_monopolar(features, *layout_of(STAGGERED, 12))
    channels, *lists = layout_of(STAGGERED, 12)
    np.testing.assert_array_equal(descend_monopolar(features[::-1], channels, *lists)[::-1], together)
    assert descend_monopolar(features[:0], channels[:0], *lists).shape == (0, 5)


@pytest.mark.parametrize("max_distance_um", [0.5, np.inf, np.nan])
def test_a_box_that_cannot_work_is_refused(max_distance_um):
    with pytest.raises(ValueError, match="max_distance_um"):
        descend_monopolar(simulate(STAGGERED, 2, 5), *layout_of(STAGGERED, 2), max_distance_um)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_contacts", [5, 14, 140])
def test_values_are_spikeinterfaces_to_the_last_digits(dtype, num_contacts):
    rng = np.random.default_rng(6)
    contacts = rng.uniform(0, 200, (num_contacts, 2))
    xs, ys = np.ascontiguousarray(contacts.T)
    upper = np.array([1e3, 1e3, 1e3])
    for features in simulate(contacts, 10, 7).astype(dtype):
        point = np.array([rng.uniform(0, 200), rng.uniform(0, 200), rng.uniform(1, 100)])
        value, gradient = objective_with_differences(point, features, xs, ys, upper)
        arguments = (features, contacts, features.max())
        assert value == pytest.approx(
            estimate_distance_error_with_log(point, *arguments), rel=1e-14, abs=1e-16
        )
        expected = approx_fprime(point, estimate_distance_error_with_log, 1e-8, *arguments)
        # as large as the rounding of the value over the step
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=4e-8)


def test_differences_are_backward_at_the_upper_bound():
    xs, ys = np.ascontiguousarray(STAGGERED.T)
    features = simulate(STAGGERED, 1, 8)[0]
    point = np.array([20.0, 50.0, 30.0])
    _, inside = objective_with_differences(point, features, xs, ys, point + 1.0)
    _, at_bound = objective_with_differences(point, features, xs, ys, point)
    np.testing.assert_allclose(at_bound, inside, atol=1e-7)
    assert (at_bound != inside).any()
    np.testing.assert_array_equal(point, [20.0, 50.0, 30.0])


@pytest.mark.parametrize(
    ("contacts", "expected"),
    [
        (np.zeros((1, 2)), False),
        (LINE[:2], False),
        (LINE[:3], False),
        (LINE[:4], True),
        (np.array([[0, 0], [25, 0], [0, 25], [25, 25]]), False),
        (np.array([[0, 0], [25, 0], [0, 25], [25, 25], [25, 25]]), False),
        (np.array([[0, 0], [25, 0], [0, 25], [25, 25], [12, 12]]), True),
        # a slanted line, up to rounding
        (np.outer(np.arange(4), [3.3, 7.1]) + 4000.0, True),
        (np.outer(np.arange(3), [3.3, 7.1]) + 4000.0, False),
        (np.append(LINE[:3], [[10.0, 20.0]], axis=0), False),
    ],
)
def test_how_many_contacts_determine_a_source(contacts, expected):
    _, neighbours, counts, contacts = layout_of(contacts.astype(np.float64), 0)
    # a second channel, that has only the first contact in reach
    lists = np.concatenate([neighbours, np.where(neighbours > 0, -1, 0)])
    found = sources_are_determined(lists, np.array([counts[0], 1]), contacts)
    np.testing.assert_array_equal(found, [expected, False])
