"""What older series of SpikeInterface lack of that which the rest of steadyspike uses: the only file that knows.

`adapt` is called by ``import steadyspike`` before anything else. It gives names to what is there under another one, and
changes nothing that SpikeInterface has by itself; in the newest series it does nothing. What a series lacks altogether
is told where it is used, not at import.
"""

from __future__ import annotations

from typing import Any

RENAMED_JOB_TOOLS = {
    "TimeSeriesChunkExecutor": "ChunkRecordingExecutor",
    "divide_time_series_into_chunks": "divide_recording_into_chunks",
}


def adapt() -> None:
    """Make the installed SpikeInterface, of one of the supported series, as the newest is; again is harmless."""
    from spikeinterface.core import BaseRecording, job_tools

    # names of 0.105
    if not hasattr(BaseRecording, "segments"):
        BaseRecording.segments = property(_segments)
    for new, old in RENAMED_JOB_TOOLS.items():
        if not hasattr(job_tools, new) and hasattr(job_tools, old):
            setattr(job_tools, new, getattr(job_tools, old))


def is_before(series: str) -> bool:
    """Whether the installed SpikeInterface is older than a series, such as "0.105"."""
    import spikeinterface

    installed, asked = (
        [int(number) for number in text.split(".")[:2]] for text in (spikeinterface.__version__, series)
    )
    return installed < asked


def _segments(recording: Any) -> Any:
    return recording._recording_segments
