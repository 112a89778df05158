"""Arguments of the motion interpolation, declared, and brought into one form before any data is read."""

import warnings
from typing import Any, Literal, Self

import numpy as np
from pydantic import model_validator
from spikeinterface.core.motion import Motion

from steadyspike.core.arguments import checked_times, refuse
from steadyspike.core.settings import Settings, parameter
from steadyspike.kernels.channels.spatial_interpolation import bin_edges, suitable_sigma
from steadyspike.kernels.channels.tissue_weights import WEIGHTS_STEP_UM
from steadyspike.preprocessing.dtypes import OutputDtype, dtype_parameter

MOTION_KEYS = ("displacement", "temporal_bins_s", "spatial_bins_um", "direction", "interpolation_method")

# s, and bins: more and shorter ones are worth a word.
SHORT_BIN_S = 0.002
MANY_BINS = 500

TIME_BINS = (
    "interpolation_time_bin_centers_s",
    "interpolation_time_bin_edges_s",
    "interpolation_time_bin_size_s",
)


class InterpolationSettings(Settings):
    """Parameters of the nodes that interpolate motion, but for the motion itself."""

    part = "steady_interpolate_motion"

    border_mode: Literal["force_extrapolate", "remove_channels", "force_zeros"] = parameter(
        "force_extrapolate",
        """What to do with a contact that moves beyond the outermost contacts. "force_extrapolate": keep all channels
        and extrapolate. "remove_channels": drop the channels that ever leave; the probe is cut to the remaining ones.
        "force_zeros": keep all channels, with zeros while a contact is outside""",
    )
    spatial_interpolation_method: Literal["wiener", "kriging", "idw", "nearest"] = parameter(
        "wiener",
        """"wiener": weights of least error for the recording's own spikes and noise, at a constant noise level.
        As SpikeInterface has them: kriging, inverse distance weights ("idw"), or the nearest contact""",
    )
    covariance: Any = parameter(
        None,
        """Covariances of spikes and noise for "wiener". None: they are fitted to up to 40 s of the recording, which
        are read when the node is made; a saved chain keeps them""",
        type_doc="dict or None",
        allowed="None, or a dict as saved chains have it",
    )
    sigma_um: Literal["auto"] | float | list[float] = parameter(
        20.0,
        r"""Length scale of "kriging". "auto": 20, or three quarters of the pitch of sparser contacts. With one value
        per dimension of the probe the covariance is :math:`\exp(-\sum_d (|a_d - b_d| / \sigma_d)^p)`""",
        unit="um",
        gt=0,
        type_doc='float, sequence of float or "auto"',
    )
    p: float = parameter(2.0, 'Exponent of "kriging": 1 exponential, 2 Gaussian', gt=0)
    num_closest: int = parameter(3, 'Contacts that "idw" uses', ge=1)
    interpolation_time_bin_centers_s: Any = parameter(
        None,
        """Centers of the time bins within which the weights are constant, instead of the motion's. Only one of the
        three `interpolation_time_bin_*` arguments can be given""",
        unit="s",
        type_doc="array, list of one array per segment, or None",
    )
    interpolation_time_bin_edges_s: Any = parameter(
        None,
        "The same by the bins' edges, two at least",
        unit="s",
        type_doc="array, list of one array per segment, or None",
    )
    interpolation_time_bin_size_s: float | None = parameter(
        None, "The same by the width of bins that begin at the first sample of each segment", unit="s", gt=0
    )
    dtype: OutputDtype = dtype_parameter()
    sparse_thresh: float | None = parameter(None, 'Weights of "kriging" below this value become 0', ge=0)

    @model_validator(mode="after")
    def _one_kind_of_time_bins(self) -> Self:
        given = [name for name in TIME_BINS if getattr(self, name) is not None]
        if len(given) > 1:
            self.refuse(given[0], f"None with {given[1]}: one of them, as each defines the time bins")
        return self


def sigma_for(settings, positions) -> float | list[float]:
    """Return one length scale, or one per dimension of the probe."""
    num_dimensions = positions.shape[1]
    if settings.sigma_um == "auto":
        return suitable_sigma(positions)
    if isinstance(settings.sigma_um, list) and len(settings.sigma_um) != num_dimensions:
        settings.refuse(
            "sigma_um", f"one value, one for each of the probe's {num_dimensions} dimensions, or 'auto'"
        )
    return settings.sigma_um


