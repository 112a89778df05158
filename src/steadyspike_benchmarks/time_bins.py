"""Which time bins `steady_auto` chooses where spikes are sparse, and how far its motion is from that of the best bins.

Peaks are drawn for each combination of peaks per second, hours, contacts and drift. Each duration of the time bins that
`steady_auto` can choose is also asked for, so that the table shows what the choice costs.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np

from steadyspike_benchmarks.accuracy.peaks import MotionOf, PeakSet, make_peaks, still

AMPLITUDE_UM = 12.0
FAST_PERIOD_S = 300.0
DRIFTS = ("none", "slow", "fast")
NUM_DEPTHS = 20


@dataclass(frozen=True)
class Case:
    """One recording.

    Parameters
    ----------
    peaks_per_s : float
        On the whole probe.
    hours : float
        Duration.
    num_channels : int
        Contacts of a Neuropixels 1.0 probe, counted from the tip; half as many units, but at least 10.
    drift : {"none", "slow", "fast"}
        A sine of 12 um up and down, the same at all depths: "slow" twice in the recording, "fast" every 300 s.
    jitter_um : float
        Standard deviation of a spike's depth.
    seed : int
        Of all that is random.
    """

    peaks_per_s: float
    hours: float
    num_channels: int
    drift: str
    jitter_um: float = 2.0
    seed: int = 0

    def motion(self) -> MotionOf:
        """Give the displacement (um) as a function of times (s) and depths (um)."""
        if self.drift == "none":
            return still
        period_s = FAST_PERIOD_S if self.drift == "fast" else 1800.0 * self.hours
        return lambda times_s, depths_um: (
            AMPLITUDE_UM * np.sin(2 * np.pi * times_s / period_s) + 0.0 * depths_um
        )

    def peaks(self) -> PeakSet:
        """Draw the peaks."""
        num_units = max(10, self.num_channels // 2)
        return make_peaks(
            self.motion(),
            3600.0 * self.hours,
            num_units=num_units,
            rate_hz=self.peaks_per_s / num_units,
            jitter_um=self.jitter_um,
            num_channels=self.num_channels,
            seed=self.seed,
        )


def cases(
    peaks_per_s: Iterable[float],
    hours: Iterable[float],
    num_channels: Iterable[int],
    drifts: Iterable[str] = DRIFTS,
    seed: int = 0,
    jitter_um: float = 2.0,
) -> list[Case]:
    """Give the cases of all combinations."""
    return [
        Case(rate, duration, channels, drift, jitter_um, seed)
        for rate, duration, channels, drift in product(peaks_per_s, hours, num_channels, drifts)
    ]


def run_case(case: Case) -> dict[str, Any]:
    """Estimate with the bins that `steady_auto` chooses, and with each duration by itself.

    Returns
    -------
    result : dict
        The case's numbers, "bin_s", "error_um", "max_um", "seconds" and "verdict" of what `steady_auto` returns, and
        "fixed", the same for each duration, where the estimate is returned whatever its verdict.
    """
    from steadyspike.motion.plan import TIME_BINS_S

    peak_set = case.peaks()
    fixed = [_estimate(peak_set, bin_s=bin_s, follow_verdict=False) for bin_s in TIME_BINS_S]
    return dict(asdict(case), num_peaks=int(peak_set.peaks.size), **_estimate(peak_set), fixed=fixed)


def _estimate(peak_set: PeakSet, **arguments: Any) -> dict[str, Any]:
    from steadyspike_benchmarks.accuracy.estimators import estimate

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        motion, extra = estimate(peak_set, "steady_auto", extra_outputs=True, **arguments)
    seconds = time.perf_counter() - start
    distance = np.abs(differences_um(peak_set, motion))
    return dict(
        bin_s=extra["chosen"]["bin_s"],
        error_um=float(distance.mean()),
        max_um=float(distance.max()),
        seconds=round(seconds, 2),
        verdict=extra["motion_trust"].verdict,
    )


def differences_um(peak_set: PeakSet, motion: Any) -> np.ndarray:
    """Estimate - truth at depths along the probe, after one offset for each, shape (num_times, num_depths)."""
    contacts = peak_set.recording.get_channel_locations()[:, 1]
    depths_um = np.linspace(contacts.min(), contacts.max(), NUM_DEPTHS)
    times_s = motion.temporal_bins_s[0]
    found = motion.get_displacement_at_time_and_depth(times_s, depths_um, segment_index=0, grid=True).T
    difference = found - peak_set.true_displacement(0, times_s, depths_um)
    return difference - np.median(difference, axis=0)


def run_sweep(
    chosen: Iterable[Case], tell: Callable[[str], None] = lambda line: None
) -> list[dict[str, Any]]:
    """Run cases one after the other; `tell` hears the row of each."""
    results = []
    for case in chosen:
        results.append(run_case(case))
        tell(_row(results[-1]))
    return results


def best_fixed(result: dict[str, Any]) -> dict[str, Any]:
    """Give what the best duration would have done, of one that is asked for."""
    return min(result["fixed"], key=lambda one: one["error_um"])


def format_sweep(results: list[dict[str, Any]]) -> str:
    """Write the sweep as a Markdown table."""
    head = "| peaks/s | hours | contacts | drift | chosen bin (s) | error (um) | largest (um) "
    head += "| best bin (s) | its error (um) | verdict |"
    return "\n".join([head, "|---:|---:|---:|---|---:|---:|---:|---:|---:|---|", *map(_row, results)])


def _row(result: dict[str, Any]) -> str:
    best = best_fixed(result)
    return (
        f"| {result['peaks_per_s']:g} | {result['hours']:g} | {result['num_channels']} | {result['drift']} | "
        f"{result['bin_s']:g} | {result['error_um']:.2f} | {result['max_um']:.1f} | {best['bin_s']:g} | "
        f"{best['error_um']:.2f} | {result['verdict']} |"
    )
