"""What is accelerated: SpikeInterface's part, where it is, and what takes its place."""

from __future__ import annotations

from steadyspike.acceleration.patching import Patch

PATCHES: tuple[Patch, ...] = (
    Patch(
        "filter",
        "spikeinterface.preprocessing.filter",
        "FilterRecordingSegment.get_traces",
        "steadyspike.acceleration.filters.filtered_traces",
        by_class=(
            ("BandpassFilterRecording", "bandpass_filter"),
            ("HighpassFilterRecording", "highpass_filter"),
            ("NotchFilterRecording", "notch_filter"),
            ("CausalFilterRecording", "causal_filter"),
        ),
    ),
)

REPAIRS: dict[str, str] = {}
"""Name of a patch that repairs a defect, to what it repairs in a sentence."""
