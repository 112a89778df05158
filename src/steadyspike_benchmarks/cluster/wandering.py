"""A raw Neuropixels 1.0 recording of any length that is made when it is read, and never stored.

Units at fixed depths in tissue that wanders (the walk of `steadyspike_benchmarks.memory`), seen by the contacts around
them, on int16 noise that repeats itself: making a second of 384 channels takes a few hundredths of a second, so what is
measured on it is what is done with it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from spikeinterface.core import BaseRecording, BaseRecordingSegment

from steadyspike.core.probe_layout import attach_probe
from steadyspike.simulation.probes import build_probe, sample_shifts
from steadyspike_benchmarks.memory import COMMON_STEP_UM, DEPTH_STEP_UM, SAMPLING_FREQUENCY

GAIN_UV = 2.34375
NOISE_UV, AMPLITUDES_UV = 7.0, (60.0, 250.0)
BLOCK, NOISE_BLOCKS = round(SAMPLING_FREQUENCY), 2
"""Samples that are drawn together, a second; and how many of such seconds of noise there are."""
UNITS_PER_CHANNEL, NEIGHBOURS, DECAY_UM = 0.6, 24, 25.0
BEFORE, AFTER = 20, 40


class WanderingRecording(BaseRecording):
    """Spikes of wandering units on a probe, as int16.

    Parameters
    ----------
    hours : float
        Duration, of at least a second.
    num_channels : int, default: 384
        Contacts of a Neuropixels 1.0 probe, counted from the tip; 2 to 384.
    spikes_per_second : float, default: 300.0
        On the whole probe, not negative.
    seed : int, default: 0
        Not negative.
    """

    def __init__(
        self, hours: float, num_channels: int = 384, spikes_per_second: float = 300.0, seed: int = 0
    ) -> None:
        BaseRecording.__init__(self, SAMPLING_FREQUENCY, list(range(num_channels)), np.dtype("int16"))
        probe = build_probe("np1", num_channels)
        seconds = max(1, round(hours * 3600))
        self.add_recording_segment(
            WanderingSegment(seconds, probe.contact_positions, spikes_per_second, seed)
        )
        attach_probe(self, probe)
        self.set_channel_gains(GAIN_UV)
        self.set_channel_offsets(0.0)
        self.set_property("inter_sample_shift", sample_shifts("np1", num_channels))
        self._kwargs = dict(
            hours=hours, num_channels=num_channels, spikes_per_second=spikes_per_second, seed=seed
        )


class WanderingSegment(BaseRecordingSegment):
    """What `WanderingRecording` reads; each second is drawn by its number, so that chunks do not matter."""

    def __init__(self, seconds: int, contacts: np.ndarray, spikes_per_second: float, seed: int) -> None:
        BaseRecordingSegment.__init__(self, sampling_frequency=SAMPLING_FREQUENCY)
        self.num_samples, self.contacts = seconds * BLOCK, np.asarray(contacts, dtype=float)
        self.rate, self.seed = spikes_per_second, seed
        rng = np.random.default_rng(seed)
        steps = COMMON_STEP_UM * rng.standard_normal((seconds, 1))
        steps = steps + DEPTH_STEP_UM * rng.standard_normal((seconds, 2))
        self.walks_um = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        number = max(2, round(UNITS_PER_CHANNEL * len(contacts)))
        low, high = self.contacts.min(axis=0), self.contacts.max(axis=0)
        self.units = rng.uniform(low, high, (number, 2))
        self.amplitudes = np.exp(rng.uniform(*np.log(AMPLITUDES_UV), number)) / GAIN_UV

    def get_num_samples(self) -> int:
        """Return the number of samples."""
        return self.num_samples

    def get_traces(
        self, start_frame: int | None = None, end_frame: int | None = None, channel_indices: Any = None
    ) -> np.ndarray:
        """Return int16 traces of shape (num_samples, num_channels)."""
        start = 0 if start_frame is None else int(start_frame)
        stop = self.num_samples if end_frame is None else int(end_frame)
        traces = self._noise(start, stop)
        last = self.num_samples // BLOCK
        for second in range(max(0, (start - AFTER) // BLOCK), min(last, (stop + BEFORE) // BLOCK + 1)):
            self._add_spikes(traces, start, second)
        return traces if channel_indices is None else traces[:, channel_indices]

    def _noise(self, start: int, stop: int) -> np.ndarray:
        noise = _noise(len(self.contacts), self.seed)
        traces = np.empty((max(stop - start, 0), len(self.contacts)), dtype="int16")
        at = start
        while at < stop:
            number = min(stop - at, len(noise) - at % len(noise))
            traces[at - start : at - start + number] = noise[at % len(noise) :][:number]
            at += number
        return traces

    def _add_spikes(self, traces: np.ndarray, start: int, second: int) -> None:
        """Add the spikes of a second to traces that begin at a sample."""
        rng = np.random.default_rng((self.seed, second))
        number = rng.poisson(self.rate)
        samples = second * BLOCK + rng.integers(BLOCK, size=number) - start
        units = rng.integers(len(self.units), size=number)
        depths = self.contacts[:, 1]
        height = (self.units[units, 1] - depths.min()) / np.ptp(depths)
        low, high = self.walks_um[second]
        shifted = self.units[units, 1] + low + height * (high - low)
        waveform = _waveform()
        for sample, unit, depth in zip(samples, units, shifted, strict=True):
            first, last = max(0, sample - BEFORE), min(len(traces), sample + AFTER)
            if first >= last:
                continue
            away = np.hypot(self.contacts[:, 0] - self.units[unit, 0], depths - depth)
            near = np.argpartition(away, min(NEIGHBOURS, len(away) - 1))[:NEIGHBOURS]
            seen = self.amplitudes[unit] * np.exp(-away[near] / DECAY_UM)
            piece = waveform[first - sample + BEFORE : last - sample + BEFORE]
            # rounded one by one: sums of integers do not depend on their order
            traces[first:last, near] += np.rint(piece[:, np.newaxis] * seen).astype("int16")


@cache
def _noise(num_channels: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng((seed, num_channels))
    noise = rng.standard_normal((NOISE_BLOCKS * BLOCK, num_channels), dtype="float32")
    noise *= NOISE_UV / GAIN_UV
    return np.rint(noise, out=noise).astype("int16")


@cache
def _waveform() -> np.ndarray:
    """Give a trough of 1 and what follows it."""
    times_ms = np.arange(-BEFORE, AFTER) * 1000.0 / SAMPLING_FREQUENCY
    trough = np.exp(-((times_ms / 0.12) ** 2))
    return 0.35 * np.exp(-(((times_ms - 0.45) / 0.25) ** 2)) - trough
