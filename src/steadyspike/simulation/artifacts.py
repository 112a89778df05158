"""Artifacts on a simulated recording, as a bandpass leaves them: transients, and periods without signal."""

from __future__ import annotations

from typing import Any

import numpy as np
from spikeinterface.core import BaseRecording
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

SECONDS_PER_CLICK, SECONDS_PER_MOVEMENT, SECONDS_PER_GAP = 4.0, 25.0, 20.0
CLICK_UV, MOVEMENT_UV, EDGE_UV = (300.0, 1500.0), 150.0, 2000.0
CLICK_S, MOVEMENT_S, GAP_S = 0.004, (0.3, 1.0), (0.3, 2.0)
GAIN_SPREAD = 0.3


class ArtifactRecording(BasePreprocessor):
    """A recording with artifacts common to all channels.

    Clicks (damped oscillations of 4 ms, 300 to 1,500 uV, every 4 s on average), movement (0.3 to 1 s of common noise,
    every 25 s), and gaps (0.3 to 2 s of zeros, every 20 s), every second of which begins and ends with a large click
    as a saturated amplifier does behind a filter. Channels see the transients with gains that vary by 30 % over depth,
    so that a common reference would not remove them all.

    The recording has one segment, in uV; the seed is not negative.
    """

    def __init__(self, recording: BaseRecording, seed: int = 0):
        BasePreprocessor.__init__(self, recording)
        rng = np.random.default_rng((int(seed), 2))
        depths = recording.get_channel_locations()[:, 1]
        phase = 2 * np.pi * (depths / 700.0 + rng.random())
        gains = (1.0 + GAIN_SPREAD * np.sin(phase)).astype("float32")
        common, scale, periods = _draw(recording.get_num_samples(), recording.sampling_frequency, rng)
        self.periods_s: np.ndarray = periods
        """Beginning and end of movements and gaps, in s, of shape (num_periods, 2)."""
        for parent in recording.segments:
            self.add_recording_segment(ArtifactSegment(parent, common, scale, gains))
        self._kwargs: dict[str, Any] = dict(recording=recording, seed=int(seed))


class ArtifactSegment(BasePreprocessorSegment):
    """One segment of `ArtifactRecording`."""

    def __init__(self, parent: Any, common: np.ndarray, scale: np.ndarray, gains: np.ndarray):
        BasePreprocessorSegment.__init__(self, parent)
        self.common, self.scale, self.gains = common, scale, gains

    def get_traces(
        self, start_frame: int | None = None, end_frame: int | None = None, channel_indices: Any = None
    ) -> np.ndarray:
        """Return traces of shape (num_samples, num_channels)."""
        channels = slice(None) if channel_indices is None else channel_indices
        traces = self.parent_recording_segment.get_traces(start_frame, end_frame, channels)
        here = slice(start_frame, end_frame)
        traces = traces * self.scale[here, np.newaxis]
        traces += self.common[here, np.newaxis] * self.gains[channels]
        return traces


def _draw(
    num_samples: int, sampling_frequency: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the transient that all channels share, the factor on the rest, and the bad periods in s."""
    common, scale = np.zeros(num_samples, dtype="float32"), np.ones(num_samples, dtype="float32")
    duration_s = num_samples / sampling_frequency
    rarities_s = (SECONDS_PER_CLICK, SECONDS_PER_MOVEMENT, SECONDS_PER_GAP)
    num_clicks, num_movements, num_gaps = (max(1, round(duration_s / rarity_s)) for rarity_s in rarities_s)
    for start in rng.uniform(0, duration_s, num_clicks):
        _add_click(common, start, sampling_frequency, rng.uniform(*CLICK_UV) * rng.choice([-1, 1]), rng)
    periods = []
    for start in rng.uniform(0, 0.98 * duration_s, num_movements):
        stop = min(start + rng.uniform(*MOVEMENT_S), duration_s)
        first, last = int(start * sampling_frequency), int(stop * sampling_frequency)
        # neighbouring differences of white noise have no slow part, like what passes a bandpass
        common[first:last] += MOVEMENT_UV * np.diff(rng.standard_normal(last - first + 1)).astype("float32")
        periods.append((start, stop))
    for index, start in enumerate(rng.uniform(0, 0.98 * duration_s, num_gaps)):
        stop = min(start + rng.uniform(*GAP_S), duration_s)
        first, last = int(start * sampling_frequency), int(stop * sampling_frequency)
        scale[first:last] = 0.0
        common[first:last] = 0.0
        if index % 2:
            for edge in (start, stop):
                _add_click(common, edge, sampling_frequency, EDGE_UV * rng.choice([-1, 1]), rng)
        periods.append((start, stop))
    return common, scale, np.array(sorted(periods)).reshape(-1, 2)


def _add_click(
    common: np.ndarray, start_s: float, sampling_frequency: float, height_uv: float, rng: np.random.Generator
) -> None:
    times = np.arange(round(CLICK_S * sampling_frequency)) / sampling_frequency
    click = height_uv * np.exp(-times / 1e-3) * np.sin(2 * np.pi * rng.uniform(400, 2000) * times)
    first = int(start_s * sampling_frequency)
    part = common[first : first + click.size]
    part += click[: part.size].astype("float32")
