"""Defects of SpikeInterface that stop users or give wrong results, repaired: see `steadyspike.repair`.

What was right before stays as it is: every repair is of calls that raise, or of results that are wrong.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.core.noise_levels import OUT_OF_REACH, rounded_levels, without_silent
from steadyspike.integration.acceleration.calls import NothingToRepairError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.patching import RepairedCall
from steadyspike.integration.acceleration.replacements import detection


@replaces(
    "spikeinterface.sortingcomponents.motion.dredge",
    "dredge_ap",
    repairs='preset="dredge" works: SpikeInterface passes batching_mode="offline", which its estimator refuses',
    name="dredge_ap",
    sources=("6ea1e0cf58bc7c42",),
)
def dredge_offline(call: RepairedCall) -> Any:
    """Take the name "offline", which SpikeInterface's own preset uses, for "full"."""
    if call["batching_mode"] != "offline":
        raise NothingToRepairError
    call["batching_mode"] = "full"
    return call.proceed()


@replaces(
    "spikeinterface.sortingcomponents.peak_detection.locally_exclusive",
    "LocallyExclusivePeakDetector.compute",
    repairs=(
        "samples that are NaN are never peaks; SpikeInterface takes them for peaks with peak_sign='both'; nor are "
        "those of channels whose noise level is 0, by which it divides"
    ),
    name="locally_exclusive",
    sources=("3decb9f73df13cb1",),
    helpers=("LocallyExclusivePeakDetector.__init__", "detect_peaks_numba_locally_exclusive_on_chunk"),
)
def peaks_of_noisy_samples(call: RepairedCall) -> Any:
    """Find the peaks among the other samples."""
    node = call["self"]
    silent = node.abs_thresholds == 0
    if silent.any():
        call["self"] = node = copy.copy(node)
        node.abs_thresholds = np.where(silent, OUT_OF_REACH, node.abs_thresholds)
    if not detection.takes_nan_for_peaks(node, call["traces"]):
        if not silent.any():
            raise NothingToRepairError
        return call.proceed()
    return detection.locally_exclusive_of(node, call["traces"], call["segment_index"])


@replaces(
    "spikeinterface.core.recording_tools",
    "_noise_level_chunk",
    repairs="noise levels of integers are those of the noise before it was rounded, also to less than a step",
    name="get_noise_levels",
    sources=("32b2121487648ebc",),
    helpers=("_noise_level_chunk_init",),
)
def noise_level_of_integers(call: RepairedCall) -> Any:
    """Measure channels with few values as our own parts do."""
    context = call["worker_ctx"]
    recording = context["recording"]
    if context["method"] != "mad" or recording.get_dtype().kind not in "iu":
        raise NothingToRepairError
    traces = recording.get_traces(call["segment_index"], call["start_frame"], call["end_frame"])
    levels = rounded_levels(traces)
    return levels * np.abs(recording.get_channel_gains()) if context["return_in_uV"] else levels


@replaces(
    "spikeinterface.sortingcomponents.peak_localization.main",
    "localize_peaks",
    repairs="localize_peaks gives no locations of no peaks: SpikeInterface raises 'need at least one array'",
    name="localize_peaks",
    sources=("c6a81042582c4c24",),
    helpers=("get_localization_pipeline_nodes",),
    also_in=("spikeinterface.sortingcomponents.peak_localization",),
)
def locations_of_no_peaks(call: RepairedCall) -> Any:
    """Return none, in the type of the method's locations."""
    if len(call["peaks"]) or call["pipeline_kwargs"]:
        raise NothingToRepairError
    from spikeinterface.core.node_pipeline import PeakRetriever
    from spikeinterface.sortingcomponents.peak_localization import get_localization_pipeline_nodes

    arguments = {"method": call["method"], **(call["method_kwargs"] or {})}
    method = arguments.pop("method") or "center_of_mass"
    if method == "grid_convolution":
        # it would be made of peaks
        arguments = {"prototype": np.ones(1, dtype="float32"), **arguments}
        arguments.pop("n_peaks", None)
    recording, peaks, *window = (call[name] for name in ("recording", "peaks", "ms_before", "ms_after"))
    source = PeakRetriever(recording, peaks)
    nodes = get_localization_pipeline_nodes(recording, source, peaks, method, arguments, *window)
    return np.zeros(0, dtype=nodes[-1].get_dtype())


