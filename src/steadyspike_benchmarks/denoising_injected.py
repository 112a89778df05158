"""How well denoising keeps spikes that were added to real noise, and how well they stand out after it.

Known spikes of several shapes are added to a recording of one's own, filtered and referenced, one unit for each
stretch of a shank, never two within reach of each other at once. What denoising should give is then known but for the
recording's own spikes, which are few. `evaluate_deepinterpolation` measures it; the d' after whitening is measured
here, as sorters whiten what they get.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.denoising.tables import markdown_table

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

ZONE_UM, PERIOD_MS, JITTER_MS = 150.0, 12.0, 1.5
REACH_UM, AMPLITUDE_SPREAD = 120.0, 0.1
# width of the trough and of what follows in ms, its delay and height, decay in um
SHAPES = (
    (0.08, 0.18, 0.35, 0.35, 22.0),
    (0.12, 0.25, 0.45, 0.30, 30.0),
    (0.18, 0.35, 0.65, 0.25, 40.0),
)
# um per ms: spikes run along dendrites
VELOCITY = 500.0
LEAST_NOISE = 1e-2
WAYS = {
    "prediction": dict(output="prediction"),
    "posterior": dict(output="posterior"),
    "posterior, half recorded": dict(output="posterior", recorded_share=0.5),
    "prediction, half recorded": dict(output="prediction", recorded_share=0.5),
}
COLUMNS = {
    "gain": "gain",
    "amplitude_bias": "amplitude bias",
    "shape_bias": "shape bias",
    "rms_error_in_spikes": "error in spikes",
    "rms_error": "error",
    "noise_reduction": "noise reduction",
    "d_prime": "d', true template",
    "d_prime_whitened": "d', whitened",
}


@dataclass(frozen=True, eq=False)
class Injected:
    """A recording with added spikes: `recording`, the spikes alone (`clean`), their `sorting`, and its `noise`."""

    recording: BaseRecording
    clean: BaseRecording
    sorting: BaseSorting
    noise: np.ndarray


def prepare(recording: BaseRecording) -> BaseRecording:
    """Filter and reference as a model expects it, and keep the traces in memory."""
    from spikeinterface.core import NumpyRecording

    from steadyspike.preprocessing.bandpass import bandpass_filter
    from steadyspike.preprocessing.common_reference import common_reference

    done = common_reference(
        bandpass_filter(recording, freq_min=300.0, freq_max=None, dtype="float32"), operator="median"
    )
    kept = NumpyRecording(
        [done.get_traces(0)], done.sampling_frequency, channel_ids=[str(one) for one in done.channel_ids]
    )
    kept.set_probe(done.get_probe())
    kept.set_channel_gains(done.get_channel_gains())
    kept.set_channel_offsets(0.0)
    kept.annotate(is_filtered=True)
    return kept


def inject(recording: BaseRecording, level: float, seed: int) -> Injected:
    """Add spikes of `level` times the noise of their largest channel to a prepared recording of one segment."""
    from spikeinterface.core import NumpyRecording, NumpySorting

    from steadyspike.core.normalization import measure_normalization
    from steadyspike.core.probe_layout import shank_of_channels

    rng = np.random.default_rng(seed)
    positions, shank = recording.get_channel_locations()[:, :2], shank_of_channels(recording)
    rate, traces = recording.sampling_frequency, recording.get_traces(0)
    noise = measure_normalization(recording)[1]
    clean, samples, labels = np.zeros_like(traces), [], []
    for unit, (main, number) in enumerate(_places(rng, positions, shank, noise)):
        shape = SHAPES[unit % len(SHAPES)]
        offset = rng.uniform(-8, 8, 2)
        away = np.linalg.norm(positions - positions[main] - offset, axis=1)
        near = np.flatnonzero((shank == shank[main]) & (away <= REACH_UM))
        period = PERIOD_MS * rate / 1000
        times = np.arange((0.25 + 0.5 * (number % 2)) * period, len(traces) - 0.25 * period, period)
        times = times + rng.uniform(-1, 1, times.size) * JITTER_MS * rate / 1000
        heights = level * noise[main] * rng.normal(1, AMPLITUDE_SPREAD, times.size).clip(0.6, 1.4)
        decay = np.exp(-(away[near] - away.min()) / shape[4])
        for time, height in zip(times, heights, strict=True):
            frames = np.arange(max(0, int(time) - 40), min(len(traces), int(time) + 80))
            ms = (frames - time)[:, np.newaxis] * 1000 / rate - (away[near] - away.min()) / VELOCITY
            clean[frames[:, np.newaxis], near] += height * decay * _waveform(ms, *shape[:4])
        samples.append(np.round(times).astype("int64"))
        labels.append(np.full(times.size, unit))
    order = np.argsort(np.concatenate(samples), kind="stable")
    sorting = NumpySorting.from_samples_and_labels(
        [np.concatenate(samples)[order]], [np.concatenate(labels)[order]], rate
    )
    made = []
    for values in (traces + clean, clean):
        made.append(NumpyRecording([values], rate, channel_ids=recording.channel_ids))
        made[-1].set_probe(recording.get_probe())
        made[-1].set_channel_gains(recording.get_channel_gains())
        made[-1].set_channel_offsets(0.0)
        made[-1].annotate(is_filtered=True)
    return Injected(*made, sorting, noise)


def _places(
    rng: np.random.Generator, positions: np.ndarray, shank: np.ndarray, noise: np.ndarray
) -> list[tuple[int, int]]:
    """Draw a channel in each stretch of each shank, with the number of the stretch."""
    found = []
    for one in np.unique(shank):
        live = np.flatnonzero((shank == one) & (noise > 0))
        zones = ((positions[live, 1] - positions[live, 1].min()) // ZONE_UM).astype(int)
        for number in np.unique(zones):
            depths = positions[live, 1] % ZONE_UM
            inner = live[(zones == number) & (depths > 0.2 * ZONE_UM) & (depths < 0.8 * ZONE_UM)]
            if inner.size:
                found.append((int(rng.choice(inner)), int(number)))
    return found


def _waveform(ms: np.ndarray, trough: float, after: float, delay: float, height: float) -> np.ndarray:
    return -np.exp(-0.5 * (ms / trough) ** 2) + height * np.exp(-0.5 * ((ms - delay) / after) ** 2)


def measure_injected(
    injected: Injected, model: Any, ways: Iterable[str] = WAYS, **node: Any
) -> dict[str, dict[str, float]]:
    """Measure each way to denoise, and the recording as it is ("raw"); medians over units, NaN where there is none."""
    from steadyspike.evaluation.denoising.evaluate import evaluate_deepinterpolation
    from steadyspike.preprocessing.deepinterpolation import deepinterpolate

    rows: dict[str, dict[str, float]] = {}
    whole = dict(start_s=0.0, end_s=float(injected.recording.get_total_duration()))
    for way in ways:
        options = {**WAYS[way], **node}
        evaluation = evaluate_deepinterpolation(
            *(injected.recording, {way: model}, injected.sorting, injected.clean),
            **{**whole, "progress_bar": False, "min_spikes": 10, **options},
        )
        summary = evaluation.summary.set_index("method")
        for method in ("raw", way):
            traces = injected.recording if method == "raw" else None
            if method in rows:
                continue
            if traces is None:
                traces = deepinterpolate(injected.recording, model, **options)
            own = summary.loc[method]
            rows[method] = {
                "gain": own["median_gain"],
                "amplitude_bias": own["median_amplitude_bias"],
                "shape_bias": own["median_shape_bias"],
                "rms_error_in_spikes": own["rms_error_in_spikes"],
                "rms_error": own["rms_error"],
                "noise_reduction": own["noise_reduction"],
                "d_prime": own["median_d_prime_true"],
                "d_prime_whitened": whitened_d_prime(injected, traces),
            }
    return rows


def whitened_d_prime(injected: Injected, treated: BaseRecording, seed: int = 0, whiten: bool = True) -> float:
    """Median d' of matched filters after each unit's channels were whitened by their own noise between its spikes.

    Without `whiten` of the channels as they are.
    """
    traces = treated.get_traces(0).astype("float64")
    clean = injected.clean.get_traces(0)
    rate, rng = injected.recording.sampling_frequency, np.random.default_rng(seed)
    before, after = round(1e-3 * rate), round(2e-3 * rate)
    busy = np.abs(clean) > 0.05 * injected.noise
    values = []
    for unit in injected.sorting.unit_ids:
        times = injected.sorting.get_unit_spike_train(unit, segment_index=0)
        times = times[(times >= before) & (times < len(traces) - after)]
        template = np.mean([clean[time - before : time + after] for time in times], axis=0)
        near = np.flatnonzero(np.abs(template).max(axis=0) > 0.15 * np.abs(template).max())
        quiet = ~busy[:, near].any(axis=1)
        covariance = np.atleast_2d(np.cov(traces[quiet][:, near].T))
        own, vectors = np.linalg.eigh(covariance)
        whitener = vectors / np.sqrt(np.maximum(own, LEAST_NOISE * own.mean())) @ vectors.T
        white = traces[:, near] @ whitener if whiten else traces[:, near]
        others = rng.integers(before, len(traces) - after, 2000)
        others = others[np.abs(others[:, np.newaxis] - times).min(axis=1) > before + after]
        if times.size < 4 or others.size < 4:
            continue
        train, test = times[: times.size // 2], times[times.size // 2 :]
        wanted = np.mean([white[time - before : time + after] for time in train], axis=0)
        wanted -= white.mean(axis=0)
        scores = [
            np.array([np.sum(white[time - before : time + after] * wanted) for time in some])
            for some in (test, others)
        ]
        spread = np.sqrt((scores[0].var(ddof=1) + scores[1].var(ddof=1)) / 2)
        values.append((scores[0].mean() - scores[1].mean()) / spread)
    return float(np.median(values)) if values else float("nan")


def injected_table(rows: dict[str, dict[str, float]]) -> str:
    """Write a table with a column for each way."""
    lines = [
        [
            label,
            *(f"{100 * own[name]:.1f} %" if "bias" in name else f"{own[name]:.3f}" for own in rows.values()),
        ]
        for name, label in COLUMNS.items()
    ]
    return markdown_table(["", *rows], lines)


def run_injected(
    recording: BaseRecording, model: Any, levels: Sequence[float], seeds: Sequence[int], **options: Any
) -> dict[float, dict[str, dict[str, float]]]:
    """Measure at several sizes of spikes; means over seeds."""
    ready, found = prepare(recording), {}
    for level in levels:
        runs = [measure_injected(inject(ready, level, seed), model, **options) for seed in seeds]
        found[level] = {
            way: {name: float(np.mean([run[way][name] for run in runs])) for name in COLUMNS}
            for way in runs[0]
        }
    return found
