"""Lazy background noise, correlated between channels and from sample to sample, as a high-passed recording has it.

Three parts with their shares of the variance, each Gaussian:

- electronic: independent between channels, white;
- tissue: correlation ``exp(-distance / spatial_decay_um)``, low-passed (first order, 2 kHz), as distant spikes are;
- common: one time course for all channels, low-passed (first order, 600 Hz).

Their sum is high-passed at 300 Hz (Butterworth, second order). Nothing is low-passed as a whole: noise without its
highest frequencies can be predicted from its neighbours in time, and an interpolation would seem to remove what it
has only predicted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from steadyspike.simulation.noise import NoiseRecording, NoiseSegment, mixing_matrix

BLOCK_FRAMES = 1000
WARM_UP_S = 0.02
"""After it, the filters have forgotten their start to 1e-11."""
HIGH_PASS_HZ, TISSUE_HZ, COMMON_HZ = 300.0, 2000.0, 600.0
SHARES = (0.45, 0.45, 0.1)
"""Of the variance: electronic, tissue, common."""


class ColouredNoiseRecording(NoiseRecording):
    """Gaussian noise with the spectra and correlations that the module describes.

    White noise comes in blocks, each seeded by `seed` and its number, and filters start early enough: any read gives
    the same samples, to the rounding of float32.

    `channel_locations` (num_channels, 2) are in um, `noise_levels` the standard deviations in uV, above 0; the one
    segment has `num_samples` at more than 4 kHz. The correlation of the tissue's part falls by e over
    `spatial_decay_um`; `shares` of the variance (electronic, tissue, common), none negative, have a sum of 1.
    """

    def __init__(
        self,
        channel_locations: Any,
        noise_levels: Any,
        num_samples: int,
        sampling_frequency: float = 30_000.0,
        spatial_decay_um: float = 40.0,
        shares: tuple[float, float, float] = SHARES,
        seed: int = 0,
    ):
        if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1.0) > 1e-6:
            raise ValueError(f"shares={shares} must be three numbers, none negative, whose sum is 1")
        if not sampling_frequency > 2 * TISSUE_HZ:
            raise ValueError(f"sampling_frequency={sampling_frequency} must be above {2 * TISSUE_HZ:g}")
        locations, levels = self._begin(
            *(channel_locations, noise_levels, num_samples, sampling_frequency, seed),
            spatial_decay_um=float(spatial_decay_um),
        )
        if not (levels > 0).all():
            raise ValueError(f"noise_levels={levels} must be above 0")
        mixing = mixing_matrix(locations, np.ones(levels.size), spatial_decay_um)
        self.add_recording_segment(
            ColouredNoiseSegment(int(num_samples), sampling_frequency, mixing, levels, shares, int(seed))
        )
        self._kwargs["shares"] = [float(share) for share in shares]


class ColouredNoiseSegment(NoiseSegment):
    """One segment of `ColouredNoiseRecording`."""

    def __init__(
        self,
        num_samples: int,
        sampling_frequency: float,
        mixing: np.ndarray,
        levels: np.ndarray,
        shares: tuple[float, float, float],
        seed: int,
    ):
        NoiseSegment.__init__(self, num_samples, sampling_frequency, seed)
        self.mixing = mixing
        self.levels = levels.astype("float32")
        self.warm_up = round(WARM_UP_S * sampling_frequency)
        self.filters = _unit_filters(sampling_frequency)
        self.roots = np.sqrt(shares).astype("float32")

    def noise(self, start: int, stop: int) -> np.ndarray:
        """Return noise of shape (num_samples, num_channels)."""
        from scipy.signal import lfilter

        traces = np.zeros((stop - start, self.levels.size), "float32")
        if stop == start:
            return traces
        channels = self.levels.size
        drawn = np.empty((stop + self.warm_up - start, 2 * channels + 1), dtype="float32")
        for rows, white in self.white(start, stop + self.warm_up, 2 * channels + 1, BLOCK_FRAMES):
            drawn[rows] = white
        parts = (drawn[:, :channels], drawn[:, channels:-1] @ self.mixing, drawn[:, -1:])
        for root, values, (above, below) in zip(self.roots, parts, self.filters, strict=True):
            traces += root * lfilter(above, below, values, axis=0)[self.warm_up :]
        traces *= self.levels
        return traces


def _unit_filters(sampling_frequency: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Give numerator and denominator of each part's filter, scaled to let white noise keep its variance."""
    from scipy.signal import butter, lfilter

    high = butter(2, HIGH_PASS_HZ, "highpass", fs=sampling_frequency)
    impulse = np.zeros(round(WARM_UP_S * sampling_frequency))
    impulse[0] = 1.0
    filters = []
    for cutoff in (None, TISSUE_HZ, COMMON_HZ):
        above, below = high
        if cutoff is not None:
            low = butter(1, cutoff, fs=sampling_frequency)
            above, below = np.convolve(above, low[0]), np.convolve(below, low[1])
        above = above / np.linalg.norm(lfilter(above, below, impulse))
        # of float32, as the noise: the filters then compute in it
        filters.append((above.astype("float32"), below.astype("float32")))
    return filters