class _SegmentsKnown(Motion):
    """A motion that finds the segment by its time bins where it is not named.

    A recording keeps it among its arguments, so that a process without repairs can make the recording again.
    """

    def get_displacement_at_time_and_depth(
        self, times_s: Any, locations_um: Any, segment_index: int | None = None, grid: bool = False
    ) -> np.ndarray:
        if segment_index is None:
            segment_index = next(
                (index for index, bins in enumerate(self.temporal_bins_s) if bins is times_s), None
            )
        displacement: np.ndarray = super().get_displacement_at_time_and_depth(
            times_s, locations_um, segment_index, grid
        )
        return displacement


@replaces(
    "spikeinterface.sortingcomponents.motion.motion_interpolation",
    "InterpolateMotionRecording.__init__",
    repairs=(
        "interpolate_motion takes several segments with border_mode='remove_channels', interpolation_time_bin_size_s "
        "with a time vector, and in workers and saved chains, which forget it, and integers, which become float32 as "
        "its documentation says"
    ),
    name="interpolate_motion",
    sources=("cf43a1f3e604ee71",),
)
def start_interpolation(call: RepairedCall) -> None:
    """Make the recording also of several segments, integers and time vectors."""
    recording, motion = call["recording"], call["motion"]
    several = call["border_mode"] == "remove_channels" and recording.get_num_segments() > 1
    # this is what its documentation says
    integers = call["dtype"] is None and recording.dtype.kind in "iu"
    size_s = call["interpolation_time_bin_size_s"]
    sized = size_s is not None and (
        call["interpolation_time_bin_centers_s"] is None and call["interpolation_time_bin_edges_s"] is None
    )
    segments = recording.segments if sized else []
    vectors = any(recording.has_time_vector(index) for index in range(len(segments)))
    if not (several or integers or sized):
        raise NothingToRepairError
    if vectors:
        # SpikeInterface looks for the time of a sample after the last
        bins = [_time_bins(segment, recording.sampling_frequency, size_s) for segment in segments]
        centers_s, edges_s = map(list, zip(*bins, strict=True))
        call["interpolation_time_bin_centers_s"], call["interpolation_time_bin_edges_s"] = centers_s, edges_s
    if integers:
        call["dtype"] = "float32"
    if several:
        call["motion"] = _SegmentsKnown(
            motion.displacement,
            motion.temporal_bins_s,
            motion.spatial_bins_um,
            direction=motion.direction,
            interpolation_method=motion.interpolation_method,
        )
    call.proceed()
    corrected = call["self"]
    if sized and not vectors:
        corrected._kwargs["interpolation_time_bin_size_s"] = size_s
    for segment in corrected.segments:
        segment.motion = motion


def _time_bins(segment: Any, frequency: float, size_s: Any) -> tuple[np.ndarray, np.ndarray]:
    """Centers and edges of bins that cover a segment."""
    first_s, last_s = segment.sample_index_to_time(np.array([0, segment.get_num_samples() - 1]))
    centers_s = np.arange(first_s + 0.5 * size_s, last_s + 1.0 / frequency, size_s)
    return centers_s, first_s + size_s * np.arange(centers_s.size + 1)


@replaces(
    "spikeinterface.sortingcomponents.motion.medicine",
    "MedicineRegistration.run",
    repairs="method='medicine' gives time bins in the recording's times, and the direction it was asked for",
    name="medicine",
    sources=("49cc6d464387dc89",),
)
def run_medicine(call: RepairedCall) -> Motion:
    """Put the time bins into the recording's times, and keep the direction."""
    recording, direction = call["recording"], call["direction"]
    if recording.sample_index_to_time(0) == 0 and not recording.has_time_vector() and direction == "y":
        raise NothingToRepairError
    motion = call.proceed()
    frequency = recording.get_sampling_frequency()
    # its bins count from the first sample
    bins_s = motion.temporal_bins_s[0]
    indices = np.clip(np.round(bins_s * frequency).astype("int64"), 0, recording.get_num_samples() - 1)
    times_s = recording.sample_index_to_time(indices) + (bins_s - indices / frequency)
    return Motion(motion.displacement, [times_s], motion.spatial_bins_um, direction=direction)


