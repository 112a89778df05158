"""`FilterRecording` and its kinds: band-pass, high-pass, notch."""

from __future__ import annotations

from typing import Any

import numpy as np
from spikeinterface.core import get_chunk_with_margin

from steadyspike.acceleration.calls import NotCoveredError
from steadyspike.kernels.biquads import extension_samples, filter_zero_phase


def filtered_traces(segment: Any, start_frame: int, end_frame: int, channel_indices: Any) -> np.ndarray:
    """Do what `FilterRecordingSegment.get_traces` does.

    Covered: second-order sections and single biquads, forward and backward, for real traces; chunks that are longer
    than the continuation of their ends.
    """
    sections = _sections(segment)
    traces, left, _ = get_chunk_with_margin(
        segment.parent_recording_segment,
        start_frame,
        end_frame,
        channel_indices,
        segment.margin,
        add_reflect_padding=segment.add_reflect_padding,
    )
    if len(traces) <= extension_samples(sections):
        raise NotCoveredError("the chunk is shorter than the continuation of its ends")
    # SpikeInterface filters in float64 and then converts
    dtype = "float32" if segment.dtype == np.float32 else "float64"
    filtered = filter_zero_phase(traces, sections, left, left + end_frame - start_frame, dtype)
    if segment.dtype.kind in "iu":
        filtered.round(out=filtered)
    return filtered.astype(segment.dtype, copy=False)


def _sections(segment: Any) -> np.ndarray:
    if segment.direction != "forward-backward":
        raise NotCoveredError(f"direction={segment.direction!r}")
    coefficients = segment.coeff
    if segment.filter_mode == "ba":
        numerator, denominator = (np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in coefficients)
        if len(numerator) != 3 or len(denominator) != 3:
            raise NotCoveredError("filter_mode='ba' of an order other than 2")
        coefficients = [np.concatenate([numerator, denominator]) / denominator[0]]
    sections = np.asarray(coefficients, dtype=np.float64)
    if not (sections[:, 0] != 0).all():
        raise NotCoveredError("a section whose first coefficient is 0")
    return sections
