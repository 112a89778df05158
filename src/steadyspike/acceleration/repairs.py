"""Defects of SpikeInterface's motion correction that stop users or give wrong times, repaired.

What was right before stays as it is: every repair is of calls that raise, or of results that are wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.acceleration.calls import NotCoveredError
from steadyspike.acceleration.patching import original_of

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
    """Do what `InterpolateMotionRecording.__init__` does, for several segments and for integers too."""
    several = border_mode == "remove_channels" and recording.get_num_segments() > 1
    # this is what its documentation says
    integers = dtype is None and recording.dtype.kind in "iu"
    if not several and not integers:
        raise NotCoveredError("nothing to repair")
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
