r"""Motion between the time bins of a finished registration, in bins so short that each sees a few spikes on the probe.

1. Where the tissue jumps, each moment takes the displacement of that bin around it which its spikes fit best.
2. What all windows share is then followed with a prior of steady velocity, by the slope and the mean curvature of the
   log-likelihood: peaks of few spikes' likelihoods are soon those of other units. Bends are left as they are: spikes of
   few units cannot tell them from how the localization errs.

How steady the velocity is, spikes say: of several values, that is taken by which time bins that are left out are
predicted best. Where the registration itself predicts all bins better, it stays as it is, and nothing is followed.
"""

import numpy as np

from steadyspike.kernels.motion.motion_prior import (
    robust_precision,
    same_segment,
    solve_smooth,
    weighted_median,
)
from steadyspike.kernels.motion.registration import (
    TEMPLATE_UM,
    Registration,
    Template,
    deviation_of,
    explained_by,
    reference_of,
    settled,
)

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
    num_times = start.shape[0]
    extent_um = float(np.abs(levels).max(initial=0.0))
    template = Template(spikes, knots_um, depth_range_um, extent_um, num_times, settings)
    template = _HeldOutTemplate(template, settings.template_smooth_um)
    path = _with_jumps(template, levels, level_edges, level_of, start, segment_edges)
    joined = same_segment(segment_edges, num_times, 2)
    for number in range(NUM_ROUNDS):
        slope, precision, _ = _slopes(template, path)
        together = slope.sum(axis=1), precision.sum(axis=1)
        # the first round, whose slopes are those of a path with wrong jumps, decides nothing
        course = _course(path.mean(axis=1), start.mean(axis=1), *together, joined, may_stay=number > 0)
        if course is None:
            return None
        path = path + (course - path.mean(axis=1))[:, None]
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
    """Give each time bin the displacement of the level before, its own or the next, or what lies between."""
    segment = np.repeat(np.arange(level_edges.size - 1), np.diff(segment_edges))
    first, last = level_edges[:-1][segment], level_edges[1:][segment] - 1
    densities = template.densities(start)

    def gain(path):
        return template.curves(densities, path, 0)[0].sum(axis=(1, 2))

    path, best = start, gain(start)
    for shift in (-1, 0, 1):
        other = levels[np.clip(level_of + shift, first, last)]
        gained = gain(other)
        path = np.where((gained > best)[:, None], other, path)
        best = np.maximum(best, gained)
    return path


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
    """What windows share, of a steadiness by which bins that are left out are predicted best; None where start does."""
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
    return _steady(target, precision, steadiness[int(np.argmin(losses))])


def _loss_of_left_out(target, precision, steadiness):
    fold = np.arange(target.size) % NUM_FOLDS
    total = 0.0
    for left_out in range(NUM_FOLDS):
        own = fold == left_out
        predicted = _steady(target, np.where(own, 0.0, precision), steadiness)
        total += _loss((target - predicted)[own], precision[own])
    return total


def _loss(difference, precision):
    return float(np.log1p(precision * np.square(difference)).sum())


def _steady(target, precision, steadiness):
    none = np.zeros(max(target.size - 1, 0))
    return solve_smooth(target[:, None], precision[:, None], none, steadiness, none, 0.0)[:, 0]
