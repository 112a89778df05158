"""Peak detection by thresholds: "by_channel" and "locally_exclusive"."""

from __future__ import annotations

from typing import Any

import numpy as np

from steadyspike.acceleration import threads
from steadyspike.acceleration.calls import NotCoveredError
from steadyspike.kernels.threshold_peaks import (
    DTYPES,
    crossing_levels,
    find_extrema,
    flat_rows,
    largest_around,
    relative_sizes,
)

FEWEST_ROWS = 2000
FEWEST_EXTREMA = 2000


def by_channel_peaks(
    self: Any, traces: np.ndarray, start_frame: int, end_frame: int, segment_index: int, max_margin: int
) -> tuple[np.ndarray]:
    """Do what `ByChannelPeakDetector.compute` does.

    Covered: traces of up to 32 bits, or float64; `exclude_sweep_ms` of at least one sample.
    """
    sweep = self.exclude_sweep_size
    if sweep < 1:
        raise NotCoveredError("exclude_sweep_ms shorter than a sample")
    flat, stride = _checked(self, traces)
    # compared as numpy does: in float64 where float32 does not hold both
    thresholds = self.abs_thresholds.astype(np.float64)
    samples, channels = _extrema(self, traces, flat, stride, thresholds, sweep, strict=True)
    return (_peaks(self, traces, samples, channels, segment_index),)


def locally_exclusive_peaks(
    self: Any, traces: np.ndarray, start_frame: int, end_frame: int, segment_index: int, max_margin: int
) -> tuple[np.ndarray]:
    """Do what `LocallyExclusivePeakDetector.compute` does.

    Covered: traces of up to 32 bits, or float64.
    """
    flat, stride = _checked(self, traces)
    sweep, thresholds = self.exclude_sweep_size, self.abs_thresholds
    samples, channels = _extrema(self, traces, flat, stride, thresholds, 1, strict=False)
    sizes = relative_sizes(flat, stride, samples, channels, thresholds)
    kept = np.empty(samples.size, dtype=bool)
    # those of the margin refuse others, but are not kept
    first, last = np.searchsorted(samples, (sweep + 1, len(traces) - sweep - 1))
    last = max(first, last)
    kept[:first] = kept[last:] = False

    def judge(start: int, stop: int) -> None:
        start, stop = first + start, first + stop
        kept[start:stop] = largest_around(samples, channels, sizes, self.neighbours_mask, sweep, start, stop)

    threads.over_ranges(judge, int(last - first), FEWEST_EXTREMA)
    return (_peaks(self, traces, samples[kept], channels[kept], segment_index),)


def _checked(node: Any, traces: Any) -> tuple[np.ndarray, int]:
    if not isinstance(traces, np.ndarray) or traces.ndim != 2 or traces.dtype not in DTYPES:
        raise NotCoveredError(f"traces of {getattr(traces, 'dtype', type(traces).__name__)}")
    thresholds = node.abs_thresholds
    if (
        not isinstance(thresholds, np.ndarray)
        or thresholds.dtype not in (np.float32, np.float64)
        or thresholds.shape != traces.shape[1:]
        or not traces.shape[1]
    ):
        raise NotCoveredError("noise_levels that are not one number for each channel")
    return flat_rows(traces)


def _extrema(
    node: Any,
    traces: np.ndarray,
    flat: np.ndarray,
    stride: int,
    thresholds: np.ndarray,
    sweep: int,
    strict: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the extrema of all rows that have `sweep` rows on both sides."""
    num_channels = traces.shape[1]
    lows, highs = crossing_levels(thresholds, traces.dtype)
    levels = (
        lows if node.peak_sign in ("neg", "both") else None,
        highs if node.peak_sign in ("pos", "both") else None,
    )
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def search(start: int, stop: int) -> None:
        rows = (sweep + start, sweep + stop)
        found[start] = find_extrema(
            flat, stride, num_channels, *rows, thresholds, *levels, sweep=sweep, strict=strict
        )

    threads.over_ranges(search, max(len(traces) - 2 * sweep, 0), FEWEST_ROWS)
    parts = [found[start] for start in sorted(found)]
    if len(parts) == 1:
        return parts[0]
    samples, channels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return samples, channels


def _peaks(
    node: Any, traces: np.ndarray, samples: np.ndarray, channels: np.ndarray, segment_index: int
) -> np.ndarray:
    peaks = np.zeros(samples.size, dtype=node.get_dtype())
    peaks["sample_index"] = samples
    peaks["channel_index"] = channels
    peaks["amplitude"] = traces[samples, channels]
    peaks["segment_index"] = segment_index
    return peaks