@replaces(
    "spikeinterface.preprocessing.motion",
    "compute_motion",
    repairs=(
        "compute_motion and correct_motion take select_kwargs: SpikeInterface calls detect_peaks with an argument that "
        "it has no more"
    ),
    name="compute_motion",
    sources=("fdbd47c37704ded4",),
    helpers=("_update_motion_kwargs", "save_motion_info"),
    also_in=("spikeinterface.preprocessing", "spikeinterface.full"),
)
def compute_motion(call: RepairedCall) -> Any:
    """Select peaks before they are localized."""
    from spikeinterface.preprocessing import motion as upstream
    from spikeinterface.sortingcomponents.peak_localization import localize_peaks
    from spikeinterface.sortingcomponents.peak_selection import select_peaks

    recording, folder = call["recording"], call["folder"]
    steps = ("detect_kwargs", "select_kwargs", "localize_peaks_kwargs", "estimate_motion_kwargs")
    chosen = upstream._update_motion_kwargs(call["preset"], *(call[step] for step in steps))
    finding, selection, localization, estimation = chosen
    if not selection:
        raise NothingToRepairError
    if folder is not None and not call["overwrite"]:
        assert not Path(folder).is_dir(), f"Folder {folder} already exists"
    job_kwargs = upstream.fix_job_kwargs(call["job_kwargs"])
    seconds: dict[str, float] = {}
    with _timed(seconds, "detect_peaks"):
        peaks = _detected(recording, finding, job_kwargs)
    with _timed(seconds, "select_peaks"):
        peaks = select_peaks(peaks, **selection)
    with _timed(seconds, "localize_peaks"):
        locations = localize_peaks(recording, peaks, method_kwargs=localization, job_kwargs=job_kwargs)
    with _timed(seconds, "estimate_motion"):
        motion = _estimated(recording, peaks, locations, estimation, job_kwargs, call["raise_error"])
    info = dict(
        parameters=dict(
            preset=call["preset"],
            **dict(zip(steps, chosen, strict=True)),
            job_kwargs=job_kwargs,
            sampling_frequency=recording.sampling_frequency,
        ),
        run_times=seconds,
        peaks=peaks,
        peak_locations=locations,
        motion=motion,
    )
    if folder is not None:
        upstream.save_motion_info(info, folder, overwrite=call["overwrite"])
    return (motion, info) if call["output_motion_info"] else motion


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start


def _detected(recording: Any, settings: dict[str, Any], job_kwargs: dict[str, Any]) -> np.ndarray:
    from spikeinterface.core import get_noise_levels
    from spikeinterface.sortingcomponents.peak_detection import detect_peak_methods, detect_peaks

    settings = dict(settings)
    if detect_peak_methods[settings["method"]].need_noise_levels:
        levels = get_noise_levels(recording, return_in_uV=False)
        settings["noise_levels"] = without_silent(levels, recording)
    # SpikeInterface calls this with an argument that it has no more
    peaks: np.ndarray = detect_peaks(recording, method_kwargs=settings, job_kwargs=job_kwargs)
    return peaks


def _estimated(
    recording: Any,
    peaks: np.ndarray,
    locations: np.ndarray,
    settings: dict[str, Any],
    job_kwargs: dict[str, Any],
    raise_error: bool,
) -> Motion | None:
    from spikeinterface.sortingcomponents.motion.motion_estimation import estimate_motion

    try:
        return estimate_motion(
            recording, peaks, locations, progress_bar=job_kwargs.get("progress_bar", False), **settings
        )
    except Exception as error:
        message = f"Motion estimation failed. Error given: {error}."
        if raise_error:
            raise RuntimeError(message) from error
        warnings.warn(message, stacklevel=3)
        return None
