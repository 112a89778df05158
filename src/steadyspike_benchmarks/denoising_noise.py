"""Whether simulated noise is like that of a real recording: fitted to its first part, compared on its second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.denoising.tables import markdown_table
from steadyspike.evaluation.noise import NoiseSummary, noise_distances, summarize_noise
from steadyspike.simulation.noise_model import NoiseModel, fit_noise, read_noise
from steadyspike_benchmarks.denoising_injected import prepare

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

MEASURED, DRAWN, OLD = "measured, second part", "fitted to the first part", "as simulated so far"


def compare_noise(
    recording: BaseRecording, fit_until_s: float, seed: int = 0
) -> tuple[NoiseModel, dict[str, NoiseSummary]]:
    """Fit a raw recording's noise up to a time; measure what follows, noise of the fit, and the noise in use so far."""
    shift = recording.get_property("inter_sample_shift")
    ready = prepare(recording)
    model = fit_noise(ready, 0.0, fit_until_s, inter_sample_shift=shift)
    traces, positions, shank, _ = read_noise(ready, fit_until_s)
    rate = ready.sampling_frequency
    turns = None if shift is None else np.unique(shift, return_inverse=True)[1]
    noises = {MEASURED: traces, **_drawn(model, positions, shank, turns, len(traces), seed)}
    return model, {name: summarize_noise(values, positions, shank, rate) for name, values in noises.items()}


def _drawn(
    model: NoiseModel, positions: np.ndarray, shank: np.ndarray, turns: Any, length: int, seed: int
) -> dict[str, np.ndarray]:
    from steadyspike.simulation.coloured_noise import ColouredNoiseRecording
    from steadyspike.simulation.modelled_noise import ModelledNoiseRecording

    levels, rate = np.ones(len(positions)), model.sampling_frequency
    turns = turns if turns is None or len(turns) == len(positions) else None
    made = {
        DRAWN: ModelledNoiseRecording(positions, levels, length, model, shank, turns, seed),
        OLD: ColouredNoiseRecording(positions, levels, length, rate, seed=seed),
    }
    return {name: noise.get_traces() for name, noise in made.items()}


def noise_table(summaries: dict[str, NoiseSummary]) -> str:
    """Write how far each noise is from the first."""
    first = next(iter(summaries.values()))
    rows = {name: noise_distances(first, summary) for name, summary in summaries.items()}
    columns = list(next(iter(rows.values())))
    return markdown_table(
        ["", *columns], [[name, *(f"{row[one]:.3f}" for one in columns)] for name, row in rows.items()]
    )
