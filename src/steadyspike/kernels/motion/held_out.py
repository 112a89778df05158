"""How well a motion explains spikes that its picture of the tissue has not seen.

Corrected with the right motion, spikes of one unit share one depth: the density of corrected spikes over depth and
amplitude is sharp, and a spike that the density was not made from still falls on its peaks. The gain in log density,
held-out spike by held-out spike, therefore tells a motion that is there from one that is not. Splitting spikes does
not undo that the motion itself was fitted to all of them: `fitted_parameters` counts how many numbers it could have
fitted to noise, each of which is worth about one nat.
"""

import numba
import numpy as np

from steadyspike.kernels.motion import template_registration

# um. Depth step of the densities.
STEP_UM = 1.0
# 1. Makes up for noise that happens to be small where the amplitude of a motion bounds what was fitted to noise.
NOISE_MARGIN = 1.5


@numba.njit(nogil=True, cache=True)
def _count(positions, marks, folds, histograms):
    for i in range(positions.size):
        cell = int(positions[i])
        fraction = positions[i] - cell
        histograms[folds[i], marks[i], cell] += 1.0 - fraction
        histograms[folds[i], marks[i], cell + 1] += fraction


@numba.njit(nogil=True, cache=True)
def _look_up(positions, marks, folds, densities, gains):
    last = densities.shape[2] - 1.001
    for i in range(positions.size):
        position = min(max(positions[i], 0.0), last)
        cell = int(position)
        fraction = position - cell
        row = densities[folds[i], marks[i]]
        gains[i] = (1.0 - fraction) * row[cell] + fraction * row[cell + 1]


class HeldOutDensity:
    """Densities over mark and depth of all spikes but those of one fold, for each fold.

    Corrected depths are finite, `marks` and `folds` int32, from 0, of at least 2 folds. `depth_range_um` is what the
    densities cover, the same for gains that are compared; spikes beyond it count at its ends.
    """

    def __init__(self, depths_um, marks, folds, depth_range_um, num_marks, num_folds):
        low, high = depth_range_um
        num_points = int((high - low) / STEP_UM) + 3
        self.positions = np.clip((np.asarray(depths_um, dtype="float64") - low) / STEP_UM, 0, num_points - 2)
        self.marks, self.folds = marks, folds
        self.histograms = np.zeros((num_folds, num_marks, num_points))
        _count(self.positions, marks, folds, self.histograms)

    def gains(self, smooth_um, shifts_um=(0.0,)):
        r"""Log density of each spike, relative to a spike of unknown depth, in the density of the other folds.

        .. math:: g_i(\delta) = \log f_{-k(i)}(m_i, z_i + \delta) - \log \bar f_{-k(i)}(m_i)

        The density is smoothed over depth with a standard deviation of `smooth_um`, at least 0, and all spikes are
        shifted by each of `shifts_um`, numbers or arrays (num_spikes,). Returns float64
        (num_shifts, num_spikes), in nats.
        """
        total = self.histograms.sum(axis=0)
        densities = np.empty_like(self.histograms)
        for fold, own in enumerate(self.histograms):
            density, background = template_registration.log_density(
                total - own, smooth_um / STEP_UM, template_registration.SMOOTH_MARKS
            )
            densities[fold] = density - background[:, None]
        gains = np.empty((len(shifts_um), self.positions.size))
        for row, shift in zip(gains, shifts_um, strict=True):
            _look_up(self.positions + shift / STEP_UM, self.marks, self.folds, densities, row)
        return gains


def information(gains, shift_um):
    """Information of a spike about its shift, in 1/um^2, from its gains at ``-shift_um, 0, shift_um``; at least 0.

    The curvature of the mean held-out gain: the inverse of the variance with which one spike tells the displacement.
    """
    if gains.shape[1] == 0:
        return 0.0
    below, middle, above = gains.mean(axis=1)
    return max(2.0 * middle - below - above, 0.0) / shift_um**2


def sums_by_knot(values, time_bins, lower, upper_weight, shape):
    """Sum values of spikes over time bins and knots, each shared between the two knots around it.

    `lower` and `upper_weight` are those of `template_registration.knot_weights`; `shape` is (num_times, num_knots).
    """
    num_times, num_knots = shape
    upper = np.minimum(lower + 1, num_knots - 1)
    row = time_bins.astype("int64") * num_knots
    size = num_times * num_knots
    sums = np.bincount(row + lower, weights=values * (1.0 - upper_weight), minlength=size)
    sums += np.bincount(row + upper, weights=values * upper_weight, minlength=size)
    return sums.reshape(shape)


def fitted_parameters(displacement, precision):
    r"""How many numbers a motion may have fitted to the noise of its measurements, and what noise that left in it.

    An estimate that smooths its measurements passes noise of frequency f on with a factor H(f). Its gain in
    log-likelihood on the very spikes that it came from is then too high by about :math:`\sum_f H(f)` nats, and its
    noise has the variance :math:`\sum_f H(f)^2 \sigma^2 / n`. The factor is not known, but the estimate's own
    amplitude at that frequency bounds it:

    .. math:: H(f) \lesssim \min(1, a |\hat x(f)| / \sigma)

    with the orthonormal cosine transform over time and depth :math:`\hat x` of its n values and the standard
    deviation :math:`\sigma` of one measurement; a = 1.5 makes up for noise that happens to be small. A smooth motion
    has few large coefficients, a noisy one has many.

    `displacement` (num_times, num_windows) is in um, `precision` the mean one of the measurement in one time bin and
    window, in 1/um^2, above 0. Returns the number, at most that of the values, and the variance of the noise in um^2.
    """
    from scipy.fft import dctn

    if displacement.size == 0:
        return 0.0, 0.0
    coefficients = dctn(displacement - np.median(displacement, axis=0), norm="ortho")
    size = np.abs(coefficients) * np.sqrt(precision)
    number = np.minimum(NOISE_MARGIN * size, 1.0).sum()
    return float(number), float(np.square(np.minimum(size, 1.0)).mean() / precision)


def error_over_time(values, blocks, num_blocks):
    """Standard error of a sum of values of spikes, from how much successive blocks of time differ.

    A drift that comes and goes makes a gain that comes and goes; differences of neighbouring blocks leave that out and
    keep what is chance. `blocks` numbers the block of each spike; 0 with fewer than two blocks.
    """
    sums = np.bincount(blocks, weights=values, minlength=num_blocks)
    return float(np.sqrt(0.5 * num_blocks * np.square(np.diff(sums)).mean())) if num_blocks > 1 else 0.0


def error_over_groups(values, groups):
    """Standard error of a sum of values of spikes that come in groups, such as the spikes of one unit.

    Square root of the summed squares of how far each group's sum is from what its number of spikes would give; infinite
    with fewer than two groups.
    """
    counts = np.bincount(groups)
    present = counts > 0
    if present.sum() < 2:
        return float("inf")
    counts = counts[present]
    excess = np.bincount(groups, weights=values - values.mean())[present]
    return float(np.sqrt(np.square(excess).sum() * counts.size / (counts.size - 1)))
