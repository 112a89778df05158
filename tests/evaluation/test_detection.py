"""Scores of detected peaks, against a brute force search for the best matching."""

from itertools import permutations

import numpy as np
import pytest

from steadyspike.evaluation.detection import score_detection

LOCATIONS = np.array([[0.0, 0.0], [0.0, 40.0], [0.0, 80.0], [0.0, 200.0]])


def as_peaks(samples, channels):
    peaks = np.zeros(len(samples), dtype=[("sample_index", "int64"), ("channel_index", "int64")])
    peaks["sample_index"], peaks["channel_index"] = samples, channels
    return peaks


def most_matches(peaks, samples, channels):
    def near(i, j):
        distance = np.linalg.norm(LOCATIONS[peaks["channel_index"][i]] - LOCATIONS[channels[j]])
        return abs(peaks["sample_index"][i] - samples[j]) <= 12 and distance <= 60

    few, many = sorted((range(len(peaks)), range(len(samples))), key=len)
    ordered = len(few) == len(peaks)
    return max(
        sum(near(i, j) if ordered else near(j, i) for i, j in zip(few, chosen, strict=True))
        for chosen in permutations(many, len(few))
    )


@pytest.mark.parametrize("seed", range(6))
def test_as_many_as_can_be_are_matched(seed):
    rng = np.random.default_rng(seed)
    peaks = as_peaks(rng.integers(0, 80, 5), rng.integers(0, 4, 5))
    samples, channels = np.sort(rng.integers(0, 80, 7)), rng.integers(0, 4, 7)
    scores = score_detection(peaks, samples, channels, LOCATIONS)
    matched = most_matches(peaks, samples, channels)
    assert (scores.num_true, scores.num_detected, scores.num_matched) == (7, 5, matched)
    assert (scores.precision, scores.recall) == pytest.approx((matched / 5, matched / 7))
    assert scores.f1 == pytest.approx(2 * matched / 12)


def test_small_spikes_are_neither_right_nor_wrong():
    peaks = as_peaks([100, 200, 300], [0, 0, 0])
    samples, channels = np.array([100, 203, 500]), np.array([1, 0, 0])
    counts = np.array([True, False, True])
    scores = score_detection(peaks, samples, channels, LOCATIONS, counts=counts)
    assert (scores.num_true, scores.num_detected, scores.num_matched) == (2, 2, 1)
    assert scores.f1 == 0.5


def test_nothing_to_count():
    none = np.zeros(0, dtype="int64")
    for peaks in (as_peaks([], []), as_peaks([5], [0])):
        scores = score_detection(peaks, none, none, LOCATIONS)
        assert (scores.precision, scores.recall, scores.f1) == (0, 0, 0)
    missed = score_detection(as_peaks([], []), np.array([5]), np.array([0]), LOCATIONS)
    assert (missed.num_true, missed.num_matched, missed.f1) == (1, 0, 0)
