"""How much memory and time motion estimation takes on hours of recording, and how far its estimate is from the truth.

Only peaks are simulated: estimators look at nothing else. Every duration runs in a process of its own, because the
system remembers only the highest memory that a process ever had; it is stopped where it passes a limit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike_benchmarks.watched import StoppedError, run_watched

if TYPE_CHECKING:
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

SAMPLING_FREQUENCY = 30_000.0
UNITS_PER_CHANNEL = 0.6
DEPTH_JITTER_UM = 5.0
COMMON_STEP_UM, DEPTH_STEP_UM = 0.3, 0.1
WARM_UP_HOURS = 0.02
MB = 1e6
ONLINE_CHUNK_S = 1000
"""What `dredge_ap` falls back to; its documentation says: as large as possible."""
WAYS: dict[str, dict[str, Any]] = {
    "dredge_ap_online": dict(method="dredge_ap", batching_mode="online", chunk_len_s=ONLINE_CHUNK_S),
}
"""Estimators of SpikeInterface in another way than they work by themselves."""

SCRIPT = """
import json, sys
from steadyspike_benchmarks.memory import Settings, measure_here
print(json.dumps(measure_here(Settings(**json.loads(sys.argv[1])))))
"""


@dataclass(frozen=True)
class Settings:
    """What one process measures.

    Parameters
    ----------
    hours : float
        Duration of the simulated recording.
    peaks_per_second : float, default: 120.0
        On the whole probe.
    num_channels : int, default: 384
        Contacts of a Neuropixels 1.0 probe, counted from the tip.
    method : str, default: "steady_decentralized"
        A motion estimator of SpikeInterface, or one of `WAYS`.
    win_step_um, win_scale_um : float, default: 400.0
        Distance and width of the depth windows; with 384 channels, 400 um make 10 windows.
    win_margin_um : float or None, default: 0.0
        Distance of the outermost windows from the ends of the probe; None: as SpikeInterface has it (9 windows).
    seed : int, default: 0
        Not negative.
    turnover_hours : float or None, default: None
        Mean time after which a unit is lost and another one appears elsewhere, above 0. None: all units stay.
    """

    hours: float
    peaks_per_second: float = 120.0
    num_channels: int = 384
    method: str = "steady_decentralized"
    win_step_um: float = 400.0
    win_scale_um: float = 400.0
    win_margin_um: float | None = 0.0
    seed: int = 0
    turnover_hours: float | None = None


@dataclass(frozen=True)
class WanderingPeaks:
    """Simulated peaks and how the tissue moved.

    Attributes
    ----------
    recording : BaseRecording
        Noise that nobody reads; gives times and contacts.
    peaks : ndarray, shape (num_peaks,)
        As SpikeInterface detects them, ordered in time.
    peak_locations : ndarray, shape (num_peaks,)
        With the fields "x" and "y", in um.
    walks_um : ndarray, shape (num_seconds + 1, 2)
        Displacement at the lowest and at the highest contact, second by second; linear in time and depth between.
    """

    recording: BaseRecording
    peaks: np.ndarray
    peak_locations: np.ndarray
    walks_um: np.ndarray

    def displacement(self, times_s: np.ndarray, depths_um: np.ndarray) -> np.ndarray:
        """Give the true displacement in um at times and resting depths that broadcast against each other."""
        contacts = self.recording.get_channel_locations()[:, 1]
        height = (np.asarray(depths_um) - contacts.min()) / np.ptp(contacts)
        seconds = np.arange(self.walks_um.shape[0])
        low, high = (np.interp(times_s, seconds, walk) for walk in self.walks_um.T)
        return low + height * (high - low)

    def mean_error_um(self, motion: Motion, *, offset_per_depth: bool = False) -> float:
        """Give the mean of |estimate - truth| in um over time bins and windows, after removing the median.

        One median, or one for each window: spikes cannot tell a stretch of the tissue that was always there.
        """
        truth = self.displacement(motion.temporal_bins_s[0][:, np.newaxis], motion.spatial_bins_um)
        difference = motion.displacement[0] - truth
        offset = np.median(difference, axis=0 if offset_per_depth else None)
        return float(np.abs(difference - offset).mean())


def simulate_wandering_peaks(
    hours: float,
    peaks_per_second: float = 120.0,
    num_channels: int = 384,
    seed: int = 0,
    turnover_hours: float | None = None,
) -> WanderingPeaks:
    """Draw peaks of units at fixed depths in tissue that wanders.

    The displacement is a random walk of 0.3 um per second common to all depths, and one of 0.1 um per second for
    each end of the probe. Spikes are drawn minute by minute, so that little memory is needed beside the result.

    Parameters
    ----------
    hours : float
        Duration, above 0.
    peaks_per_second : float, default: 120.0
        On the whole probe.
    num_channels : int, default: 384
        Contacts of a Neuropixels 1.0 probe, counted from the tip; 2 to 384.
    seed : int, default: 0
        Not negative.
    turnover_hours : float or None, default: None
        Mean time after which a unit is lost and another one appears elsewhere, above 0. None: all units stay.

    Returns
    -------
    simulated : WanderingPeaks
    """
    from spikeinterface.core.node_pipeline import base_peak_dtype

    rng = np.random.default_rng(seed)
    recording = unread_recording(hours, num_channels, seed)
    duration_s = round(recording.get_total_duration())
    contacts = recording.get_channel_locations()
    steps = COMMON_STEP_UM * rng.standard_normal((duration_s, 1))
    steps = steps + DEPTH_STEP_UM * rng.standard_normal((duration_s, 2))
    walks_um = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])

    num_peaks = round(peaks_per_second * duration_s)
    peaks = np.zeros(num_peaks, dtype=base_peak_dtype)
    locations = np.zeros(num_peaks, dtype=[("x", "float64"), ("y", "float64")])
    simulated = WanderingPeaks(recording, peaks, locations, walks_um)
    num_units = max(2, round(UNITS_PER_CHANNEL * num_channels))
    units = _draw_units(num_units, contacts, rng)
    lost_per_minute = 0.0 if turnover_hours is None else -np.expm1(-1.0 / (60.0 * turnover_hours))
    edges_s = np.append(np.arange(0.0, duration_s, 60.0), duration_s)
    for start_s, stop_s in pairwise(edges_s):
        first, last = (round(peaks_per_second * second) for second in (start_s, stop_s))
        _fill(simulated, slice(first, last), (start_s, stop_s), units, rng)
        if lost_per_minute:
            lost = rng.random(num_units) < lost_per_minute
            units[lost] = _draw_units(int(lost.sum()), contacts, rng)
    return simulated


def unread_recording(hours: float, num_channels: int = 384, seed: int = 0) -> BaseRecording:
    """Give noise that is made when it is read, of at least one second on a Neuropixels 1.0 probe."""
    from spikeinterface.generation import NoiseGeneratorRecording

    from steadyspike.simulation.drift import build_probe

    recording = NoiseGeneratorRecording(
        num_channels,
        SAMPLING_FREQUENCY,
        [float(max(1, round(hours * 3600)))],
        noise_levels=1.0,
        strategy="on_the_fly",
        seed=seed,
    )
    recording.set_probe(build_probe("np1", num_channels))
    return recording


def _draw_units(num_units: int, contacts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Place units on the probe and give them amplitudes."""
    units = np.zeros(num_units, dtype=[("x", "f8"), ("y", "f8"), ("amplitude", "f8")])
    units["x"] = rng.uniform(contacts[:, 0].min(), contacts[:, 0].max(), num_units)
    units["y"] = rng.uniform(contacts[:, 1].min(), contacts[:, 1].max(), num_units)
    units["amplitude"] = -np.exp(rng.normal(4.5, 0.4, num_units))
    return units


