"""The refractory tests of correlograms, against counts and sums by hand."""

import kilosort_folders as made
import numpy as np
import pytest
from scipy.stats import norm

from steadyspike.sorting import correlogram, refractory_test
from steadyspike.sorting.refractory import CROSS_THRESHOLDS

FS = made.FS


def by_hand(samples, others=None):
    """Count every pair of spikes, one by one, in bins of 30 samples around 0."""
    counts = np.zeros(1001, dtype="int64")
    for at, one in enumerate(samples):
        for position, other in enumerate(samples if others is None else others):
            bin_of = 500 + int((other - one + 15) // 30)
            if 0 <= bin_of <= 1000 and not (others is None and position == at):
                counts[bin_of] += 1
    return counts


def test_correlograms_are_those_of_all_pairs():
    first, second = (one[:300] for one in made.trains(num_units=2))
    np.testing.assert_array_equal(correlogram(first, FS), by_hand(first))
    np.testing.assert_array_equal(correlogram(first, FS, second), by_hand(first, second))
    np.testing.assert_array_equal(correlogram(first[::-1], FS, second), by_hand(first, second))


def test_a_unit_that_follows_another_lies_at_positive_lags():
    first = np.arange(10) * 30_000
    counts = correlogram(first, FS, first + 90)
    assert counts[503] == 10
    assert counts.sum() == 10


@pytest.mark.parametrize("fs", [24_414.0625, 20_000.0, 30_000.4])
def test_other_sampling_frequencies_have_as_many_bins(fs):
    counts = correlogram(np.arange(200) * int(fs / 10), fs)
    assert counts.shape == (1001,)
    # an interval of 100 ms falls near to the bin of 100 ms, as bins are whole samples
    assert counts[595:606].sum() == 199


def test_empty_units_have_empty_correlograms():
    empty = np.zeros(0, dtype="int64")
    assert not correlogram(empty, FS).any()
    assert not correlogram(np.arange(5), FS, empty).any()


def flat(value=100.0, **bins):
    counts = np.full(1001, value)
    for name, one in bins.items():
        lag = int(name.replace("minus_", "-").replace("plus_", ""))
        counts[500 + lag] = one
    return counts


def test_q_and_r_are_the_smallest_of_ten_sums():
    rng = np.random.default_rng(0)
    counts = rng.poisson(100, 1001).astype("float64")
    counts[498:503] = [40, 10, 999, 30, 60]
    test = refractory_test(counts)
    baseline = max(
        counts[first + 500 : last + 501].mean()
        for first, last in [(11, 50), (250, 500), (-50, -11), (-500, -250)]
    )
    found = [counts[500 - k : 501 + k].sum() - counts[500] for k in range(1, 11)]
    expected = [2 * k * baseline for k in range(1, 11)]
    assert test.q == pytest.approx(min(f / e for f, e in zip(found, expected, strict=True)))
    chances = [norm.cdf(f, e, np.sqrt(e)) for f, e in zip(found, expected, strict=True)]
    assert test.r == pytest.approx(min(chances), abs=1e-12)


def test_the_middle_bin_is_left_out():
    assert refractory_test(flat(plus_0=1e6, plus_1=0, minus_1=0)).q == 0
    assert refractory_test(flat(plus_0=0)).q == 1


def test_a_period_of_more_than_ten_bins_is_none_of_a_neuron():
    """The tenth bin counts, the eleventh does not; the eleventh belongs to the baseline."""
    counts = flat()
    counts[500 - 10 : 500 + 11] = 90
    counts[500 - 10] = counts[500 + 10] = 0
    assert refractory_test(counts).q == pytest.approx((9 * 180) / (20 * 100))
    eleventh = flat(plus_11=0, minus_11=0)
    assert refractory_test(eleventh).q == 1


@pytest.mark.parametrize("lags", [range(11, 51), range(250, 501), range(-50, -10), range(-500, -249)])
def test_the_baseline_is_the_highest_shoulder_of_four(lags):
    counts = flat(plus_1=50, minus_1=50)
    counts[[500 + lag for lag in lags]] = 200
    assert refractory_test(counts).q == pytest.approx(0.25)
    between = flat(plus_1=50, minus_1=50)
    between[[500 + lag for lag in range(51, 250)]] = 200
    assert refractory_test(between).q == pytest.approx(0.5)


def test_trains_are_refractory_only_where_neurons_are():
    clean, other = made.trains(num_units=2, rate=30.0)
    rng = np.random.default_rng(1)
    poisson = np.sort(rng.integers(0, int(made.DURATION_S * FS), 3000))
    assert refractory_test(correlogram(clean, FS)).refractory
    assert not refractory_test(correlogram(poisson, FS)).refractory
    # two pieces of one neuron, and two neurons
    halves = correlogram(clean[::2], FS, clean[1::2])
    assert refractory_test(halves, CROSS_THRESHOLDS).refractory
    assert not refractory_test(correlogram(clean, FS, other), CROSS_THRESHOLDS).refractory


def test_q_is_the_contamination_of_a_mixed_unit():
    clean = made.trains(num_units=1, rate=40.0)[0]
    rng = np.random.default_rng(2)
    share = 0.1
    stray = rng.integers(0, int(made.DURATION_S * FS), round(share * clean.size / (1 - share)))
    test = refractory_test(correlogram(np.sort(np.r_[clean, stray]), FS))
    # pairs in the refractory period: those with at least one stray spike
    assert test.q == pytest.approx(1 - (1 - share) ** 2, abs=0.05)


def test_few_spikes_show_no_period():
    """No coincidence at all is no sign of a refractory period where chance gives none either."""
    rng = np.random.default_rng(3)
    test = refractory_test(correlogram(np.sort(rng.integers(0, int(600 * FS), 60)), FS))
    assert test.q < 0.2 or np.isnan(test.q)
    assert not test.refractory


def test_thresholds_of_two_are_others_than_of_one():
    counts = flat(1.0, plus_1=0.3, minus_1=0.3, plus_2=0.1, minus_2=0.1)
    auto, cross = refractory_test(counts), refractory_test(counts, (0.25, 0.05))
    assert (auto.q_threshold, auto.r_threshold, cross.q_threshold, cross.r_threshold) == (
        0.2,
        0.2,
        0.25,
        0.05,
    )
    # Q 0.2, R 0.055: between the two
    assert auto.q == pytest.approx(0.2)
    assert not auto.refractory
    assert 0.05 < cross.r < 0.2
    assert not cross.refractory


def test_no_spikes_and_wrong_counts():
    assert np.isnan(refractory_test(np.zeros(1001)).q)
    assert not refractory_test(np.zeros(1001)).refractory
    with pytest.raises(ValueError, match=r"shape \(1000,\)"):
        refractory_test(np.zeros(1000))
