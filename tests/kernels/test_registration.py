"""Registration to a density that is local in time."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from steadyspike.kernels.motion import registration
from steadyspike.kernels.motion.registration import RegistrationSettings, Spikes

NUM_TIMES, PER_BIN, LIFE = 4800, 16, 600
KNOTS_UM = np.array([100.0])
EDGES = np.array([0, NUM_TIMES])


def quiet(iterable, _):
    return iterable


@pytest.fixture
def coming_and_going():
    """Spikes of units of which all are replaced, one after the other, in tissue that wanders."""
    rng = np.random.default_rng(5)
    truth = np.cumsum(rng.normal(0, 0.3, NUM_TIMES))
    bins = np.repeat(np.arange(NUM_TIMES), PER_BIN).astype("int32")
    unit = rng.integers(12, size=bins.size)
    # unit k moves elsewhere at times of its own, every LIFE bins
    generation = (bins + LIFE // 12 * unit) // LIFE
    places = rng.uniform(0, 200, (12, generation.max() + 1))
    sizes = rng.uniform(40, 200, places.shape)
    depths = places[unit, generation] + truth[bins] + rng.normal(0, 3.0, bins.size)
    return Spikes(bins, depths.astype("float32"), sizes[unit, generation].astype("float32")), truth


def mean_error(spikes, truth, settings, start_error_um=3.0):
    slow = start_error_um * np.sin(np.arange(NUM_TIMES) / 300.0)
    start = (truth + slow)[:, None]
    result = registration.refine(spikes, KNOTS_UM, (0.0, 200.0), [start], EDGES, settings, quiet)
    difference = result.displacement[:, 0] - truth
    return float(np.abs(difference - np.median(difference)).mean())


def test_local_density_follows_units_that_come_and_go(coming_and_going, monkeypatch):
    monkeypatch.setattr(registration, "LEAST_TEMPLATE_SPIKES", 1000)
    settings = RegistrationSettings(refine_iterations=6)
    everywhere = mean_error(*coming_and_going, replace(settings, template_span_bins=np.inf))
    local = mean_error(*coming_and_going, replace(settings, template_span_bins=600.0))
    assert local < 0.4 * everywhere
    assert local < 1.0


def test_order_of_spikes_does_not_matter(coming_and_going, monkeypatch):
    monkeypatch.setattr(registration, "LEAST_TEMPLATE_SPIKES", 1000)
    spikes, truth = coming_and_going
    order = np.random.default_rng(0).permutation(spikes.time_bins.size)
    mixed = Spikes(spikes.time_bins[order], spikes.depths_um[order], spikes.amplitudes[order])
    settings = RegistrationSettings(refine_iterations=1, template_span_bins=300.0)
    assert mean_error(mixed, truth, settings) == pytest.approx(mean_error(spikes, truth, settings), abs=1e-3)


@pytest.mark.parametrize(
    ("num_times", "num_spikes", "num_blocks"),
    [
        (100, 10**6, 1),
        (7200, 10**6, 1),
        (7201, 10**6, 3),
        (86_400, 10**7, 24),
        (86_400, 50_000, 1),
        (1, 0, 1),
    ],
)
def test_blocks_are_as_long_as_time_and_spikes_allow(num_times, num_spikes, num_blocks):
    span = registration._template_span(3600.0, num_spikes, num_times)
    weights = registration._block_weights(num_times, span)
    assert weights.shape == (num_blocks, num_blocks)
    assert np.ptp(np.diag(weights)) == 0.0
    assert np.all(np.diff(weights[0]) < 0)


def test_blocks_hold_every_spike_once():
    rng = np.random.default_rng(1)
    bins = rng.integers(100, size=500).astype("int32")
    blocks = list(registration._in_blocks((np.arange(500.0), bins), 100, 7))
    assert sorted(np.concatenate([values for values, _ in blocks])) == list(range(500))
    for (low, high), (_, own) in zip(pairwise(np.linspace(0, 100, 8)), blocks, strict=True):
        assert np.all((own >= low) & (own < high))
