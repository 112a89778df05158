"""Simulated recordings with known spikes, to train spike networks on and to measure them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

FREQ_MIN, FREQ_MAX = 300.0, 6000.0
NOMINAL_FREQUENCY = 30_000.0
TRAINING_PROBES = ("np1", "np2")
TRAINING_NOISE_UV = (5.0, 10.0, 16.0, 22.0)
TRAINING_SEED = 1000
"""Benchmarks take seeds from 0 on."""
STRETCHES = (24_000.0, 30_000.0, 36_000.0)
"""Sampling frequencies of training recordings, all of which are then said to be 30 kHz: spikes of other widths."""
TROUGH_SAMPLES = (-6, 10)


@dataclass(frozen=True)
class SpikyRecording:
    """A simulated recording after a bandpass filter, and its spikes.

    Attributes
    ----------
    recording : BaseRecording
        In memory; float32, in uV.
    sorting : BaseSorting
        The true spikes.
    unit_locations : ndarray, shape (num_units, 2)
        x and y in um.
    channels : ndarray, shape (num_units,)
        Main channel of each unit.
    snr : ndarray, shape (num_units,)
        Depth of the median spike's trough on the main channel after the filter, over that channel's noise level.
    noise_levels : ndarray, shape (num_channels,)
        Of the recording, in uV.
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

    Units, amplitudes (20 to 250 uV) and coloured noise are those of `simulate_noisy_recording`.

    Parameters
    ----------
    probe : str
        A key of `steadyspike.simulation.drift.PROBES`.
    noise_uV : float
        Standard deviation of the noise, around which the channels' lie within 10 %; above 0.
    seed : int
        Of everything.
    duration_s : float, default: 10.0
        At least 2 s.
    num_channels : int, default: 96
        Contacts from the tip upwards.
    sampling_frequency : float, default: 30000.0
        Simulated at. The recording always says 30 kHz: at another frequency, spikes are wider or narrower.
    every : int, default: 1
        Only each so-many-th contact is kept, as on a sparser probe.
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
    recording.set_probe(build_probe(probe, num_channels))
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


def simulate_training_recordings(
    duration_s: float = 8.0, num_channels: int = 96
) -> tuple[list[BaseRecording], list[BaseSorting], str]:
    """Simulate the recordings that the bundled spike networks are trained on.

    Returns
    -------
    recordings, sortings : list
        Two of each probe and noise level, with spikes of natural and of other widths.
    about : str
        What they are, for the model card.
    """
    recordings, sortings = [], []
    cases = [(probe, noise) for probe in TRAINING_PROBES for noise in TRAINING_NOISE_UV]
    for number, (probe, noise) in enumerate(cases):
        for which, frequency in enumerate((NOMINAL_FREQUENCY, STRETCHES[2 * (number % 2)])):
            spiky = simulate_spiky_recording(
                probe,
                noise,
                TRAINING_SEED + 2 * number + which,
                duration_s=duration_s,
                num_channels=num_channels,
                sampling_frequency=frequency,
            )
            recordings.append(spiky.recording)
            sortings.append(spiky.sorting)
    levels = ", ".join(f"{one:g}" for one in TRAINING_NOISE_UV)
    about = (
        f"{len(recordings)} simulated recordings of {duration_s:g} s: the lowest {num_channels} contacts of "
        f"Neuropixels 1.0 and 2.0, units of 20 to 250 uV, coloured noise of {levels} uV "
        f"before a bandpass filter ({FREQ_MIN:g} to {FREQ_MAX:g} Hz); in half of them spikes are a fifth narrower or "
        "wider. No real recording."
    )
    return recordings, sortings, about
