"""Spikes in an array of traces by a spike detector's network."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from steadyspike.core.noise_levels import noise_levels as measured_levels
from steadyspike.core.voltage import voltage_signs
from steadyspike.kernels.spikes.contact_features import neighbour_lists
from steadyspike.kernels.spikes.spike_candidates import find_candidates, keep_strongest
from steadyspike.kernels.spikes.spike_network import spike_logits, yass_logits

PEAK_SIGNS = {"neg": 1.0, "pos": -1.0}
# what the published detector takes for its temporal maximum, and for the energy of a spike
YASS_SAMPLES = 5
RATE_TOLERANCE = 0.01
LEAST_RATE_RATIO = 0.2
"""Of the sampling frequency to the model's: at 6 kHz the F1 of the bundled detector, of 30 kHz, is within 1 % of that
at 30 kHz; at 5 kHz spikes begin to be lost, and at 1 kHz there are none to be seen."""


class Found(NamedTuple):
    """Spikes, ordered by sample and then channel: indices into the traces, and how strong they are."""

    samples: np.ndarray
    channels: np.ndarray
    strengths: np.ndarray


class LocalFinder:
    """Candidates above a low threshold, each judged by a `LocalSpikeDetector`.

    `locations` (num_channels, 2) are in um; `scales` are as of `noise_scales`, turned over to find peaks instead of
    troughs; a candidate is a spike from `probability` on.
    """

    def __init__(
        self,
        model: Any,
        locations: np.ndarray,
        scales: np.ndarray,
        sampling_frequency: float,
        probability: float,
    ):
        config = model.config
        ratio = rate_ratio(sampling_frequency, config.sampling_frequency)
        self.scales = scales
        self.threshold = config.candidate_threshold
        self.sweep = max(round(config.candidate_ms * sampling_frequency / 1000), 1)
        self.exclude = max(round(config.exclude_ms * sampling_frequency / 1000), 1)
        self.near = neighbour_lists(locations, config.candidate_radius_um)
        self.excluded = neighbour_lists(locations, config.exclude_radius_um)
        self.neighbours, self.counts = neighbour_lists(locations, config.radius_um)
        self.weights = neighbour_weights(model.network, locations, self.neighbours)
        self.arrays = model.network.arrays(ratio)
        self.before, self.after = model.network.window(ratio)
        self.least_logit = float(np.log(probability / (1 - probability)))
        self.margin = self.exclude + max(self.before, self.after, self.sweep)

    def find(self, traces: np.ndarray) -> Found:
        """Find the spikes that are `margin` or more samples from the first and the last sample of the traces."""
        around = self.margin - self.exclude
        samples, channels, values = find_candidates(
            traces[around - self.sweep : len(traces) - around + self.sweep],
            self.scales,
            *self.near,
            sweep=self.sweep,
            threshold=self.threshold,
        )
        samples += around - self.sweep
        layout = (samples, channels, self.neighbours, self.counts, self.weights)
        logits = spike_logits(traces, self.scales, *layout, self.before, self.arrays)
        spikes = logits >= self.least_logit
        samples, channels, values = samples[spikes], channels[spikes], values[spikes]
        kept = keep_strongest(samples, channels, values, *self.excluded, sweep=self.exclude)
        kept &= (samples >= self.margin) & (samples < len(traces) - self.margin)
        return Found(samples[kept], channels[kept], values[kept])


class YassFinder:
    """Temporal maxima of the published detector's probability; of duplicates that with the largest energy.

    Arguments as for `LocalFinder`. The sampling frequency has to be within 1 % of the model's.
    """

    def __init__(
        self,
        model: Any,
        locations: np.ndarray,
        scales: np.ndarray,
        sampling_frequency: float,
        probability: float,
    ):
        config = model.config
        check_rate(sampling_frequency, config.sampling_frequency)
        self.scales = scales
        self.half = model.network.sizes["taps"] // 2
        self.exclude = max(round(config.exclude_ms * sampling_frequency / 1000), 1)
        self.excluded = neighbour_lists(locations, config.exclude_radius_um)
        self.neighbours = nearest(locations, config.radius_um, model.network.sizes["neighbours"])
        self.arrays = model.network.arrays()
        self.least_logit = float(np.log(probability / (1 - probability)))
        self.itself = np.arange(len(locations))[:, np.newaxis], np.ones(len(locations), dtype=np.int64)
        self.margin = self.exclude + self.half + YASS_SAMPLES // 2

    def find(self, traces: np.ndarray) -> Found:
        """Find the spikes that are `margin` or more samples from the first and the last sample of the traces."""
        logits = yass_logits(traces, self.scales, self.neighbours, self.arrays)
        # raised above 0 where they count, as thresholds are; monotonous, so that maxima stay where they are
        raised = np.maximum(logits - np.float32(self.least_logit), 0)
        units = np.ones(len(self.scales))
        smallest = float(np.finfo(np.float32).tiny)
        samples, channels, _ = find_candidates(
            raised, units, *self.itself, sweep=YASS_SAMPLES // 2, threshold=smallest, sign=1
        )
        samples += self.half
        energies = self._energies(traces, samples, channels)
        kept = keep_strongest(samples, channels, energies, *self.excluded, sweep=self.exclude)
        kept &= (samples >= self.margin) & (samples < len(traces) - self.margin)
        return Found(samples[kept], channels[kept], energies[kept])

    def _energies(self, traces: np.ndarray, samples: np.ndarray, channels: np.ndarray) -> np.ndarray:
        around = samples[:, np.newaxis] + np.arange(-YASS_SAMPLES, YASS_SAMPLES + 1)
        waveforms = traces[around, channels[:, np.newaxis]] * self.scales[channels, np.newaxis]
        return np.square(np.nan_to_num(waveforms, posinf=0.0, neginf=0.0)).sum(axis=1)


FINDERS: dict[str, Any] = {"local_spike_detector": LocalFinder, "yass_detector": YassFinder}


def rate_ratio(sampling_frequency: float, trained_at: float) -> float:
    """Tell how a recording is sampled beside a network that is resampled; refuse where spikes are a sample or two."""
    if sampling_frequency < LEAST_RATE_RATIO * trained_at:
        raise ValueError(
            f"recording has sampling frequency {sampling_frequency:g} Hz; allowed for this model, trained at "
            f"{trained_at:g} Hz: {LEAST_RATE_RATIO * trained_at:g} Hz or more. Take the recording before it was "
            "resampled (LFP has no spikes)"
        )
    return sampling_frequency / trained_at


def check_rate(sampling_frequency: float, trained_at: float) -> None:
    """Refuse a recording for a network that takes the sampling frequency, in Hz, that it was trained at."""
    if abs(sampling_frequency / trained_at - 1) > RATE_TOLERANCE:
        raise ValueError(
            f"recording has sampling frequency {sampling_frequency:g} Hz; this model takes {trained_at:g} Hz"
        )


def neighbour_weights(network: Any, locations: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Spatial weights of a network for the neighbours of each contact, zero for those that do not exist.

    float32 (num_channels, max_neighbours, spatial).
    """
    import torch

    offsets = locations[np.maximum(neighbours, 0)] - locations[:, np.newaxis]
    with torch.no_grad():
        weights = network.spatial_weights(torch.as_tensor(offsets, dtype=torch.float32)).numpy()
    return np.where(neighbours[:, :, np.newaxis] >= 0, weights, np.float32(0)).astype("float32")


def nearest(locations: np.ndarray, radius_um: float, number: int) -> np.ndarray:
    """List a fixed number of contacts around each, nearest first, -1 where there are no more within the radius."""
    neighbours, _ = neighbour_lists(locations, radius_um)
    listed = np.full((len(locations), number), -1, dtype=np.int64)
    width = min(number, neighbours.shape[1])
    listed[:, :width] = neighbours[:, :width]
    return listed


def noise_scales(recording: Any, noise_levels: np.ndarray | None = None) -> np.ndarray:
    """One over each noise level, float32, in the sign of the voltage: networks know spikes as troughs of that.

    A channel whose noise level is 0 or not finite is dead, and its scale 0. Without `noise_levels` they are measured.
    """
    noise_levels = measured_levels(recording, n_jobs=1) if noise_levels is None else noise_levels
    levels = np.asarray(noise_levels, dtype=np.float64)
    alive = np.isfinite(levels) & (levels > 0)
    scales = np.divide(1.0, levels, out=np.zeros(levels.shape), where=alive).astype("float32")
    return scales * voltage_signs(recording)
