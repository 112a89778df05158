"""Defects of SpikeInterface's motion correction that stop users or give wrong times, repaired.

What was right before stays as it is: every repair is of calls that raise, or of results that are wrong.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.patching import original_of

INTERPOLATION = "spikeinterface.sortingcomponents.motion.motion_interpolation"
MEDICINE = "spikeinterface.sortingcomponents.motion.medicine"


class _SegmentsKnown(Motion):
    """A motion that finds the segment by its time bins where nobody names it."""

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


def start_interpolation(
    self: Any,
    recording: Any,
    motion: Motion,
    border_mode: str = "remove_channels",
    spatial_interpolation_method: str = "kriging",
    sigma_um: float = 20.0,
    p: int = 1,
    num_closest: int = 3,
    interpolation_time_bin_centers_s: Any = None,
    interpolation_time_bin_edges_s: Any = None,
    interpolation_time_bin_size_s: float | None = None,
    dtype: Any = None,
    **spatial_interpolation_kwargs: Any,
) -> None:
    """Do what `InterpolateMotionRecording.__init__` does; also for several segments, integers and time vectors."""
    several = border_mode == "remove_channels" and recording.get_num_segments() > 1
    # this is what its documentation says
    integers = dtype is None and recording.dtype.kind in "iu"
    sized = interpolation_time_bin_centers_s is None and interpolation_time_bin_edges_s is None
    segments = recording.segments if sized and interpolation_time_bin_size_s is not None else []
    vectors = any(recording.has_time_vector(index) for index in range(len(segments)))
    if not (several or integers or vectors):
        raise NotCoveredError("nothing to repair")
    if vectors:
        # SpikeInterface looks for the time of a sample after the last
        bins = [
            _time_bins(segment, recording.sampling_frequency, interpolation_time_bin_size_s)
            for segment in segments
        ]
        interpolation_time_bin_centers_s, interpolation_time_bin_edges_s = map(list, zip(*bins, strict=True))
    known = motion
    if several:
        known = _SegmentsKnown(
            motion.displacement,
            motion.temporal_bins_s,
            motion.spatial_bins_um,
            direction=motion.direction,
            interpolation_method=motion.interpolation_method,
        )
    original_of(INTERPOLATION, "InterpolateMotionRecording.__init__")(
        self,
        recording,
        known,
        border_mode=border_mode,
        spatial_interpolation_method=spatial_interpolation_method,
        sigma_um=sigma_um,
        p=p,
        num_closest=num_closest,
        interpolation_time_bin_centers_s=interpolation_time_bin_centers_s,
        interpolation_time_bin_edges_s=interpolation_time_bin_edges_s,
        interpolation_time_bin_size_s=interpolation_time_bin_size_s,
        dtype="float32" if integers else dtype,
        **spatial_interpolation_kwargs,
    )
    if several:
        self._kwargs["motion"] = motion
        for segment in self.segments:
            segment.motion = motion
        # SpikeInterface alone could not make it again
        self._serializability["pickle"] = False


def _time_bins(segment: Any, frequency: float, size_s: Any) -> tuple[np.ndarray, np.ndarray]:
    """Centers and edges of bins that cover a segment."""
    first_s, last_s = segment.sample_index_to_time(np.array([0, segment.get_num_samples() - 1]))
    centers_s = np.arange(first_s + 0.5 * size_s, last_s + 1.0 / frequency, size_s)
    return centers_s, first_s + size_s * np.arange(centers_s.size + 1)


def run_medicine(
    recording: Any,
    peaks: np.ndarray,
    peak_locations: np.ndarray,
    direction: str,
    rigid: bool,
    win_shape: str,
    win_step_um: float,
    win_scale_um: float,
    win_margin_um: float | None,
    verbose: bool,
    progress_bar: bool,
    extra: dict[str, Any] | None,
    bin_s: float = 1.0,
    output_dir: Any = None,
    plot_figures: bool = False,
    motion_bound: float = 800,
    time_kernel_width: float = 30,
    activity_network_hidden_features: tuple[int, ...] = (256, 256),
    amplitude_threshold_quantile: float = 0.0,
    batch_size: int = 4096,
    training_steps: int = 10_000,
    initial_motion_noise: float = 0.1,
    motion_noise_steps: int = 2000,
    optimizer: Any = None,
    learning_rate: float = 0.0005,
    epsilon: float = 1e-3,
    num_depth_bins: int | None = None,
) -> Motion:
    """Do what `MedicineRegistration.run` does, with time bins in the recording's times, and the direction."""
    arguments = dict(locals())
    if recording.sample_index_to_time(0) == 0 and not recording.has_time_vector() and direction == "y":
        raise NotCoveredError("nothing to repair")
    from spikeinterface.sortingcomponents.motion.medicine import MedicineRegistration

    motion = original_of(MEDICINE, "MedicineRegistration.run")(MedicineRegistration, **arguments)
    frequency = recording.get_sampling_frequency()
    # its bins count from the first sample
    bins_s = motion.temporal_bins_s[0]
    indices = np.clip(np.round(bins_s * frequency).astype("int64"), 0, recording.get_num_samples() - 1)
    times_s = recording.sample_index_to_time(indices) + (bins_s - indices / frequency)
    return Motion(motion.displacement, [times_s], motion.spatial_bins_um, direction=direction)


