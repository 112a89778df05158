"""How much memory, disk and time a motion estimate will take, told before it starts.

Arrays of the registration have sizes that are known beforehand: peaks, cells of the raster, pairs of time bins, and
the products of their correlations. What one of each costs was measured (`MEASURED`); time is scaled by how fast this
machine is now, and detection is timed on two seconds of the recording itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.noise_levels import noise_levels
from steadyspike.core.settings import Settings, parameter, takes
from steadyspike.motion.costs import (
    MB,
    MEASURED,
    calibrate,
    in_words,
    problem_size,
    size_in_words,
    time_and_memory_in_words,
)

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

    from steadyspike.motion.decentralized import DecentralizedSettings
    from steadyspike.motion.settings import WindowSettings

SAMPLE_S = 2.0
NUM_PIECES = 4
WARM_UP_S = 0.1
# bytes on disk of a peak, and at most of its location
PEAK_BYTES, LOCATION_BYTES = 32, 32
TRACE_BYTES = 4
# printed by `python -m steadyspike_benchmarks memory --costs`, as `MEASURED` is: memory of detection and localization
# beside the base, per byte of a chunk in single precision
BYTES_PER_CHUNK_BYTE = 2.56


@dataclass(frozen=True)
class MotionForecast:
    """What correcting the motion of a recording will take; ``print`` it.

    Times are in s and memory in MB, None where nothing is known: of finding the peaks, `detect_s` and
    `detect_memory_mb`, also where they are given; of the estimate, where the method is not known. `duration_s` is that
    of all segments, `num_peaks` is expected or given, as `peaks_from` says in words; `peaks_disk_mb` is the size of
    peaks and locations on disk, which while they are joined at the end is taken twice.
    """

    duration_s: float
    num_channels: int
    method: str
    num_peaks: int
    peaks_from: str
    peaks_disk_mb: float
    detect_s: float | None = None
    detect_memory_mb: float | None = None
    estimate_s: float | None = None
    estimate_memory_mb: float | None = None

    @property
    def memory_mb(self) -> float | None:
        """Peak memory of all steps, in MB, where both are known."""
        if self.estimate_memory_mb is None:
            return None
        return max(self.estimate_memory_mb, self.detect_memory_mb or 0.0)

    def __str__(self) -> str:
        lines = [
            f"{in_words(self.duration_s)} of {self.num_channels} channels, about {self.num_peaks:,} peaks "
            f"({self.peaks_from}; {size_in_words(self.peaks_disk_mb)} on disk)"
        ]
        if self.detect_s is not None and self.detect_memory_mb is not None:
            lines.append(f"find peaks: {time_and_memory_in_words(self.detect_s, self.detect_memory_mb)}")
        if self.estimate_s is None or self.estimate_memory_mb is None:
            lines.append(f"estimate motion: not known for {self.method}")
        else:
            lines.append(
                f"estimate motion: {time_and_memory_in_words(self.estimate_s, self.estimate_memory_mb)}"
            )
        return "\n".join(lines)


class ForecastSettings(Settings):
    """What is expected of the recording."""

    part = "forecast_motion"

    peaks_per_s: float | None = parameter(
        None, "Expected peaks per second on the whole probe; None: they are counted in a sample", ge=0
    )


@takes(ForecastSettings)
def forecast_motion(
    recording: BaseRecording,
    *,
    preset: str = "steady_nonrigid",
    detect_kwargs: dict[str, Any] | None = None,
    localize_peaks_kwargs: dict[str, Any] | None = None,
    estimate_motion_kwargs: dict[str, Any] | None = None,
    peaks: np.ndarray | None = None,
    settings: ForecastSettings,
    **job_kwargs: Any,
) -> MotionForecast:
    """Forecast memory, disk and time of a motion correction.

    Memory is ``base + a peaks + b cells + c pairs`` and time ``d peaks rounds + e products + f pairs`` with the
    constants of `MEASURED`, for time divided by the speed of this machine beside that where they were measured.

    Parameters
    ----------
    recording : BaseRecording
        With contact positions. Unless peaks or their rate are given, noise levels are estimated and two seconds
        are searched for peaks.
    preset : str, default: "steady_nonrigid"
        A motion preset, or the path of one.
    detect_kwargs, localize_peaks_kwargs, estimate_motion_kwargs : dict or None, default: None
        Changes of the preset.
    peaks : ndarray or None, default: None
        Peaks that were found already.
    {settings}
    **job_kwargs
        SpikeInterface's job arguments.

    Returns
    -------
    forecast : MotionForecast

    Raises
    ------
    ValueError
        For a rate or changes that cannot work.
    """
    from spikeinterface.core.job_tools import fix_job_kwargs
    from spikeinterface.preprocessing import get_motion_parameters_preset

    from steadyspike.motion.problem import seconds_of_samples
    from steadyspike.peaks import on_disk

    estimation = get_motion_parameters_preset(preset)["estimate_motion_kwargs"] | (
        estimate_motion_kwargs or {}
    )
    arguments = declared(estimation)
    peaks_per_s = settings.peaks_per_s
    segments = range(recording.get_num_segments())
    duration_s = sum(seconds_of_samples(recording, index) for index in segments)
    detect_s, detect_memory_mb = None, None
    if peaks is not None:
        num_peaks, peaks_from = len(peaks), "found already"
    elif peaks_per_s is not None:
        num_peaks, peaks_from = round(peaks_per_s * duration_s), f"at {peaks_per_s:g} per s"
    else:
        job_kwargs = fix_job_kwargs(job_kwargs)
        steps = on_disk.peak_parameters(preset, detect_kwargs or {}, localize_peaks_kwargs or {})
        sampled_s, found, seconds = _sample_peaks(recording, steps, job_kwargs)
        scale = duration_s / sampled_s if sampled_s > 0 else 0.0
        num_peaks, peaks_from = round(found * scale), f"from {sampled_s:.2g} s of data"
        detect_s = seconds * scale / job_kwargs["n_jobs"]
        detect_memory_mb = _detection_memory_mb(recording, job_kwargs)
    forecast = MotionForecast(
        duration_s=duration_s,
        num_channels=recording.get_num_channels(),
        method=estimation["method"],
        num_peaks=num_peaks,
        peaks_from=peaks_from,
        peaks_disk_mb=num_peaks * (PEAK_BYTES + LOCATION_BYTES) / MB,
        detect_s=detect_s,
        detect_memory_mb=detect_memory_mb,
    )
    if arguments is None:
        return forecast
    runs = _as_decentralized(recording, num_peaks, *arguments)
    sizes = [problem_size(recording, num_peaks, *one) for one in runs]
    costs = MEASURED["steady_decentralized"]
    speed = costs.calibration_s / calibrate()
    return replace(
        forecast,
        estimate_s=sum(size.seconds(costs, speed) for size in sizes),
        estimate_memory_mb=max(size.memory_mb(costs) for size in sizes),
    )


def declared(estimation: dict[str, Any]) -> tuple[WindowSettings, Any] | None:
    """Check the arguments of `estimate_motion` for an estimator whose costs are known; None for another one."""
    from steadyspike.motion.auto import AutoSettings
    from steadyspike.motion.decentralized import DecentralizedSettings
    from steadyspike.motion.settings import WindowSettings

    known = {one.part: one for one in (AutoSettings, DecentralizedSettings)}
    if estimation["method"] not in known:
        return None
    windows = {name: value for name, value in estimation.items() if name in WindowSettings.model_fields}
    rest = {name: value for name, value in estimation.items() if name not in (*windows, "method")}
    return WindowSettings.of(**windows), known[estimation["method"]].of(**rest)


def _as_decentralized(
    recording: BaseRecording, num_peaks: int, windows: WindowSettings, settings: Any
) -> list[tuple[WindowSettings, DecentralizedSettings]]:
    """Give what `steady_auto` hands to `steady_decentralized`; its verdict takes little, and is not counted."""
    from steadyspike.motion.auto import AutoSettings, as_decentralized, bins_to_try, plan_for

    if not isinstance(settings, AutoSettings):
        return [(windows, settings)]
    plan = plan_for(recording, num_peaks, windows)
    return [as_decentralized(plan, windows, settings, bin_s) for bin_s in bins_to_try(plan, settings)]


def _sample_peaks(
    recording: BaseRecording, steps: tuple[dict[str, Any], dict[str, Any]], job_kwargs: dict[str, Any]
) -> tuple[float, int, float]:
    """Find peaks in pieces from all over the recording: seconds of data, number of peaks, time it took."""
    from spikeinterface.core.node_pipeline import run_node_pipeline

    from steadyspike.peaks import on_disk

    nodes = on_disk.peak_nodes(recording, *steps, noise_levels(recording, **job_kwargs))
    pieces = _pieces(recording)
    one_job = dict(n_jobs=1, progress_bar=False, chunk_duration="1s")
    segment, first, last = pieces[0]
    warm_up = (segment, first, min(last, first + round(WARM_UP_S * recording.sampling_frequency)))
    run_node_pipeline(recording, nodes, one_job, squeeze_output=False, slices=[warm_up])
    start = time.perf_counter()
    found = run_node_pipeline(recording, nodes, one_job, squeeze_output=False, slices=pieces)
    seconds = time.perf_counter() - start
    frames = sum(last - first for _, first, last in pieces)
    return frames / recording.sampling_frequency, len(found[0]), seconds


def _pieces(recording: BaseRecording) -> list[tuple[int, int, int]]:
    """Cut pieces out of all segments, evenly: segment, first frame, end."""
    edges = np.cumsum([0, *(recording.get_num_samples(i) for i in range(recording.get_num_segments()))])
    length = min(round(SAMPLE_S * recording.sampling_frequency), int(edges[-1])) // NUM_PIECES
    pieces = []
    for place in (np.arange(NUM_PIECES) + 0.5) / NUM_PIECES * edges[-1]:
        segment = int(np.searchsorted(edges, place, side="right")) - 1
        size = int(edges[segment + 1] - edges[segment])
        first = int(np.clip(place - edges[segment] - length // 2, 0, max(size - length, 0)))
        pieces.append((segment, first, min(first + length, size)))
    return pieces


def _detection_memory_mb(recording: BaseRecording, job_kwargs: dict[str, Any]) -> float:
    from steadyspike.peaks import on_disk

    _, chunk_size = on_disk.divide_into_blocks(recording, SAMPLE_S, job_kwargs)
    chunk_mb = chunk_size * recording.get_num_channels() * TRACE_BYTES / MB
    base_mb = MEASURED["steady_decentralized"].base_mb
    return base_mb + job_kwargs["n_jobs"] * BYTES_PER_CHUNK_BYTE * chunk_mb
