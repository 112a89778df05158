"""Embeddings of waveforms on simulated tetrodes: how far their clusters follow the true units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from steadyspike.core.environment import machine, versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLING_FREQUENCY = 30_000.0
NOISE_LEVEL = 10.0
THRESHOLD = 5.0
NUM_DIMENSIONS = 4


@dataclass(frozen=True, eq=False)
class EmbeddingBenchmark:
    """What was measured: `results` for JSON, and a figure of the first recording."""

    results: dict[str, Any]
    figure: Figure


def simulate_tetrode(num_units: int, duration_s: float, seed: int) -> tuple[Any, Any]:
    """Make a recording of a tetrode with units around it, and the sorting that is true.

    Returns
    -------
    recording : BaseRecording
        4 channels, 30 kHz, noise of 10.
    sorting : BaseSorting
    """
    from probeinterface import generate_tetrode
    from spikeinterface.core import generate_ground_truth_recording

    probe = generate_tetrode()
    probe.set_device_channel_indices(range(4))
    return generate_ground_truth_recording(
        durations=[duration_s],
        sampling_frequency=SAMPLING_FREQUENCY,
        num_channels=4,
        num_units=num_units,
        probe=probe,
        generate_sorting_kwargs={"firing_rates": (4.0, 12.0), "refractory_period_ms": 3.0},
        generate_unit_locations_kwargs={"margin_um": 15.0, "minimum_z": 10.0, "maximum_z": 40.0},
        noise_kwargs={"noise_levels": NOISE_LEVEL, "strategy": "on_the_fly"},
        seed=seed,
    )


def run_embedding_benchmark(
    *,
    seeds: Sequence[int] = (0, 1, 2),
    num_units: int = 4,
    duration_s: float = 60.0,
    tell: Callable[[str], None] = lambda line: None,
) -> EmbeddingBenchmark:
    """Detect, embed and cluster, with each embedding and each clustering, at their defaults.

    Parameters
    ----------
    seeds : sequence of int, default: (0, 1, 2)
        A recording is simulated with each.
    num_units : int, default: 4
    duration_s : float, default: 60.0
        Of each recording.
    tell : callable
        Called with one line of text for each recording.

    Returns
    -------
    benchmark : EmbeddingBenchmark
        Peaks without a true spike within 0.4 ms are left out of the agreement; they are counted.
    """
    from steadyspike.evaluation.figures.embedding import plot_embedding
    from steadyspike.library.models.inference import torch_threads
    from steadyspike.peaks.clusters import (
        ClusteringSettings,
        EmbeddingSettings,
        cluster_agreement,
        cluster_embedding,
        embed_waveforms,
    )
    from steadyspike.peaks.embedding import aligned_waveforms, units_of_peaks

    rows: list[dict[str, Any]] = []
    figure = None
    for seed in seeds:
        recording, sorting = simulate_tetrode(num_units, duration_s, seed)
        peaks = _detect(recording)
        waveforms = aligned_waveforms(recording, peaks, n_jobs=1, progress_bar=False)
        units = units_of_peaks(peaks, sorting)
        for method in _choices(EmbeddingSettings, "method"):
            with torch_threads(1):
                embedding = embed_waveforms(waveforms, method, num_dimensions=NUM_DIMENSIONS, seed=seed)
            for clustering in _choices(ClusteringSettings, "method"):
                labels = cluster_embedding(embedding.points, clustering)
                agreement = cluster_agreement(labels, units)
                found = {"seed": seed, "embedding": method, "clustering": clustering, "peaks": len(peaks)}
                found |= {"explained": embedding.explained, "known": float((units >= 0).mean())}
                rows.append({**found, **agreement})
                if figure is None:
                    title = "Principal components, HDBSCAN"
                    figure = plot_embedding(embedding.points, labels, waveforms=waveforms, title=title)
        tell(f"seed {seed}: {len(peaks)} peaks, {np.mean(units >= 0):.0%} of them of a known unit")
    assert figure is not None
    settings = {"num_units": num_units, "duration_s": duration_s, "seeds": list(seeds)}
    return EmbeddingBenchmark(
        {"settings": settings, "rows": rows, "versions": versions(), "machine": machine()}, figure
    )


def _choices(settings: Any, name: str) -> tuple[str, ...]:
    """Return what a declared parameter may be."""
    return get_args(settings.model_fields[name].annotation)


def _detect(recording: Any) -> np.ndarray:
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks

    noise_levels = np.full(recording.get_num_channels(), NOISE_LEVEL)
    options = {"detect_threshold": THRESHOLD, "noise_levels": noise_levels, "exclude_sweep_ms": 0.5}
    return detect_peaks(
        recording, "locally_exclusive", method_kwargs=options, job_kwargs=dict(n_jobs=1, progress_bar=False)
    )


def format_embedding_table(results: dict[str, Any]) -> str:
    """Write the results as a Markdown table: means over the recordings, and the range of the index."""
    lines = [
        "| embedding | clustering | adjusted Rand index | lowest to highest | without unclustered | clustered | "
        "clusters / units | variance explained |",
        "|---|---|" + "---:|" * 6,
    ]
    kinds = dict.fromkeys((row["embedding"], row["clustering"]) for row in results["rows"])
    for embedding, clustering in kinds:
        rows = [r for r in results["rows"] if (r["embedding"], r["clustering"]) == (embedding, clustering)]
        mean = {
            key: np.mean([row[key] for row in rows])
            for key in (
                "adjusted_rand",
                "adjusted_rand_clustered",
                "clustered",
                "clusters",
                "units",
                "explained",
            )
        }
        index = [row["adjusted_rand"] for row in rows]
        lines.append(
            f"| {embedding} | {clustering} | {mean['adjusted_rand']:.3f} | {min(index):.3f} to {max(index):.3f} | "
            f"{mean['adjusted_rand_clustered']:.3f} | {mean['clustered']:.1%} | "
            f"{mean['clusters']:.1f} / {mean['units']:.1f} | {mean['explained']:.1%} |"
        )
    first = results["settings"]
    known = np.mean([row["known"] for row in results["rows"]])
    lines += [
        "",
        f"{len(first['seeds'])} simulated tetrodes with {first['num_units']} units, {first['duration_s']:g} s each, "
        f"{NUM_DIMENSIONS} dimensions; {known:.1%} of the peaks belong to a unit, the others are left out.",
    ]
    return "\n".join(lines)
