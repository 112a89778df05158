"""Ways to teach a denoiser, at equal small cost, judged on spikes added to real noise.

- blind: predicts each sample from those around it (a bundled model);
- blind with fusion: the posterior of that and the sample itself;
- seeing: a network of about the same size that sees all samples, taught to give back spikes that were added to noise
  without any, drawn from the family of simulated noises, the spikes from a broad family of shapes;
- seeing both: the same, told also what the blind network predicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from steadyspike.evaluation.denoising.tables import markdown_table
from steadyspike.networks.blindspot import add_positive
from steadyspike.networks.folding import UnitFolding
from steadyspike_benchmarks.denoising_injected import Injected, _waveform, whitened_d_prime

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

FEATURES, KERNEL, DILATIONS, DEPTHS = 16, 9, (1, 4), (1, 2)
CHANNELS, NOISES, NOISE_S, FRAMES, BATCH = 64, 8, 1.5, 256, 4
RATE, LEARNING_RATE = 30_000.0, 3e-3
SPIKES_IN_WINDOW, SIZES = 10, (2.5, 16.0)
BUSY, NEAR = 0.2, 0.15


class Seeing(nn.Module):
    """Residual convolutions over time and along the probe, none of them blind; `extra` images are seen beside."""

    def __init__(self, unit: Any, extra: int = 0) -> None:
        super().__init__()
        self.folding = UnitFolding(unit)
        self.reach = (KERNEL - 1) * sum(DILATIONS) // 2
        self.encoder = nn.Conv2d(self.folding.inputs * (1 + extra), FEATURES, (1, 3), padding=(0, 1))
        self.time = nn.ModuleList(
            nn.Conv2d(
                FEATURES, FEATURES, (KERNEL, 1), dilation=(one, 1), padding=(one * (KERNEL - 1) // 2, 0)
            )
            for one in DILATIONS
        )
        self.depth = nn.ModuleList(
            nn.Conv2d(FEATURES, FEATURES, (1, 3), dilation=(1, one), padding=(0, one)) for one in DEPTHS
        )
        self.out = nn.Conv2d(FEATURES, self.folding.outputs, 1)
        with torch.no_grad():
            self.out.weight.mul_(0.1)

    def forward(self, *images: Tensor) -> Tensor:
        """Give the spikes in images (batch, time, rows, columns), in their shape."""
        folded = torch.cat([self.folding.fold(image) for image in images], 1)
        hidden = functional.relu(self.encoder(folded))
        for layer in (*self.time, *self.depth):
            hidden = add_positive(hidden, layer(hidden))
        return self.folding.unfold(self.out(hidden), *images[0].shape[2:])


def draw_noises(probe: str, seed: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """Draw noise without spikes of varied colours, (number, samples, rows, columns), with positions and layout."""
    from steadyspike.core.probe_layout import layout_of
    from steadyspike.preprocessing.bandpass import bandpass_filter
    from steadyspike.simulation.modelled_noise import ModelledNoiseRecording
    from steadyspike.simulation.noise_model import measured_noise
    from steadyspike.simulation.noisy import HIGH_PASS_HZ, KNOWN_FROM_HZ
    from steadyspike.simulation.probes import build_probe

    built, drawn, layout = build_probe(probe, CHANNELS), [], None
    for number in range(NOISES):
        model = measured_noise().varied(np.random.default_rng((seed, number))).flat_below(KNOWN_FROM_HZ)
        noise = ModelledNoiseRecording(
            built.contact_positions, np.ones(CHANNELS), round(NOISE_S * RATE), model, seed=seed + number
        )
        noise.set_probe(built)
        layout = layout or layout_of(noise, arrangement="lattice")
        filtered = bandpass_filter(noise, freq_min=HIGH_PASS_HZ, freq_max=None, dtype="float32").get_traces()
        drawn.append(layout.scatter(filtered / filtered.std(axis=0))[0])
    return np.stack(drawn), built.contact_positions, layout


def draw_spikes(rng: np.random.Generator, positions: np.ndarray, length: int) -> np.ndarray:
    """Draw spikes of a broad family of shapes, (length, num_channels), in noise levels."""
    spikes = np.zeros((length, len(positions)), "float32")
    for _ in range(rng.poisson(SPIKES_IN_WINDOW)):
        away = np.linalg.norm(
            positions - positions[rng.integers(len(positions))] - rng.uniform(-15, 15, 2), axis=1
        )
        near = np.flatnonzero(away < 120)
        ms = (np.arange(length) - rng.uniform(0, length))[:, np.newaxis] * 1000 / RATE
        ms = ms - away[near] / rng.uniform(300, 2000)
        trough = rng.uniform(0.06, 0.25)
        shape = (trough, trough * rng.uniform(1.2, 3), trough * rng.uniform(2.5, 4.5), rng.uniform(0, 0.6))
        size = np.exp(rng.uniform(*np.log(SIZES)))
        spikes[:, near] += (
            size * np.exp(-(away[near] - away.min()) / rng.uniform(15, 50)) * _waveform(ms, *shape)
        )
    return spikes


def teach(probe: str, steps: int, blind: Any = None, seed: int = 0) -> Seeing:
    """Teach a seeing network, with what a blind one predicts if that is given."""
    noises, positions, layout = draw_noises(probe, seed)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = Seeing(layout.type.unit, extra=blind is not None)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    margin = 0 if blind is None else blind.context[0]
    length = FRAMES + 2 * margin
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * step / steps)))
        noise, clean = [], []
        for _ in range(BATCH):
            start = rng.integers(noises.shape[1] - length)
            noise.append(noises[rng.integers(len(noises)), start : start + length])
            clean.append(layout.scatter(draw_spikes(rng, positions, length))[0])
        wanted = torch.from_numpy(np.stack(clean))
        image = torch.from_numpy(np.stack(noise)) + wanted
        loss = functional.mse_loss(_seen(network, image, blind), wanted[:, margin : length - margin])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def _seen(network: Seeing, image: Tensor, blind: Any) -> Tensor:
    if blind is None:
        return network(image)
    with torch.no_grad():
        predicted = blind(image)
    before, after = blind.context
    return network(image[:, before : image.shape[1] - after], predicted)


def apply_seeing(network: Seeing, recording: BaseRecording, blind: Any = None) -> np.ndarray:
    """Denoise a whole recording in memory, (num_samples, num_channels) in its own units."""
    from steadyspike.core.normalization import measure_normalization
    from steadyspike.core.probe_layout import layout_of

    center, scale = measure_normalization(recording)
    layout = layout_of(recording, dead=scale <= 0, arrangement="lattice")
    scale = np.where(scale > 0, scale, 1.0)
    image = torch.from_numpy(layout.scatter(((recording.get_traces(0) - center) / scale).astype("float32")))
    if blind is not None:
        image = functional.pad(image, (0, 0, 0, 0, *blind.context))
    with torch.inference_mode():
        found = _seen(network, image, blind)
    return layout.gather(found.numpy()) * scale + center


def measure_traces(injected: Injected, traces: np.ndarray) -> dict[str, float]:
    """Gain, error where there are spikes and elsewhere, and d' after whitening; medians over units, in noise levels."""
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
        "d', whitened": whitened_d_prime(injected, made),
    }


