"""One motion preset from a raw to a corrected recording: time of each step, error against the truth."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

    from steadyspike.simulation.drift import SimulatedDrift

BAND = dict(freq_min=300.0, freq_max=6000.0)


@dataclass
class PresetRun:
    """What one preset did with the recording.

    `times_s` are seconds of each step; filters run inside the first and the last. The errors are mean and 99th
    percentile of |estimate - truth| after removing one offset, `motion_info` is SpikeInterface's, and the recording the
    filtered one that the motion was estimated from.
    """

    times_s: dict[str, float]
    mean_error_um: float
    worst_error_um: float
    motion_info: dict[str, Any] = field(repr=False)
    recording: BaseRecording = field(repr=False)

    @property
    def total_s(self) -> float:
        """Seconds from the raw to the corrected recording."""
        return sum(self.times_s.values())


def run_preset(
    preset: str, raw: BaseRecording, simulated: SimulatedDrift, job_kwargs: dict[str, Any]
) -> PresetRun:
    """Correct the recording with one preset, time its steps, and measure its error.

    `raw` is that of `simulate_raw`; `simulated` knows the truth.
    """
    import spikeinterface.full as si

    from steadyspike.simulation.truth import motion_error

    recording = filtered(raw, preset)
    start = time.perf_counter()
    corrected, info = si.correct_motion(recording, preset=preset, output_motion_info=True, **job_kwargs)
    times = dict(info["run_times"])
    # what correct_motion spends outside its own timers
    times["noise_and_weights"] = max(0.0, time.perf_counter() - start - sum(times.values()))
    start = time.perf_counter()
    _read_through(corrected, job_kwargs)
    times["read_corrected"] = time.perf_counter() - start
    error = np.abs(motion_error(simulated, info["motion"]))
    order = ("noise_and_weights", "detect_and_localize", "estimate_motion", "read_corrected")
    return PresetRun(
        times_s={step: float(times[step]) for step in order if step in times},
        mean_error_um=float(error.mean()),
        worst_error_um=float(np.percentile(error, 99)),
        motion_info=info,
        recording=recording,
    )


def filtered(raw: BaseRecording, preset: str) -> BaseRecording:
    """Give the lazy bandpass and common reference with which a preset starts: ours for our presets."""
    import spikeinterface.full as si

    import steadyspike

    if preset.startswith("steady_"):
        return steadyspike.common_reference(steadyspike.bandpass_filter(raw, **BAND))
    return si.common_reference(si.bandpass_filter(raw, dtype="float32", **BAND))


def _read_through(recording: BaseRecording, job_kwargs: dict[str, Any]) -> None:
    """Compute every sample once and keep none."""
    from spikeinterface.core.job_tools import TimeSeriesChunkExecutor

    executor = TimeSeriesChunkExecutor(
        recording, _read_chunk, _keep, (recording,), job_name="read corrected", **job_kwargs
    )
    executor.run()


def _keep(recording: BaseRecording) -> dict[str, BaseRecording]:
    return {"recording": recording}


def _read_chunk(segment_index: int, start_frame: int, end_frame: int, worker_ctx: dict[str, Any]) -> None:
    worker_ctx["recording"].get_traces(
        segment_index=segment_index, start_frame=start_frame, end_frame=end_frame
    )
