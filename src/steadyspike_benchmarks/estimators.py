"""Our motion estimators beside each other: from the same peaks, and from the local field potential beside spikes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from steadyspike_benchmarks.accuracy import estimators, lfp, peaks

PEAK_SETS = (
    estimators.zigzag,
    estimators.steps,
    estimators.random_walk,
    estimators.nonrigid,
    estimators.few_units,
    estimators.sparse_spikes,
    estimators.real_noise,
    estimators.rates_change,
    estimators.bursts,
    estimators.gap,
    estimators.jerks,
    estimators.far_drift,
    estimators.segments,
)
FROM_PEAKS = ("steady_decentralized", "steady_point_cloud", "steady_iterative_template")


def run_peaks_study(num_seeds: int = 3, tell: Callable[[str], None] = lambda line: None) -> str:
    """Estimate the motion of the sets of peaks of `accuracy` with each of our estimators, all arguments at defaults.

    Parameters
    ----------
    num_seeds : int, default: 3
        Sets of peaks of each kind, at least 1.
    tell : callable, default: say nothing
        Told what is done.

    Returns
    -------
    table : str
        Markdown: mean of |estimate - truth| in um after one offset for each window, and seconds for an estimate.
    """
    lines = [f"| peaks | {' | '.join(FROM_PEAKS)} |", f"|---|{'---:|' * len(FROM_PEAKS)}"]
    seconds: dict[str, list[float]] = {method: [] for method in FROM_PEAKS}
    for make in PEAK_SETS:
        errors: dict[str, list[float]] = {method: [] for method in FROM_PEAKS}
        for seed in range(num_seeds):
            made = make(seed)
            for method in FROM_PEAKS:
                start = time.perf_counter()
                motion = estimators.estimate(made, method)
                seconds[method].append(time.perf_counter() - start)
                errors[method].append(made.error_um(motion))
        means = " | ".join(f"{np.mean(values):.2f}" for values in errors.values())
        lines.append(f"| {make.__name__.replace('_', ' ')} | {means} |")
        tell(lines[-1])
    return "\n".join([*lines, f"| median time (s) | {_medians(seconds)} |"])


def _medians(seconds: dict[str, list[float]]) -> str:
    return " | ".join(f"{np.median(values):.2f}" for values in seconds.values())


DURATION_S = 10.0
NUM_ROWS = 32


def heartbeat(times_s):
    """A pulsation of 10 um at 1.3 Hz."""
    return 5 * np.sin(2 * np.pi * 1.3 * times_s)


def slow(times_s):
    """A drift of 30 um within 20 s."""
    return 15 * np.sin(2 * np.pi * times_s / 20)


SCENARIOS: dict[str, dict[str, Any]] = {
    "slow drift": dict(motion_of=slow),
    "heartbeat": dict(motion_of=heartbeat),
    "heartbeat and slow drift": dict(motion_of=lfp.pulsation),
    "heartbeat and slow drift, noisy potential": dict(motion_of=lfp.pulsation, noise=1.0),
    "heartbeat and slow drift, stretched": dict(motion_of=lfp.pulsation, stretch=0.5),
}


def _from_potential(method: str, simulation: dict[str, Any], **arguments: Any) -> Any:
    from spikeinterface.sortingcomponents.motion import estimate_motion

    recording, _ = lfp.simulated(**simulation)
    return estimate_motion(recording, method=method, rigid=True, progress_bar=False, **arguments)


def _from_spikes(simulation: dict[str, Any], bin_s: float) -> Any:
    from spikeinterface.sortingcomponents.motion import estimate_motion

    motion_of, stretch = simulation["motion_of"], simulation.get("stretch", 0.0)
    height_um = lfp.PITCH_UM * (NUM_ROWS - 1)

    def moves(times_s, depths_um):
        return motion_of(times_s) * (1 + stretch * (depths_um / height_um - 0.5))

    made = peaks.make_peaks(
        moves, DURATION_S, num_channels=2 * NUM_ROWS, num_units=40, rate_hz=5.0, seed=simulation["seed"]
    )
    return estimate_motion(
        made.recording,
        made.peaks,
        made.peak_locations,
        method="steady_decentralized",
        rigid=True,
        bin_s=bin_s,
        progress_bar=False,
    )


METHODS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "steady_decentralized_lfp": lambda simulation: _from_potential("steady_decentralized_lfp", simulation),
    "steady_decentralized, 1 s": lambda simulation: _from_spikes(simulation, 1.0),
    "steady_decentralized, 0.1 s": lambda simulation: _from_spikes(simulation, 0.1),
}


def run_lfp_study(num_seeds: int = 3, tell: Callable[[str], None] = lambda line: None) -> str:
    """Estimate the motion of simulated tissue from its potential and from its spikes.

    The potential has 32 rows of contacts, 20 um apart, and 250 samples per second; the spikes are 200 per second, of 40
    units, with depths that scatter by 4 um. Rigid estimates; the error is that of single samples of the potential.

    Parameters
    ----------
    num_seeds : int, default: 3
        Simulations of each scenario, at least 1.
    tell : callable, default: say nothing
        Told what is done.

    Returns
    -------
    table : str
        Markdown: mean of |estimate - truth| in um after one offset for each depth, and seconds for an estimate.
    """
    import steadyspike  # noqa: F401  (enters the estimators into SpikeInterface's table)

    lines = [f"| scenario | {' | '.join(METHODS)} | uncorrected |", f"|---|{'---:|' * (len(METHODS) + 1)}"]
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for name, settings in SCENARIOS.items():
        errors: dict[str, list[float]] = {method: [] for method in (*METHODS, "uncorrected")}
        for seed in range(num_seeds):
            simulation = dict(settings, durations_s=(DURATION_S,), num_rows=NUM_ROWS, seed=seed)
            recording, (truth,) = lfp.simulated(**simulation)
            errors["uncorrected"].append(_error_um(np.zeros_like(truth), truth))
            for method, estimate in METHODS.items():
                start = time.perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    motion = estimate(simulation)
                seconds[method].append(time.perf_counter() - start)
                errors[method].append(_error_um(_at_samples(motion, recording, truth.shape[1]), truth))
        cells = " | ".join(f"{np.mean(values):.2f}" for values in errors.values())
        lines.append(f"| {name} | {cells} |")
        tell(lines[-1])
    return "\n".join([*lines, f"| median time (s) | {_medians(seconds)} | |"])


def _at_samples(motion, recording, num_rows):
    times, depths_um = recording.get_times(), lfp.PITCH_UM * np.arange(num_rows)
    return motion.get_displacement_at_time_and_depth(times, depths_um, segment_index=0, grid=True).T


def _error_um(estimate, truth):
    difference = estimate - truth
    return float(np.abs(difference - np.median(difference, axis=0)).mean())
