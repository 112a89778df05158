"""`interpolate_motion`: traces read where the contacts would be without motion."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from spikeinterface.core.motion import ensure_time_bins

from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.threads import over_ranges
from steadyspike.kernels.channels.banded_weights import apply_like_dense
from steadyspike.kernels.channels.spatial_interpolation import (
    METHODS,
    DisplacementWeights,
    bin_runs,
    closest_sources,
    is_inside,
    normalize_rows,
)

# SpikeInterface's defaults
OPTIONS: dict[str, Any] = dict(sigma_um=20.0, p=1, num_closest=4, sparse_thresh=None, force_extrapolate=False)
KERNELS = (
    "spikeinterface.preprocessing.preprocessing_tools:get_spatial_interpolation_kernel",
    "spikeinterface.preprocessing.preprocessing_tools:get_kriging_kernel_distance",
    "spikeinterface.preprocessing.preprocessing_tools:get_kriging_channel_weights",
)
# Fewest samples that are worth a thread.
THREAD_SAMPLES = 2000
# Layouts of contacts, methods and sets of channels whose weights are kept.
REMEMBERED_LAYOUTS = 16


class UpstreamWeights(DisplacementWeights):
    """Weights with the numbers of SpikeInterface: by inverse distances, those outside the probe are not normalized."""

    # SpikeInterface multiplies with all weights: the difference stays below 1e-5 standard deviations
    dropped_fraction = 3e-6
    still_um = 0.0

    def dense(self, displacement_um: np.ndarray) -> np.ndarray:
        """All weights, shape (num_targets, num_channels), float64."""
        if self.method != "idw":
            return super().dense(displacement_um)
        moved = self.moved(displacement_um)
        closest, distances = closest_sources(self.positions, moved, self.num_closest)
        weights = np.zeros((len(moved), len(self.positions)), dtype=self.dtype)
        alone = distances[:, 0] == 0.0
        with np.errstate(divide="ignore"):
            closeness = np.where(alone[:, None], 0.0, 1 / distances)
        closeness[alone, 0] = 1.0
        np.put_along_axis(weights, closest, closeness.astype(self.dtype), axis=1)
        inside = is_inside(self.positions, moved)
        normalize_rows(weights, inside)
        if not self.extrapolate:
            weights[~inside] = 0.0
        return weights.astype("float64")


@replaces(
    "spikeinterface.sortingcomponents.motion.motion_interpolation",
    "InterpolateMotionRecordingSegment.get_traces",
    name="interpolate_motion",
    sources=("df0bad6ff28807fc", "0fc62d8999539681", "5379ecffbcbfa122"),
    helpers=("InterpolateMotionRecordingSegment.__init__", "interpolate_motion_on_traces", *KERNELS),
)
def interpolated_traces(self: Any, start_frame: int, end_frame: int, channel_indices: Any) -> np.ndarray:
    """Do what `InterpolateMotionRecordingSegment.get_traces` does.

    Covered: every method, time bin and border mode, for float32 and float64 and times that do not decrease.
    """
    start_frame = 0 if start_frame is None else start_frame
    end_frame = self.get_num_samples() if end_frame is None else end_frame
    how = (self.spatial_interpolation_method, self.spatial_interpolation_kwargs)
    weights = _weights(self.channel_locations, self.motion, self.channel_inds, *how, self.dtype)
    parent = self.parent_recording_segment
    times = parent.sample_index_to_time(np.arange(start_frame, end_frame))
    _check_times(times)
    bins = ensure_time_bins(None, self.interpolation_time_bin_edges_s)
    rows = None
    if channel_indices is not None and not (
        isinstance(channel_indices, slice) and channel_indices == slice(None)
    ):
        rows = np.arange(len(weights.targets))[channel_indices]
        if rows.ndim != 1:
            raise NotCoveredError("channel_indices of one channel")
    traces = parent.get_traces(start_frame, end_frame, channel_indices=slice(None))
    return _interpolate(traces, times, bins, self.motion, self.segment_index, weights, rows)


@replaces(
    "spikeinterface.sortingcomponents.motion.motion_interpolation",
    "interpolate_motion_on_traces",
    name="interpolate_motion",
    sources=("ccc5fa662aa3eab8", "94724a55429c6797", "c0ce4ed72b40a7f2"),
    helpers=KERNELS,
    also_in=("spikeinterface.sortingcomponents.motion",),
)
def interpolated_array(
    traces: np.ndarray,
    times: np.ndarray,
    channel_locations: np.ndarray,
    motion: Any,
    segment_index: int | None = None,
    channel_inds: Any = None,
    interpolation_time_bin_centers_s: Any = None,
    interpolation_time_bin_edges_s: Any = None,
    spatial_interpolation_method: str = "kriging",
    spatial_interpolation_kwargs: dict[str, Any] = {},  # noqa: B006
    dtype: Any = None,
) -> np.ndarray:
    """Do what `interpolate_motion_on_traces` does, under the conditions of `interpolated_traces`."""
    dtype = traces.dtype if dtype is None else dtype
    if traces.ndim != 2 or len(times) != len(traces):
        raise NotCoveredError("traces that are not (number of times, number of channels)")
    if segment_index is None:
        if motion.num_segments != 1:
            raise NotCoveredError("segment_index=None with several segments")
        segment_index = 0
    how = (spatial_interpolation_method, spatial_interpolation_kwargs)
    weights = _weights(channel_locations, motion, channel_inds, *how, dtype)
    _check_times(times)
    if interpolation_time_bin_centers_s is None and interpolation_time_bin_edges_s is None:
        bins = motion.temporal_bins_s[segment_index], motion.temporal_bin_edges_s[segment_index]
    else:
        bins = ensure_time_bins(interpolation_time_bin_centers_s, interpolation_time_bin_edges_s)
    return _interpolate(traces, times, bins, motion, segment_index, weights, None)


def _check_times(times: np.ndarray) -> None:
    if len(times) == 0:
        raise NotCoveredError("no samples")
    if not (times[1:] >= times[:-1]).all():
        raise NotCoveredError("times that decrease")


def _weights(
    positions: np.ndarray, motion: Any, channel_inds: Any, method: str, options: dict[str, Any], dtype: Any
) -> UpstreamWeights:
    """Weights for these arguments, those of before if there are any."""
    if not isinstance(dtype, np.dtype) or dtype not in ("float32", "float64"):
        raise NotCoveredError(f"dtype={dtype}")
    if method not in METHODS or not set(options) <= set(OPTIONS):
        raise NotCoveredError(f"spatial_interpolation_method={method!r} with {sorted(options)}")
    options = {**OPTIONS, **options}
    if not np.isscalar(options["sigma_um"]):
        options["sigma_um"] = tuple(options["sigma_um"])
        if len(options["sigma_um"]) != 2:
            raise NotCoveredError("sigma_um of a length other than 2")
    if positions.dtype != "float64" or not np.isfinite(positions).all():
        raise NotCoveredError("locations that are not finite float64")
    channels = np.arange(len(positions)) if channel_inds is None else np.asarray(channel_inds)
    if channels.dtype.kind not in "iu" or channels.ndim != 1 or channels.size == 0:
        raise NotCoveredError("channel_inds that are not indices of at least one channel")
    layout = (np.ascontiguousarray(positions).tobytes(), positions.shape, channels.astype("int64").tobytes())
    return _remembered_weights(*layout, motion.dim, method, tuple(options.values()), dtype.name)


@lru_cache(REMEMBERED_LAYOUTS)
def _remembered_weights(
    positions: bytes,
    shape: tuple[int, int],
    channels: bytes,
    dimension: int,
    method: str,
    options: tuple,
    dtype: str,
) -> UpstreamWeights:
    """Make weights; `options` are in the order of `OPTIONS`."""
    located, targets = np.frombuffer(positions).reshape(shape), np.frombuffer(channels, dtype="int64")
    arguments: list[Any] = [located, dimension, method, *options, targets, dtype]
    return UpstreamWeights(*arguments)


def _interpolate(
    traces: np.ndarray,
    times: np.ndarray,
    bins: tuple[np.ndarray, np.ndarray],
    motion: Any,
    segment_index: int,
    weights: UpstreamWeights,
    rows: np.ndarray | None,
) -> np.ndarray:
    """Corrected traces, in the type of the weights; `bins` are the centers and edges in s."""
    centers, edges = bins
    runs = bin_runs(times, edges)
    displacements = motion.get_displacement_at_time_and_depth(
        np.asarray(centers)[[time_bin for _, _, time_bin in runs]],
        weights.positions[:, weights.dimension],
        segment_index=segment_index,
        grid=True,
    )
    num_rows = len(weights.targets) if rows is None else len(rows)
    corrected = np.empty((len(traces), num_rows), dtype=weights.dtype)
    for (start, end, _), displacement in zip(runs, displacements.T, strict=True):
        _apply(traces[start:end], weights, displacement, rows, corrected[start:end])
    return corrected


def _apply(
    traces: np.ndarray,
    weights: UpstreamWeights,
    displacement: np.ndarray,
    rows: np.ndarray | None,
    corrected: np.ndarray,
) -> None:
    """Write the product of the samples of one time bin."""
    band = weights.at(displacement)

    def dense() -> np.ndarray:
        return weights.dense(displacement).T.astype(weights.dtype)

    def work(start: int, stop: int) -> None:
        apply_like_dense(traces[start:stop], band, dense, rows, corrected[start:stop])

    over_ranges(work, len(traces), THREAD_SAMPLES)
