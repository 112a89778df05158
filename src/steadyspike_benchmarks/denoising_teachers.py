"""Ways to teach a denoiser, at equal small cost, judged on spikes added to real noise.

- blind: predicts each sample from those around it (a bundled model);
- blind with fusion: the posterior of that and the sample itself;
- seeing: a network of about the same size that sees all samples, taught to give back spikes that were added to noise
  without any, drawn from the family of simulated noises, the spikes from a broad family of shapes;
- both together: the mean of what fusion and the seeing network make.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from steadyspike.core.normalization import MAD_TO_STD
from steadyspike.evaluation.denoising.artifacts import FALSE_LEVELS
from steadyspike.evaluation.denoising.tables import markdown_table
from steadyspike.networks.seeing import Seeing
from steadyspike_benchmarks.denoising_injected import Injected, _waveform, whitened_d_prime

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

CHANNELS, NOISES, NOISE_S, FRAMES, BATCH = 64, 12, 1.5, 256, 6
RATE, LEARNING_RATE = 30_000.0, 3e-3
SPIKES_IN_WINDOW, SIZES, INVERTED = 10, (2.0, 30.0), 0.05
# how much more errors count where there are spikes, which are rare: those of size 3 or more count 1 + 3 * 2 times
FOCUS, MOST_FOCUSED = 2.0, 3.0
BUSY, NEAR = 0.2, 0.15
SHARES = {0.0: "", 0.5: "half recorded"}


@dataclass(frozen=True, eq=False)
class Noises:
    """Noise without spikes: `images` (number, samples, rows, columns) of channels at `positions` in a `layout`.

    `shifts` (number, num_channels) tells how much later each channel is sampled, in samples.
    """

    images: np.ndarray
    positions: np.ndarray
    layout: Any
    shifts: np.ndarray


def draw_noises(probe: str, seed: int) -> Noises:
    """Draw noises of varied colours; every other one is sampled in turn."""
    from steadyspike.core.probe_layout import layout_of
    from steadyspike.simulation.probes import build_probe, sample_shifts

    built, drawn, layout = build_probe(probe, CHANNELS), [], None
    in_turn = sample_shifts(probe, CHANNELS)
    turns = np.unique(in_turn, return_inverse=True)[1]
    shifts = np.array([in_turn * (number % 2) for number in range(NOISES)])
    for number, shift in enumerate(shifts):
        noise = _drawn(built, turns, shift, (seed, number), NOISE_S)
        layout, filtered = layout or layout_of(noise, arrangement="lattice"), noise.get_traces()
        drawn.append(layout.scatter(filtered / filtered.std(axis=0))[0])
    return Noises(np.stack(drawn), built.contact_positions, layout, shifts)


def drawn_recording(probe: str, seconds: float = 0.5, seed: int = 1_000_000) -> BaseRecording:
    """Draw a recording of noise alone, filtered, in memory; none that was taught with, unless the seed is its."""
    from spikeinterface.core import NumpyRecording

    from steadyspike.simulation.probes import build_probe

    built, none = build_probe(probe, CHANNELS), np.zeros(CHANNELS)
    noise = _drawn(built, none.astype(int), none, (seed, 0), seconds)
    kept = NumpyRecording([noise.get_traces()], RATE)
    kept.set_probe(built)
    kept.set_channel_gains(1.0)
    kept.set_channel_offsets(0.0)
    kept.annotate(is_filtered=True)
    return kept


def _drawn(
    built: Any, turns: np.ndarray, shift: np.ndarray, seed: tuple[int, int], seconds: float
) -> BaseRecording:
    from steadyspike.preprocessing.bandpass import bandpass_filter
    from steadyspike.preprocessing.phase_shift import phase_shift
    from steadyspike.simulation.modelled_noise import ModelledNoiseRecording
    from steadyspike.simulation.noise_model import measured_noise
    from steadyspike.simulation.noisy import HIGH_PASS_HZ, KNOWN_FROM_HZ

    model = measured_noise().varied(np.random.default_rng(seed)).flat_below(KNOWN_FROM_HZ)
    noise = ModelledNoiseRecording(
        *(built.contact_positions, np.ones(len(shift)), round(seconds * RATE), model, None, turns),
        seed=1000 * seed[0] + seed[1],
    )
    noise.set_probe(built)
    shifted = phase_shift(noise, inter_sample_shift=-shift) if shift.any() else noise
    return bandpass_filter(shifted, freq_min=HIGH_PASS_HZ, freq_max=None, dtype="float32")


def draw_spikes(
    rng: np.random.Generator, positions: np.ndarray, length: int, shift: np.ndarray
) -> np.ndarray:
    """Draw spikes of a broad family of shapes, (length, num_channels), in noise levels."""
    spikes = np.zeros((length, len(positions)), "float32")
    for _ in range(rng.poisson(SPIKES_IN_WINDOW)):
        away = np.linalg.norm(
            positions - positions[rng.integers(len(positions))] - rng.uniform(-15, 15, 2), axis=1
        )
        near = np.flatnonzero(away < 120)
        frames = np.arange(length)[:, np.newaxis] + shift[near] - rng.uniform(0, length)
        ms = frames * 1000 / RATE - away[near] / rng.uniform(300, 2000)
        trough = rng.uniform(0.06, 0.25)
        shape = (trough, trough * rng.uniform(1.2, 3), trough * rng.uniform(2.5, 4.5), rng.uniform(0, 0.6))
        size = np.exp(rng.uniform(*np.log(SIZES))) * (-1 if rng.random() < INVERTED else 1)
        # a hump before the trough, as where an axon runs along
        before = rng.uniform(0, 0.3) * np.exp(-0.5 * ((ms + 2.5 * trough) / (1.2 * trough)) ** 2)
        decay = np.exp(-(away[near] - away.min()) / rng.uniform(15, 50))
        spikes[:, near] += size * decay * (_waveform(ms, *shape) + before)
    return _filtered(spikes) if rng.random() < 0.5 else spikes


def _filtered(spikes: np.ndarray) -> np.ndarray:
    """Filter spikes as recordings are."""
    from scipy.signal import butter, sosfiltfilt

    filtered = sosfiltfilt(butter(5, 300.0, "highpass", fs=RATE, output="sos"), spikes, axis=0)
    return filtered.astype("float32")


def teach(probe: str, steps: int, seed: int = 0, max_time_s: float | None = None) -> tuple[Seeing, Any]:
    """Teach a seeing network; returns it with the layout type that it is for."""
    noises = draw_noises(probe, seed)
    positions, layout = noises.positions, noises.layout
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = Seeing(layout.type.unit)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    margin, begun = network.context[0], time.monotonic()
    length, used = FRAMES + 2 * margin, 0.0
    for step in range(steps):
        used = max(step / steps, (time.monotonic() - begun) / max_time_s if max_time_s else 0.0)
        if used >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * used)))
        noise, clean = [], []
        for _ in range(BATCH):
            number, start = rng.integers(len(noises.images)), rng.integers(noises.images.shape[1] - length)
            noise.append(noises.images[number, start : start + length])
            clean.append(layout.scatter(draw_spikes(rng, positions, length, noises.shifts[number]))[0])
        spikes = torch.from_numpy(np.stack(clean))
        found = network(torch.from_numpy(np.stack(noise)) + spikes)
        wanted = spikes[:, margin : length - margin]
        weight = 1 + FOCUS * wanted.abs().clamp(max=MOST_FOCUSED)
        loss = (weight * (found - wanted).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval(), layout.type


def measure_traces(injected: Injected, traces: np.ndarray) -> dict[str, float]:
    """Gain, errors in spikes and elsewhere, d' as it is and whitened, and outliers where no spike was added.

    Errors are in noise levels. Gain and d' are medians over units; outliers are samples beyond 5 levels of these traces
    themselves, for each s and channel.
    """
    from spikeinterface.core import NumpyRecording

    clean, noise = injected.clean.get_traces(0), injected.noise
    rate = injected.recording.sampling_frequency
    before, after = round(1e-3 * rate), round(2e-3 * rate)
    gains = []
    for unit in injected.sorting.unit_ids:
        times = injected.sorting.get_unit_spike_train(unit, segment_index=0)
        times = times[(times >= before) & (times < len(clean) - after)]
        wanted, got = (
            np.mean([values[time - before : time + after] for time in times], axis=0)
            for values in (clean, traces)
        )
        near = np.abs(wanted).max(axis=0) > NEAR * np.abs(wanted).max()
        wanted, got = wanted[:, near], got[:, near] - np.median(traces[:, near], axis=0)
        gains.append(np.sum(wanted * got) / np.sum(wanted**2))
    apart, busy = (traces - clean) / np.maximum(noise, 1e-9), np.abs(clean) > BUSY * noise
    apart = apart[:, noise > 0], busy[:, noise > 0]
    error = apart[0] - np.median(apart[0], axis=0)
    made = NumpyRecording([traces], rate)
    return {
        "gain": float(np.median(gains)),
        "error in spikes": float(np.sqrt(np.mean(error[apart[1]] ** 2))),
        "error elsewhere": float(np.sqrt(np.mean(error[~apart[1]] ** 2))),
        "d'": whitened_d_prime(injected, made, whiten=False),
        "d', whitened": whitened_d_prime(injected, made),
        "outliers": _outliers(traces[:, noise > 0], clean[:, noise > 0] == 0) * rate,
    }


def _outliers(traces: np.ndarray, quiet: np.ndarray) -> float:
    """Share of quiet samples beyond 5 noise levels of their channel."""
    values = np.where(quiet, traces, np.nan)
    values = values - np.nanmedian(values, axis=0)
    levels = MAD_TO_STD * np.nanmedian(np.abs(values), axis=0)
    return float(np.count_nonzero(np.abs(values) > FALSE_LEVELS * levels) / np.count_nonzero(quiet))


def compare_teachers(
    ready: BaseRecording,
    models: Sequence[Any],
    levels: Sequence[float],
    seeds: Sequence[int],
    fused: bool = True,
    shares: Sequence[float] = (0.0, 0.5),
) -> dict[str, dict[str, float]]:
    """Judge models on spikes of some sizes added to a prepared recording; means over seeds.

    Of what networks that see all samples make, `shares` of the recorded traces are kept; blind ones are also `fused`.
    """
    from steadyspike_benchmarks.denoising_injected import inject

    found: dict[str, dict[str, list[float]]] = {}
    for level in levels:
        for seed in seeds:
            injected = inject(ready, level, seed)
            for way, traces in _treated(injected.recording, models, fused, shares).items():
                for name, value in measure_traces(injected, traces).items():
                    found.setdefault(way, {}).setdefault(f"{name}, {level:g}", []).append(value)
    return {way: {name: float(np.mean(one)) for name, one in rows.items()} for way, rows in found.items()}


def _treated(
    recording: BaseRecording, models: Sequence[Any], fused: bool, shares: Sequence[float]
) -> dict[str, np.ndarray]:
    """Traces (num_samples, num_channels) after each way to denoise them, and as recorded."""
    from steadyspike.library.models.folder import load_model
    from steadyspike.preprocessing.deepinterpolation import deepinterpolate

    ways, fusions, seen = {"recorded": recording}, [], []
    for model in models:
        name = Path(str(model)).name
        if load_model(model).config.network.name == "seeing":
            seen += [name] if 0.0 in shares else []
            for share in shares:
                kept = SHARES.get(share, f"{share:g} recorded")
                way = f"{name}, {kept}" if kept else name
                ways[way] = deepinterpolate(recording, model, recorded_share=share)
            continue
        ways[name] = deepinterpolate(recording, model)
        if fused:
            fusions.append(f"{name}, fused")
            ways[fusions[-1]] = deepinterpolate(recording, model, output="posterior")
    traces = {way: one.get_traces(0) for way, one in ways.items()}
    # what differs between the two is mostly noise
    both = {
        f"{one} and {other}": 0.5 * (traces[one] + traces[other]) for one, other in product(fusions, seen)
    }
    return traces | both


def teachers_table(rows: dict[str, dict[str, float]]) -> str:
    """Write a table with a column for each way."""
    names = list(next(iter(rows.values())))
    return markdown_table(
        ["", *rows], [[name, *(f"{own[name]:.3f}" for own in rows.values())] for name in names]
    )