def checked_motion(motion, recording, num_dimensions) -> Motion:
    """Return a float64 copy of `motion`, a Motion or its dict, whose arrays may be lists (JSON)."""
    if isinstance(motion, Motion):
        motion = motion.to_dict()
    part = InterpolationSettings.part
    if not isinstance(motion, dict) or not set(MOTION_KEYS) <= set(motion):
        refuse("motion", motion, f"a Motion, or its dict with {', '.join(MOTION_KEYS)}", part)
    direction = motion["direction"]
    axes = ("x", "y", "z")[:num_dimensions]
    if direction not in axes:
        refuse("motion.direction", direction, ", ".join(map(repr, axes)), part)
    displacement = [np.array(array, dtype="float64") for array in motion["displacement"]]
    temporal_bins_s = [
        checked_times(f"motion.temporal_bins_s[{index}]", times, 1, part)
        for index, times in enumerate(motion["temporal_bins_s"])
    ]
    spatial_bins_um = np.array(motion["spatial_bins_um"], dtype="float64")
    if len(displacement) != recording.get_num_segments():
        raise ValueError(
            f"{part}: motion has {len(displacement)} segment(s) and recording {recording.get_num_segments()}; "
            "allowed: as many in both"
        )
    for index, (array, times) in enumerate(zip(displacement, temporal_bins_s, strict=True)):
        if array.shape != (times.size, spatial_bins_um.size) or not np.isfinite(array).all():
            refuse(
                f"motion.displacement[{index}] of shape {array.shape}",
                array,
                f"finite um of shape {(times.size, spatial_bins_um.size)}, (time bins, spatial bins)",
                part,
            )
    return Motion(displacement, temporal_bins_s, spatial_bins_um, direction, motion["interpolation_method"])


def make_interpolators(motion) -> None:
    """Build the interpolators of `motion` now: errors show early, and threads find them ready."""
    try:
        motion.make_interpolators()
    except ValueError as error:
        raise ValueError(
            f"{InterpolationSettings.part}: motion can't be interpolated "
            f"(interpolation_method={motion.interpolation_method!r}): {error}; allowed: spatial bins in order, "
            "and a method of scipy's RegularGridInterpolator with enough bins"
        ) from error


def time_bins_for(settings, recording, motion) -> tuple[dict, list[np.ndarray]]:
    """Return the `interpolation_time_bin_*` argument that is given in one form, and the bin edges of each segment."""
    name = next((one for one in TIME_BINS if getattr(settings, one) is not None), None)
    saved: dict[str, Any] = {}
    if name == "interpolation_time_bin_size_s":
        edges_s = [_regular_edges(settings, segment) for segment in recording.segments]
    elif name is None and settings.spatial_interpolation_method == "wiener":
        edges_s = [edges_along(motion, index) for index in range(len(motion.temporal_bins_s))]
    elif name is None:
        edges_s = [bin_edges(centers) for centers in motion.temporal_bins_s]
    else:
        times = times_per_segment(settings, name, recording.get_num_segments(), 2 if "edges" in name else 1)
        saved = {name: times}
        edges_s = times if "edges" in name else [bin_edges(centers) for centers in times]
    _warn_of_short_bins(settings.part, edges_s)
    return saved, edges_s


def _warn_of_short_bins(part, edges_s):
    """Say so where computing the weights will take most of the time."""
    for edges in edges_s:
        width_s = float(np.median(np.diff(edges)))
        if edges.size > MANY_BINS and width_s < SHORT_BIN_S:
            warnings.warn(
                f"{part}: {edges.size - 1} time bins of {1000 * width_s:.2g} ms, with weights of their own in each, "
                "may take longer than the recording lasts; interpolation_time_bin_size_s=0.01 takes bins of 10 ms",
                stacklevel=6,
            )
            return


def edges_along(motion, segment_index) -> np.ndarray:
    """Edges of bins in each of which the displacement goes on by `WEIGHTS_STEP_UM` at most, where it moves most."""
    times = motion.temporal_bins_s[segment_index]
    if len(times) == 1:
        return bin_edges(times)
    largest = np.abs(np.diff(motion.displacement[segment_index], axis=0)).max(axis=1)
    path = np.concatenate([[0.0], np.cumsum(largest)])
    steps = WEIGHTS_STEP_UM * np.arange(1, int(path[-1] / WEIGHTS_STEP_UM) + 1)
    return np.concatenate([times[:1], np.interp(steps, path, times), times[-1:]])


def times_per_segment(settings, name, num_segments, min_size) -> list[np.ndarray]:
    """Return one array of times for each segment; plain numbers are the one segment's."""
    values = getattr(settings, name)
    if len(values) == 0 or np.ndim(values[0]) == 0:
        values = [values]
    if len(values) != num_segments:
        settings.refuse(name, f"times of each of the {num_segments} segment(s) of recording, as a list")
    return [checked_times(name, times, min_size, settings.part) for times in values]


def _regular_edges(settings, segment) -> np.ndarray:
    """Edges of bins of one size from the first sample on; less than half a bin joins the last bin."""
    num_samples, size_s = segment.get_num_samples(), settings.interpolation_time_bin_size_s
    if num_samples == 0:
        return np.array([0.0, size_s])
    start, last = segment.sample_index_to_time(np.array([0, num_samples - 1]))
    duration = last - start + 1.0 / segment.parent_extractor.get_sampling_frequency()
    # a hair less, so that rounding does not make a bin out of exactly half a bin
    num_bins = max(1.0, np.ceil(duration / size_s - 0.5 - 1e-9))
    if num_bins > num_samples:
        settings.refuse(
            "interpolation_time_bin_size_s",
            "bins of at least one sample, and of no more than there are samples where times have gaps (then "
            "interpolation_time_bin_edges_s names those that hold samples)",
        )
    return start + size_s * np.arange(int(num_bins) + 1)
