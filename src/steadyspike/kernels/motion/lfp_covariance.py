"""Registration of profiles of the local field potential to what all of them share: the tissue's covariance over depth.

Single profiles change with the waves that pass, and a wave that travels looks like motion. But the places of the
sources stay, so that in the tissue's own frame the covariance between depths is one and the same at all times. Given
the displacement, that covariance is the mean of products of the profiles moved back; given the covariance, each
profile has a likelihood for every displacement, as a Gaussian vector with the covariance shifted along the contacts
plus white noise on them. The two are found in turn, as the density of spikes and the displacement are for spikes, with
a smoothing of the likelihood over time that gets shorter.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from steadyspike.kernels.motion import lfp_registration, motion_prior
from steadyspike.kernels.motion.lfp_registration import BLOCK_BINS, moved_back

# Factors of a covariance at most, for time.
MAX_RANK = 30
# 1. Eigenvalues this many times the noise count as signal.
SIGNAL = 2.5
# Share of the largest eigenvalue that the noise is at least.
NOISE_FLOOR = 1e-4
# s. Smoothing of the likelihood over time in the first round, against waves that pass,
FIRST_S = 0.5
# and in the last, which keeps the heartbeat.
LAST_S = 0.02
# Share of a window's largest weight that contacts need to take part in it.
WINDOW_SHARE = 0.4
# um. A round looks this much beyond the displacements found so far.
REACH_UM = 40.0
# Cubic splines need four.
LEAST_ROWS = 4


@dataclass(frozen=True)
class TissueModel:
    """Covariance of the potential between depths of the tissue, in few factors.

    The covariance of the increasing `depths_um` is the product of `factors` (num_depths, rank) with their transpose;
    `noise` is the variance of the noise on each contact, larger than 0.
    """

    depths_um: np.ndarray
    factors: np.ndarray
    noise: float


def tissue_covariance(profiles, displacement, knots_um, bins):
    """Covariance between depths after a displacement is taken out.

    `displacement` (num_bins, num_knots) is that of the time bins `bins`, linear between the knots. Returns the mean of
    products over the time bins in which both depths are seen, (num_rows, num_rows), and the share of the time bins in
    which each depth is seen.
    """
    num_rows = profiles.coefficients.shape[1]
    products, counts = np.zeros((num_rows, num_rows)), np.zeros((num_rows, num_rows))
    for start in range(0, bins.size, BLOCK_BINS):
        some = slice(start, start + BLOCK_BINS)
        moved, valid = moved_back(profiles, bins[some], displacement[some], knots_um, profiles.depths_um)
        rows = np.arange(num_rows)
        inside = ((rows >= valid[:, :1]) & (rows < valid[:, 1:])).astype("float32")
        products += moved.T @ moved
        counts += inside.T @ inside
    return products / np.maximum(counts, 1.0), np.diag(counts) / max(bins.size, 1)


def tissue_model(covariance, depths_um):
    """Split a covariance into few factors and noise.

    The noise is the median eigenvalue (more where that is next to nothing); eigenvalues clearly above it make the
    factors.
    """
    values, vectors = np.linalg.eigh(covariance)
    noise = max(float(np.median(values)), NOISE_FLOOR * float(values[-1]), 1e-12)
    chosen = np.flatnonzero(values > SIGNAL * noise)[-MAX_RANK:]
    return TissueModel(depths_um, vectors[:, chosen] * np.sqrt(values[chosen] - noise), noise)


def log_likelihood_curves(values, depths_um, model, shifts_um):
    r"""Log-likelihood of profiles for each displacement.

    A profile x on contacts at the depths y is a Gaussian vector of the covariance

    .. math:: K(s) = F(y - s)\, F(y - s)^T + \sigma^2 I

    with the model's factors F, by cubic splines, and one factor more that is even over depth, for what all contacts
    share. Only contacts whose depths in the tissue are known for every displacement take part, so that the likelihoods
    compare.

    `values` (num_times, num_contacts) of float32 are profiles at the depths of the contacts, `shifts_um` the
    displacements to try. Returns float32 (num_times, num_shifts), per contact that takes part and without constants,
    all zero where fewer than four do; and how many contacts took part.
    """
    from scipy.interpolate import make_interp_spline
    from scipy.linalg import cholesky, solve_triangular

    curves = np.zeros((values.shape[0], shifts_um.size), dtype="float32")
    low, high = model.depths_um[0] - 1e-6, model.depths_um[-1] + 1e-6
    use = (depths_um - shifts_um.max() >= low) & (depths_um - shifts_um.min() <= high)
    num_rows = int(np.count_nonzero(use))
    if num_rows < LEAST_ROWS or model.depths_um.size < LEAST_ROWS or model.factors.shape[1] == 0:
        return curves, 0
    values, depths_um = values[:, use], depths_um[use]
    energy = np.einsum("tn,tn->t", values, values)
    spline = make_interp_spline(model.depths_um, model.factors, k=3)
    even = np.full((num_rows, 1), np.sqrt(max(float(np.median(energy)) / num_rows, model.noise)))
    for index, shift_um in enumerate(shifts_um):
        factors = np.hstack([spline(depths_um - shift_um), even])
        inner = np.eye(factors.shape[1]) + factors.T @ factors / model.noise
        triangle = cholesky(inner, lower=True)
        whitened = solve_triangular(triangle, factors.T / model.noise, lower=True).astype("float32")
        projected = values @ whitened.T
        explained = 0.5 * np.einsum("tr,tr->t", projected, projected)
        curves[:, index] = explained - np.log(np.diag(triangle)).sum()
    curves -= (0.5 * energy / model.noise)[:, None]
    curves -= np.float32(0.5 * num_rows * np.log(model.noise))
    curves[energy == 0] = 0.0
    return curves, num_rows


def curve_maxima(curves, shifts_um):
    """Place of the maximum of each curve over evenly spaced shifts, by a parabola, and the curvature there.

    Curves are log-likelihoods, (num_times, num_shifts). The curvature is a precision, in 1/um^2; 0 where the maximum is
    at an end, or the curve is flat.
    """
    step_um = shifts_um[1] - shifts_um[0]
    best = curves.argmax(axis=1)
    inside = (best > 0) & (best < shifts_um.size - 1)
    middle = np.clip(best, 1, shifts_um.size - 2)
    every = np.arange(curves.shape[0])
    left, top, right = (curves[every, middle + side].astype("float64") for side in (-1, 0, 1))
    curvature = np.where(inside, 2.0 * top - left - right, 0.0)
    fine = curvature > 1e-9 * np.maximum(np.abs(top), 1.0)
    offset = np.where(fine, 0.5 * (right - left) / np.where(fine, curvature, 1.0), 0.0)
    return shifts_um[best] + step_um * offset, np.where(fine, curvature, 0.0) / step_um**2


def refine_displacement(profiles, knots_um, windows_of, starts, segment_edges, bin_s, num_rounds, progress):
    """Register each time bin to the covariance of all of its segment, in rounds.

    `starts` are arrays (num_times, num_windows) in um, of which, after the first round, the likeliest is kept in each
    segment; a time bin lasts `bin_s`; no rounds return the first start. For the others see
    `steadyspike.kernels.motion`. Returns the displacement in um, before any smoothing over time but that of the last
    round, and the precision of each time bin's own measurement in 1/um^2, 0 where nothing was measured.
    """
    displacement, precision = starts[0].copy(), np.zeros_like(starts[0])
    sigmas = np.geomspace(FIRST_S, LAST_S, max(num_rounds, 2))[:num_rounds] / bin_s
    for start, stop in progress(list(pairwise(segment_edges)), "registration to the covariance"):
        segment = _Segment(profiles, knots_um, windows_of, np.arange(start, stop))
        if num_rounds == 0 or stop - start < 2:
            continue
        trials = [_rounds(segment, first[start:stop], sigmas[:1]) for first in starts]
        best = max(trials, key=lambda trial: trial[2])
        if num_rounds > 1:
            best = _rounds(segment, best[0], sigmas[1:])
        displacement[start:stop], precision[start:stop] = best[:2]
    return displacement, precision


def _rounds(segment, displacement, sigmas):
    precision, score = np.zeros_like(displacement), -np.inf
    for sigma in sigmas:
        displacement, precision, score = segment.measure(displacement, sigma)
    return displacement, precision, score


class _Segment:
    """The profiles of one segment, and how its time bins are measured."""

    def __init__(self, profiles, knots_um, windows_of, bins):
        self.profiles, self.knots_um, self.bins = profiles, knots_um, bins
        windows = windows_of(profiles.depths_um)
        self.members = windows >= WINDOW_SHARE * windows.max(axis=1, keepdims=True)
        self.limit_um = 0.3 * np.ptp(profiles.depths_um)

    def measure(self, displacement, sigma):
        """One round: the covariance, then each window's displacement, with a smoothing over so many time bins."""
        from scipy.ndimage import gaussian_filter1d

        displacement = displacement - np.median(displacement, axis=0)
        stride = max(int(sigma / 4), 1)
        some = np.arange(0, self.bins.size, stride)
        covariance, seen = tissue_covariance(
            self.profiles, displacement[some], self.knots_um, self.bins[some]
        )
        depths_um, still = self.profiles.depths_um, np.zeros((some.size, 1))
        values, _ = moved_back(self.profiles, self.bins[some], still, self.knots_um[:1], depths_um)
        found, precision = displacement.copy(), np.zeros_like(displacement)
        score, total_rows = 0.0, 0
        for window, members in enumerate(self.members):
            known = np.flatnonzero(members & (seen > lfp_registration.LEAST_OVERLAP))
            if known.size < LEAST_ROWS:
                continue
            model = tissue_model(covariance[np.ix_(known, known)], depths_um[known])
            shifts_um = self._shifts(displacement[:, window])
            curves, num_rows = log_likelihood_curves(values[:, members], depths_um[members], model, shifts_um)
            if num_rows == 0:
                continue
            if sigma / stride > 0.3:
                gaussian_filter1d(curves, sigma / stride, axis=0, mode="nearest", output=curves)
            best_um, own = curve_maxima(curves, shifts_um)
            measured = own > 0
            if measured.any():
                found[:, window] = np.interp(np.arange(self.bins.size), some[measured], best_um[measured])
                precision[:, window] = np.interp(np.arange(self.bins.size), some, own)
            score += float(curves.max(axis=1).mean())
            total_rows += num_rows
        silent = ~self.profiles.coefficients[self.bins].any(axis=1)
        precision[silent] = 0.0
        return found, precision, score / max(total_rows, 1)

    def _shifts(self, displacement):
        low = max(displacement.min() - REACH_UM, -self.limit_um)
        high = min(displacement.max() + REACH_UM, self.limit_um)
        step_um = 0.2 * self.profiles.pitch_um
        return np.arange(np.floor(low / step_um), np.ceil(high / step_um) + 1) * step_um


