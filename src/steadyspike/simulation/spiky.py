"""Simulated recordings with known spikes, on which spike networks are trained and measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from steadyspike.core.probe_layout import attach_probe

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

FREQ_MIN, FREQ_MAX = 300.0, 6000.0
NOMINAL_FREQUENCY = 30_000.0
TROUGH_SAMPLES = (-6, 10)


@dataclass(frozen=True)
class SpikyRecording:
    """A simulated recording after a bandpass filter, and its spikes.

    The recording is in memory, float32, in uV. `unit_locations` (num_units, 2) are in um, `channels` the main channels
    of the units, `snr` the depth of the median spike's trough there after the filter over that channel's noise level,
    and `noise_levels` those of all channels, in uV.
    """

    recording: BaseRecording
    sorting: BaseSorting
    unit_locations: np.ndarray
    channels: np.ndarray
    snr: np.ndarray
    noise_levels: np.ndarray


def simulate_spiky_recording(
    probe: str,
    noise_uV: float,
    seed: int,
    *,
    duration_s: float = 10.0,
    num_channels: int = 96,
    sampling_frequency: float = NOMINAL_FREQUENCY,
    every: int = 1,
) -> SpikyRecording:
    """Simulate a still recording, filter it and hold it in memory.

    Units, amplitudes (20 to 250 uV) and coloured noise are those of `simulate_noisy_recording`. `probe` is a key of
    `steadyspike.simulation.drift.PROBES`, of which `num_channels` contacts from the tip upwards are taken, and of these
    each `every`-th, as on a sparser probe. The noise of each channel lies within 10 % of `noise_uV`, above 0. It lasts
    at least 2 s. It is simulated at `sampling_frequency`, but always says 30 kHz: at another frequency, spikes are
    wider or narrower.
    """
    from spikeinterface.core import NumpyRecording, NumpySorting, get_noise_levels

    from steadyspike.preprocessing.bandpass import bandpass_filter
    from steadyspike.simulation.drift import build_probe
    from steadyspike.simulation.noisy import simulate_noisy_recording

    if not noise_uV > 0:
        raise ValueError(f"noise_uV={noise_uV} must be above 0")
    simulated = simulate_noisy_recording(
        probe,
        num_channels=num_channels,
        duration_s=duration_s,
        seed=seed,
        scenario="still",
        amplitude_um=0.0,
        noise_levels_uV=(0.9 * noise_uV, 1.1 * noise_uV),
        sampling_frequency=sampling_frequency,
    )
    noisy, clean = (
        bandpass_filter(one, freq_min=FREQ_MIN, freq_max=FREQ_MAX).get_traces()
        for one in (simulated.recording, simulated.clean)
    )
    recording = NumpyRecording([noisy.astype("float32", copy=False)], NOMINAL_FREQUENCY)
    attach_probe(recording, build_probe(probe, num_channels))
    recording = recording.select_channels(recording.channel_ids[::every])
    spikes = simulated.sorting.to_spike_vector()
    channels = np.asarray(simulated.units["channel"])
    if every > 1:
        clean = clean[:, ::every]
        channels = _deepest(clean, spikes, channels.size)
    levels = get_noise_levels(
        recording, return_in_uV=False, random_slices_kwargs=dict(seed=seed), n_jobs=1, progress_bar=False
    )
    return SpikyRecording(
        recording=recording,
        sorting=NumpySorting(spikes, NOMINAL_FREQUENCY, simulated.sorting.unit_ids),
        unit_locations=np.stack([simulated.units["x_um"], simulated.units["y_um"]], axis=1),
        channels=channels,
        snr=_depths(clean, spikes, channels) / levels[channels],
        noise_levels=levels,
    )


def _deepest(clean: np.ndarray, spikes: np.ndarray, num_units: int) -> np.ndarray:
    """Find the contact on which each unit's mean spike is deepest, in traces without noise."""
    channels = np.zeros(num_units, dtype=np.int64)
    for unit in np.unique(spikes["unit_index"]):
        own = spikes["sample_index"][spikes["unit_index"] == unit]
        around = np.clip(own[:, np.newaxis] + np.arange(*TROUGH_SAMPLES), 0, len(clean) - 1)
        channels[unit] = clean[around].mean(axis=0).min(axis=0).argmin()
    return channels


def _depths(clean: np.ndarray, spikes: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Depth of each unit's median spike on its main channel in traces without noise; 0 for a unit without spikes."""
    around = spikes["sample_index"][:, np.newaxis] + np.arange(*TROUGH_SAMPLES)
    own = channels[spikes["unit_index"]][:, np.newaxis]
    troughs = -clean[np.clip(around, 0, len(clean) - 1), own].min(axis=1)
    return np.array(
        [
            np.median(troughs[spikes["unit_index"] == unit]) if (spikes["unit_index"] == unit).any() else 0.0
            for unit in range(channels.size)
        ]
    )
