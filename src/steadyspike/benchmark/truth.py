"""The true motion of a simulated recording, and how far an estimate is from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spikeinterface.core.motion import Motion

    from steadyspike.benchmark.simulate import SimulatedDrift


def true_displacement(simulated: SimulatedDrift, times_s: np.ndarray, depths_um: np.ndarray) -> np.ndarray:
    """Give the true displacement of what is seen at some depths and times.

    A spike seen at depth ``z`` comes from tissue at rest at ``z_0`` with ``z = z_0 + d(t) f(z_0)``; because
    ``f`` is a line, the displacement ``z - z_0`` has a closed form. This is the frame in which
    SpikeInterface's `Motion` is defined: corrected position = position seen - displacement.

    Parameters
    ----------
    simulated : SimulatedDrift
        What `simulate_drifting_recording` returned.
    times_s : ndarray, shape (num_times,)
        In s; times outside the recording take its first or last displacement.
    depths_um : ndarray, shape (num_depths,)
        Depths on the probe, in um.

    Returns
    -------
    displacement : ndarray, shape (num_times, num_depths)
        In um.
    """
    vector = simulated.displacement_vector
    # the simulated tissue stays put for one sampling period, so a sample stands for the period's middle
    sample_times = (np.arange(vector.size) + 0.5) / simulated.displacement_sampling_frequency
    displacement = np.interp(np.asarray(times_s, dtype=float), sample_times, vector)[:, np.newaxis]
    depths = np.asarray(depths_um, dtype=float)[np.newaxis, :]
    (low, high), (factor_low, factor_high) = simulated.depth_range_um, simulated.depth_factors
    slope = (factor_high - factor_low) / (high - low)
    rest = (depths - displacement * (factor_low - slope * low)) / (1.0 + displacement * slope)
    return depths - rest


def true_motion(
    simulated: SimulatedDrift, temporal_bins_s: np.ndarray, spatial_bins_um: np.ndarray
) -> Motion:
    """Give the true motion on the bins of an estimate.

    Parameters
    ----------
    simulated : SimulatedDrift
        What `simulate_drifting_recording` returned.
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


def motion_error(simulated: SimulatedDrift, motion: Motion, num_depths: int = 50) -> np.ndarray:
    """Measure how far an estimated motion is from the truth, after removing one offset.

    The estimate is evaluated on `num_depths` depths spread over the probe, so that rigid and non-rigid
    estimates are judged alike; the median difference is removed because a displacement is defined up to a
    constant.

    Parameters
    ----------
    simulated : SimulatedDrift
        What `simulate_drifting_recording` returned.
    motion : spikeinterface.core.motion.Motion
        The estimate; one segment.
    num_depths : int, default: 50
        Number of depths, evenly spread from the lowest to the highest contact.

    Returns
    -------
    error : ndarray, shape (num_times, num_depths)
        Estimate minus truth in um, on the estimate's own temporal bins.
    """
    times = motion.temporal_bins_s[0]
    depths = np.linspace(*simulated.depth_range_um, num_depths)
    if motion.displacement[0].shape[1] == 1:
        estimate = np.repeat(motion.displacement[0], num_depths, axis=1)
    else:
        estimate = motion.get_displacement_at_time_and_depth(times, depths, segment_index=0, grid=True).T
    difference = estimate - true_displacement(simulated, times, depths)
    return difference - np.median(difference)
