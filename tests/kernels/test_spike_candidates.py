"""Candidates, duplicates and pairs of spikes, against loops that say what they are."""

import numpy as np
import pytest

from steadyspike.kernels.spikes.contact_features import neighbour_lists
from steadyspike.kernels.spikes.event_pairs import near_pairs
from steadyspike.kernels.spikes.spike_candidates import find_candidates, keep_strongest

LOCATIONS = np.array([[x, 20.0 * row] for row in range(4) for x in (0.0, 32.0)])


def oracle_candidates(traces, scales, radius_um, sweep, threshold, sign):
    distances = np.linalg.norm(LOCATIONS[:, None] - LOCATIONS, axis=2)
    values = traces.astype("float32") * scales.astype("float32")
    values = np.abs(values) if sign == 0 else sign * values
    found = []
    for t in range(sweep, len(traces) - sweep):
        for c in range(traces.shape[1]):
            v = values[t, c]
            if not v >= threshold:
                continue
            rivals = [
                (values[s, other], -s, -other)
                for s in range(t - sweep, t + sweep + 1)
                for other in np.flatnonzero(distances[c] <= radius_um)
                if not np.isnan(values[s, other])
            ]
            if max(rivals) == (v, -t, -c):
                found.append((t, c, v))
    return found


@pytest.mark.parametrize("sign", [-1, 0, 1])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_candidates_are_those_of_the_definition(sign, dtype):
    rng = np.random.default_rng(0)
    # few values, so that many are equal
    traces = rng.integers(-4, 5, size=(200, 8)).astype(dtype)
    scales = np.array([1, 1, 2, 0, 1, 1, 0.5, 1])
    neighbours = neighbour_lists(LOCATIONS, 30.0)
    samples, channels, values = find_candidates(
        traces, scales, *neighbours, sweep=3, threshold=2.5, sign=sign
    )
    assert list(zip(samples, channels, values, strict=True)) == oracle_candidates(
        traces, scales, 30.0, 3, 2.5, sign
    )
    assert samples.size > 10


def test_candidates_of_nasty_traces():
    neighbours = neighbour_lists(LOCATIONS, 30.0)
    ones = np.ones(8)

    def find(traces):
        return find_candidates(traces, ones, *neighbours, sweep=3, threshold=2.0)

    rng = np.random.default_rng(1)
    traces = (5 * rng.standard_normal((100, 8))).astype("float32")
    traces[rng.random(traces.shape) < 0.1] = np.nan
    found = find(traces)
    assert list(zip(*found, strict=True)) == oracle_candidates(traces, ones, 30.0, 3, 2.0, -1)
    assert find(np.zeros((100, 8)))[0].size == 0
    # of a plateau the first sample of the lowest channel
    plateau = find(np.full((100, 8), -5.0))
    assert plateau[0].size == 0
    for length in (0, 1, 6):
        assert find(np.full((length, 8), -5.0))[0].size == 0
    # more than the arrays hold at first
    many = np.zeros((20_000, 8), "float32")
    many[5::10, 0] = -np.arange(3, 2003)
    assert find(many)[0].size == 1999 + (many[19_995, 0] < 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(sweep=0, threshold=1.0), "sweep is 0"),
        (dict(sweep=1, threshold=0.0), "threshold is 0"),
        (dict(sweep=1, threshold=1.0, sign=2), "sign is 2"),
    ],
)
def test_candidates_refuse(options, message):
    with pytest.raises(ValueError, match=message):
        find_candidates(np.zeros((9, 8)), np.ones(8), *neighbour_lists(LOCATIONS, 30.0), **options)


def test_the_strongest_stays():
    rng = np.random.default_rng(2)
    samples = np.sort(rng.integers(0, 300, size=200))
    channels = rng.integers(0, 8, size=200)
    order = np.lexsort((channels, samples))
    samples, channels = samples[order], channels[order]
    strengths = rng.integers(0, 5, size=200).astype("float32")
    distances = np.linalg.norm(LOCATIONS[:, None] - LOCATIONS, axis=2)
    expected = [
        not any(
            (strengths[j], -j) > (strengths[i], -i)
            for j in range(200)
            if j != i and abs(samples[j] - samples[i]) <= 4 and distances[channels[i], channels[j]] <= 40.0
        )
        for i in range(200)
    ]
    kept = keep_strongest(samples, channels, strengths, *neighbour_lists(LOCATIONS, 40.0), sweep=4)
    assert kept.tolist() == expected
    assert 0 < kept.sum() < 200
    none = np.zeros(0, dtype="int64")
    assert keep_strongest(none, none, none, *neighbour_lists(LOCATIONS, 40.0), sweep=4).size == 0


def test_near_pairs_are_all_near_pairs():
    rng = np.random.default_rng(3)
    one, other = rng.integers(0, 500, size=60), np.sort(rng.integers(0, 500, size=80))
    of_one, of_other = rng.integers(0, 8, size=60), rng.integers(0, 8, size=80)
    first, second = near_pairs(one, of_one, other, of_other, LOCATIONS, 7, 40.0)
    expected = [
        (i, j)
        for i in range(60)
        for j in range(80)
        if abs(one[i] - other[j]) <= 7
        and np.linalg.norm(LOCATIONS[of_one[i]] - LOCATIONS[of_other[j]]) <= 40.0
    ]
    assert list(zip(first, second, strict=True)) == expected
    assert near_pairs(one[:0], of_one[:0], other, of_other, LOCATIONS, 7, 40.0)[0].size == 0
