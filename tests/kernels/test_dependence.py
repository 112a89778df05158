"""Chatterjee's xi and the codec against scipy and against double loops."""

import numpy as np
import pytest
from scipy.stats import chatterjeexi, kstest

from steadyspike.kernels.motion.dependence import codec, draw_shifts, nearest_neighbours, p_value, xi


def rng(seed=0):
    return np.random.default_rng(seed)


def xi_oracle(x, y):
    """Count the ranks one by one; `x` has no ties."""
    y = y[np.argsort(x)]
    up_to = [sum(other <= value for other in y) for value in y]
    from_on = [sum(other >= value for other in y) for value in y]
    jumps = sum(abs(a - b) for a, b in zip(up_to[1:], up_to[:-1], strict=True))
    return 1 - len(y) * jumps / (2 * sum(count * (len(y) - count) for count in from_on))


def nearest_oracle(points, i):
    distances = [np.inf if j == i else np.linalg.norm(points[i] - points[j]) for j in range(len(points))]
    return int(np.argmin(distances))


def codec_oracle(y, z, x=None):
    """The formulas of the paper, with a double loop; no ties in `x` and `z`."""
    size = len(y)
    up_to = [sum(other <= value for other in y) for value in y]
    from_on = [sum(other >= value for other in y) for value in y]
    if x is None:
        points = z.reshape(size, -1)
        top = sum(
            size * min(up_to[i], up_to[nearest_oracle(points, i)]) - from_on[i] ** 2 for i in range(size)
        )
        return top / sum(count * (size - count) for count in from_on)
    both = np.column_stack([x, z])
    top = bottom = 0
    for i in range(size):
        beside = min(up_to[i], up_to[nearest_oracle(x.reshape(size, -1), i)])
        top += min(up_to[i], up_to[nearest_oracle(both, i)]) - beside
        bottom += up_to[i] - beside
    return top / bottom


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rounded", [False, True])
def test_xi_is_that_of_scipy_and_of_the_oracle(seed, rounded):
    x = rng(seed).normal(size=60)
    y = x**2 + 0.3 * rng(seed + 10).normal(size=60)
    y = np.round(y) if rounded else y
    value = xi(x, y, rng())[0]
    assert value == pytest.approx(chatterjeexi(x, y).statistic)
    assert value == pytest.approx(xi_oracle(x, y))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dimensions", [1, 2])
def test_codec_is_that_of_the_oracle(seed, dimensions):
    z = rng(seed).normal(size=(40, dimensions)).squeeze()
    x = rng(seed + 5).normal(size=40)
    y = np.round(np.sin(3 * z.reshape(40, -1)[:, 0]) + x, 1)
    assert codec(y, z, rng())[0] == pytest.approx(codec_oracle(y, z))
    assert codec(y, z, rng(), x=x)[0] == pytest.approx(codec_oracle(y, z, x))


@pytest.mark.parametrize("starts", [[0, 30], [0, 7, 8, 30]])
def test_shifts_turn_each_block_around(starts):
    x, y = rng(1).normal(size=30), np.round(rng(2).normal(size=30), 1)
    shifts = draw_shifts(starts, 5, rng(3))
    for row, shift in enumerate(shifts):
        parts = [np.roll(part, -by) for part, by in zip(np.split(y, starts[1:-1]), shift, strict=True)]
        turned = np.concatenate(parts)
        assert xi(x, y, rng(), starts, shifts)[row] == pytest.approx(xi_oracle(x, turned))
        assert codec(y, x, rng(), starts=starts, shifts=shifts)[row] == pytest.approx(codec_oracle(turned, x))


def test_shifts_given_another_series():
    x, z, y = rng(0).normal(size=40), rng(1).normal(size=40), rng(2).normal(size=40)
    shifts = np.array([[0], [3], [17]])
    values = codec(y, z, rng(), x=x, starts=[0, 40], shifts=shifts)
    expected = [codec_oracle(np.roll(y, -by), z, x) for by in shifts[:, 0]]
    np.testing.assert_allclose(values, expected)


def test_given_the_stretch_of_time_neighbours_stay_in_it():
    """Twenty bins share an x: each other one is as near, and the nearest in both lies among them."""
    x, z, y = np.repeat([0.0, 100.0], 20), rng(1).normal(size=40), rng(2).normal(size=40)
    chance = rng(4)
    together = nearest_neighbours(np.column_stack([x, z]), chance)
    beside = nearest_neighbours(x[:, np.newaxis], chance)
    assert (x[together] == x).all()
    assert (x[beside] == x).all()
    up_to = np.searchsorted(np.sort(y), y, side="right")
    known = np.minimum(up_to, up_to[beside]).sum()
    top = np.minimum(up_to, up_to[together]).sum() - known
    assert codec(y, z, rng(4), x=x)[0] == pytest.approx(top / (up_to.sum() - known))


def test_all_shifts_of_a_short_series_are_taken_once():
    shifts = draw_shifts([0, 6], 100, rng())
    assert shifts[0].tolist() == [0]
    assert sorted(shifts[1:, 0]) == [1, 2, 3, 4, 5]
    some = draw_shifts([0, 600], 100, rng())
    assert len(np.unique(some)) == 101
    several = draw_shifts([0, 6, 16], 100, rng())
    assert several.shape == (101, 2)
    assert (several < [6, 10]).all()
    assert draw_shifts([0, 0], 5, rng()).tolist() == [[0]]


