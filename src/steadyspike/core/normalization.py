"""How traces are made ready for a network: ``(traces - center) / scale``, measured on each recording anew."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from steadyspike.core.noise_levels import has_few_values, rounded_levels

METHODS = ("channel", "global", "none")
PIECES, PIECE_S = 40, 0.05
# from the median absolute deviation to the standard deviation of a normal distribution
MAD_TO_STD = 1.4826


def measure_normalization(recording: Any, method: str = "channel") -> tuple[np.ndarray, np.ndarray]:
    """Measure center and scale of each channel.

    Parameters
    ----------
    recording : BaseRecording
        40 pieces of 50 ms are read, spread evenly over all segments; all of a recording that is shorter than 2 s.
    method : {"channel", "global", "none"}, default: "channel"
        - "channel": median, and 1.4826 times the median absolute deviation, or what
          `steadyspike.core.noise_levels.rounded_levels` finds in channels with few values (the standard deviation where
          that is 0, as when more than half of the samples are equal)
        - "global": one mean and standard deviation for all channels (Lecoq et al. 2021)
        - "none": 0 and 1

    Returns
    -------
    center, scale : ndarray of float64, shape (num_channels,)
        In the recording's own units. `scale` is 0 for channels that are constant or not finite: they hold nothing to
        interpolate from. Samples that are not finite do not count.

    Raises
    ------
    ValueError
        If the method is not known.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not known; allowed: {', '.join(METHODS)}")
    num_channels = recording.get_num_channels()
    center, scale = np.zeros(num_channels), np.ones(num_channels)
    traces = _pieces(recording)
    if len(traces) == 0:
        return center, scale
    for channel in range(num_channels):
        center[channel], scale[channel] = _robust(traces[:, channel])
    live = scale > 0
    if method == "none":
        return np.zeros(num_channels), live.astype("float64")
    if method == "global" and live.any():
        values = np.ma.masked_invalid(traces[:, live])
        center[:], scale[live] = values.mean(dtype="float64"), values.std(dtype="float64")
    return center, scale


def _pieces(recording: Any) -> np.ndarray:
    """Traces of the pieces, in the recording's sample type, shape (samples, num_channels)."""
    lengths = [recording.get_num_samples(segment) for segment in range(recording.get_num_segments())]
    borders = np.cumsum([0, *lengths])
    size = max(1, round(PIECE_S * recording.get_sampling_frequency()))
    total = int(borders[-1])
    if total <= PIECES * size:
        spans = [(0, total)]
    else:
        spans = [(start, start + size) for start in np.linspace(0, total - size, PIECES).astype(int)]
    pieces = []
    for start, end in spans:
        for segment, (first, last) in enumerate(pairwise(borders)):
            begin, stop = max(start, first) - first, min(end, last) - first
            if begin < stop:
                pieces.append(recording.get_traces(segment, int(begin), int(stop)))
    if not pieces:
        return np.zeros((0, recording.get_num_channels()))
    return np.concatenate(pieces)


def _robust(values: np.ndarray) -> tuple[float, float]:
    values = values[np.isfinite(values)].astype("float64")
    if values.size == 0 or np.ptp(values) == 0:
        return (float(values[0]) if values.size else 0.0), 0.0
    center = float(np.median(values))
    level = float(rounded_levels(values[:, np.newaxis])[0]) if has_few_values(values) else 0.0
    scale = level or MAD_TO_STD * float(np.median(np.abs(values - center)))
    return center, scale if scale > 0 else float(values.std())
