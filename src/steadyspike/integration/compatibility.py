"""What older series of SpikeInterface lack of that which the rest of steadyspike uses: the only file that knows.

`adapt` is called by ``import steadyspike`` before anything else. It gives names to what is there under another one, and
changes nothing that SpikeInterface has by itself; in the newest series it does nothing. What a series lacks altogether
is told where it is used, not at import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

RENAMED_RECORDING_TOOLS = {"get_random_sample_slices": "get_random_recording_slices"}
RENAMED_JOB_TOOLS = {
    "TimeSeriesChunkExecutor": "ChunkRecordingExecutor",
    "divide_time_series_into_chunks": "divide_recording_into_chunks",
}


def adapt() -> None:
    """Make the installed SpikeInterface, of one of the supported series, as the newest is; again is harmless."""
    from spikeinterface.core import BaseRecording, job_tools, node_pipeline, recording_tools

    # names of 0.105
    if not hasattr(BaseRecording, "segments"):
        BaseRecording.segments = property(_segments)
    if not hasattr(BaseRecording, "is_probe_3d"):
        BaseRecording.is_probe_3d = _is_probe_3d
    if not hasattr(node_pipeline.PipelineNode, "get_margin"):
        # ours have get_margin, and SpikeInterface's the old name
        node_pipeline.PipelineNode.get_margin = _margin
        for base in (node_pipeline.PipelineNode, node_pipeline.PeakSource, node_pipeline.WaveformsNode):
            if "get_trace_margin" in vars(base):
                base.get_trace_margin = _trace_margin(base.get_trace_margin)
        node_pipeline.PeakRetriever._peaks = property(_peaks)
    for module, renamed in ((job_tools, RENAMED_JOB_TOOLS), (recording_tools, RENAMED_RECORDING_TOOLS)):
        for new, old in renamed.items():
            if not hasattr(module, new) and hasattr(module, old):
                setattr(module, new, getattr(module, old))


def _segments(recording: Any) -> Any:
    return recording._recording_segments


def _is_probe_3d(recording: Any) -> bool:
    return bool(recording.get_probegroup().ndim == 3)


def _margin(node: Any) -> int:
    return int(node.get_trace_margin())


def _trace_margin(original: Callable[[Any], int]) -> Callable[[Any], int]:
    """Make the old method ask the new one, where a class has it."""

    def get_trace_margin(node: Any) -> int:
        new = type(node).get_margin
        return original(node) if new is _margin else int(new(node))

    return get_trace_margin


def _peaks(node: Any) -> Any:
    return node.peaks
