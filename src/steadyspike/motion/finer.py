"""The motion between the time bins of an estimate, in shorter ones."""

import numpy as np

from steadyspike.kernels.motion import finer_registration
from steadyspike.motion.decentralized import steer
from steadyspike.motion.problem import as_motion, build_problem, time_bins


def follow_motion(recording, peaks, peak_locations, windows, settings, motion, bin_s):
    """Follow a motion in shorter time bins, where held-out spikes ask for it.

    Parameters
    ----------
    recording, peaks, peak_locations, windows
        As for the estimate.
    settings : DecentralizedSettings
        Of the estimate.
    motion : Motion
        The estimate of `steady_decentralized`.
    bin_s : float
        Duration of the shorter time bins.

    Returns
    -------
    motion : Motion
        The motion itself where there is nothing to follow.
    told : dict
        What `steady_decentralized` tells of each time bin and window, of the shorter bins; empty likewise.
    """
    coarse = time_bins(settings.part, recording, settings.bin_s)
    finer = settings.to(type(settings), bin_s=bin_s)
    problem = build_problem(recording, peaks, peak_locations, windows, finer)
    level_of, start = _laid_out(motion, coarse, problem.times)
    result = finer_registration.follow(
        problem.spikes,
        problem.centers_um,
        problem.depth_range_um,
        np.concatenate(motion.displacement),
        coarse.segment_edges,
        level_of,
        start,
        problem.times.segment_edges,
        steer(finer, problem.times.num_times),
    )
    if result is None:
        return motion, {}
    told: dict = {}
    followed = as_motion(problem, result, told)
    return followed, {name: told[name] for name in ("explained", "trust", "displacement_sd_um")}


def _laid_out(motion, coarse, finer):
    """Bin of the estimate that each finer one lies in, among those of all segments, and the estimate in between."""
    bins, between = [], []
    for first, edges_s, centers_s, times_s, values in zip(
        coarse.segment_edges[:-1],
        coarse.edges_s,
        coarse.centers_s,
        finer.centers_s,
        motion.displacement,
        strict=True,
    ):
        own = np.clip(np.searchsorted(edges_s, times_s, side="right") - 1, 0, centers_s.size - 1)
        bins.append(first + own)
        between.append(np.column_stack([np.interp(times_s, centers_s, window) for window in values.T]))
    return np.concatenate(bins), np.concatenate(between)
