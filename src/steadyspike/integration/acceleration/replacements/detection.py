"""Peak detection by thresholds: "by_channel" and "locally_exclusive"."""

from __future__ import annotations

from typing import Any

import numpy as np

from steadyspike.integration.acceleration import threads
from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.replacements.snippets import neighbours_of
from steadyspike.kernels.spikes.threshold_peaks import (
    DTYPES,
    find_extrema,
    flat_rows,
    largest_around,
    relative_sizes,
)

FEWEST_ROWS = 2000
FEWEST_EXTREMA = 2000


@replaces(
    "spikeinterface.sortingcomponents.peak_detection.by_channel",
    "ByChannelPeakDetector.compute",
    name="by_channel",
    sources=("2b439354866bcd00", "6c6ffec9d6d9d24e"),
    helpers=("ByChannelPeakDetector.__init__",),
)
def by_channel_peaks(
    self: Any, traces: np.ndarray, start_frame: int, end_frame: int, segment_index: int, max_margin: int
) -> tuple[np.ndarray]:
    """Do what `ByChannelPeakDetector.compute` does.

    Covered: traces of up to 32 bits, or float64; `exclude_sweep_ms` of at least one sample.
    """
    sweep = self.exclude_sweep_size
    if sweep < 1:
        raise NotCoveredError("exclude_sweep_ms shorter than a sample")
    _check(self, traces)
    samples, channels, values = _extrema(traces, self.abs_thresholds, self.peak_sign, sweep, strict=True)
    return (_peaks(self, samples, channels, values, segment_index),)


@replaces(
    "spikeinterface.sortingcomponents.peak_detection.locally_exclusive",
    "LocallyExclusivePeakDetector.compute",
    name="locally_exclusive",
    sources=("3decb9f73df13cb1", "5ead9d204984a056", "2857779ad37ecb39"),
    helpers=("LocallyExclusivePeakDetector.__init__", "detect_peaks_numba_locally_exclusive_on_chunk"),
)
def locally_exclusive_peaks(
    self: Any, traces: np.ndarray, start_frame: int, end_frame: int, segment_index: int, max_margin: int
) -> tuple[np.ndarray]:
    """Do what `LocallyExclusivePeakDetector.compute` does.

    Covered: traces of up to 32 bits, or float64; thresholds that are finite and not 0; no NaN if `peak_sign` is "both",
    since SpikeInterface takes NaN for peaks there.
    """
    if takes_nan_for_peaks(self, traces):
        raise NotCoveredError("NaN with peak_sign='both'")
    return locally_exclusive_of(self, traces, segment_index)


def takes_nan_for_peaks(node: Any, traces: np.ndarray) -> bool:
    """Tell whether SpikeInterface, whose comparisons are compiled as if there were no NaN, finds peaks that are NaN."""
    return bool(
        node.peak_sign == "both" and traces.dtype.kind == "f" and traces.size and np.isnan(traces.min())
    )


def locally_exclusive_of(self: Any, traces: np.ndarray, segment_index: int) -> tuple[np.ndarray]:
    """Find peaks that are largest around; samples that are NaN are none."""
    _check(self, traces)
    sweep, thresholds = self.exclude_sweep_size, self.abs_thresholds
    if not (np.isfinite(thresholds) & (thresholds != 0)).all():
        raise NotCoveredError("a threshold that is 0 or not finite")
    samples, channels, values = _extrema(traces, thresholds, self.peak_sign, 1, strict=False)
    neighbours, counts = neighbours_of(self, traces.shape[1])
    sizes = relative_sizes(values, channels, thresholds)
    # those of the margin refuse others, but are not kept
    first, last = np.searchsorted(samples, (sweep + 1, len(traces) - sweep - 1))

    def judge(start: int, stop: int) -> np.ndarray:
        span = first + start, first + stop
        return largest_around(samples, channels, sizes, neighbours, counts, sweep, *span)

    kept = np.concatenate(threads.over_ranges(judge, max(int(last - first), 0), FEWEST_EXTREMA))
    return (_peaks(self, samples[kept], channels[kept], values[kept], segment_index),)


def _check(node: Any, traces: Any) -> None:
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


def _extrema(
    traces: np.ndarray, thresholds: np.ndarray, peak_sign: str, sweep: int, strict: bool
) -> tuple[np.ndarray, ...]:
    """Find the extrema of all rows that have `sweep` rows on both sides."""
    flat, stride = flat_rows(traces)
    # float64 holds both sides of every comparison
    thresholds = thresholds.astype(np.float64)

    def search(start: int, stop: int) -> tuple[np.ndarray, ...]:
        rows = (sweep + start, sweep + stop)
        return find_extrema(
            flat, stride, traces.shape[1], *rows, thresholds, peak_sign, sweep=sweep, strict=strict
        )

    parts = threads.over_ranges(search, max(len(traces) - 2 * sweep, 0), FEWEST_ROWS)
    return parts[0] if len(parts) == 1 else tuple(map(np.concatenate, zip(*parts, strict=True)))


def _peaks(
    node: Any, samples: np.ndarray, channels: np.ndarray, values: np.ndarray, segment_index: int
) -> np.ndarray:
    peaks = np.zeros(samples.size, dtype=node.get_dtype())
    peaks["sample_index"] = samples
    peaks["channel_index"] = channels
    peaks["amplitude"] = values
    peaks["segment_index"] = segment_index
    return peaks
