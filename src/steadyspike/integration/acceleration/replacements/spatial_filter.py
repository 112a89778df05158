"""`highpass_spatial_filter`: destriping across channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.replacements.filters import (
    check_channels,
    check_rounding,
    frames_of,
)
from steadyspike.kernels.filters.biquads import extension_samples
from steadyspike.kernels.filters.spatial_highpass import floats_in_order, highpass_across_channels


@replaces(
    "spikeinterface.preprocessing.highpass_spatial_filter",
    "HighPassSpatialFilterSegment.get_traces",
    name="highpass_spatial_filter",
    sources=("b74ed6c966dea869", "1467b4c4dbb96d82"),
    helpers=("HighPassSpatialFilterSegment.__init__", "agc", "fcn_cosine", "fcn_extrap"),
)
def destriped_traces(self: Any, start_frame: int, end_frame: int, channel_indices: Any) -> np.ndarray:
    """Do what `HighPassSpatialFilterSegment.get_traces` does.

    Covered: finite samples of integers of up to 16 bits, or floats of up to 64, for frames within the recording; noise
    levels above 0.
    """
    check_channels(channel_indices)
    check_rounding(self.dtype)
    start, end, length = frames_of(self, start_frame, end_frame)
    half = 0 if self.window is None else len(self.window) // 2
    if self.window is not None and half < 1:
        raise NotCoveredError("a window of one sample")
    first, last = max(start - half, 0), min(end + half, length)
    traces = self.parent_recording_segment.get_traces(first, last, slice(None))
    if traces.dtype not in ("int8", "uint8", "int16", "uint16", "float32", "float64"):
        raise NotCoveredError(f"samples of {traces.dtype}")
    traces = floats_in_order(traces, np.arange(traces.shape[1]) if self.order_f is None else self.order_f)
    if not np.isfinite(traces.sum(dtype="float64")):
        raise NotCoveredError("samples that are not finite")
    num_channels, pad = traces.shape[1], int(self.n_channel_pad)
    smallest = np.broadcast_to(np.asarray(self.epsilon_values_for_agc, "float64"), num_channels)
    if half and not (smallest > 0).all():
        raise NotCoveredError("noise levels of 0")
    if num_channels + 2 * pad <= extension_samples(self.sos_filter) or not (self.sos_filter[:, 3] == 1).all():
        raise NotCoveredError("fewer channels than the filter continues")
    taper = np.ones(num_channels + 2 * pad) if self.taper is None else self.taper
    channels = np.arange(num_channels) if self.order_r is None else np.asarray(self.order_r)
    channels = channels[slice(None) if channel_indices is None else channel_indices]
    out = np.empty((end - start, channels.size), dtype=self.dtype)
    every = np.array_equal(channels, np.arange(num_channels))
    blocks = highpass_across_channels(
        traces, self.sos_filter, taper, pad, half, smallest, start - first, end - first
    )
    for begin, filtered in blocks:
        block = filtered if every else np.take(filtered, channels, axis=1)
        if out.dtype.kind in "iu":
            np.round(block, out=block)
        out[begin - (start - first) :][: len(block)] = block
    return out
