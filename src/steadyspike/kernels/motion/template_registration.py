"""Fine registration: how far each time bin must be shifted so that its spikes fit the density of all spikes.

Pairs of time bins give the displacement to a few um, each pair from the few spikes of two bins. Once the spikes are
roughly in place, the spikes of the whole recording make a sharp template (their density over depth and amplitude), and
each bin is registered to it by maximum likelihood, which uses every spike once and knows no depth bins.
"""

import numba
import numpy as np

# Share of a density that is spread evenly over depth, so that a spike far from all others pulls little.
OUTLIERS = 0.1
# Amplitude bins. Standard deviation of a density's smoothing: a unit's amplitude varies from spike to spike.
SMOOTH_MARKS = 0.7
# Standard deviations of the prior on a shift to the ends of its range: near maxima win over equal ones far away.
PRIOR_DEVIATIONS = 2.0


def knot_weights(depths_um, knots_um):
    """Place of each spike between the knots of a piecewise-linear displacement.

    Returns the knot below each spike (int32; the first, or last but one, for spikes beyond the knots), and the weight
    of the knot above (float32, in [0, 1]); the knot below weighs the rest.
    """
    if knots_um.size == 1:
        return np.zeros(depths_um.size, dtype="int32"), np.zeros(depths_um.size, dtype="float32")
    knots_um = knots_um.astype("float32")
    lower = np.searchsorted(knots_um, depths_um, side="right").astype("int32")
    lower -= 1
    np.clip(lower, 0, knots_um.size - 2, out=lower)
    upper_weight = depths_um - knots_um[lower]
    upper_weight /= np.diff(knots_um)[lower]
    return lower, np.clip(upper_weight, 0.0, 1.0, out=upper_weight)


@numba.njit(nogil=True, cache=True)
def _corrected(depth_um, t, lower, upper_weight, displacement):
    upper = min(lower + 1, displacement.shape[1] - 1)
    return depth_um - displacement[t, lower] * (1.0 - upper_weight) - displacement[t, upper] * upper_weight


@numba.njit(nogil=True, cache=True)
def corrected_histogram(
    depths_um, time_bins, marks, lower, upper_weight, displacement, origin_um, step_um, histogram
):
    """Count spikes over mark and corrected depth, each shared between the two nearest points of the grid.

    `time_bins`, `marks` and `lower` (the knot below) are int32, `upper_weight` float32 that of the knot above;
    `displacement` (num_times, num_knots) is in um. The grid starts at `origin_um`, in steps of `step_um`. `histogram`
    (num_marks, num_points), float64, is added to; spikes beyond the grid count at its ends.
    """
    last = histogram.shape[1] - 1.001
    for i in range(depths_um.size):
        corrected = _corrected(depths_um[i], time_bins[i], lower[i], upper_weight[i], displacement)
        position = min(max((corrected - origin_um) / step_um, 0.0), last)
        cell = int(position)
        fraction = position - cell
        histogram[marks[i], cell] += 1.0 - fraction
        histogram[marks[i], cell + 1] += fraction


@numba.njit(nogil=True, cache=True)
def log_likelihood_curves(
    depths_um,
    time_bins,
    marks,
    lower,
    upper_weight,
    displacement,
    origin_um,
    step_um,
    log_density,
    curves,
    counts,
):
    """Log-likelihood of each time bin's spikes around each knot, for a range of extra shifts.

    Adds, for each spike with corrected depth p and mark m, and for each shift d of ``-reach ... reach`` steps, the
    logarithm of the density at ``(m, p - d)`` (linear interpolation) to the curves of the two knots that enclose the
    spike, by their weights.

    The first arguments are those of `corrected_histogram`. `log_density` (num_marks, num_points) of float32 is the
    logarithm of the spike density on the grid, of more than ``2 * reach + 3`` points. `curves` (num_times, num_knots,
    2 * reach + 1) and `counts` (num_times, num_knots), the weights of the spikes, float32, are added to.
    """
    reach = curves.shape[2] // 2
    first, last = reach + 1.0, log_density.shape[1] - reach - 2.001
    last_knot = curves.shape[1] - 1
    one = np.float32(1.0)
    for i in range(depths_um.size):
        t, k, weight = time_bins[i], lower[i], upper_weight[i]
        corrected = _corrected(depths_um[i], t, k, weight, displacement)
        position = min(max((corrected - origin_um) / step_um, first), last)
        cell = int(position)
        fraction = np.float32(position - cell)
        row = log_density[marks[i], cell - reach : cell + reach + 2]
        upper = min(k + 1, last_knot)
        counts[t, k] += one - weight
        counts[t, upper] += weight
        below, above = curves[t, k], curves[t, upper]
        for index in range(below.size):
            value = (one - fraction) * row[2 * reach - index] + fraction * row[2 * reach - index + 1]
            below[index] += (one - weight) * value
            above[index] += weight * value


