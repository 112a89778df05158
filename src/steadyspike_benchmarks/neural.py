"""What the spike networks gain: detection and localization on simulated recordings, beside SpikeInterface's methods.

Bundled models have seen none of these recordings, but others of the same simulation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median
from typing import Any

import numpy as np

from steadyspike.evaluation.denoising.tables import markdown_table
from steadyspike.evaluation.detection import DetectionScores, score_detection
from steadyspike.kernels.spikes.event_pairs import near_pairs
from steadyspike.simulation.spiky import SpikyRecording, simulate_spiky_recording

LEAST_SNR = 3.0
"""Spikes of smaller units need not be detected; who detects them is not wrong."""
THRESHOLDS = tuple(np.arange(3.0, 7.01, 0.25))
SMALL_SNR = 8.0
LOCALIZED_THRESHOLD = 4.5
MATCH_SAMPLES, MATCH_UM = 12, 60.0
BORDER_SAMPLES = 150
LOCALIZERS = (
    "monopolar_triangulation",
    "grid_convolution",
    "center_of_mass",
    "steady_monopolar",
    "steady_grid_convolution",
    "steady_denoised_monopolar",
)
SERIAL = dict(n_jobs=1, progress_bar=False)
Row = dict[str, Any]


def run_detection_benchmark(
    probes: Sequence[str] = ("np1", "np2"),
    noise_uV: Sequence[float] = (5.0, 10.0, 15.0, 20.0),
    seeds: Sequence[int] = (0, 1, 2),
    *,
    duration_s: float = 10.0,
    num_channels: int = 96,
    every: int = 1,
    model: str | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Detect with `steady_neural` as it is, and with `locally_exclusive` at each of many thresholds.

    Parameters
    ----------
    probes, noise_uV, seeds : sequence
        A recording for each combination.
    duration_s, num_channels : float and int
        Of each recording.
    every : int, default: 1
        Of the contacts only each so-many-th is kept, as on a sparser probe.
    model : str or None, default: None
        Of `steady_neural`; None: the bundled one.
    told : callable
        Is told each result as a line.

    Returns
    -------
    rows : list of dict
        For each recording: "probe", "noise_uV", "seed", "median_snr" of the units; for each method "f1", "precision",
        "recall" and "s_per_s", with the method's name before: "neural_f1". Times are of the processor, of one thread.
        Of `locally_exclusive` those at the threshold with the best F1, which is "exclusive_threshold".
    """
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks

    rows = []
    for probe, noise, seed in _cases(probes, noise_uV, seeds):
        spiky = simulate_spiky_recording(
            probe, noise, seed, duration_s=duration_s, num_channels=num_channels, every=every
        )

        def detected(
            method: str, spiky: SpikyRecording = spiky, **kwargs: Any
        ) -> tuple[DetectionScores, float]:
            kwargs["noise_levels"] = spiky.noise_levels
            started = time.process_time()
            peaks = detect_peaks(spiky.recording, method=method, method_kwargs=kwargs, job_kwargs=SERIAL)
            return _score(spiky, peaks), (time.process_time() - started) / duration_s

        neural_kwargs = {} if model is None else {"model": model}
        # once without the clock: kernels are compiled
        detected("steady_neural", **neural_kwargs)
        detected("locally_exclusive")
        neural, neural_s = detected("steady_neural", **neural_kwargs)
        swept = [(one, *detected("locally_exclusive", detect_threshold=one)) for one in THRESHOLDS]
        best, exclusive, _ = max(swept, key=lambda one: one[1].f1)
        rows.append(
            dict(
                probe=probe,
                noise_uV=noise,
                seed=seed,
                median_snr=float(np.median(spiky.snr)),
                exclusive_threshold=float(best),
                **_fields("neural", neural, neural_s),
                **_fields("exclusive", exclusive, median(one[2] for one in swept)),
            )
        )
        told(
            f"{probe} {noise:g} uV seed {seed}: F1 {neural.f1:.3f}, locally_exclusive at {best:g}: {exclusive.f1:.3f}"
        )
    return rows


