"""Spike trains whose rates change: in bursts, or over minutes and along the probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spikeinterface import BaseSorting

BURST_S, PAUSE_S = 2.0, 10.0
ATTENUATION, RECOVERY_S = 0.4, 0.02
"""A spike right after another is lower by this part, which recovers with this time constant."""
WAVE_UM, WAVES_PER_RECORDING, WAVE_DEPTH = 400.0, 2.0, 0.6
KINDS_OF_CHANGE = ("starts", "stops", "pauses", "rises", "falls", "constant")


def draw_spike_trains(
    firing: str,
    depths_um: np.ndarray,
    duration_s: float,
    sampling_frequency: float,
    firing_rates: tuple[float, float],
    seed: int,
) -> tuple[BaseSorting, np.ndarray | None]:
    """Draw Poisson spike trains, one for each depth, with a refractory period of 4 ms.

    `firing` is "steady": constant rates; "bursts" of 2 s on average with pauses of 10 s on average, at six times the
    rate, whose spikes are lower the sooner they follow each other; or "changing": units that start, stop, pause, rise
    or fall at random times, on top of a wave of activity that travels along the probe. Mean rates, drawn from
    `firing_rates` in Hz, are about the same.

    Returns the sorting, and the factor on each spike's template, in the order of the spike vector (None: 1).
    """
    from spikeinterface.core import NumpySorting
    from spikeinterface.core.generate import generate_sorting

    # thinned rates are raised by as much beforehand
    gain = {"steady": 1.0, "bursts": 1.0 + PAUSE_S / BURST_S, "changing": 2.5}[firing]
    low, high = firing_rates
    sorting = generate_sorting(
        num_units=depths_um.size,
        sampling_frequency=sampling_frequency,
        durations=[duration_s],
        firing_rates=(low * gain, high * gain),
        refractory_period_ms=4.0,
        seed=seed,
    )
    if firing == "steady":
        return sorting, None
    rng = np.random.default_rng((seed, 1))
    spikes = sorting.to_spike_vector()
    times = spikes["sample_index"] / sampling_frequency
    kept = np.zeros(spikes.size, dtype=bool)
    for unit in range(depths_um.size):
        own = np.flatnonzero(spikes["unit_index"] == unit)
        if firing == "bursts":
            kept[own] = _in_bursts(times[own], duration_s, rng)
        else:
            probability = _changing(times[own] / duration_s, depths_um[unit], rng)
            kept[own] = rng.random(own.size) < probability
    spikes = spikes[kept]
    thinned = NumpySorting(spikes, sampling_frequency, sorting.unit_ids)
    return thinned, _attenuation(spikes, sampling_frequency) if firing == "bursts" else None


def _in_bursts(times: np.ndarray, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    number = int(3 * duration_s / (BURST_S + PAUSE_S)) + 10
    lengths = np.stack([rng.exponential(PAUSE_S, number), rng.exponential(BURST_S, number)], axis=1).ravel()
    switches = np.cumsum(lengths) - rng.uniform(0, PAUSE_S)
    # an odd number of switches before a spike: the unit is in a burst
    return np.searchsorted(switches, times) % 2 == 1


def _changing(time: np.ndarray, depth_um: float, rng: np.random.Generator) -> np.ndarray:
    """Probability of keeping spikes at relative times 0 to 1."""
    wave = 0.5 * (1.0 + np.sin(2 * np.pi * (WAVES_PER_RECORDING * time - depth_um / WAVE_UM)))
    start, stop = np.sort(rng.uniform(0.1, 0.9, 2))
    own = {
        "starts": time > start,
        "stops": time < stop,
        "pauses": (time < start) | (time > stop),
        "rises": 0.1 + 0.9 * time,
        "falls": 1.0 - 0.9 * time,
        "constant": np.ones(time.size),
    }[KINDS_OF_CHANGE[rng.integers(len(KINDS_OF_CHANGE))]]
    return own * (1.0 - WAVE_DEPTH * wave)


def _attenuation(spikes: np.ndarray, sampling_frequency: float) -> np.ndarray:
    factors = np.ones(spikes.size, dtype="float32")
    for unit in np.unique(spikes["unit_index"]):
        own = np.flatnonzero(spikes["unit_index"] == unit)
        intervals = np.diff(spikes["sample_index"][own], prepend=-np.inf) / sampling_frequency
        factors[own] = 1.0 - ATTENUATION * np.exp(-intervals / RECOVERY_S)
    return factors
