"""Lazy background noise, correlated between neighbouring channels.

SpikeInterface's own noise generator factorizes the covariance and draws in float64 at every read, which takes
longer than most things measured on it. This one factorizes once and draws in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from spikeinterface.core import BaseRecording, BaseRecordingSegment

if TYPE_CHECKING:
    from probeinterface import Probe

BLOCK_SIZE = 30_000


class CorrelatedNoiseRecording(BaseRecording):
    """Gaussian noise, white in time, with correlation ``exp(-distance / spatial_decay_um)`` between channels.

    Samples come in blocks of `BLOCK_SIZE`, each seeded by `seed` and its number: any read gives the same.

    Parameters
    ----------
    channel_locations : ndarray, shape (num_channels, 2)
        In um.
    noise_levels : ndarray, shape (num_channels,)
        Standard deviation of each channel, in uV.
    num_samples : int
        Length of the one segment.
    sampling_frequency : float, default: 30000.0
        In Hz.
    spatial_decay_um : float, default: 25.0
        Distance in um over which the correlation falls by e; above 0.
    seed : int, default: 0
        Not negative.
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
        locations = np.asarray(channel_locations, dtype=float)
        levels = np.asarray(noise_levels, dtype=float)
        if locations.ndim != 2 or levels.shape != locations.shape[:1]:
            raise ValueError(
                f"noise_levels of shape {levels.shape} does not fit channel_locations {locations.shape}"
            )
        if not spatial_decay_um > 0:
            raise ValueError(f"spatial_decay_um={spatial_decay_um} must be above 0")
        BaseRecording.__init__(self, sampling_frequency, list(range(levels.size)), np.dtype("float32"))
        mixing = _mixing_matrix(locations, levels, spatial_decay_um)
        self.add_recording_segment(
            CorrelatedNoiseSegment(int(num_samples), sampling_frequency, mixing, int(seed))
        )
        self._kwargs = dict(
            channel_locations=locations.tolist(),
            noise_levels=levels.tolist(),
            num_samples=int(num_samples),
            sampling_frequency=float(sampling_frequency),
            spatial_decay_um=float(spatial_decay_um),
            seed=int(seed),
        )

    @property
    def probe(self) -> Probe:
        """The attached probe, under the name that `generate_drifting_recording` looks for."""
        return self.get_probe()


class CorrelatedNoiseSegment(BaseRecordingSegment):
    """One segment of `CorrelatedNoiseRecording`."""

    def __init__(self, num_samples: int, sampling_frequency: float, mixing: np.ndarray, seed: int):
        BaseRecordingSegment.__init__(self, sampling_frequency=sampling_frequency)
        self.num_samples = num_samples
        self.mixing = mixing
        self.seed = seed

    def get_num_samples(self) -> int:
        """Return the number of samples."""
        return self.num_samples

    def get_traces(
        self,
        start_frame: int | None = None,
        end_frame: int | None = None,
        channel_indices: Any = None,
    ) -> np.ndarray:
        """Return noise of shape (num_samples, num_channels)."""
        start = 0 if start_frame is None else start_frame
        stop = self.num_samples if end_frame is None else end_frame
        traces = np.empty((stop - start, self.mixing.shape[1]), dtype="float32")
        for block in range(start // BLOCK_SIZE, -(-stop // BLOCK_SIZE)):
            first, last = max(start, block * BLOCK_SIZE), min(stop, (block + 1) * BLOCK_SIZE)
            # a block is drawn from its beginning, so a read inside it gives the same samples
            rng = np.random.default_rng((self.seed, block))
            white = rng.standard_normal((last - block * BLOCK_SIZE, self.mixing.shape[0]), dtype="float32")
            traces[first - start : last - start] = white[first - block * BLOCK_SIZE :] @ self.mixing
        return traces if channel_indices is None else traces[:, channel_indices]


def _mixing_matrix(locations: np.ndarray, levels: np.ndarray, spatial_decay_um: float) -> np.ndarray:
    """Give the matrix that turns white rows into noise rows with the wanted covariance."""
    distances = np.linalg.norm(locations[:, np.newaxis] - locations[np.newaxis], axis=2)
    covariance = np.exp(-distances / spatial_decay_um) * levels[:, np.newaxis] * levels
    # contacts at one place make the covariance singular; a trace of independent noise lets it factorize
    covariance[np.diag_indices_from(covariance)] *= 1.0 + 1e-9
    return np.linalg.cholesky(covariance).T.astype("float32")
