"""Lazy background noise, correlated between neighbouring channels.

SpikeInterface's own noise generator factorizes the covariance and draws in float64 at every read, which takes
longer than most things measured on it. This one factorizes once and draws in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from spikeinterface.core import BaseRecording, BaseRecordingSegment

BLOCK_SIZE = 30_000


class NoiseRecording(BaseRecording):
    """What the recordings of noise share; a subclass begins its constructor with `_begin` and adds its segment."""

    def _begin(
        self,
        channel_locations: Any,
        noise_levels: Any,
        num_samples: int,
        sampling_frequency: float,
        seed: int,
        **others: Any,
    ) -> tuple[np.ndarray, np.ndarray]:
        locations = np.asarray(channel_locations, dtype=float)
        levels = np.asarray(noise_levels, dtype=float)
        if locations.ndim != 2 or levels.shape != locations.shape[:1]:
            raise ValueError(
                f"noise_levels of shape {levels.shape} does not fit channel_locations {locations.shape}"
            )
        if not others.get("spatial_decay_um", 1.0) > 0:
            raise ValueError(f"spatial_decay_um={others['spatial_decay_um']} must be above 0")
        BaseRecording.__init__(self, sampling_frequency, list(range(levels.size)), np.dtype("float32"))
        self._kwargs: dict[str, Any] = dict(
            channel_locations=locations.tolist(),
            noise_levels=levels.tolist(),
            num_samples=int(num_samples),
            sampling_frequency=float(sampling_frequency),
            **others,
            seed=int(seed),
        )
        return locations, levels


class NoiseSegment(BaseRecordingSegment):
    """One segment of noise that comes in blocks, each seeded by its number; a subclass makes it in `noise`."""

    def __init__(self, num_samples: int, sampling_frequency: float, seed: int):
        BaseRecordingSegment.__init__(self, sampling_frequency=sampling_frequency)
        self.num_samples, self.seed = num_samples, seed

    def get_num_samples(self) -> int:
        """Return the number of samples."""
        return self.num_samples

    def get_traces(
        self, start_frame: int | None = None, end_frame: int | None = None, channel_indices: Any = None
    ) -> np.ndarray:
        """Return noise of shape (num_samples, num_channels)."""
        start = 0 if start_frame is None else start_frame
        traces = self.noise(start, max(start, self.num_samples if end_frame is None else end_frame))
        return traces if channel_indices is None else traces[:, channel_indices]

    def noise(self, start: int, stop: int) -> np.ndarray:
        """Return the noise of all channels from one sample to before another."""
        raise NotImplementedError

    def white(self, start: int, stop: int, columns: int, size: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Draw white noise block by block, with its place among the samples that are asked for."""
        for block in range(start // size, -(-stop // size)):
            first, last = max(start, block * size), min(stop, (block + 1) * size)
            # a block is drawn from its beginning, so a read inside it gives the same samples
            rng = np.random.default_rng((self.seed, block))
            white = rng.standard_normal((last - block * size, columns), dtype="float32")
            yield slice(first - start, last - start), white[first - block * size :]


class CorrelatedNoiseRecording(NoiseRecording):
    """Gaussian noise, white in time, with correlation ``exp(-distance / spatial_decay_um)`` between channels.

    Samples come in blocks of `BLOCK_SIZE`, each seeded by `seed` and its number: any read gives the same.

    `channel_locations` (num_channels, 2) are in um, `noise_levels` the standard deviations in uV; there is one
    segment; the correlation falls by e over `spatial_decay_um`, above 0; the seed is not negative.
    """

    def __init__(
        self,
        channel_locations: Any,
        noise_levels: Any,
        num_samples: int,
        sampling_frequency: float = 30_000.0,
        spatial_decay_um: float = 25.0,
        seed: int = 0,
    ):
        locations, levels = self._begin(
            *(channel_locations, noise_levels, num_samples, sampling_frequency, seed),
            spatial_decay_um=float(spatial_decay_um),
        )
        mixing = mixing_matrix(locations, levels, spatial_decay_um)
        self.add_recording_segment(
            CorrelatedNoiseSegment(int(num_samples), sampling_frequency, mixing, int(seed))
        )


class CorrelatedNoiseSegment(NoiseSegment):
    """One segment of `CorrelatedNoiseRecording`."""

    def __init__(self, num_samples: int, sampling_frequency: float, mixing: np.ndarray, seed: int):
        NoiseSegment.__init__(self, num_samples, sampling_frequency, seed)
        self.mixing = mixing

    def noise(self, start: int, stop: int) -> np.ndarray:
        """Return noise of shape (num_samples, num_channels)."""
        traces = np.empty((stop - start, self.mixing.shape[1]), dtype="float32")
        for rows, white in self.white(start, stop, self.mixing.shape[0], BLOCK_SIZE):
            traces[rows] = white @ self.mixing
        return traces


def mixing_matrix(locations: np.ndarray, levels: np.ndarray, spatial_decay_um: float) -> np.ndarray:
    """Give the matrix that turns white rows into noise rows with the wanted covariance."""
    distances = np.linalg.norm(locations[:, np.newaxis] - locations[np.newaxis], axis=2)
    covariance = np.exp(-distances / spatial_decay_um) * levels[:, np.newaxis] * levels
    # contacts at one place make the covariance singular; a trace of independent noise lets it factorize
    covariance[np.diag_indices_from(covariance)] *= 1.0 + 1e-9
    return np.linalg.cholesky(covariance).T.astype("float32")
