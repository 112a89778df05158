"""How often `motion_trust` gives the right verdict, on simulated peaks whose drift is known.

Peaks are drawn as arrays, with what makes real ones hard: scattered and biased locations, few units, firing rates that
change, bursts of artifacts. The motion is estimated, or wrong on purpose.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from steadyspike.core.aside import written_aside

if TYPE_CHECKING:
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

SAMPLING_FREQUENCY = 30_000.0
MAX_SPIKES = 1_000_000
STILL = ("still", "rate_change", "artifacts")
DRIFTS = ("sine", "gradient", "walk", "step", "bump")
PROBES = (("np1", 384), ("np1", 128), ("np1", 32), ("np2", 96))
EXPECTED = {
    **{
        (tissue, motion): "do not correct" for tissue in STILL for motion in ("estimated", "walk", "constant")
    },
    **{(tissue, "estimated"): "correct" for tissue in DRIFTS},
    **{(tissue, "flipped"): "do not correct" for tissue in DRIFTS},
    **{(tissue, "wobbly"): "correct rigidly" for tissue in ("sine",)},
}
"""The right verdict for each kind of tissue and motion that a study runs."""


@dataclass(frozen=True)
class VerdictCase:
    """One recording and one motion of it.

    Parameters
    ----------
    tissue : str
        How it moves, or what else happens: of `STILL` or `DRIFTS`.
    motion : str
        "estimated" by `steady_decentralized`; or wrong: "walk" (a random walk of 5 um), "constant", "flipped" (the
        estimate with its sign turned), "wobbly" (the truth, plus slow noise of 6 um, other in each window).
    seed : int
        Draws everything else (see `draw_settings`).
    """

    tissue: str
    motion: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the case's file."""
        return f"{self.tissue}-{self.motion}-{self.seed}"


@dataclass(frozen=True)
class PeakSettings:
    """What a case's peaks are like.

    Parameters
    ----------
    probe, num_channels
        Of `steadyspike.simulation.drift.build_probe`.
    num_units : int
        Units, at random depths.
    duration_s, rate_hz : float
        Duration, and spikes per second on the whole probe.
    jitter_um : float
        Standard deviation of a spike's location.
    lattice_um : float
        By how much locations are drawn towards the rows of contacts, at most.
    drift_um : float
        Peak-to-peak displacement where the tissue moves.
    """

    probe: str
    num_channels: int
    num_units: int
    duration_s: float
    rate_hz: float
    jitter_um: float
    lattice_um: float
    drift_um: float


@dataclass(frozen=True)
class VerdictPeaks:
    """Simulated peaks and the displacement at their times and depths, a function of both in s and um."""

    recording: BaseRecording
    peaks: np.ndarray
    peak_locations: np.ndarray
    displacement: Any


def draw_settings(rng: np.random.Generator) -> PeakSettings:
    """Draw the settings of one recording.

    10 units to one per contact, 100 s to 30 min, 2 to 10 spikes per second and unit but at most 1,000,000 spikes,
    locations that scatter by 4 to 10 um with a bias of up to 1.5 um, and a drift of 5.5 to 40 um.
    """
    probe, num_channels = PROBES[rng.integers(len(PROBES))]
    num_units = round(np.exp(rng.uniform(np.log(10), np.log(num_channels))))
    duration_s = float(round(np.exp(rng.uniform(np.log(100), np.log(1800)))))
    return PeakSettings(
        probe=probe,
        num_channels=num_channels,
        num_units=num_units,
        duration_s=duration_s,
        rate_hz=float(min(num_units * rng.uniform(2.0, 10.0), MAX_SPIKES / duration_s)),
        jitter_um=float(rng.uniform(4.0, 10.0)),
        lattice_um=float(rng.uniform(0.0, 1.5)),
        drift_um=float(np.exp(rng.uniform(np.log(5.5), np.log(40)))),
    )


def tissue_motion(tissue: str, settings: PeakSettings, rng: np.random.Generator) -> Any:
    """Give the displacement as a function of times (s) and depths (um) that broadcast against each other."""
    size, duration = settings.drift_um, settings.duration_s
    if tissue in STILL:
        return lambda times, depths: np.zeros(np.broadcast_shapes(np.shape(times), np.shape(depths)))
    if tissue == "walk":
        walk = np.cumsum(rng.standard_normal(int(duration) + 2))
        walk *= size / np.ptp(walk)
        wave = lambda times: np.interp(times, np.arange(walk.size), walk)  # noqa: E731
    elif tissue == "step":
        at = rng.uniform(0.25, 0.75) * duration
        wave = lambda times: np.where(np.asarray(times) < at, 0.0, size)  # noqa: E731
    elif tissue == "bump":
        at, width = rng.uniform(0.3, 0.7) * duration, 0.08 * duration
        wave = lambda times: size * np.exp(-0.5 * np.square((np.asarray(times) - at) / width))  # noqa: E731
    else:
        period = rng.uniform(0.3, 2.0) * duration
        wave = lambda times: 0.5 * size * np.cos(2 * np.pi * np.asarray(times) / period)  # noqa: E731
    slope = 0.6 if tissue == "gradient" else 0.0
    top = 20.0 * settings.num_channels / 2
    return lambda times, depths: wave(times) * (1.0 - slope * np.asarray(depths) / top)


