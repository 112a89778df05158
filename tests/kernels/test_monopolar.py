import numpy as np
import pytest
from scipy.optimize import minimize

from steadyspike.kernels.spikes import monopolar
from steadyspike.kernels.spikes.contact_features import neighbour_lists
from steadyspike.kernels.spikes.monopolar import PENALTY_WEIGHT, PRIOR_WEIGHT, solve_monopolar

STAGGERED = np.array([[16.0 * ((3 * i) % 4), 20.0 * (i // 2)] for i in range(40)])
TWO_COLUMNS = np.array([[32.0 * (i % 2), 15.0 * (i // 2)] for i in range(40)])
LINEAR = np.array([[0.0, 20.0 * i] for i in range(20)])
TETRODE = np.array([[0.0, 0.0], [25.0, 0.0], [0.0, 25.0], [25.0, 25.0]])
GEOMETRIES = {"staggered": STAGGERED, "two columns": TWO_COLUMNS, "linear": LINEAR, "tetrode": TETRODE}


def objective_oracle(position, features, contacts):
    x, y, z = position
    weights = features / features.max()
    inverse = np.array([1 / np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + z**2) for cx, cy in contacts])
    alpha = sum(weights * inverse) / sum(inverse**2)
    main = contacts[features.argmax()]
    prior = ((x - main[0]) ** 2 + (y - main[1]) ** 2) / 30**2 + np.log(z / 25) ** 2
    return np.mean((weights - alpha * inverse) ** 2) + prior / 10_000


def box_oracle(features, contacts, max_distance_um):
    center = (features[:, None] * contacts).sum(axis=0) / features.sum()
    sides = [(c - max_distance_um, c + max_distance_um) for c in center]
    return center, [*sides, (1, 10 * max_distance_um)]


def solve_oracle(features, contacts, max_distance_um):
    """Minimize with SciPy, numerical gradient, from several heights above the center of mass."""
    center, bounds = box_oracle(features, contacts, max_distance_um)
    results = [
        minimize(objective_oracle, [*center, z], args=(features, contacts), bounds=bounds)
        for z in (5, 20, 80)
    ]
    return min(result.fun for result in results)


def simulate(locations, num_spikes, seed, noise=0.1):
    """Point sources near the contacts, with noise on the features."""
    rng = np.random.default_rng(seed)
    neighbours, counts = neighbour_lists(locations, 75.0)
    channels = rng.integers(0, len(locations), num_spikes)
    sources = np.column_stack(
        [locations[channels] + rng.normal(0, 12, (num_spikes, 2)), rng.uniform(8, 60, num_spikes)]
    )
    features = np.zeros(neighbours.shape)[channels]
    for i, channel in enumerate(channels):
        contacts = np.column_stack([locations[neighbours[channel]], np.zeros(neighbours.shape[1])])
        features[i] = 3000.0 / np.linalg.norm(contacts - sources[i], axis=1)
    features += noise * features.max(axis=1, keepdims=True) * np.abs(rng.standard_normal(features.shape))
    return features, (channels, neighbours, counts, locations), sources


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("noise", [0.02, 0.5])
def test_objective_is_no_worse_than_the_oracle(name, noise):
    features, layout, _ = simulate(GEOMETRIES[name], 25, seed=0, noise=noise)
    channels, neighbours, counts, locations = layout
    solved = solve_monopolar(features, *layout, 150.0)
    for i, channel in enumerate(channels):
        used = features[i, : counts[channel]]
        contacts = locations[neighbours[channel, : counts[channel]]]
        ours = objective_oracle(solved[i, :3], used, contacts)
        assert ours <= solve_oracle(used, contacts, 150.0) + 1e-6


def deepest_oracle(features, contacts, main, max_distance_um):
    """Lowest objective that descents reach from many heights, above the center of mass and the main contact."""
    center, bounds = box_oracle(features, contacts, max_distance_um)
    lower, upper = np.array(bounds, dtype="float64").T
    weights, (xs, ys) = features / features.max(), np.ascontiguousarray(contacts.T)
    power, work, reached = (weights**2).sum(), np.empty((8, 6)), []
    prior = np.array([0.0, PRIOR_WEIGHT, *main])
    for place in (center, main):
        for z in (2.0, 5.0, 20.0, 80.0, 300.0):
            point = np.clip([*place, z], lower, upper)
            reached.append(monopolar._descend(point, weights, xs, ys, power, prior, lower, upper, work))
    return min(reached)


def test_hardly_any_spike_misses_the_deepest_minimum():
    # 10 of 6000 do; 15 where NEAR_Z_UM or GOOD_FIT is a third, 20 for POOR_FIT, 34 for FAR_Z_UM, 73 without the second
    # start. Three times as high starts are as good, and larger GOOD_FIT and POOR_FIT only take more time.
    features, layout, _ = simulate(STAGGERED, 6000, seed=0, noise=1.5)
    channels, neighbours, counts, locations = layout
    solved = solve_monopolar(features, *layout, 150.0)
    missed = 0
    for i, channel in enumerate(channels):
        used, contacts = features[i, : counts[channel]], locations[neighbours[channel, : counts[channel]]]
        ours = objective_oracle(solved[i, :3], used, contacts)
        missed += ours > deepest_oracle(used, contacts, contacts[used.argmax()], 150.0) + 1e-6
    assert missed <= 12


def test_alpha_and_goodness_of_fit_match_their_formulas():
    features, layout, _ = simulate(STAGGERED, 20, seed=1)
    channels, neighbours, counts, locations = layout
    for i, (x, y, z, alpha, goodness) in enumerate(solve_monopolar(features, *layout)):
        used = features[i, : counts[channels[i]]]
        contacts = locations[neighbours[channels[i], : counts[channels[i]]]]
        inverse = 1 / np.sqrt(((contacts - [x, y]) ** 2).sum(axis=1) + z**2)
        assert alpha == pytest.approx((used * inverse).sum() / (inverse**2).sum(), rel=1e-9)
        residual = ((used - alpha * inverse) ** 2).sum()
        expected = 1 - residual / ((used - used.mean()) ** 2).sum()
        assert goodness == pytest.approx(np.clip(expected, 0, 1), abs=1e-9)


def test_a_source_without_noise_is_found():
    features, layout, sources = simulate(STAGGERED, 400, seed=2, noise=0.0)
    solved = solve_monopolar(features, *layout)
    # the prior pulls, the more the flatter the misfit is: far away and beside the probe
    low, high = [0, 40, 0], [48, 340, 35]
    near = ((sources > low) & (sources < high)).all(axis=1)
    assert near.sum() > 100
    np.testing.assert_allclose(solved[near, :2], sources[near, :2], atol=1.5)
    np.testing.assert_allclose(solved[near, 2], sources[near, 2], atol=3)
    assert (solved[near, 4] > 0.99).all()


def test_contacts_beyond_the_count_are_not_used():
    features, layout, _ = simulate(STAGGERED, 30, seed=3)
    channels, _, counts, _ = layout
    other = features.copy()
    for i, channel in enumerate(channels):
        other[i, counts[channel] :] = 1e9
    np.testing.assert_array_equal(solve_monopolar(features, *layout), solve_monopolar(other, *layout))


def test_same_spike_alone_and_in_any_order():
    features, layout, _ = simulate(TWO_COLUMNS, 60, seed=4, noise=0.4)
    channels, *lists = layout
    together = solve_monopolar(features, *layout)
    np.testing.assert_array_equal(solve_monopolar(features[::-1], channels[::-1], *lists)[::-1], together)
    for i in (0, 17, 59):
        alone = solve_monopolar(features[i : i + 1], channels[i : i + 1], *lists)
        np.testing.assert_array_equal(alone[0], together[i])


def test_units_and_depth_do_not_change_the_answer():
    features, layout, _ = simulate(STAGGERED, 50, seed=5)
    channels, neighbours, counts, locations = layout
    solved = solve_monopolar(features, *layout)
    scaled = solve_monopolar(1e-6 * features, *layout)
    np.testing.assert_allclose(scaled, solved * [1, 1, 1, 1e-6, 1], rtol=1e-6)
    deep = solve_monopolar(features, channels, neighbours, counts, locations + [0.0, 65_536.0])
    np.testing.assert_allclose(deep - [0, 65_536.0, 0, 0, 0], solved, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("max_distance_um", [1.0, 10.0, 150.0, 1e5])
def test_positions_stay_in_the_box(max_distance_um):
    features, layout, _ = simulate(TWO_COLUMNS, 150, seed=6, noise=3.0)
    channels, neighbours, counts, locations = layout
    solved = solve_monopolar(features, *layout, max_distance_um)
    hit = 0
    for i, channel in enumerate(channels):
        used, contacts = features[i, : counts[channel]], locations[neighbours[channel, : counts[channel]]]
        _, bounds = box_oracle(used, contacts, max_distance_um)
        for value, (low, high) in zip(solved[i, :3], bounds, strict=True):
            assert low - 1e-9 <= value <= high + 1e-9
            hit += min(value - low, high - value) < 1e-9
    # far out some bound must be active for this noise, else the test shows nothing
    assert hit > 0 or max_distance_um == 1e5


@pytest.mark.parametrize("weights_of_prior", [(PENALTY_WEIGHT, 0.0), (0.0, PRIOR_WEIGHT), (1e-2, 1e-2)])
def test_gradient_and_hessian_match_finite_differences(weights_of_prior):
    prior = np.array([*weights_of_prior, 10.0, 40.0])
    rng = np.random.default_rng(7)
    contacts = STAGGERED[:15]
    xs, ys = np.ascontiguousarray(contacts.T)
    for _ in range(20):
        weights = rng.random(15)
        power = (weights**2).sum()
        point = np.array([rng.uniform(-20, 60), rng.uniform(-20, 120), np.exp(rng.uniform(1, 5))])
        gradient, hessian = np.zeros(6), np.zeros(6)
        monopolar._derivatives(point, weights, xs, ys, power, prior, gradient, hessian)
        full = hessian[[0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(3, 3)
        for k, step in enumerate(1e-3 * np.eye(3)):
            ahead, behind = np.zeros(6), np.zeros(6)
            values = [
                monopolar._derivatives(
                    point + sign * step, weights, xs, ys, power, prior, slopes, np.zeros(6)
                )
                for sign, slopes in ((1, ahead), (-1, behind))
            ]
            assert gradient[k] == pytest.approx((values[0] - values[1]) / 2e-3, rel=1e-4, abs=1e-9)
            np.testing.assert_allclose(full[k], (ahead - behind)[:3] / 2e-3, rtol=1e-4, atol=1e-10)


def test_the_kernel_minimizes_the_oracles_objective():
    rng = np.random.default_rng(8)
    xs, ys = np.ascontiguousarray(STAGGERED[:15].T)
    features = 40 * rng.random(15)
    weights = features / features.max()
    point = np.array([10.0, 30.0, 45.0])
    prior = np.array([0.0, PRIOR_WEIGHT, *STAGGERED[features.argmax()]])
    power = (weights**2).sum()
    ours = monopolar._derivatives(point, weights, xs, ys, power, prior, np.zeros(6), np.zeros(6))
    assert ours == pytest.approx(objective_oracle(point, features, STAGGERED[:15]), abs=1e-12)


def test_a_damped_step_solves_its_system_or_says_no():
    rng = np.random.default_rng(9)
    step = np.zeros(6)
    for _ in range(50):
        half = rng.standard_normal((3, 3))
        matrix = half @ half.T - rng.uniform(0, 2) * np.eye(3)
        gradient = rng.standard_normal(3)
        packed = matrix[np.triu_indices(3)]
        solvable = np.linalg.eigvalsh(matrix + 0.5 * np.eye(3))[0] > 0
        assert monopolar._damped_step(gradient, packed, 0.5, step) == solvable
        if solvable:
            np.testing.assert_allclose((matrix + 0.5 * np.eye(3)) @ step[:3], -gradient, atol=1e-6)


def test_across_a_linear_probe_nothing_can_be_told():
    features, layout, sources = simulate(LINEAR, 100, seed=10, noise=0.0)
    solved = solve_monopolar(features, *layout)
    np.testing.assert_allclose(solved[:, 0], 0.0, atol=1e-3)
    distance = np.hypot(sources[:, 0], sources[:, 2])
    near = distance < 35
    np.testing.assert_allclose(solved[near, 2], distance[near], atol=3)
    np.testing.assert_allclose(solved[near, 1], sources[near, 1], atol=3)


HUGE, TINY = 1e300, 5e-324
NASTY = {
    "nothing": [0, 0, 0, 0],
    "all equal": [7, 7, 7, 7],
    "nan": [np.nan] * 4,
    "infinite": [np.inf] * 4,
    "negative": [-1, -2, -3, -4],
    "one finite": [np.nan, 3, np.nan, np.inf],
    "two finite": [np.nan, 3, np.nan, 2],
    "one dead contact": [5, 0, 4, 3],
    "one bad contact": [5, np.nan, 4, 3],
    "a single contact sees it": [0, 0, 9, 0],
    "huge": [HUGE, HUGE / 2, HUGE / 3, HUGE / 4],
    "tiny": [TINY, 2 * TINY, 0, 9 * TINY],
    "both": [HUGE, TINY, HUGE, TINY],
    "infinite and negative": [np.inf, -np.inf, 1, 0],
}


@pytest.mark.parametrize("name", NASTY)
def test_nasty_features_give_a_bounded_finite_answer(name):
    features = np.array([NASTY[name]], dtype="float64")
    solved = solve_monopolar(features, np.array([0]), *neighbour_lists(TETRODE, 75.0), TETRODE)
    assert np.isfinite(solved).all()
    assert (np.abs(solved[0, :2] - 12.5) <= 12.5 + 150).all()
    assert 1 <= solved[0, 2] <= 1500
    assert solved[0, 3] >= 0
    assert 0 <= solved[0, 4] <= 1


@pytest.mark.parametrize(
    ("name", "position", "alpha"),
    [
        ("nothing", (0, 0, 20), 0.0),
        ("nan", (0, 0, 20), 0.0),
        ("infinite", (0, 0, 20), 0.0),
        ("negative", (0, 0, 20), 0.0),
        ("one finite", (25, 0, 20), 60.0),
        ("all equal", (12.5, 12.5, 20), 7 * np.sqrt(2 * 12.5**2 + 20**2)),
    ],
)
def test_what_cannot_be_solved_gets_the_center_of_mass(name, position, alpha):
    features = np.array([NASTY[name]], dtype="float64")
    neighbours = np.array([[0, 1, 2, 3]] * 4)
    solved = solve_monopolar(features, np.array([0]), neighbours, np.full(4, 4), TETRODE)
    np.testing.assert_allclose(solved[0], [*position, alpha, 0.0])


def test_a_bad_contact_is_left_out_and_the_others_are_solved():
    features, layout, _ = simulate(STAGGERED, 1, seed=11)
    channels, neighbours, counts, locations = layout
    features[0, 2] = np.nan
    kept = np.delete(np.arange(features.shape[1]), 2)
    expected = solve_monopolar(features[:, kept], channels, neighbours[:, kept], counts - 1, locations)
    np.testing.assert_array_equal(solve_monopolar(features, *layout), expected)


def test_no_spike_and_a_main_channel_without_neighbours():
    neighbours, counts = neighbour_lists(TETRODE, 75.0)
    assert solve_monopolar(np.zeros((0, 4)), np.zeros(0, int), neighbours, counts, TETRODE).shape == (0, 5)
    alone = solve_monopolar(np.ones((1, 4)), np.array([3]), neighbours, np.zeros(4, int), TETRODE)
    np.testing.assert_array_equal(alone, [[25.0, 25.0, 20.0, 0.0, 0.0]])


@pytest.mark.parametrize("max_distance_um", [0.5, -1.0, 0.0, np.inf, np.nan])
def test_a_box_that_cannot_work_is_refused(max_distance_um):
    features, layout, _ = simulate(TETRODE, 2, seed=12)
    with pytest.raises(ValueError, match="max_distance_um is"):
        solve_monopolar(features, *layout, max_distance_um)
