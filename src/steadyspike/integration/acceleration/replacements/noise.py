"""`get_noise_levels`: the levels of each of the chunks that SpikeInterface draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.threads import over_ranges
from steadyspike.kernels.channels.column_statistics import column_median_deviations
from steadyspike.kernels.channels.moments import column_standard_deviations, root_mean_squares

# as SpikeInterface has it
MAD_TO_STD = 0.6744897501960817


@replaces(
    "spikeinterface.core.recording_tools",
    "_noise_level_chunk",
    name="get_noise_levels",
    sources=("32b2121487648ebc",),
    helpers=("_noise_level_chunk_init",),
)
def noise_level_of_chunk(
    segment_index: int, start_frame: int, end_frame: int, worker_ctx: dict[str, Any]
) -> np.ndarray:
    """Do what `spikeinterface.core.recording_tools._noise_level_chunk` does.

    Covered: all methods, for integers and floats; "rms" for floats only, since squares of integers overflow.
    """
    recording, method, in_uv = (worker_ctx[key] for key in ("recording", "method", "return_in_uV"))
    if method not in ("mad", "std", "rms"):
        raise NotCoveredError(f"method={method!r}")
    if end_frame <= start_frame or recording.get_num_channels() == 0:
        raise NotCoveredError("a chunk without samples or channels")
    dtype = np.dtype("float32") if in_uv and recording.has_scaleable_traces() else recording.get_dtype()
    if dtype not in (np.float32, np.float64) and (dtype.kind not in "iu" or method == "rms"):
        raise NotCoveredError(f"method={method!r} for {dtype}")
    scales = _scales(recording) if in_uv and method == "mad" else None
    chunk = recording.get_traces(
        start_frame=start_frame,
        end_frame=end_frame,
        segment_index=segment_index,
        return_in_uV=in_uv and scales is None,
    )
    if scales is not None and chunk.dtype != np.int16:
        chunk = chunk.astype("float32", copy=False)
    if method == "mad":
        return column_median_deviations(chunk, over_ranges, scales)[1] / MAD_TO_STD
    if method == "std":
        return column_standard_deviations(chunk, over_ranges)
    return root_mean_squares(chunk, over_ranges)


def _scales(recording: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Gains and offsets with which the kernel converts samples to uV, as `get_traces` does; None where it has to."""
    if recording.get_dtype() not in (np.int16, np.float32) or not recording.has_scaleable_traces():
        return None
    return tuple(recording.get_property(key).astype("float32") for key in ("gain_to_uV", "offset_to_uV"))
