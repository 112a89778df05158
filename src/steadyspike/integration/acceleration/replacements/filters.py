"""`FilterRecording` and its kinds: band-pass, high-pass, notch, and causal filters."""

from __future__ import annotations

from typing import Any

import numpy as np
from spikeinterface.core import get_chunk_with_margin

from steadyspike.core.environment import is_before
from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.threads import over_ranges
from steadyspike.kernels.filters.biquads import extension_samples, filter_zero_phase
from steadyspike.kernels.filters.filter_passes import continued_ends, filter_one_way
from steadyspike.kernels.filters.parallel_sections import filter_constants
from steadyspike.kernels.lanes.arrays import as_kernel_array


@replaces(
    "spikeinterface.preprocessing.filter",
    "FilterRecordingSegment.get_traces",
    name="filter",
    sources=("cae27bae12ad82e6", "1f7cdbfc14a181ea"),
    helpers=("FilterRecordingSegment.__init__",),
    by_class=(
        ("BandpassFilterRecording", "bandpass_filter"),
        ("HighpassFilterRecording", "highpass_filter"),
        ("NotchFilterRecording", "notch_filter"),
        ("CausalFilterRecording", "causal_filter"),
    ),
)
def filtered_traces(segment: Any, start_frame: int, end_frame: int, channel_indices: Any) -> np.ndarray:
    """Do what `FilterRecordingSegment.get_traces` does.

    Covered: second-order sections, and numerators and denominators of up to three coefficients; real samples; chunks
    within the recording that are longer than the continuation of their ends.
    """
    sections, extension = _sections(segment)
    _check_frames(segment, start_frame, end_frame, extension)
    check_channels(channel_indices)
    both_ways = segment.direction == "forward-backward"
    traces, left, right = get_chunk_with_margin(
        segment.parent_recording_segment,
        start_frame,
        end_frame,
        channel_indices,
        segment.margin,
        add_reflect_padding=segment.add_reflect_padding,
    )
    dtype = _kernel_dtype(traces.dtype, segment.dtype)
    if traces.dtype.kind == "u":
        traces = traces.astype("float32")
    if both_ways and _ends_overflow(traces, extension):
        raise NotCoveredError("integers that overflow where the ends are continued")
    stop = len(traces) - max(right, 0)
    if both_ways:
        filtered = filter_zero_phase(traces, sections, left, stop, dtype, extension, over_ranges)
    else:
        filtered = np.empty((stop - left, traces.shape[1]), dtype)
        backward = segment.direction == "backward"
        if filtered.size:
            constants = filter_constants(sections)
            filter_one_way(as_kernel_array(traces), constants, left, filtered, backward, over_ranges)
    if segment.dtype.kind in "iu" and filtered.dtype != segment.dtype:
        filtered.round(out=filtered)
    return filtered.astype(segment.dtype, copy=False)


def check_channels(channel_indices: Any) -> None:
    """Leave calls to SpikeInterface that do not name channels in one of the usual ways."""
    if not isinstance(channel_indices, slice | list | tuple | np.ndarray) and channel_indices is not None:
        raise NotCoveredError(f"channel_indices of {type(channel_indices).__name__}")


def check_rounding(dtype: Any) -> None:
    """Leave integers to a SpikeInterface that cuts them, where the kernels round as the newest does."""
    if np.dtype(dtype).kind in "iu" and is_before("0.105"):
        raise NotCoveredError("integers, which SpikeInterface rounds from 0.105 on")


def frames_of(segment: Any, start_frame: int | None, end_frame: int | None) -> tuple[int, int, int]:
    """First frame, the one after the last, and how many there are; those outside are left to SpikeInterface."""
    length = int(segment.parent_recording_segment.get_num_samples())
    start = 0 if start_frame is None else start_frame
    end = length if end_frame is None else end_frame
    if not 0 <= start < end <= length:
        raise NotCoveredError("frames that are none, or outside the recording")
    return start, end, length


def _kernel_dtype(given: np.dtype, wanted: np.dtype) -> str:
    """SpikeInterface filters in float64 and then converts; the kernel does both where no NaN is converted."""
    if given.kind not in "iuf" or given.itemsize > 8:
        raise NotCoveredError(f"samples of {given}")
    if wanted == np.float32 or (wanted == np.int16 and given.kind in "iu"):
        return wanted.name
    return "float64"


def _sections(segment: Any) -> tuple[np.ndarray, int]:
    """Second-order sections, and the samples by which scipy continues each end."""
    if segment.filter_mode == "ba":
        numerator, denominator = (np.atleast_1d(np.asarray(one)) for one in segment.coeff)
        order = max(len(numerator), len(denominator)) - 1
        if order > 2:
            raise NotCoveredError("filter_mode='ba' of an order above 2")
        if numerator.ndim != 1 or denominator.ndim != 1 or denominator[0] == 0:
            raise NotCoveredError("coefficients that make no filter")
        rows = [np.pad(one, (0, 3 - len(one))) for one in (numerator, denominator)]
        sections = np.concatenate(rows)[None] / denominator[0]
        extension = 3 * (order + 1)
    else:
        sections = np.asarray(segment.coeff)
        if sections.ndim != 2 or sections.shape[1] != 6 or not (sections[:, 3] == 1).all():
            raise NotCoveredError("coefficients that make no filter")
        extension = extension_samples(sections)
    if sections.dtype != np.float64:
        raise NotCoveredError(f"coefficients of {sections.dtype}")
    if not (np.isfinite(sections).all() and (sections[:, 0] != 0).all()):
        raise NotCoveredError("a section whose first coefficient is 0")
    if not (np.abs(sections[:, 5]) < 1).all() or not (np.abs(sections[:, 4]) < 1 + sections[:, 5]).all():
        raise NotCoveredError("a filter that is not stable")
    return sections, extension


def _check_frames(segment: Any, start_frame: int | None, end_frame: int | None, extension: int) -> None:
    """Leave what is read in an unusual way, or is too short to be filtered, to SpikeInterface, before it is read."""
    start, end, length = frames_of(segment, start_frame, end_frame)
    # a margin that is reflected at an end of the recording counts as well as one that is read
    before, after = segment.margin, segment.margin
    if not segment.add_reflect_padding:
        before = 0 if start_frame is None else min(before, start)
        after = 0 if end_frame is None else min(after, length - end)
    if segment.direction == "forward-backward" and before + end - start + after <= extension:
        raise NotCoveredError("a chunk shorter than the continuation of its ends")


def _ends_overflow(traces: np.ndarray, extension: int) -> bool:
    """Tell whether the ends, continued in the integers of the traces as scipy does, leave their range."""
    if traces.dtype.kind != "i" or traces.dtype.itemsize > 4:
        return False
    limits = np.iinfo(traces.dtype)
    return any(
        (end < limits.min).any() or (end > limits.max).any() for end in continued_ends(traces, extension)
    )