def simulate_verdict_peaks(tissue: str, settings: PeakSettings, rng: np.random.Generator) -> VerdictPeaks:
    """Draw the peaks of one recording.

    Parameters
    ----------
    tissue : str
        Of `STILL` or `DRIFTS`. In "rate_change", 40 % of the units are silent in one half, and the rates of the others
        change by a factor of up to 5. In "artifacts", 10 bursts put 300 peaks each at random depths.
    settings : PeakSettings
        From `draw_settings`.
    rng : numpy.random.Generator
        Draws.

    Returns
    -------
    simulated : VerdictPeaks
    """
    from spikeinterface.core.node_pipeline import base_peak_dtype
    from spikeinterface.generation import NoiseGeneratorRecording

    from steadyspike.simulation.drift import build_probe

    recording = NoiseGeneratorRecording(
        settings.num_channels, SAMPLING_FREQUENCY, [settings.duration_s], strategy="on_the_fly", seed=0
    )
    recording.set_probe(build_probe(settings.probe, settings.num_channels))
    rows = np.unique(recording.get_channel_locations()[:, 1])
    displacement = tissue_motion(tissue, settings, rng)

    rest = rng.uniform(rows.min(), rows.max(), settings.num_units)
    sizes = np.exp(rng.normal(4.5, 0.5, settings.num_units))
    rates = rng.lognormal(0.0, 0.8, settings.num_units)
    total = round(settings.rate_hz * settings.duration_s)
    unit = rng.choice(settings.num_units, total, p=rates / rates.sum())
    times = rng.uniform(0, settings.duration_s, total)
    if tissue == "rate_change":
        halves = _rates_in_halves(settings.num_units, rng)
        half = (times > settings.duration_s / 2).astype("int64")
        kept = rng.uniform(size=total) < halves[unit, half]
        unit, times = unit[kept], times[kept]
    order = np.argsort(times)
    unit, times = unit[order], times[order]
    depths = (
        rest[unit] + displacement(times, rest[unit]) + settings.jitter_um * rng.standard_normal(unit.size)
    )
    pitch = float(np.diff(rows).mean())
    depths -= settings.lattice_um * np.sin(2 * np.pi * (depths - rows[0]) / pitch)
    amplitudes = -sizes[unit] * rng.normal(1.0, 0.1, unit.size)
    if tissue == "artifacts":
        times, depths, amplitudes = _with_bursts(times, depths, amplitudes, settings, rows, rng)

    peaks = np.zeros(times.size, dtype=base_peak_dtype)
    peaks["sample_index"] = np.minimum(times, settings.duration_s - 0.01) * SAMPLING_FREQUENCY
    peaks["amplitude"] = amplitudes
    locations = np.zeros(times.size, dtype=[("x", "float64"), ("y", "float64")])
    locations["y"] = depths
    return VerdictPeaks(recording, peaks, locations, displacement)


def _rates_in_halves(num_units: int, rng: np.random.Generator) -> np.ndarray:
    halves = np.exp(rng.uniform(-np.log(5), 0, (num_units, 2)))
    silent = rng.uniform(size=num_units) < 0.4
    halves[silent, rng.integers(2, size=int(silent.sum()))] = 0.0
    return halves


def _with_bursts(times, depths, amplitudes, settings, rows, rng):
    starts = rng.uniform(0, settings.duration_s - 1, 10)
    count = 300 * starts.size
    burst = np.repeat(starts, 300) + rng.uniform(0, 0.3, count)
    times = np.concatenate([times, burst])
    depths = np.concatenate([depths, rng.uniform(rows.min() - 40, rows.max() + 40, count)])
    amplitudes = np.concatenate([amplitudes, -np.exp(rng.normal(5.5, 0.8, count))])
    order = np.argsort(times)
    return times[order], depths[order], amplitudes[order]


