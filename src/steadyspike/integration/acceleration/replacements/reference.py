"""`CommonReferenceRecording`: every operator and reference."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from spikeinterface.preprocessing.common_reference import CommonReferenceRecordingSegment
from spikeinterface.preprocessing.filter import FilterRecordingSegment

from steadyspike.core.environment import is_before
from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.replacements.filters import check_channels, check_rounding
from steadyspike.integration.acceleration.threads import over_ranges
from steadyspike.kernels.channels.median import subtract_reference

_neighbours: weakref.WeakKeyDictionary[Any, list[np.ndarray]] = weakref.WeakKeyDictionary()


@replaces(
    "spikeinterface.preprocessing.common_reference",
    "CommonReferenceRecordingSegment.get_traces",
    name="common_reference",
    sources=("944d9a80e3ea07dc", "e7a34d0d7bf48faf", "a333e8f34850ebe2"),
    helpers=("CommonReferenceRecordingSegment.__init__", "CommonReferenceRecordingSegment.slice_groups"),
)
def referenced_traces(segment: Any, start_frame: int, end_frame: int, channel_indices: Any) -> np.ndarray:
    """Do what `CommonReferenceRecordingSegment.get_traces` does.

    Covered: all references, operators and groups, for real samples and sets that are not empty. Where the parent is a
    filter or another reference, whose samples no other object holds, they are overwritten instead of copied.
    """
    check_channels(channel_indices)
    check_rounding(segment.dtype)
    grouped = segment.group_indices is not None
    if grouped and segment.ref_channel_indices is not None and is_before("0.105"):
        raise NotCoveredError(
            "channels for the reference of groups, which SpikeInterface 0.105 is the first to use"
        )
    if channel_indices is None and not grouped:
        raise NotCoveredError("channel_indices=None")
    if any(len(one) == 0 for one in _shared_sets(segment)):
        raise NotCoveredError("a set without channels")
    parent = segment.parent_recording_segment
    traces = parent.get_traces(start_frame, end_frame, slice(None))
    if traces.dtype.kind not in "iuf" or traces.dtype.itemsize not in (1, 2, 4, 8):
        raise NotCoveredError(f"samples of {traces.dtype}")
    channels = np.arange(traces.shape[1])
    if channel_indices is not None:
        channels = channels[channel_indices]
    overwrite = type(parent) in (FilterRecordingSegment, CommonReferenceRecordingSegment)
    if segment.reference == "local":
        return _local(segment, traces, channels)
    if segment.reference == "single" and not grouped:
        return _single(segment, traces, channels, overwrite)
    if grouped:
        return _by_group(segment, traces, channels)
    sets = _shared_sets(segment) or [np.arange(traces.shape[1])]
    return _subtracted(segment, traces, sets, channels, None, overwrite)


def _shared_sets(segment: Any) -> list[Any]:
    """Sets of reference channels of all channels or groups; none stand for all channels, or for neighbours."""
    references, groups = segment.ref_channel_indices, segment.group_indices
    if segment.reference == "local" or (references is None and groups is None):
        return []
    if references is None:
        return list(groups)
    if groups is None:
        return [references]
    return list(references) if segment.reference == "global" else [[one] for one in references]


def _subtracted(
    segment: Any,
    traces: np.ndarray,
    sets: list[Any],
    channels: np.ndarray,
    which: Any,
    overwrite: bool = False,
) -> np.ndarray:
    """Subtract in the types that SpikeInterface subtracts in, and round integers."""
    dtype = _kernel_dtype(traces.dtype, segment.dtype)
    in_place = (
        overwrite and traces.dtype == dtype and traces.dtype.kind == "f" and _is_whole(traces, channels)
    )
    out = traces if in_place else None
    referenced = subtract_reference(
        traces, sets, channels, which, segment.operator, dtype, out=out, over_ranges=over_ranges
    )
    return _converted(referenced, segment.dtype)


def _kernel_dtype(given: np.dtype, wanted: np.dtype) -> str:
    """SpikeInterface subtracts in the type of floats, and integers in float64; the kernel converts what is common."""
    if given == np.int16 and wanted in (np.int16, np.float32):
        return wanted.name
    return "float32" if given == np.float32 else "float64"


def _is_whole(traces: np.ndarray, channels: np.ndarray) -> bool:
    return len(channels) == traces.shape[1] and bool((channels == np.arange(len(channels))).all())


def _converted(referenced: np.ndarray, wanted: np.dtype) -> np.ndarray:
    if wanted.kind in "iu" and referenced.dtype != wanted:
        np.round(referenced, out=referenced)
    return referenced.astype(wanted, copy=False)


def _by_group(segment: Any, traces: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Each channel less the reference of the last group it is in; 0 where it is in none. Integers are cut."""
    which = np.full(traces.shape[1], -1)
    for index, group in enumerate(segment.group_indices):
        which[group] = index
    which = which[channels]
    needed, places = np.unique(which[which >= 0], return_inverse=True)
    chosen = np.full(len(channels), len(needed))
    chosen[which >= 0] = places
    shared = _shared_sets(segment)
    sets = [shared[index] for index in needed]
    dtype = "float32" if traces.dtype == np.float32 else "float64"
    referenced = subtract_reference(
        traces, sets, channels, chosen, segment.operator, dtype, over_ranges=over_ranges
    )
    referenced[:, which < 0] = 0
    return referenced.astype(segment.dtype, copy=False)


def _single(segment: Any, traces: np.ndarray, channels: np.ndarray, overwrite: bool) -> np.ndarray:
    """Each channel less another, in the type of the traces, which wraps around if it is an integer."""
    (reference,) = segment.ref_channel_indices
    subtracted = traces[:, reference, None].copy()
    whole = _is_whole(traces, channels)
    in_place = overwrite and whole and traces.dtype == segment.dtype
    # numpy takes the type of the difference from what it subtracts, not from where it goes
    dtype = traces.dtype if traces.dtype.kind == "f" else segment.dtype
    referenced = traces if in_place else np.empty((len(traces), len(channels)), dtype)

    def work(start: int, stop: int) -> None:
        part = traces[start:stop] if whole else traces[start:stop, channels]
        np.subtract(part, subtracted[start:stop], out=referenced[start:stop], casting="unsafe")

    over_ranges(work, len(traces), 1024)
    return _converted(referenced, segment.dtype)


def _local(segment: Any, traces: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Each channel less the reference of its neighbours, if it has any."""
    sets = _neighbours_of(segment)
    needed = [index for index in np.unique(channels) if len(sets[index])]
    # the number of sets stands for none
    places = np.full(len(sets), len(needed))
    places[needed] = np.arange(len(needed))
    average = segment.operator == "average"
    dtype = _kernel_dtype(traces.dtype, segment.dtype)
    if dtype != "int16" and not average:
        # SpikeInterface keeps float32 for medians, whatever it is given
        dtype = "float32"
    if dtype == "float32" and average and segment.dtype != np.float32:
        dtype = "float64"
    chosen, operator = [sets[index] for index in needed], "products" if average else "median"
    referenced = subtract_reference(
        traces, chosen, channels, places[channels], operator, dtype, over_ranges=over_ranges
    )
    return _converted(referenced, segment.dtype)


def _neighbours_of(segment: Any) -> list[np.ndarray]:
    """Neighbours of each channel, which are found once."""
    if segment not in _neighbours:
        _neighbours[segment] = [np.flatnonzero(row) for row in segment.local_kernel]
    return _neighbours[segment]
