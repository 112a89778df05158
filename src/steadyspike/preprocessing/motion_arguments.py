"""Arguments of the motion interpolation, checked and brought into one form before any data is read."""

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.core.arguments import check_choice, checked_number, checked_times, refuse
from steadyspike.kernels.channels.spatial_interpolation import bin_edges, suitable_sigma

MOTION_KEYS = ("displacement", "temporal_bins_s", "spatial_bins_um", "direction", "interpolation_method")


def checked_sigma(sigma_um, positions) -> float | list[float]:
    """Return one length scale, or one per dimension of the probe."""
    num_dimensions = positions.shape[1]
    if isinstance(sigma_um, str) and sigma_um == "auto":
        return suitable_sigma(positions)
    if np.ndim(sigma_um) == 0:
        return checked_number("sigma_um", sigma_um)
    if np.shape(sigma_um) != (num_dimensions,):
        refuse(
            "sigma_um",
            sigma_um,
            f"one value, one for each of the probe's {num_dimensions} dimensions, or 'auto'",
        )
    return [checked_number("sigma_um", value) for value in sigma_um]


def checked_motion(motion, recording, num_dimensions) -> Motion:
    """Return a float64 copy of `motion`, a Motion or its dict, whose arrays may be lists (JSON)."""
    if isinstance(motion, Motion):
        motion = motion.to_dict()
    if not isinstance(motion, dict) or not set(MOTION_KEYS) <= set(motion):
        refuse("motion", motion, f"a Motion, or its dict with {', '.join(MOTION_KEYS)}")
    direction = motion["direction"]
    check_choice("motion.direction", direction, ("x", "y", "z")[:num_dimensions])
    displacement = [np.array(array, dtype="float64") for array in motion["displacement"]]
    temporal_bins_s = [
        checked_times(f"motion.temporal_bins_s[{index}]", times, 1)
        for index, times in enumerate(motion["temporal_bins_s"])
    ]
    spatial_bins_um = np.array(motion["spatial_bins_um"], dtype="float64")
    if len(displacement) != recording.get_num_segments():
        raise ValueError(
            f"motion has {len(displacement)} segment(s) and recording {recording.get_num_segments()}; "
            "allowed: as many in both"
        )
    for index, (array, times) in enumerate(zip(displacement, temporal_bins_s, strict=True)):
        if array.shape != (times.size, spatial_bins_um.size) or not np.isfinite(array).all():
            refuse(
                f"motion.displacement[{index}] of shape {array.shape}",
                array,
                f"finite um of shape {(times.size, spatial_bins_um.size)}, (time bins, spatial bins)",
            )
    return Motion(displacement, temporal_bins_s, spatial_bins_um, direction, motion["interpolation_method"])


def make_interpolators(motion) -> None:
    """Build the interpolators of `motion` now: errors show early, and threads find them ready."""
    try:
        motion.make_interpolators()
    except ValueError as error:
        raise ValueError(
            f"motion can't be interpolated (interpolation_method={motion.interpolation_method!r}): {error}; "
            "allowed: spatial bins in order, and a method of scipy's RegularGridInterpolator with enough bins"
        ) from error


def checked_time_bins(time_bins, recording, motion) -> tuple[dict, list[np.ndarray]]:
    """Return the `interpolation_time_bin_*` arguments in one form, and the bin edges of each segment."""
    given = {name: value for name, value in time_bins.items() if value is not None}
    if len(given) > 1:
        raise ValueError(
            f"{' and '.join(given)} are given; allowed: one of them, as each defines the time bins"
        )
    if not given:
        return time_bins, [bin_edges(centers) for centers in motion.temporal_bins_s]
    ((name, value),) = given.items()
    if name == "interpolation_time_bin_size_s":
        size_s = checked_number(name, value)
        return {**time_bins, name: size_s}, [regular_edges(segment, size_s) for segment in recording.segments]
    times = times_per_segment(name, value, recording.get_num_segments(), 2 if "edges" in name else 1)
    edges = times if "edges" in name else [bin_edges(centers) for centers in times]
    return {**time_bins, name: times}, edges


def times_per_segment(name, values, num_segments, min_size) -> list[np.ndarray]:
    """Return one array of times for each segment; plain numbers are the one segment's."""
    if len(values) == 0 or np.ndim(values[0]) == 0:
        values = [values]
    if len(values) != num_segments:
        refuse(name, values, f"times of each of the {num_segments} segment(s) of recording, as a list")
    return [checked_times(name, times, min_size) for times in values]


def regular_edges(segment, size_s) -> np.ndarray:
    """Edges of bins of one size from the first sample on; less than half a bin joins the last bin."""
    num_samples = segment.get_num_samples()
    if num_samples == 0:
        return np.array([0.0, size_s])
    start, last = segment.sample_index_to_time(np.array([0, num_samples - 1]))
    duration = last - start + 1.0 / segment.parent_extractor.get_sampling_frequency()
    # a hair less, so that rounding does not make a bin out of exactly half a bin
    num_bins = max(1, int(np.ceil(duration / size_s - 0.5 - 1e-9)))
    return start + size_s * np.arange(num_bins + 1)
