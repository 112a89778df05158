"""Checks for artifacts against templates and noise whose faults are put in by hand."""

import numpy as np
import pandas as pd
import pytest

from steadyspike.evaluation.denoising.artifacts import (
    LIMITS,
    check_table,
    false_samples,
    nearest_pairs,
    neighbour_correlation,
    smearing,
)
from steadyspike.evaluation.denoising.units import NoiseSamples

RATE, NUM_TIMES = 30_000.0, 5000
POSITIONS = np.array([[0.0, 0.0], [0.0, 20.0], [32.0, 20.0], [0.0, 60.0]])


def samples_of(values):
    samples = NoiseSamples(np.arange(len(values)), values.shape[1])
    samples.values[:] = values
    return samples


def white(seed=0):
    return np.random.default_rng(seed).normal(size=(NUM_TIMES, 4))


def test_smearing_is_the_energy_outside():
    reference = np.zeros((4, 3))
    reference[1, 1], reference[2, 1], reference[1, 2] = -10.0, 4.0, 0.4
    assert smearing(reference, reference) == 0
    smeared = reference.copy()
    smeared[1, 0] = 5.0
    total = 100 + 16 + 0.16
    assert smearing(smeared, reference) == pytest.approx(25.16 / (total + 25) - 0.16 / total)
    assert smearing(0.3 * smeared, reference) == pytest.approx(smearing(smeared, reference))
    assert np.isnan(smearing(np.zeros((4, 3)), reference))


def test_false_samples_are_counted_between_spikes_only():
    values = np.clip(white(), -4, 4)
    quiet = np.ones(values.shape, bool)
    assert false_samples(samples_of(values), quiet, np.ones(4), RATE) == 0
    values[[3, 7, 11], [0, 1, 2]] = -6.0
    values[20, 3], values[21, 3] = np.nan, 9.0
    quiet[21, 3] = False
    found = false_samples(samples_of(values), quiet, np.ones(4), RATE)
    assert found == pytest.approx(3 * RATE / (4 * NUM_TIMES - 2))
    # the noise is that of the traces themselves
    assert false_samples(samples_of(values), quiet, np.full(4, 1.5), RATE) == 0
    assert np.isnan(false_samples(samples_of(values), np.zeros_like(quiet), np.ones(4), RATE))


def test_pairs_are_the_nearest_live_ones():
    assert nearest_pairs(POSITIONS, np.ones(4, bool)).tolist() == [[0, 1], [0, 2], [1, 2], [1, 3]]
    assert nearest_pairs(POSITIONS, np.array([True, False, True, True])).tolist() == [[0, 2], [0, 3], [2, 3]]
    assert nearest_pairs(POSITIONS[:1], np.ones(1, bool)).shape == (0, 2)


def test_correlation_is_that_of_quiet_samples():
    values = white()
    values[:, 1] = 0.6 * values[:, 0] + 0.8 * values[:, 1]
    quiet = np.ones(values.shape, bool)
    values[:50, :2], quiet[:50, 1] = 100.0, False
    values[60, 0] = np.nan
    found = neighbour_correlation(samples_of(values), quiet, np.array([[0, 1]]))
    assert found == pytest.approx(0.6, abs=0.04)
    assert np.isnan(neighbour_correlation(samples_of(values), quiet, np.zeros((0, 2), int)))


class Gathered:
    def __init__(self, values):
        self.noise = samples_of(values)


def units_of(method, bias):
    return [
        dict(
            **dict(method=method, size=size, amplitude_bias=sign * bias, shape_bias=0.001, smearing=0.01),
            violations=0.03 if method == "repeated" else 0.01,
        )
        for size in ("small", "large")
        for sign in (-1.0, -1.0, 1.0)
    ]


def test_what_a_method_does_is_told_from_what_the_recording_is_like():
    raw = white()
    raw[5] = 8.0
    tied = raw + 2 * raw[:, [1, 0, 2, 3]]
    invented = raw.copy()
    invented[::500] = -7.0
    methods = {"raw": raw, "model": raw, "tied": tied, "invented": invented, "repeated": raw}
    biases = dict(raw=0.0, model=0.01, tied=0.05, invented=0.0, repeated=0.0)
    table = check_table(
        {name: Gathered(values) for name, values in methods.items()},
        pd.DataFrame([row for name in methods for row in units_of(name, biases[name])]),
        dict.fromkeys(methods, np.ones(4)) | {"tied": np.array([5**0.5, 5**0.5, 3.0, 3.0])},
        *(np.ones(raw.shape, bool), POSITIONS, np.ones(4, bool), RATE),
    )
    failed = {(row.method, row.check) for row in table.itertuples() if not row.passed}
    assert failed == {
        *(("tied", "added_correlation"), ("tied", "amplitude_bias_large")),
        *(("invented", "false_samples"), ("repeated", "violations")),
    }
    # there are no medium units
    assert set(table["check"]) == set(LIMITS) - {"amplitude_bias_medium"}
    assert "raw" not in set(table["method"])
    assert table.set_index("check")["recorded"]["smearing"].unique() == [0.01]