def prior_precision(reach):
    """Precision (1/step^2) of the prior on a shift, which at the ends of its range is two standard deviations away."""
    return (PRIOR_DEVIATIONS / reach) ** 2


@numba.njit(nogil=True, cache=True)
def curve_peaks(curves, prior_precision):
    """Best shift, its precision and the height there, from each log-likelihood curve.

    The curve is weighed by a broad prior centered on no shift, its maximum refined by a parabola, and its curvature
    there is the precision (inverse variance) of the shift. The prior only chooses among maxima: it is taken out of the
    results.

    `curves` (num_times, num_knots, 2 * reach + 1) of float32 are log-likelihoods of the shifts ``-reach ... reach``,
    in steps; the prior's precision is in 1/step^2, larger than 0. Returns float64 (num_times, num_knots): the best
    shift in steps, and its precision in 1/step^2; both 0 where the curve has no maximum inside the range.
    """
    num_times, num_knots, num_shifts = curves.shape
    reach = num_shifts // 2
    shifts = np.zeros((num_times, num_knots))
    precision = np.zeros((num_times, num_knots))
    weighed = np.empty(num_shifts)
    for t in range(num_times):
        for k in range(num_knots):
            best = 0
            for index in range(num_shifts):
                weighed[index] = curves[t, k, index] - 0.5 * prior_precision * (index - reach) ** 2
                if weighed[index] > weighed[best]:
                    best = index
            if best == 0 or best == num_shifts - 1:
                continue
            left, middle, right = weighed[best - 1], weighed[best], weighed[best + 1]
            curvature = 2.0 * middle - left - right
            if curvature > 1.001 * prior_precision:
                mode = best - reach + 0.5 * (right - left) / curvature
                precision[t, k] = curvature - prior_precision
                # the likelihood's own optimum, without the prior
                shifts[t, k] = min(max(mode * curvature / precision[t, k], -reach), reach)
    return shifts, precision


def log_density(histogram, depth_smooth, mark_smooth, num_groups=1):
    r"""Logarithm of a smoothed histogram over mark and depth, with a floor for outliers.

    .. math:: \log\big((1 - \epsilon)\, f(m, p) + \epsilon\, \bar f(m)\big)

    where :math:`\epsilon = 0.1` is the share of outliers, f is the Gaussian-smoothed histogram and
    :math:`\bar f(m)` its mean over depth: a spike far from all others tells nothing, instead of far too much.

    `histogram` (num_marks, num_points) is at least 0; the smoothing has standard deviations in points and in marks, 0
    for none. The marks are `num_groups` groups of equally many, and smoothing keeps to one. Returns float32 of its
    shape, finite everywhere, and the logarithm of the mean density of each mark: what a spike of unknown depth is
    expected to have.
    """
    from scipy.ndimage import gaussian_filter1d

    smooth = histogram
    if depth_smooth > 0:
        smooth = gaussian_filter1d(smooth, depth_smooth, axis=1, mode="constant")
    if mark_smooth > 0:
        by_group = smooth.reshape(num_groups, -1, smooth.shape[1])
        smooth = gaussian_filter1d(by_group, mark_smooth, axis=1, mode="nearest").reshape(smooth.shape)
    mean = smooth.mean(axis=1, keepdims=True)
    tiny = 1e-9 * max(smooth.max(), 1.0)
    mixed = (1.0 - OUTLIERS) * smooth + OUTLIERS * mean + tiny
    return np.log(mixed).astype("float32"), np.log(mean[:, 0] + tiny)