def compare_teachers(
    ready: BaseRecording,
    model: Any,
    levels: Sequence[float],
    seeds: Sequence[int],
    steps: int,
    probe: str = "np2",
) -> dict[str, dict[str, float]]:
    """Teach, and judge all on spikes of some sizes added to a prepared recording; means over seeds."""
    from steadyspike.library.models.folder import load_model
    from steadyspike.preprocessing.deepinterpolation import deepinterpolate
    from steadyspike_benchmarks.denoising_injected import inject

    blind: Any = load_model(model).network.eval()
    seeing, both = teach(probe, steps), teach(probe, steps, blind)
    found: dict[str, dict[str, list[float]]] = {}
    for level in levels:
        for seed in seeds:
            injected = inject(ready, level, seed)
            recording = injected.recording
            ways = {
                "recorded": recording.get_traces(0),
                "blind": deepinterpolate(recording, model).get_traces(0),
                "blind, fused": deepinterpolate(recording, model, output="posterior").get_traces(0),
                "seeing": apply_seeing(seeing, recording),
                "seeing both": apply_seeing(both, recording, blind),
            }
            for way, traces in ways.items():
                for name, value in measure_traces(injected, traces).items():
                    found.setdefault(way, {}).setdefault(f"{name}, {level:g}", []).append(value)
    return {way: {name: float(np.mean(one)) for name, one in rows.items()} for way, rows in found.items()}


def teachers_table(rows: dict[str, dict[str, float]]) -> str:
    """Write a table with a column for each way."""
    names = list(next(iter(rows.values())))
    return markdown_table(
        ["", *rows], [[name, *(f"{own[name]:.3f}" for own in rows.values())] for name in names]
    )