def test_functions_and_noise():
    x = rng().uniform(-1, 1, 3000)
    noise = rng(1).normal(size=3000)
    assert xi(x, x**2, rng())[0] > 0.95
    assert codec(x**2, x, rng())[0] > 0.95
    assert abs(xi(x, noise, rng())[0]) < 0.05
    assert abs(codec(noise, x, rng())[0]) < 0.05
    # z explains nothing alone, everything together with x
    z = rng(2).uniform(-1, 1, 3000)
    y = (x + z) % 1.0
    assert codec(y, z, rng())[0] < 0.1
    assert codec(y, z, rng(), x=x)[0] > 0.8
    assert codec(x + 0.01 * noise, z, rng(), x=x)[0] < 0.1


def test_p_values_are_even_for_independent_series_that_wander():
    values = []
    for seed in range(200):
        steps = rng(seed).normal(size=(2, 120))
        x, y = (np.convolve(row, np.ones(10), mode="same") for row in steps)
        shifts = draw_shifts([0, 120], 99, rng(seed))
        values.append(p_value(xi(x, y, rng(seed), np.array([0, 120]), shifts)))
    assert kstest(values, "uniform").pvalue > 0.01
    shuffled = [
        chatterjeexi(
            *(np.convolve(row, np.ones(10), mode="same") for row in rng(s).normal(size=(2, 120)))
        ).pvalue
        for s in range(200)
    ]
    assert kstest(shuffled, "uniform").pvalue < 0.01, "what the shifts are for"


def test_a_shared_trend_is_not_called_dependence_given_time():
    starts, found = np.array([0, 200]), []
    stretch = 1000.0 * (np.arange(200) // 20)
    for seed in range(60):
        trend = 8 * np.sin(np.linspace(0, 4, 200))
        y, z = (trend + np.convolve(row, np.ones(8), mode="same") for row in rng(seed).normal(size=(2, 200)))
        shifts = draw_shifts(starts, 99, rng(seed))
        alone = p_value(codec(y, z, rng(seed), starts=starts, shifts=shifts))
        given = p_value(codec(y, z, rng(seed), stretch, starts, shifts))
        found.append((alone <= 0.05, given <= 0.05))
    alone, given = np.mean(found, axis=0)
    assert alone > 0.25
    assert given < 0.12


def test_p_value_counts():
    assert p_value(np.array([0.5, 0.1, 0.5, 0.9])) == pytest.approx(3 / 4)
    assert p_value(np.array([0.5])) == 1.0
    assert np.isnan(p_value(np.array([np.nan, np.nan])))


def test_neighbours_are_nearest_and_ties_are_even():
    points = np.array([[0.0], [1.0], [2.0], [2.0], [2.0], [10.0]])
    drawn = np.array([nearest_neighbours(points, rng(seed)) for seed in range(600)])
    assert set(drawn[:, 0]) == {1}
    assert set(drawn[:, 2]) == {3, 4}
    assert set(drawn[:, 5]) == {2, 3, 4}
    # the point at 1 has four neighbours at distance 1, three of them at one place
    shares = np.bincount(drawn[:, 1], minlength=6) / 600
    np.testing.assert_allclose(shares, [0.25, 0, 0.25, 0.25, 0.25, 0], atol=0.07)
    np.testing.assert_allclose((drawn[:, 3] == 2).mean(), 0.5, atol=0.07)


def test_neighbours_without_ties_are_those_of_a_double_loop():
    points = rng().normal(size=(50, 2))
    assert nearest_neighbours(points, rng()).tolist() == [nearest_oracle(points, i) for i in range(50)]
    assert nearest_neighbours(points[:2], rng()).tolist() == [1, 0]


@pytest.mark.parametrize("size", [0, 1, 2])
def test_too_short_series_have_no_dependence(size):
    series = np.arange(float(size))
    assert np.isnan(xi(series, series, rng())).all()
    assert np.isnan(codec(series, series, rng())).all()


def test_constant_series_have_no_dependence():
    series, still = np.arange(9.0), np.ones(9)
    for x, y in [(series, still), (still, series)]:
        assert np.isnan(xi(x, y, rng())).all()
        assert np.isnan(codec(y, x, rng())).all()
    assert np.isnan(
        codec(np.repeat([1.0, 2.0, 3.0], 3), series, rng(), x=np.repeat([0.0, 50.0, 100.0], 3))
    ).all()


def test_bad_series():
    with pytest.raises(ValueError, match="finite"):
        xi(np.array([1.0, np.nan, 2.0]), np.arange(3.0), rng())
    with pytest.raises(ValueError, match=r"shapes \(3,\) and \(4,\)"):
        xi(np.arange(3.0), np.arange(4.0), rng())
    with pytest.raises(ValueError, match="starts end at 4"):
        xi(np.arange(3.0), np.arange(3.0), rng(), [0, 4], np.zeros((1, 1)))
