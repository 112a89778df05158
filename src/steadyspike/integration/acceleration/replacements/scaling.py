"""`scale`, `center`, `zscore` and `normalize_by_quantile`: their estimation, and their gain and offset."""

from __future__ import annotations

from typing import Any

import numpy as np
from spikeinterface.core import get_random_data_chunks
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor

from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.replacements.filters import check_channels
from steadyspike.integration.acceleration.sources import original_of
from steadyspike.integration.acceleration.threads import over_ranges
from steadyspike.kernels.channels.column_statistics import (
    column_median_deviations,
    column_medians,
    column_quantiles,
)
from steadyspike.kernels.channels.moments import scale_channels

MODULE = "spikeinterface.preprocessing.normalize_scale"
# Samples times channels that stay in the cache between the scaling and the conversion.
BLOCK_VALUES = 64_000
THREAD_SAMPLES = 4000
# Median absolute deviation of normal numbers of variance 1, to the digits of SpikeInterface
NORMAL_DEVIATION = 0.6744897501960817


@replaces(
    "spikeinterface.preprocessing.normalize_scale",
    "ScaleRecordingSegment.get_traces",
    name="scale",
    sources=("cfb6396c89c14a3a",),
    helpers=("ScaleRecordingSegment.__init__",),
    by_class=(
        ("CenterRecording", "center"),
        ("NormalizeByQuantileRecording", "normalize_by_quantile"),
        ("ZScoreRecording", "zscore"),
    ),
)
def scaled_traces(self: Any, start_frame: int, end_frame: int, channel_indices: Any) -> np.ndarray:
    """Do what `ScaleRecordingSegment.get_traces` does.

    Covered: integers, float32 and float64, to any type.
    """
    check_channels(channel_indices)
    dtype = np.dtype(self._dtype)
    gain, offset = (_one_each(values, channel_indices) for values in (self.gain, self.offset))
    traces = self.parent_recording_segment.get_traces(start_frame, end_frame, channel_indices)
    if traces.dtype.kind not in "iuf" or traces.dtype.itemsize > 8 or traces.shape[1] != len(gain):
        raise NotCoveredError(f"samples of {traces.dtype} in {traces.shape[1]} channels")
    scaled = np.empty(traces.shape, dtype=dtype)

    def work(start: int, stop: int) -> None:
        if dtype == "float32":
            scale_channels(traces[start:stop], gain, offset, scaled[start:stop])
            return
        size = 1 + BLOCK_VALUES // max(1, traces.shape[1])
        for first in range(start, stop, size):
            some = traces[first : min(first + size, stop)]
            block = np.empty(some.shape, dtype="float32")
            scale_channels(some, gain, offset, block, dtype.kind in "iu")
            scaled[first : first + len(some)] = block

    over_ranges(work, len(traces), THREAD_SAMPLES)
    return scaled


def _one_each(values: Any, channel_indices: Any) -> np.ndarray:
    """Gain or offset of each of these channels."""
    if channel_indices is None or np.ndim(values) != 2 or len(values) != 1:
        raise NotCoveredError("channel_indices=None, or gains that are not (1, number of channels)")
    chosen = np.asarray(values)[0, channel_indices]
    if chosen.ndim != 1 or chosen.dtype.kind not in "iuf" or chosen.dtype.itemsize > 8:
        raise NotCoveredError(f"gains or offsets of {chosen.dtype}")
    # as numpy does, where float32 is multiplied with another type in place
    return np.ascontiguousarray(chosen, dtype=np.result_type(chosen.dtype, "float32"))