def _fill(
    simulated: WanderingPeaks,
    part: slice,
    times_s: tuple[float, float],
    units: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Draw the spikes of one stretch of time."""
    peaks, locations = simulated.peaks[part], simulated.peak_locations[part]
    seconds = np.sort(rng.uniform(*times_s, peaks.size))
    unit = units[rng.integers(units.size, size=peaks.size)]
    peaks["sample_index"] = seconds * SAMPLING_FREQUENCY
    peaks["amplitude"] = unit["amplitude"] * rng.normal(1.0, 0.1, peaks.size)
    locations["x"] = unit["x"]
    locations["y"] = unit["y"] + simulated.displacement(seconds, unit["y"])
    locations["y"] += rng.normal(0.0, DEPTH_JITTER_UM, peaks.size)


def run_memory_benchmark(
    hours: Iterable[float] = (1, 2, 4, 8),
    *,
    methods: Iterable[str] = ("steady_decentralized",),
    limit_mb: float | None = None,
    limit_s: float | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Measure memory, time and error of motion estimation for some durations, each in a fresh process.

    Parameters
    ----------
    hours : iterable of float, default: (1, 2, 4, 8)
        Durations of the simulated recordings.
    methods : iterable of str, default: ("steady_decentralized",)
        Motion estimators.
    limit_mb, limit_s : float or None, default: None
        Memory in MB and seconds beyond which a process is stopped; longer durations of that method are then left out.
    **settings
        Of `Settings`.

    Returns
    -------
    results : list of dict
        What `measure_here` returned in each process; of one that was stopped, its settings and the reason as "stopped".

    Raises
    ------
    ValueError
        For durations or rates that are not above 0.
    RuntimeError
        If a process failed; with the last line of its error.
    """
    numbers = sorted(float(number) for number in hours)
    cases = [Settings(hours=number, method=method, **settings) for number in numbers for method in methods]
    for case in cases:
        if not case.hours > 0 or not case.peaks_per_second > 0:
            raise ValueError(
                f"hours={case.hours} and peaks_per_second={case.peaks_per_second} must be above 0"
            )
    results: list[dict[str, Any]] = []
    stopped: dict[str, str] = {}
    for case in cases:
        if case.method in stopped:
            continue
        try:
            results.append(measure(case, limit_mb=limit_mb, limit_s=limit_s))
        except StoppedError as reason:
            stopped[case.method] = str(reason)
            results.append(dict(asdict(case), stopped=str(reason)))
    return results


def measure(settings: Settings, **limits: Any) -> dict[str, Any]:
    """Run `measure_here` in a fresh process, within the limits of `run_watched`."""
    try:
        return run_watched(SCRIPT, json.dumps(asdict(settings)), **limits)
    except StoppedError:
        raise
    except RuntimeError as error:
        raise RuntimeError(f"estimating {settings.hours:g} h failed: {error}") from None


def measure_here(settings: Settings) -> dict[str, Any]:
    """Simulate, estimate and measure in this process, which should have done nothing else before.

    Parameters
    ----------
    settings : Settings
        What to measure.

    Returns
    -------
    result : dict
        The settings, and "num_peaks", "num_windows", "seconds" and "cpu_seconds" of the estimation; "error_um" and
        "error_per_depth_um", the mean error after removing one offset and one offset for each depth; in MB (1e6
        bytes) "imports_mb", the peak after imports and a first estimate on 1 min, which compiles;
        "inputs_mb", the size of peaks and locations; "simulated_mb", the peak before the estimate; and "peak_mb",
        the peak of all.
    """
    _estimate(simulate_wandering_peaks(WARM_UP_HOURS, 20.0, settings.num_channels), settings)
    imports_mb = peak_memory_mb()
    simulated = simulate_wandering_peaks(
        settings.hours,
        settings.peaks_per_second,
        settings.num_channels,
        settings.seed,
        settings.turnover_hours,
    )
    inputs_mb = (simulated.peaks.nbytes + simulated.peak_locations.nbytes) / MB
    simulated_mb = peak_memory_mb()
    start, cpu_start = time.perf_counter(), time.process_time()
    motion = _estimate(simulated, settings)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return dict(
        asdict(settings),
        num_peaks=int(simulated.peaks.size),
        num_windows=int(motion.spatial_bins_um.size),
        imports_mb=imports_mb,
        inputs_mb=inputs_mb,
        simulated_mb=simulated_mb,
        peak_mb=peak_memory_mb(),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        error_um=simulated.mean_error_um(motion),
        error_per_depth_um=simulated.mean_error_um(motion, offset_per_depth=True),
    )


def _estimate(simulated: WanderingPeaks, settings: Settings) -> Motion:
    from spikeinterface.sortingcomponents.motion import estimate_motion

    import steadyspike  # noqa: F401  (enters the estimator into SpikeInterface's table)

    return estimate_motion(
        simulated.recording,
        simulated.peaks,
        simulated.peak_locations,
        **WAYS.get(settings.method, dict(method=settings.method)),
        rigid=False,
        win_shape="gaussian",
        win_step_um=settings.win_step_um,
        win_scale_um=settings.win_scale_um,
        win_margin_um=settings.win_margin_um,
        bin_s=1.0,
        progress_bar=False,
    )


def peak_memory_mb() -> float:
    """Give the highest resident memory that this process ever had, in MB.

    Raises
    ------
    RuntimeError
        On Windows, which does not tell.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        # not getrusage: on Linux a new process starts with its parent's peak
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return float(fields["VmHWM"].split()[0]) * 1024 / MB
    try:
        import resource
    except ImportError:
        raise RuntimeError("peak memory can be measured on Linux and macOS only") from None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB


def format_memory_table(results: list[dict[str, Any]]) -> str:
    """Write what was measured as Markdown.

    Parameters
    ----------
    results : list of dict
        From `run_memory_benchmark`.

    Returns
    -------
    table : str
        One row for each duration.
    """
    lines = [
        "| hours | method | peaks | peaks and locations (MB) | peak memory (MB) | above imports (MB) "
        "| of that, per hour (MB) | time (s) | error (um) | error by depth (um) |",
        "|---:|---|" + "---:|" * 8,
    ]
    for result in results:
        start = f"| {result['hours']:g} | {result['method']} |"
        if "stopped" in result:
            lines.append(f"{start} stopped: {result['stopped']} |" + " |" * 7)
            continue
        above = result["peak_mb"] - result["imports_mb"]
        lines.append(
            f"{start} {result['num_peaks']:,} | {result['inputs_mb']:.0f} | {result['peak_mb']:.0f} | "
            f"{above:.0f} | {above / result['hours']:.0f} | {result['seconds']:.1f} | "
            f"{result['error_um']:.2f} | {result['error_per_depth_um']:.2f} |"
        )
    finished = [result for result in results if "stopped" not in result]
    if finished:
        first = finished[0]
        turnover = first["turnover_hours"]
        units = "" if turnover is None else f", units that stay for {turnover:g} h on average"
        lines += [
            "",
            f"Simulated peaks of a random walk on {first['num_channels']} channels, "
            f"{first['peaks_per_second']:g} peaks/s{units}, bin_s=1, win_step_um={first['win_step_um']:g} "
            f"({first['num_windows']} windows), one process each. Imports and a first estimate on one minute take "
            f"{np.median([result['imports_mb'] for result in finished]):.0f} MB. Error: mean of "
            "|estimate - truth| over time bins and windows, after removing one offset, and after removing one for each "
            "depth, which spikes cannot tell.",
        ]
    return "\n".join(lines)
