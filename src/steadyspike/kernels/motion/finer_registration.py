r"""Motion between the time bins of a finished registration, in bins so short that each sees a few spikes on the probe.

1. Where the tissue jumps, which of the bins around it a moment belongs to is found by dynamic programming.
2. What windows share, and a line over depth, are then followed with a prior of steady velocity, by the slope and the
   mean curvature of the log-likelihood: peaks of few spikes' likelihoods are soon those of other units.

How steady the velocity is, spikes say: of several values, that is taken by which time bins that are left out are
predicted best. Where the registration itself predicts all bins better, it stays as it is, and nothing is followed.
"""

from itertools import pairwise

import numba
import numpy as np

from steadyspike.kernels.motion.motion_prior import robust_precision, same_segment, weighted_median
from steadyspike.kernels.motion.online_filter import polynomial_modes
from steadyspike.kernels.motion.registration import (
    TEMPLATE_UM,
    Registration,
    Template,
    deviation_of,
    explained_by,
    reference_of,
    settled,
)

# Time bins of the registration before and after a moment that it may belong to, beside its own.
JUMP_BINS = 2
# Nats, and um. A change of this size from one time bin to the next costs log(2) times as much.
JUMP_COST = 8.0
JUMP_UM = 1.0
# Modes over depth that are followed: what windows share, and a line.
NUM_MODES = 2
# um per time bin. Changes of velocity to choose from.
ACCELERATIONS_UM = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# Each of so many time bins is left out in turn.
NUM_FOLDS = 4
NUM_ROUNDS = 4
# 1/um^2. The least information of a spike, where a density has no peaks.
LEAST_INFORMATION = 1e-3


def follow(spikes, knots_um, depth_range_um, levels, level_edges, level_of, start, segment_edges, settings):
    """Follow the motion in time bins that are shorter than those of a registration.

    Parameters
    ----------
    spikes : registration.Spikes
        With the short time bins.
    knots_um, depth_range_um
        As for `registration.refine`.
    levels : ndarray of float64, shape (num_levels, num_windows)
        The registration, in um.
    level_edges : ndarray of int64, shape (num_segments + 1,)
        Its first time bin of each segment, and their number.
    level_of : ndarray of int64, shape (num_times,)
        Time bin of the registration that each short bin lies in.
    start : ndarray of float64, shape (num_times, num_windows)
        The registration, interpolated.
    segment_edges : ndarray of int64, shape (num_segments + 1,)
        First short bin of each segment, and their number.
    settings : registration.RegistrationSettings
        Times in short bins.

    Returns
    -------
    result : Registration or None
        None where the registration itself predicts spikes better.
    """
    num_times, num_windows = start.shape
    extent_um = float(np.abs(levels).max(initial=0.0))
    template = Template(spikes, knots_um, depth_range_um, extent_um, num_times, settings)
    template = _HeldOutTemplate(template, settings.template_smooth_um)
    path = _with_jumps(template, levels, level_edges, level_of, start, segment_edges)
    modes = polynomial_modes(num_windows)[:, :NUM_MODES]
    joined = same_segment(segment_edges, num_times, 2)
    for number in range(NUM_ROUNDS):
        slope, precision, _ = _slopes(template, path)
        now, before = path @ modes / num_windows, start @ modes / num_windows
        measured = zip(now.T, before.T, (slope @ modes).T, (precision @ np.square(modes)).T, strict=True)
        # the first round, whose slopes are those of a path with wrong jumps, decides nothing
        courses = [_course(*one, joined, may_stay=number > 0) for one in measured]
        if all(course is None for course in courses):
            return None
        followed = [old if course is None else course for old, course in zip(before.T, courses, strict=True)]
        path = path + (np.transpose(followed) - now) @ modes.T
    _, precision, explained = _slopes(template, path)
    displacement = settled(path - reference_of(path, settings.reference), settings)
    return Registration(displacement, deviation_of(precision), explained)


class _HeldOutTemplate:
    """The density that the spikes of a time bin are compared with is that of others: none is drawn to itself."""

    def __init__(self, template, smooth_um):
        self.parts = list(template.parts(NUM_FOLDS))
        self.smooth_um = smooth_um

    def densities(self, displacement):
        """Give the densities for each part of the time bins."""
        own = [part.histograms(displacement) for part in self.parts]
        total = sum(own)
        return [
            list(part.densities(total - histograms, self.smooth_um))
            for part, histograms in zip(self.parts, own, strict=True)
        ]

    def curves(self, densities, displacement, reach):
        """See `Template.curves`."""
        found = [
            part.curves(own, displacement, reach) for part, own in zip(self.parts, densities, strict=True)
        ]
        return tuple(sum(values) for values in zip(*found, strict=True))