def _fields(name: str, scores: DetectionScores, seconds: float) -> Row:
    return {
        f"{name}_f1": scores.f1,
        f"{name}_precision": scores.precision,
        f"{name}_recall": scores.recall,
        f"{name}_s_per_s": seconds,
    }


def _cases(*choices: Iterable[Any]) -> Iterable[Any]:
    from itertools import product

    return product(*choices)


def _score(spiky: SpikyRecording, peaks: np.ndarray) -> DetectionScores:
    spikes = spiky.sorting.to_spike_vector()
    return score_detection(
        peaks,
        spikes["sample_index"],
        spiky.channels[spikes["unit_index"]],
        spiky.recording.get_channel_locations(),
        counts=spiky.snr[spikes["unit_index"]] >= LEAST_SNR,
        max_samples=MATCH_SAMPLES,
        max_um=MATCH_UM,
    )


def format_detection_table(rows: list[Row]) -> str:
    """Write a Markdown table with a line for each probe and noise level, means over the seeds."""
    lines = []
    for probe, noise in dict.fromkeys((row["probe"], row["noise_uV"]) for row in rows):
        own = [row for row in rows if (row["probe"], row["noise_uV"]) == (probe, noise)]

        def mean(name: str, own: list[Row] = own) -> float:
            return fmean(row[name] for row in own)

        gains = [row["neural_f1"] - row["exclusive_f1"] for row in own]
        lines.append(
            [
                probe,
                f"{noise:g}",
                f"{mean('median_snr'):.1f}",
                f"{mean('neural_f1'):.3f}",
                f"{mean('neural_precision'):.3f}",
                f"{mean('neural_recall'):.3f}",
                f"{mean('exclusive_f1'):.3f}",
                f"{mean('exclusive_precision'):.3f}",
                f"{mean('exclusive_recall'):.3f}",
                f"{fmean(gains):+.3f}",
                f"{min(gains):+.3f}",
                f"{1000 * mean('neural_s_per_s'):.0f}",
                f"{1000 * mean('exclusive_s_per_s'):.0f}",
            ]
        )
    head = [
        *("probe", "noise (uV)", "median SNR", "F1", "precision", "recall"),
        *("F1 of locally_exclusive at its best threshold", "precision", "recall"),
        *("gain in F1", "smallest gain of a seed", "ms per s", "ms per s of locally_exclusive"),
    ]
    return markdown_table(head, lines)


