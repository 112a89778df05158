"""The simulated recordings that the bundled spike networks are trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steadyspike.simulation.spiky import FREQ_MAX, FREQ_MIN, NOMINAL_FREQUENCY, simulate_spiky_recording

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

TRAINING_PROBES = ("np1", "np2")
TRAINING_NOISE_UV = (5.0, 10.0, 16.0, 22.0)
TRAINING_SEED = 1000
"""Benchmarks take seeds from 0 on."""
STRETCHES = (24_000.0, 30_000.0, 36_000.0)
"""Sampling frequencies of training recordings, all of which are then said to be 30 kHz: spikes of other widths."""


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
