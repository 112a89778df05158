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
    Patch(
        "by_channel",
        "spikeinterface.sortingcomponents.peak_detection.by_channel",
        "ByChannelPeakDetector.compute",
        "steadyspike.acceleration.detection.by_channel_peaks",
    ),
    Patch(
        "locally_exclusive",
        "spikeinterface.sortingcomponents.peak_detection.locally_exclusive",
        "LocallyExclusivePeakDetector.compute",
        "steadyspike.acceleration.detection.locally_exclusive_peaks",
    ),
)

REPAIRS: dict[str, str] = {}
"""Name of a patch that repairs a defect, to what it repairs in a sentence."""
