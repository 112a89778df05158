"""Lazy background noise drawn from a `NoiseModel`, the same whatever is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from steadyspike.simulation.noise import NoiseRecording, NoiseSegment, mixing_matrix
from steadyspike.simulation.noise_model import NoiseModel

BLOCK_FRAMES = 4000


class ModelledNoiseRecording(NoiseRecording):
    """Gaussian noise with the spectra and correlations of a model.

    White noise comes in blocks, each seeded by `seed` and its number, and is filtered with what lies around: any read
    gives the same samples, to the rounding of float32.

    `channel_locations` (num_channels, 2) are in um, `noise_levels` the standard deviations in uV; there is one segment,
    at the model's rate. `shank` and `phase` are whole numbers for each channel, alike where channels are of one shank,
    and where they are sampled at one instant; None: all of one. `model` is a `NoiseModel` or its `to_dict`.
    """

    def __init__(
        self,
        channel_locations: Any,
        noise_levels: Any,
        num_samples: int,
        model: NoiseModel | dict[str, Any],
        shank: Sequence[int] | np.ndarray | None = None,
        phase: Sequence[int] | np.ndarray | None = None,
        seed: int = 0,
    ):
        model = NoiseModel.from_dict(model) if isinstance(model, dict) else model
        rate = model.sampling_frequency
        number = np.size(noise_levels)
        groups = [np.zeros(number, int) if one is None else np.asarray(one, int) for one in (shank, phase)]
        for name, one in zip(("shank", "phase"), groups, strict=True):
            if one.shape != (number,):
                raise ValueError(f"{name} has shape {one.shape}; allowed: one for each of {number} channels")
        locations, levels = self._begin(channel_locations, noise_levels, num_samples, rate, seed)
        self._kwargs.pop("sampling_frequency")
        self._kwargs |= dict(model=model.to_dict(), shank=groups[0].tolist(), phase=groups[1].tolist())
        self.add_recording_segment(
            ModelledNoiseSegment(int(num_samples), model, locations, levels, groups[0], groups[1], int(seed))
        )


class ModelledNoiseSegment(NoiseSegment):
    """One segment of `ModelledNoiseRecording`."""

    def __init__(
        self,
        num_samples: int,
        model: NoiseModel,
        locations: np.ndarray,
        levels: np.ndarray,
        shank: np.ndarray,
        phase: np.ndarray,
        seed: int,
    ):
        NoiseSegment.__init__(self, num_samples, model.sampling_frequency, seed)
        # shanks are so far apart that no tissue is shared
        apart = np.column_stack([locations, 1e6 * shank])
        mixings: list[np.ndarray] = [np.eye(len(levels), dtype="float32")]
        mixings += [
            (np.unique(groups, return_inverse=True)[1] == np.arange(np.unique(groups).size)[:, np.newaxis])
            for groups in (shank, phase)
        ]
        mixings += [mixing_matrix(apart, np.ones(len(levels)), length) for length in model.lengths_um]
        responses = model.impulse_responses().astype("float32")
        used = [part for part in range(len(mixings)) if np.any(responses[part])]
        self.mixings = [(mixings[part] * levels).astype("float32") for part in used]
        self.responses = responses[used]

    def noise(self, start: int, stop: int) -> np.ndarray:
        """Return noise of shape (num_samples, num_channels)."""
        from scipy.fft import irfft, next_fast_len, rfft

        sizes = [len(mixing) for mixing in self.mixings]
        length, taps = stop - start, self.responses.shape[1]
        drawn = np.zeros((next_fast_len(length + 2 * taps, real=True), sum(sizes)), "float32")
        if not length:
            return np.zeros((0, self.mixings[0].shape[1]), "float32")
        # each sample is made of those after it; blocks begin at the first, which nothing lies before
        for rows, white in self.white(start, stop + taps, sum(sizes), BLOCK_FRAMES):
            drawn[rows] = white
        total = np.zeros((len(drawn) // 2 + 1, self.mixings[0].shape[1]), "complex64")
        filters = rfft(self.responses, n=len(drawn), axis=1)
        for mixing, response, white in zip(
            self.mixings, filters, np.split(drawn, np.cumsum(sizes)[:-1], axis=1), strict=True
        ):
            # of symmetric filters the one read backwards is the same
            total += rfft(white @ mixing, axis=0) * np.conj(response)[:, np.newaxis]
        return irfft(total, n=len(drawn), axis=0)[:length]
