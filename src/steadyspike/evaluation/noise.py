"""Spectra and covariances of noise, and how far those of two noises are apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LAGS = 46
LEAST_HZ = 400.0
"""Below it a highpass leaves next to nothing, of which a ratio says little."""


@dataclass(frozen=True, eq=False)
class NoiseSummary:
    """What noise is like.

    `spectra` (num_groups, num_frequencies) are cross-spectral densities, and `lagged` (num_groups, lags) covariances of
    pairs of channels by `distance_um`, 0 for a channel with itself; `covariance` (num_channels, num_channels) is that
    of all pairs. In units of each channel's noise level.
    """

    sampling_frequency: float
    frequencies: np.ndarray
    distance_um: np.ndarray
    spectra: np.ndarray
    lagged: np.ndarray
    covariance: np.ndarray


def summarize_noise(
    traces: np.ndarray, positions: np.ndarray, shank: np.ndarray, sampling_frequency: float
) -> NoiseSummary:
    """Measure `traces` (num_samples, num_channels) in noise levels; channels are at `positions` (um) of a `shank`."""
    from steadyspike.simulation.noise_model import STRETCH, measure_spectra

    table = measure_spectra(traces, positions, shank, np.zeros(len(positions)), sampling_frequency)
    two_sided = table.rows / sampling_frequency
    return NoiseSummary(
        sampling_frequency,
        np.linspace(0, sampling_frequency / 2, two_sided.shape[1]),
        table.distance_um,
        2 * two_sided,
        np.fft.irfft(table.rows, axis=1)[:, :LAGS] * _without_window(STRETCH)[:LAGS],
        traces.T @ traces / len(traces),
    )


def _without_window(size: int) -> np.ndarray:
    """Undo what a window takes of covariances at a lag."""
    window = np.hanning(size + 1)[:-1]
    own = np.correlate(window, window, "full")[size - 1 :]
    return own[0] / np.maximum(own, 1e-9)


def noise_distances(one: NoiseSummary, other: NoiseSummary) -> dict[str, float]:
    """Compare two noises of the same channels: rms of the spectra's ratio in dB, and of differences of covariances."""
    kept = one.frequencies >= LEAST_HZ
    ratio = 10 * np.log10(other.spectra[0, kept] / one.spectra[0, kept])
    return {
        "spectrum (dB)": float(np.sqrt(np.mean(ratio**2))),
        "covariance in time": float(np.sqrt(np.mean((other.lagged[0] - one.lagged[0]) ** 2))),
        "covariance along the probe": float(np.sqrt(np.mean((other.lagged[:, 0] - one.lagged[:, 0]) ** 2))),
        "lag 1": float(other.lagged[0, 1] / other.lagged[0, 0]),
        "variance": float(other.lagged[0, 0]),
    }