def compute_motion(
    recording: Any,
    preset: str = "dredge_fast",
    detect_kwargs: dict[str, Any] = {},  # noqa: B006  (as SpikeInterface has it)
    select_kwargs: dict[str, Any] = {},  # noqa: B006
    localize_peaks_kwargs: dict[str, Any] = {},  # noqa: B006
    estimate_motion_kwargs: dict[str, Any] = {},  # noqa: B006
    output_motion_info: bool = False,
    folder: Any = None,
    overwrite: bool = False,
    raise_error: bool = True,
    **job_kwargs: Any,
) -> Any:
    """Do what `compute_motion` does, where peaks are selected before they are localized."""
    from spikeinterface.preprocessing import motion as upstream
    from spikeinterface.sortingcomponents.peak_localization import localize_peaks
    from spikeinterface.sortingcomponents.peak_selection import select_peaks

    chosen = upstream._update_motion_kwargs(
        preset, detect_kwargs, select_kwargs, localize_peaks_kwargs, estimate_motion_kwargs
    )
    if not chosen[1]:
        raise NotCoveredError("nothing to repair")
    if folder is not None and not overwrite:
        assert not Path(folder).is_dir(), f"Folder {folder} already exists"
    detection, selection, localization, estimation = chosen
    job_kwargs = upstream.fix_job_kwargs(job_kwargs)
    seconds: dict[str, float] = {}
    with _timed(seconds, "detect_peaks"):
        peaks = _detected(recording, detection, job_kwargs)
    with _timed(seconds, "select_peaks"):
        peaks = select_peaks(peaks, **selection)
    with _timed(seconds, "localize_peaks"):
        locations = localize_peaks(recording, peaks, method_kwargs=localization, job_kwargs=job_kwargs)
    with _timed(seconds, "estimate_motion"):
        motion = _estimated(recording, peaks, locations, estimation, job_kwargs, raise_error)
    info = dict(
        parameters=dict(
            preset=preset,
            detect_kwargs=detection,
            select_kwargs=selection,
            localize_peaks_kwargs=localization,
            estimate_motion_kwargs=estimation,
            job_kwargs=job_kwargs,
            sampling_frequency=recording.sampling_frequency,
        ),
        run_times=seconds,
        peaks=peaks,
        peak_locations=locations,
        motion=motion,
    )
    if folder is not None:
        upstream.save_motion_info(info, folder, overwrite=overwrite)
    return (motion, info) if output_motion_info else motion


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
        settings["noise_levels"] = get_noise_levels(recording, return_in_uV=False)
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