def run_localization_benchmark(
    probes: Sequence[str] = ("np1", "np2"),
    noise_uV: Sequence[float] = (10.0, 20.0),
    seeds: Sequence[int] = (0, 1, 2),
    *,
    duration_s: float = 10.0,
    num_channels: int = 96,
    methods: Sequence[str] = LOCALIZERS,
    told: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Localize detected spikes, and compare with where their units are.

    Peaks are those of `locally_exclusive` at 4.5 noise levels that match a true spike; its unit's place is the truth.

    Parameters
    ----------
    probes, noise_uV, seeds : sequence
        A recording for each combination.
    duration_s, num_channels : float and int
        Of each recording.
    methods : sequence of str
        SpikeInterface's localization methods, with their defaults.
    told : callable
        Is told each result as a line.

    Returns
    -------
    rows : list of dict
        For each recording and method: "probe", "noise_uV", "seed", "method"; median distances in the plane of the
        probe in um of spikes of units under 8 noise levels and of others, "small_um" and "large_um", and along the
        probe, "small_y_um"; "num_small", "num_large"; and "ms_per_spike", of the processor, of one thread.
    """
    from spikeinterface.sortingcomponents.peak_localization import localize_peaks

    rows = []
    for probe, noise, seed in _cases(probes, noise_uV, seeds):
        spiky = simulate_spiky_recording(probe, noise, seed, duration_s=duration_s, num_channels=num_channels)
        peaks, units = _matched_peaks(spiky)
        small = spiky.snr[units] < SMALL_SNR
        for method in methods:
            # once without the clock: kernels are compiled
            localize_peaks(spiky.recording, peaks[:5], method=method, seed=seed, job_kwargs=SERIAL)
            started = time.process_time()
            located = localize_peaks(spiky.recording, peaks, method=method, seed=seed, job_kwargs=SERIAL)
            seconds = time.process_time() - started
            offsets = np.stack([located["x"], located["y"]], axis=1) - spiky.unit_locations[units]
            distances = np.linalg.norm(offsets, axis=1)
            rows.append(
                dict(
                    probe=probe,
                    noise_uV=noise,
                    seed=seed,
                    method=method,
                    small_um=float(np.median(distances[small])),
                    small_y_um=float(np.median(np.abs(offsets[small, 1]))),
                    large_um=float(np.median(distances[~small])),
                    num_small=int(small.sum()),
                    num_large=int((~small).sum()),
                    ms_per_spike=1000 * seconds / len(peaks),
                )
            )
            told(
                f"{probe} {noise:g} uV seed {seed} {method}: {rows[-1]['small_um']:.1f} um under {SMALL_SNR:g} noise "
                f"levels, {rows[-1]['large_um']:.1f} um above; {rows[-1]['ms_per_spike']:.3f} ms per spike"
            )
    return rows


def _matched_peaks(spiky: SpikyRecording) -> tuple[np.ndarray, np.ndarray]:
    """Detected peaks that are near a true spike, and the unit of the largest such spike."""
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks

    recording = spiky.recording
    peaks = detect_peaks(
        recording,
        method="locally_exclusive",
        method_kwargs=dict(detect_threshold=LOCALIZED_THRESHOLD, noise_levels=spiky.noise_levels),
        job_kwargs=SERIAL,
    )
    inside = (peaks["sample_index"] >= BORDER_SAMPLES) & (
        peaks["sample_index"] < recording.get_num_samples() - BORDER_SAMPLES
    )
    peaks = peaks[inside]
    spikes = spiky.sorting.to_spike_vector()
    peak, spike = near_pairs(
        peaks["sample_index"],
        peaks["channel_index"],
        spikes["sample_index"],
        spiky.channels[spikes["unit_index"]],
        recording.get_channel_locations(),
        MATCH_SAMPLES,
        MATCH_UM,
    )
    unit = spikes["unit_index"][spike]
    order = np.lexsort((-spiky.snr[unit], peak))
    matched, first = np.unique(peak[order], return_index=True)
    return peaks[matched], unit[order][first]


def format_localization_table(rows: list[Row]) -> str:
    """Write a Markdown table with a line for each probe, noise level and method, means over the seeds."""
    lines = []
    keys = ("probe", "noise_uV", "method")
    for key in dict.fromkeys(tuple(row[name] for name in keys) for row in rows):
        own = [row for row in rows if tuple(row[name] for name in keys) == key]
        means = {
            name: fmean(row[name] for row in own)
            for name in ("small_um", "small_y_um", "large_um", "ms_per_spike")
        }
        lines.append(
            [
                key[0],
                f"{key[1]:g}",
                key[2],
                f"{means['small_um']:.1f}",
                f"{means['small_y_um']:.1f}",
                f"{means['large_um']:.1f}",
                f"{sum(row['num_small'] for row in own)} / {sum(row['num_large'] for row in own)}",
                f"{means['ms_per_spike']:.3f}",
            ]
        )
    head = [
        *("probe", "noise (uV)", "method", "error under 8 noise levels (um)", "along the probe (um)"),
        *("error from 8 on (um)", "spikes", "ms per spike"),
    ]
    return markdown_table(head, lines)
