"""Traces of an evaluation, chunk by chunk."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Chunk(NamedTuple):
    """Traces around samples `start` to `stop` of a segment, read from `low` on; `origin` is the segment's position."""

    segment: int
    start: int
    stop: int
    low: int
    high: int
    origin: int

    @property
    def core(self) -> slice:
        """What is not margin."""
        return slice(self.start - self.low, self.stop - self.low)

    @property
    def place(self) -> tuple[int, int, int]:
        """Positions of the first sample, of the start and of the stop."""
        return self.origin + self.low, self.origin + self.start, self.origin + self.stop


def read_chunk(recording: Any, chunk: Chunk, center: np.ndarray) -> np.ndarray:
    """Traces less their center; zeros where there is no recording."""
    if recording is None:
        return np.zeros((chunk.high - chunk.low, center.size), "float32")
    traces = recording.get_traces(chunk.segment, chunk.low, chunk.high)
    # float32 holds all integers of 16 bits; others lose digits unless the center is taken off first
    short = traces.dtype == "float32" or (traces.dtype.kind in "iu" and traces.dtype.itemsize <= 2)
    return np.subtract(traces, center.astype("float32") if short else center).astype("float32", copy=False)