def segment_offsets(profiles, displacement, knots_um, segment_edges, max_displacement_um):
    """How far the segments lie from one another: where their covariances agree best.

    `displacement` (num_times, num_windows), in um, is known within each segment; two segments lie at most
    `max_displacement_um` apart; for the others see `steadyspike.kernels.motion`. Returns what is to be added to each
    segment, in um; 0 for segments whose covariance says nothing.
    """
    from steadyspike.kernels.motion import pair_least_squares

    num_segments = segment_edges.size - 1
    lags = np.arange(1, num_segments)
    shifts = np.zeros((lags.size, num_segments, 1), dtype="float32")
    weights = np.zeros_like(shifts)
    covariances = []
    for start, stop in pairwise(segment_edges):
        bins = np.arange(start, stop, max((stop - start) // BLOCK_BINS, 1))
        centered = displacement[bins] - np.median(displacement[start:stop], axis=0)
        covariance, seen = tissue_covariance(profiles, centered, knots_um, bins)
        covariances.append(
            np.where(np.minimum.outer(seen, seen) > lfp_registration.LEAST_OVERLAP, covariance, 0.0)
        )
    reach = max_displacement_um / profiles.pitch_um
    for index, lag in enumerate(lags):
        for first in range(num_segments - lag):
            place, height = covariance_shift(covariances[first], covariances[first + lag], reach)
            shifts[index, first] = place * profiles.pitch_um
            weights[index, first] = max(height, 0.0) ** 2
    return pair_least_squares.solve_pairwise(lags, shifts, weights, scale=profiles.pitch_um)[:, 0]


def covariance_shift(first, second, reach):
    """Shift along the diagonal at which two covariances (num_rows, num_rows) correlate best, and the correlation there.

    At most `reach` rows, so that half of the rows overlap; by a parabola. A correlation of 0 where one of them is
    empty.
    """
    num_rows = first.shape[0]
    limit = int(min(reach, num_rows // 2))
    shifts = np.arange(-limit, limit + 1)
    heights = np.zeros(shifts.size)
    for index, shift in enumerate(shifts):
        mine = first[max(-shift, 0) : num_rows - max(shift, 0), max(-shift, 0) : num_rows - max(shift, 0)]
        other = second[max(shift, 0) : num_rows - max(-shift, 0), max(shift, 0) : num_rows - max(-shift, 0)]
        norm = np.linalg.norm(mine) * np.linalg.norm(other)
        heights[index] = np.sum(mine * other) / norm if norm > 0 else 0.0
    place, _ = curve_maxima(heights[None], shifts.astype("float64")) if shifts.size > 2 else ([0.0], None)
    return float(place[0]) if heights.any() else 0.0, float(heights.max())


def smoothed(displacement, precision, segment_edges):
    """Join measurements by the prior of smooth motion; where nothing was measured, they are bridged."""
    bend_um = motion_prior.bend_scale(displacement, segment_edges)
    smooth = displacement
    # noisy measurements hide the jumps, which are seen once these are smooth
    for _ in range(3):
        smooth = motion_prior.smooth_motion(smooth, displacement, precision, bend_um, segment_edges)
    return smooth