@replaces(
    "spikeinterface.preprocessing.normalize_scale",
    "ZScoreRecording.__init__",
    name="zscore",
    sources=("84fe478150d848cb", "e5ed94445dabe28a"),
)
def start_zscore(
    self: Any,
    recording: Any,
    mode: str = "median+mad",
    gain: Any = None,
    offset: Any = None,
    int_scale: float | None = None,
    dtype: Any = "float32",
    **random_chunk_kwargs: Any,
) -> None:
    """Do what `ZScoreRecording` does when it is made, with medians; means are left to SpikeInterface."""
    if mode != "median+mad" or gain is not None:
        raise NotCoveredError(f"mode={mode!r}" if gain is None else "gain given: nothing is estimated")
    data = _data(recording, return_in_uV=False, **random_chunk_kwargs)
    medians, deviations = column_median_deviations(data, over_ranges)
    medians, deviations = medians[None, :], (deviations / NORMAL_DEVIATION)[None, :]
    original_of(MODULE, "ZScoreRecording.__init__")(
        self,
        recording,
        mode=mode,
        gain=1 / deviations,
        offset=-medians / deviations,
        int_scale=int_scale,
        dtype=dtype,
        **random_chunk_kwargs,
    )


@replaces(
    "spikeinterface.preprocessing.normalize_scale",
    "NormalizeByQuantileRecording.__init__",
    name="normalize_by_quantile",
    sources=("37118d94555b7883", "e13855ca9b3bad61"),
)
def start_normalization(
    self: Any,
    recording: Any,
    scale: float = 1.0,
    median: float = 0.0,
    q1: float = 0.01,
    q2: float = 0.99,
    mode: str = "by_channel",
    dtype: Any = "float32",
    **random_chunk_kwargs: Any,
) -> None:
    """Do what `NormalizeByQuantileRecording` does when it is made, each channel by itself."""
    if mode != "by_channel" or not (0 <= q1 <= 1 and 0 <= q2 <= 1):
        raise NotCoveredError(f"mode={mode!r}, q1={q1}, q2={q2}")
    data = _data(recording, return_in_uV=False, **random_chunk_kwargs)
    lower, middle, upper = column_quantiles(data, [q1, 0.5, q2], over_ranges)
    gain = scale / abs(upper - lower)
    settings = dict(scale=scale, median=median, q1=q1, q2=q2, mode=mode)
    _start(self, recording, gain, median - middle * gain, settings, dtype, random_chunk_kwargs)


@replaces(
    "spikeinterface.preprocessing.normalize_scale",
    "CenterRecording.__init__",
    name="center",
    sources=("e35dbfef3c2219b9", "0c2a82b91f6236e3"),
)
def start_centering(
    self: Any, recording: Any, mode: str = "median", dtype: Any = "float32", **random_chunk_kwargs: Any
) -> None:
    """Do what `CenterRecording` does when it is made, with medians; means are left to SpikeInterface."""
    if mode != "median":
        raise NotCoveredError(f"mode={mode!r}")
    data = _data(recording, **random_chunk_kwargs)
    offset = -column_medians(data, over_ranges)
    _start(self, recording, np.ones(len(offset)), offset, dict(mode=mode), dtype, random_chunk_kwargs)


def _data(recording: Any, **random_chunk_kwargs: Any) -> np.ndarray:
    data: np.ndarray = get_random_data_chunks(recording, **random_chunk_kwargs)
    if (
        not isinstance(data, np.ndarray)
        or data.dtype.kind not in "iuf"
        or data.dtype.itemsize not in (2, 4, 8)
    ):
        raise NotCoveredError("chunks that are no array of numbers")
    if data.dtype == "float16" or len(data) == 0:
        raise NotCoveredError(f"{len(data)} samples of {data.dtype}")
    return data


def _start(
    self: Any,
    recording: Any,
    gain: np.ndarray,
    offset: np.ndarray,
    settings: dict[str, Any],
    dtype: Any,
    random_chunk_kwargs: dict[str, Any],
) -> None:
    """Make the segments, and note the arguments."""
    from spikeinterface.preprocessing.normalize_scale import ScaleRecordingSegment

    BasePreprocessor.__init__(self, recording, dtype=dtype)
    for segment in recording.segments:
        scaled = ScaleRecordingSegment(segment, gain[None, :], offset[None, :], dtype=self._dtype)
        self.add_recording_segment(scaled)
    self._kwargs = dict(recording=recording, **settings, dtype=np.dtype(self._dtype).str)
    self._kwargs.update(random_chunk_kwargs)
