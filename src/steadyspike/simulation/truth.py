"""The true motion of a simulated recording, and how far an estimate is from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spikeinterface.core.motion import Motion

    from steadyspike.simulation.drift import DriftTruth

ERROR_STEP_S = 0.5
NUM_DEPTHS = 50


def true_displacement(simulated: DriftTruth, times_s: np.ndarray, depths_um: np.ndarray) -> np.ndarray:
    """Give the true displacement of what is seen at some depths and times.

    A spike seen at depth ``z`` comes from tissue at rest at ``z_0`` with ``z = z_0 + d(t) f(z_0)``; because
    ``f`` is a line, the displacement ``z - z_0`` has a closed form. This is the frame in which
    SpikeInterface's `Motion` is defined: corrected position = position seen - displacement.

    Times outside the recording take its first or last displacement. Returns um, (num_times, num_depths).
    """
    vector = simulated.displacement_vector
    # the simulated tissue stays put for one sampling period
    periods = np.floor(np.asarray(times_s, dtype=float) * simulated.displacement_sampling_frequency)
    displacement = vector[np.clip(periods, 0, vector.size - 1).astype("int64"), np.newaxis]
    depths = np.asarray(depths_um, dtype=float)[np.newaxis, :]
    (low, high), (factor_low, factor_high) = simulated.depth_range_um, simulated.depth_factors
    slope = (factor_high - factor_low) / (high - low)
    rest = (depths - displacement * (factor_low - slope * low)) / (1.0 + displacement * slope)
    return depths - rest


def true_motion(simulated: DriftTruth, temporal_bins_s: np.ndarray, spatial_bins_um: np.ndarray) -> Motion:
    """Give the true motion on the bins of an estimate.

    Parameters
    ----------
    simulated : SimulatedDrift or DriftTruth
        What `simulate_drifting_recording` returned, or its `truth`.
    temporal_bins_s : ndarray, shape (num_times,)
        Bin centres in s.
    spatial_bins_um : ndarray, shape (num_windows,)
        Window centres in um. A single window gets the truth averaged over the units' depths.

    Returns
    -------
    motion : spikeinterface.core.motion.Motion
        With displacement of shape (num_times, num_windows), in um.
    """
    from spikeinterface.core.motion import Motion

    temporal_bins_s = np.asarray(temporal_bins_s, dtype=float)
    spatial_bins_um = np.asarray(spatial_bins_um, dtype=float)
    if spatial_bins_um.size == 1:
        displacement = true_displacement(simulated, temporal_bins_s, simulated.unit_locations[:, 1])
        displacement = displacement.mean(axis=1, keepdims=True)
    else:
        displacement = true_displacement(simulated, temporal_bins_s, spatial_bins_um)
    return Motion(displacement, temporal_bins_s, spatial_bins_um, direction="y")


def motion_error(
    simulated: DriftTruth,
    motion: Motion,
    num_depths: int = NUM_DEPTHS,
    *,
    times_s: np.ndarray | None = None,
    offset_per_depth: bool = False,
) -> np.ndarray:
    """Measure how far an estimated motion is from the truth, after removing one offset.

    The estimate is evaluated on `num_depths` depths spread over the probe, so that rigid and non-rigid
    estimates are judged alike; the median difference is removed because a displacement is defined up to a
    constant.

    Parameters
    ----------
    simulated : SimulatedDrift or DriftTruth
        What `simulate_drifting_recording` returned, or its `truth`.
    motion : spikeinterface.core.motion.Motion
        The estimate; one segment.
    num_depths : int, default: 50
        Number of depths, evenly spread from the lowest to the highest contact.
    times_s : ndarray, shape (num_times,), or None, default: None
        Where to compare, in s. None: the centres of the estimate's own time bins, which is kind to long bins.
    offset_per_depth : bool, default: False
        Remove a median at each depth: spikes cannot tell a stretch of the tissue that was always there.

    Returns
    -------
    error : ndarray, shape (num_times, num_depths)
        Estimate minus truth in um.
    """
    times = motion.temporal_bins_s[0] if times_s is None else np.asarray(times_s, dtype=float)
    depths = np.linspace(*simulated.depth_range_um, num_depths)
    if motion.displacement[0].shape[1] == 1:
        # there is nothing to interpolate between depths
        estimate = np.interp(times, motion.temporal_bins_s[0], motion.displacement[0][:, 0])[:, np.newaxis]
    else:
        estimate = motion.get_displacement_at_time_and_depth(times, depths, segment_index=0, grid=True).T
    difference = estimate - true_displacement(simulated, times, depths)
    return difference - np.median(difference, axis=0 if offset_per_depth else None)


def error_summary(simulated: DriftTruth, motion: Motion) -> dict[str, Any]:
    """Sum up an estimate's error on a grid of 0.5 s and 50 depths, which is the same for every estimator.

    Parameters
    ----------
    simulated : SimulatedDrift or DriftTruth
        The truth.
    motion : spikeinterface.core.motion.Motion
        The estimate; one segment.

    Returns
    -------
    summary : dict of str to float
        Of the absolute error in um: "mean_error_um", "p95_error_um" and "max_error_um" after removing one offset,
        "mean_error_offset_per_depth_um" after removing one for each depth. "uncorrected_error_um" is the mean error of
        no correction, "true_span_um" the largest distance between two true displacements at one depth.
    """
    times = np.arange(0.5 * ERROR_STEP_S, simulated.info["duration_s"], ERROR_STEP_S)
    error = np.abs(motion_error(simulated, motion, times_s=times))
    per_depth = np.abs(motion_error(simulated, motion, times_s=times, offset_per_depth=True))
    truth = true_displacement(simulated, times, np.linspace(*simulated.depth_range_um, NUM_DEPTHS))
    return dict(
        mean_error_um=float(error.mean()),
        p95_error_um=float(np.percentile(error, 95)),
        max_error_um=float(error.max()),
        mean_error_offset_per_depth_um=float(per_depth.mean()),
        uncorrected_error_um=float(np.abs(truth - np.median(truth)).mean()),
        true_span_um=float(np.ptp(truth, axis=0).max()),
    )
