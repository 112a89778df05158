"""Scenarios for what `steady_auto` follows between the time bins of its registration: mean error in um at all times."""

from __future__ import annotations

from functools import partial

import numpy as np

from . import peaks as sets
from .estimators import MakePeaks, estimate
from .scenarios import Scenario

STEP_S = 0.05


def finer_error(make: MakePeaks) -> float:
    """Mean error in um along the probe, every 0.05 s."""
    peak_set = make(0)
    motion = estimate(peak_set, "steady_auto")
    return peak_set.error_on_probe_um(motion, np.arange(0.5 * STEP_S, 60.0, STEP_S))


def jumps(seed: int) -> sets.PeakSet:
    """Jumps every 6.3 s, of up to 30 um, larger at the probe's top."""
    heights = np.random.default_rng(seed).uniform(-15, 15, 10)

    def motion(times_s, depths_um):
        return heights[(times_s / 6.3).astype("int64")] * (0.7 + 0.6 * depths_um / 940)

    return sets.make_peaks(motion, 60, jitter_um=2.0, seed=seed)


def fast_walk(seed: int) -> sets.PeakSet:
    """A random walk of 0.6 um every 0.2 s."""
    walk = np.cumsum(0.6 * np.random.default_rng(seed).choice([-1.0, 1.0], 300))

    def motion(times_s, depths_um):
        return walk[np.minimum(times_s * 5, 299).astype("int64")] + 0.0 * depths_um

    return sets.make_peaks(motion, 60, jitter_um=1.0, rate_hz=5.0, seed=seed)


def breathing(seed: int) -> sets.PeakSet:
    """1.5 um up and down with each breath, at 1 Hz, on a slow drift."""

    def motion(times_s, depths_um):
        return 8 * np.sin(times_s / 10) + 1.5 * np.sin(2 * np.pi * times_s) + 0.0 * depths_um

    return sets.make_peaks(motion, 60, jitter_um=1.0, rate_hz=5.0, seed=seed)


def slow_drift(seed: int) -> sets.PeakSet:
    """4 um in a minute: nothing is to be followed."""

    def motion(times_s, depths_um):
        return 2 * np.sin(times_s / 12) + 0.0 * depths_um

    return sets.make_peaks(motion, 60, rate_hz=4.0, seed=seed)


def few_spikes_jump(seed: int) -> sets.PeakSet:
    """Jumps of 20 um seen by 30 spikes per second on 960 um."""

    def motion(times_s, depths_um):
        return 20.0 * ((times_s / 9.1).astype("int64") % 2) + 0.0 * depths_um

    return sets.make_peaks(motion, 60, jitter_um=2.0, rate_hz=0.5, seed=seed)


MADE = (jumps, fast_walk, breathing, slow_drift, few_spikes_jump)
SCENARIOS = [
    Scenario(
        f"finer: {make.__name__.replace('_', ' ')}",
        "finer",
        "um",
        partial(finer_error, make),
        make.__doc__ or "",
    )
    for make in MADE
]