def _with_jumps(template, levels, level_edges, level_of, start, segment_edges):
    """Give each time bin the displacement of one of those around it, or what lies between, by dynamic programming."""
    shifts = np.arange(-JUMP_BINS, JUMP_BINS + 1)
    segment = np.repeat(np.arange(level_edges.size - 1), np.diff(segment_edges))
    places = np.clip(level_of + shifts[:, None], level_edges[:-1][segment], level_edges[1:][segment] - 1)
    densities = template.densities(start)

    def gain(path):
        return template.curves(densities, path, 0)[0].sum(axis=(1, 2), dtype="float64")

    gains = np.array([gain(start), *(gain(levels[place]) for place in places)])
    common = np.vstack([start.mean(axis=1), levels.mean(axis=1)[places]])
    chosen = np.empty(start.shape[0], dtype="int64")
    for first, last in pairwise(segment_edges):
        chosen[first:last] = best_course(gains[:, first:last], common[:, first:last], JUMP_COST, JUMP_UM)
    path = start.copy()
    moved = np.flatnonzero(chosen)
    path[moved] = levels[places[chosen[moved] - 1, moved]]
    return path


@numba.njit(nogil=True, cache=True)
def best_course(gains, values, cost, scale):
    r"""Choose a candidate in each time bin, by dynamic programming.

    Maximizes the sum of the gains less :math:`c \log(1 + |\Delta| / s)` for each change of the value: far jumps cost
    little more than near ones. `gains` and `values` are float64 (num_candidates, num_times), with at least one of each;
    returns int64 (num_times,).
    """
    num_candidates, num_times = gains.shape
    best = gains[:, 0].copy()
    came_from = np.zeros((num_candidates, num_times), dtype=np.int8)
    total = np.empty(num_candidates)
    for t in range(1, num_times):
        for i in range(num_candidates):
            total[i] = -np.inf
            for j in range(num_candidates):
                value = best[j] - cost * np.log1p(abs(values[i, t] - values[j, t - 1]) / scale)
                if value > total[i]:
                    total[i] = value
                    came_from[i, t] = j
            total[i] += gains[i, t]
        best[:] = total
    chosen = np.empty(num_times, dtype=np.int64)
    chosen[-1] = np.argmax(best)
    for t in range(num_times - 1, 0, -1):
        chosen[t - 1] = came_from[chosen[t], t]
    return chosen


def _slopes(template, path):
    """Slope of the log-likelihood (1/um), precision (1/um^2) and `explained` at a path, each (num_times, num_windows).

    Each spike is taken for as informative as those of its window are on average.
    """
    curves, counts = template.curves(template.densities(path), path, 1)
    below, middle, above = np.moveaxis(curves.astype("float64"), 2, 0)
    curvature = (2.0 * middle - below - above).sum(axis=0) / np.maximum(counts.sum(axis=0), 1.0)
    information = np.maximum(curvature / TEMPLATE_UM**2, LEAST_INFORMATION)
    return (above - below) / (2.0 * TEMPLATE_UM), counts * information, explained_by(middle, counts)


def _course(values, start, slope, precision, joined, may_stay):
    """Course of one mode, of a steadiness by which bins that are left out are predicted best; None where start does."""
    target = values + np.where(precision > 0, slope / np.maximum(precision, 1e-12), 0.0)
    steadiness = [
        np.where(joined, robust_precision(np.diff(values, 2), scale), 0.0) for scale in ACCELERATIONS_UM
    ]
    losses = [_loss_of_left_out(target, precision, kappa) for kappa in steadiness]
    off = target - start
    if precision.any():
        # what all times share cannot be told from spikes
        off -= weighted_median(off, precision)
    if may_stay and _loss(off, precision) <= min(losses):
        return None
    return steady_course(target, precision, steadiness[int(np.argmin(losses))])


def _loss_of_left_out(target, precision, steadiness):
    fold = np.arange(target.size) % NUM_FOLDS
    total = 0.0
    for left_out in range(NUM_FOLDS):
        own = fold == left_out
        predicted = steady_course(target, np.where(own, 0.0, precision), steadiness)
        total += _loss((target - predicted)[own], precision[own])
    return total


def _loss(difference, precision):
    return float(np.log1p(precision * np.square(difference)).sum())


def steady_course(target, precision, steadiness):
    r"""Minimize :math:`\sum_t \pi_t (x_t - m_t)^2 + \sum_t \kappa_t (\Delta^2 x_t)^2`.

    `target` m and `precision` :math:`\pi` are (num_times,), `steadiness` :math:`\kappa` (num_times - 2,), of at least 3
    time bins; returns x, (num_times,).
    """
    from scipy.linalg import solveh_banded

    bands = np.zeros((3, target.size))
    # a tiny ridge, towards the target, keeps the matrix positive definite where nothing was measured
    precision = precision + 1e-9
    bands[0] = precision
    for offset, factor in ((0, 1.0), (1, 4.0), (2, 1.0)):
        bands[0, offset : offset + steadiness.size] += factor * steadiness
    bands[1, : steadiness.size] -= 2.0 * steadiness
    bands[1, 1 : 1 + steadiness.size] -= 2.0 * steadiness
    bands[2, : steadiness.size] = steadiness
    return solveh_banded(bands, precision * target, lower=True, check_finite=False)