def make_motion(kind: str, simulated: VerdictPeaks, rng: np.random.Generator) -> Motion:
    """Estimate the motion, or make a wrong one; see `VerdictCase`."""
    from scipy.ndimage import gaussian_filter1d
    from spikeinterface.core.motion import Motion

    if kind in ("estimated", "flipped"):
        motion = _estimate(simulated)
        return (
            motion
            if kind == "estimated"
            else Motion([-motion.displacement[0]], motion.temporal_bins_s, motion.spatial_bins_um)
        )
    contacts = simulated.recording.get_channel_locations()[:, 1]
    times = np.arange(0.5, simulated.recording.get_duration())
    windows = np.linspace(contacts.min(), contacts.max(), max(3, round(np.ptp(contacts) / 200)))
    shape = (times.size, windows.size)
    if kind == "constant":
        displacement = np.full(shape, 7.0)
    elif kind == "walk":
        walk = np.cumsum(rng.standard_normal((times.size, 1)), axis=0)
        displacement = np.broadcast_to(walk * 5.0 / walk.std(), shape).copy()
    else:
        displacement = simulated.displacement(times[:, np.newaxis], windows)
        wobble = gaussian_filter1d(rng.standard_normal(shape), 10.0, axis=0)
        wobble -= wobble.mean(axis=1, keepdims=True)
        displacement = displacement + 6.0 * wobble / wobble.std()
    return Motion([displacement], [times], windows)


def _estimate(simulated: VerdictPeaks) -> Motion:
    from spikeinterface.sortingcomponents.motion import estimate_motion

    import steadyspike  # noqa: F401  (enters the estimator into SpikeInterface's table)

    extent = float(np.ptp(simulated.recording.get_channel_locations()[:, 1]))
    return estimate_motion(
        simulated.recording,
        simulated.peaks,
        simulated.peak_locations,
        method="steady_decentralized",
        rigid=extent < 400,
        win_step_um=200.0,
        win_scale_um=300.0,
        win_margin_um=0.0,
        progress_bar=False,
    )


def run_verdict_case(case: VerdictCase) -> dict[str, Any]:
    """Simulate, estimate and judge one case.

    Returns
    -------
    result : dict
        The case, its settings, "expected" and "verdict", the "displacement_error_um" of the motion from the truth
        after one offset per window, and the numbers of `MotionTrust.to_dict` without the trust on all bins.
    """
    from steadyspike.motion.trust import motion_trust

    # the same seed draws another recording for each tissue, and the same recording for each motion of it
    rng = np.random.default_rng([case.seed, sum(map(ord, case.tissue))])
    settings = draw_settings(rng)
    simulated = simulate_verdict_peaks(case.tissue, settings, rng)
    motion = make_motion(case.motion, simulated, rng)
    trust = motion_trust(simulated.recording, motion, simulated.peaks, simulated.peak_locations)
    truth = simulated.displacement(motion.temporal_bins_s[0][:, np.newaxis], motion.spatial_bins_um)
    difference = motion.displacement[0] - truth
    numbers = trust.to_dict()
    del numbers["trust"], numbers["evidence"]
    return dict(
        asdict(case),
        **asdict(settings),
        expected=EXPECTED[case.tissue, case.motion],
        displacement_error_um=float(np.abs(difference - np.median(difference, axis=0)).mean()),
        **numbers,
    )


def run_verdict_study(
    folder: str | Path,
    cases: Iterable[VerdictCase] | None = None,
    *,
    num_seeds: int = 20,
    progress_bar: bool = True,
) -> list[dict[str, Any]]:
    """Judge many motions; what an earlier run has done is not done again.

    Parameters
    ----------
    folder : str or Path
        Where each case's result is kept, a JSON file of its own.
    cases : iterable of VerdictCase or None, default: None
        None: every pair of `EXPECTED` with `num_seeds` seeds.
    num_seeds : int, default: 20
        How many recordings of each kind, at least 1.
    progress_bar : bool, default: True
        Show progress.

    Returns
    -------
    results : list of dict
        Of `run_verdict_case`.
    """
    if num_seeds < 1:
        raise ValueError(f"num_seeds={num_seeds} must be at least 1")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if cases is None:
        cases = [VerdictCase(*pair, seed) for seed in range(num_seeds) for pair in EXPECTED]
    results = []
    for case in tqdm(list(cases), desc="verdicts", disable=not progress_bar):
        file = folder / f"{case.name}.json"
        if not file.exists():
            text = json.dumps(run_verdict_case(case), indent=1)
            with written_aside(file) as aside:
                aside.write_text(text, encoding="utf8")
        results.append(json.loads(file.read_text(encoding="utf8")))
    return results


def format_confusion_table(results: list[dict[str, Any]]) -> str:
    """Write how often each verdict was given, for each tissue and motion, as a Markdown table."""
    from steadyspike.motion.trust import VERDICTS

    lines = [
        f"| tissue | motion | right verdict | {' | '.join(VERDICTS)} | right |",
        f"|---|---|---|{'---:|' * (len(VERDICTS) + 1)}",
    ]
    pairs = dict.fromkeys((row["tissue"], row["motion"], row["expected"]) for row in results)
    for tissue, motion, expected in pairs:
        counts = Counter(
            row["verdict"] for row in results if (row["tissue"], row["motion"]) == (tissue, motion)
        )
        given = " | ".join(str(counts[verdict]) for verdict in VERDICTS)
        right = counts[expected] / counts.total()
        lines.append(f"| {tissue} | {motion} | {expected} | {given} | {100 * right:.0f} % |")
    return "\n".join(lines)
