"""Peaks of a drifting recording without the recording: for what only looks at peaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

SAMPLING_FREQUENCY = 30_000.0
UNITS_PER_CHANNEL = 0.6
DEPTH_JITTER_UM = 4.0


@dataclass(frozen=True)
class SimulatedPeaks:
    """Peaks whose drift is known.

    Attributes
    ----------
    recording : BaseRecording
        Noise of the right length and probe; gives times.
    peaks : ndarray, shape (num_peaks,)
        As SpikeInterface detects them, ordered in time.
    peak_locations : ndarray, shape (num_peaks,)
        With the fields "x", "y" and "z", in um.
    amplitude_um, period_s : float
        The displacement is a sine of this peak-to-peak size and period, half as large at the probe's top.
    """

    recording: BaseRecording
    peaks: np.ndarray
    peak_locations: np.ndarray
    amplitude_um: float
    period_s: float

    def displacement(self, times_s: np.ndarray, depths_um: np.ndarray) -> np.ndarray:
        """Give the true displacement in um at times and depths that broadcast against each other."""
        top = float(self.recording.get_channel_locations()[:, 1].max())
        wave = self.amplitude_um / 2 * np.sin(2 * np.pi * np.asarray(times_s) / self.period_s)
        return wave * (1.0 - 0.5 * np.asarray(depths_um) / top)

    def mean_error_um(self, motion: Motion) -> float:
        """Give the mean of |estimate - truth| in um after removing one offset."""
        truth = self.displacement(
            motion.temporal_bins_s[0][:, np.newaxis], motion.spatial_bins_um[np.newaxis]
        )
        difference = motion.displacement[0] - truth
        return float(np.abs(difference - np.median(difference)).mean())


def simulate_peaks(
    num_channels: int,
    duration_s: float,
    rate_hz: float,
    *,
    amplitude_um: float = 30.0,
    period_s: float = 60.0,
    seed: int = 0,
) -> SimulatedPeaks:
    """Draw peaks of units that move up and down.

    Parameters
    ----------
    num_channels : int
        Contacts of a Neuropixels 1.0 probe.
    duration_s : float
        In s.
    rate_hz : float
        Peaks per second on the whole probe.
    amplitude_um : float, default: 30.0
        Peak-to-peak displacement in um at the bottom of the probe.
    period_s : float, default: 60.0
        In s.
    seed : int, default: 0
        Not negative.

    Returns
    -------
    simulated : SimulatedPeaks
    """
    from spikeinterface.core.node_pipeline import base_peak_dtype

    from steadyspike.simulation.drift import build_probe
    from steadyspike.simulation.noise import CorrelatedNoiseRecording

    rng = np.random.default_rng(seed)
    probe = build_probe("np1", num_channels)
    contacts = probe.contact_positions
    num_samples = round(duration_s * SAMPLING_FREQUENCY)
    recording = CorrelatedNoiseRecording(
        contacts, np.ones(num_channels), num_samples, SAMPLING_FREQUENCY, seed=seed
    )
    recording.set_probe(probe)

    num_units = max(2, round(UNITS_PER_CHANNEL * num_channels))
    num_peaks = round(rate_hz * duration_s)
    unit_depths = rng.uniform(contacts[:, 1].min(), contacts[:, 1].max(), num_units)
    unit_amplitudes = -np.exp(rng.normal(4.5, 0.4, num_units))
    units = rng.integers(num_units, size=num_peaks)

    peaks = np.zeros(num_peaks, dtype=base_peak_dtype)
    peaks["sample_index"] = np.sort(rng.integers(num_samples, size=num_peaks))
    peaks["amplitude"] = unit_amplitudes[units] * rng.normal(1.0, 0.1, num_peaks)
    locations = np.zeros(num_peaks, dtype=[("x", "float64"), ("y", "float64"), ("z", "float64")])
    locations["x"] = rng.uniform(0, 60, num_units)[units]
    simulated = SimulatedPeaks(recording, peaks, locations, amplitude_um, period_s)
    rest = unit_depths[units]
    drift = simulated.displacement(peaks["sample_index"] / SAMPLING_FREQUENCY, rest)
    locations["y"] = rest + drift + rng.normal(0.0, DEPTH_JITTER_UM, num_peaks)
    peaks["channel_index"] = np.abs(locations["y"][:, np.newaxis] - contacts[:, 1]).argmin(axis=1)
    return simulated
