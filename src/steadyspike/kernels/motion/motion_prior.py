"""Smooth motion from noisy measurements of every time bin and window, as smooth as the data say it is.

Tissue mostly keeps its velocity from one time bin to the next, neighbouring depths move alike, and now and then
something jumps. How strongly each holds is estimated from the measurements themselves, with their noise taken out.
"""

import numpy as np

# um per time bin. Changes of velocity, and steps, are never taken to be smaller: what noise hides may be there.
ACCELERATION_FLOOR_UM = 0.03
# um per time bin. Likewise for differences between neighbouring windows.
BEND_FLOOR_UM = 0.01
# um. How much the displacement may differ along the probe, between sessions say, where nothing else ties windows.
SPREAD_UM = 60.0
# Share of the precision of a standstill that steps keep: it bridges time bins without spikes.
STEP_SHARE = 0.01
# 1. Neighbouring windows are held together so many times as firmly as their differences alone would say.
BEND_GAIN = 5.0
# 1. Of the differences between windows in the estimate so far, which hold noise, so much counts as real.
TYPICAL_SHARE = 0.7
# um per time bin. Along the probe steps change like lines: so far may one bend off a line from window to window.
CURVE_UM = 0.1
# Time bins over which differences between windows are compared: over one alone they are noise.
BEND_LAG = 5
# Standard deviations beyond which a step counts as a jump, which the prior lets go.
OUTLIER = 2.0
# um, and standard deviations on top. A time bin alone is called wrong when it stands out from both neighbours by more.
LONE_UM = 5.0
LONE_DEVIATIONS = 4.0
# Spikes that tell where a time bin should be: as many bins around it as see so many are looked at.
LEAN_SPIKES = 30.0


def same_segment(segment_edges, num_times, lag):
    """Whether each pair of time bins at a lag lies in one segment.

    Pairs are ``(t, t + lag)``; returns bool (num_times - lag,). `segment_edges`, int64 (num_segments + 1,), is the
    first time bin of each segment, and the end of the last; None: one segment.
    """
    if segment_edges is None:
        return np.ones(max(num_times - lag, 0), dtype=bool)
    segment = np.repeat(np.arange(segment_edges.size - 1), np.diff(segment_edges))
    return segment[lag:] == segment[: max(num_times - lag, 0)]


def robust_scale(values):
    """Standard deviation of the bulk of some values around zero, from the median of their size."""
    return 1.4826 * float(np.median(np.abs(values))) if values.size else 0.0


def bend_scale(displacement, segment_edges=None):
    """How differently neighbouring windows move in one time bin, in um, from displacements of little noise.

    Robust standard deviation of the change of the difference between neighbouring windows over five time bins, per time
    bin; 0 where there is one window or time bin. `displacement` is (num_times, num_windows), in um.
    """
    lag = min(BEND_LAG, displacement.shape[0] - 1)
    if lag < 1:
        return 0.0
    difference = np.diff(displacement, axis=1)
    inside = same_segment(segment_edges, displacement.shape[0], lag)
    return robust_scale((difference[lag:] - difference[:-lag])[inside]) / lag


def measured_bend_scale(target, precision, segment_edges=None):
    """As `bend_scale`, from noisy measurements whose noise is known: its share is taken out."""
    lag = min(BEND_LAG, target.shape[0] - 1)
    if lag < 1 or target.shape[1] < 2:
        return 0.0
    variance = np.where(precision > 0, 1.0 / np.maximum(precision, 1e-9), np.inf)
    noise = variance[:, 1:] + variance[:, :-1]
    noise = noise[lag:] + noise[:-lag]
    difference = np.diff(target, axis=1)
    difference = difference[lag:] - difference[:-lag]
    known = np.isfinite(noise) & same_segment(segment_edges, target.shape[0], lag)[:, None]
    if not known.any():
        return 0.0
    noise, difference = noise[known], difference[known]
    weights = 1.0 / noise
    # medians: a few time bins whose spikes were taken for those of other units would spoil a mean
    scale = 1.4826 * weighted_median(np.abs(difference), weights)
    return float(np.sqrt(max(scale**2 - weighted_median(noise, weights), 0.0)) / lag)


def weighted_median(values, weights):
    """Smallest value with at least half of all weight at or below it.

    There is at least one value; weights are at least 0 and not all 0.
    """
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, 0.5 * cumulated[-1])])


def _common_measurement(target, precision):
    """Measured time bins, what all windows measured together in each, and its variance."""
    total = precision.sum(axis=1)
    measured = np.flatnonzero(total > 0)
    return measured, (precision * target).sum(axis=1)[measured] / total[measured], 1.0 / total[measured]


def lean_bins(counts):
    """How many successive time bins together see `LEAN_SPIKES`, from the spikes of each; at least 1."""
    seen = counts[counts > 0]
    return int(np.ceil(LEAN_SPIKES / np.median(seen))) if seen.size else 1


def acceleration_scale(target, precision, segment_edges=None, lean=1):
    """Bulk of the change of velocity from one time bin to the next, common to all windows, in um, without its noise.

    Where time bins see few spikes, it is taken over `lean` of them: from one to the next nearly all is noise, and more
    of it than their precision says.
    """
    measured, common, variance = _common_measurement(target, precision)
    num_times = target.shape[0]
    if num_times < 3 or measured.size == 0:
        return ACCELERATION_FLOOR_UM
    common = np.interp(np.arange(num_times), measured, common)

    def change(lag):
        change = common[2 * lag :] - 2.0 * common[lag:-lag] + common[: -2 * lag]
        return robust_scale(change[same_segment(segment_edges, num_times, 2 * lag)])

    # the second difference of independent noise has six times its variance
    noise = 6.0 * float(np.median(variance))
    lag = min(lean, (num_times - 1) // 2)
    if lag > 1:
        noise = max(noise, change(1) ** 2)
    # independent changes of velocity add up over a lag, those near its middle most
    grown = (2.0 * lag**3 + lag) / 3.0
    return float(np.sqrt(max((change(lag) ** 2 - noise) / grown, ACCELERATION_FLOOR_UM**2)))


def lone_bins(target, precision, segment_edges=None, lean=1):
    """Time bins that lie away from those around them: a jump is real only if it has two sides.

    Around a bin are its two neighbours, and where bins see few spikes, `lean` of them: a few spikes are soon taken for
    those of other units, in some bins one after the other. The median of what these measured is where it should be.

    `target` and `precision` (num_times, num_windows) are measurements (um) and their precisions (1/um^2), `lean` is
    that of `lean_bins`. Returns bool (num_times,).
    """
    lone = np.zeros(target.shape[0], dtype=bool)
    measured, common, variance = _common_measurement(target, precision)
    if measured.size < 3:
        return lone
    borders = [] if segment_edges is None else np.searchsorted(measured, segment_edges[1:-1])
    off = away_from_neighbours(common, borders, lean)
    limit = LONE_UM + LONE_DEVIATIONS * (np.sqrt(variance + 0.5 * np.median(variance)) + robust_scale(off))
    lone[measured] = np.abs(off) > limit
    return lone


def away_from_neighbours(values, borders, lean):
    """Give each value less the median of those around it along the first axis, `lean` of them but at least 3.

    Segments begin at `borders`; at their ends those inside stand for those beyond.
    """
    from scipy.ndimage import median_filter

    size = (2 * ((lean + 1) // 2) + 1, *(1,) * (values.ndim - 1))
    return values - np.concatenate([median_filter(part, size) for part in np.split(values, borders)])


def robust_precision(values, scale):
    """Precision for each of some values: 1/scale^2, and less for those far outside (Cauchy)."""
    return 1.0 / (scale**2 * (1.0 + np.square(values / (OUTLIER * scale))))


def smooth_motion(current, target, precision, typical_bend_um, segment_edges=None, lean=1):
    r"""Most probable motion, given measurements with their precision and a prior of smooth motion.

    With measurements :math:`m_{tk}` of precision (inverse variance) :math:`\pi_{tk}`, minimizes

    .. math:: \sum_{tk} \pi_{tk} (x_{tk} - m_{tk})^2 + \sum_{tk} \alpha_t (\Delta x_{tk})^2
              + \sum_{tk} \kappa_t (\Delta^2 x_{tk})^2
              + \sum_{tk} \beta_t (\Delta x_{t,k+1} - \Delta x_{tk})^2 + \gamma \sum_{tk} (x_{t,k+1} - x_{tk})^2
              + \sum_{tk} \rho_t (\Delta x_{t,k+1} - 2 \Delta x_{tk} + \Delta x_{t,k-1})^2

    where :math:`\Delta` is the step in time. The weights follow from the scales of the data (see
    `acceleration_scale`, `measured_bend_scale`), and those of the first three are lowered, time bin by time bin, where
    the motion jumps. Nothing but a weak pull ties the end of a segment to the start of the next.

    Parameters
    ----------
    current : ndarray of float64, shape (num_times, num_windows)
        The estimate so far, in um: it tells where the jumps are.
    target : ndarray of float64, shape (num_times, num_windows)
        Measurements, in um.
    precision : ndarray of float64, shape (num_times, num_windows)
        Their precision, in 1/um^2; 0 where nothing was measured.
    typical_bend_um : float
        Lowest value for the scale of differences between neighbouring windows, in um per time bin.
    segment_edges : ndarray of int64 or None
        As in `same_segment`.
    lean : int, default: 1
        Of `lean_bins`.

    Returns
    -------
    displacement : ndarray of float64, shape (num_times, num_windows)
        In um.
    """
    num_times, num_windows = target.shape
    acceleration_um = acceleration_scale(target, precision, segment_edges, lean)
    bend_um = max(
        measured_bend_scale(target, precision, segment_edges), TYPICAL_SHARE * typical_bend_um, BEND_FLOOR_UM
    )
    joined = same_segment(segment_edges, num_times, 1)
    joined_twice = same_segment(segment_edges, num_times, 2)
    border = 1.0 / (num_windows * SPREAD_UM**2)
    rho = np.where(joined, 1.0 / CURVE_UM**2, 0.0)
    steps = np.diff(current, axis=0)
    common = steps.mean(axis=1)
    step_um = max(robust_scale(common[joined]), ACCELERATION_FLOOR_UM)
    alpha = STEP_SHARE * robust_precision(common, step_um) / num_windows
    kappa = robust_precision(np.diff(common), acceleration_um) / num_windows
    bends = np.diff(steps, axis=1)
    if num_windows > 1:
        mean_square = np.sqrt(np.mean(np.square(bends), axis=1))
        beta = BEND_GAIN / (num_windows - 1) * robust_precision(mean_square, bend_um)
    else:
        beta = np.zeros(steps.shape[0])
    alpha, beta = np.where(joined, alpha, border), np.where(joined, beta, border)
    kappa = np.where(joined_twice, kappa, 0.0)
    return solve_smooth(target, precision, alpha, kappa, beta, 1.0 / SPREAD_UM**2, rho)


def solve_smooth(target, precision, alpha, kappa, beta, gamma, rho=None):
    """Solve the linear system of `smooth_motion` exactly: time and memory are linear in the number of time bins.

    `target` and `precision` (num_times, num_windows) are measurements (um) and their precisions (1/um^2). The others
    are precisions: `alpha` of the steps, `beta` of the differences between the steps of neighbouring windows, and `rho`
    of the second difference of the steps over windows, None for 0, each (num_times - 1,); `kappa` (num_times - 2,) of
    the differences between successive steps; `gamma` of the difference between neighbouring windows. Returns the
    minimizer in um.
    """
    from scipy.linalg import solveh_banded

    bands = smoothness_bands(precision, alpha, kappa, beta, gamma)
    if rho is not None and target.shape[1] > 2:
        add_curvature(bands, rho, target.shape)
    # A tiny ridge keeps the matrix positive definite where nothing at all was measured.
    bands[0] += 1e-9 + 1e-10 * bands[0].max()
    solution = solveh_banded(bands, (precision * target).ravel(), lower=True, check_finite=False)
    return solution.reshape(target.shape)


def smoothness_bands(precision, alpha, kappa, beta, gamma):
    """Lower bands, as `scipy.linalg.solveh_banded` takes them, of the matrix of `solve_smooth`.

    Unknowns are ordered by time, then window; parameters are those of `solve_smooth`. Returns float64 (2 * num_windows
    + 1, num_times * num_windows).
    """
    num_times, num_windows = precision.shape
    bands = np.zeros((2 * num_windows + 2, num_times, num_windows))
    # how many neighbours each window has: the diagonal of the Laplacian of the chain of windows
    neighbours = np.zeros(num_windows)
    neighbours[:-1] += 1.0
    neighbours[1:] += 1.0
    step = alpha[:, None] + beta[:, None] * neighbours
    bands[0] += precision + gamma * neighbours
    bands[0, :-1] += step
    bands[0, 1:] += step
    bands[1, :, :-1] -= gamma
    bands[1, :-1, :-1] -= beta[:, None]
    bands[1, 1:, :-1] -= beta[:, None]
    bands[num_windows, :-1] -= step
    bands[num_windows + 1, :-1, :-1] += beta[:, None]
    bands[num_windows - 1, :-1, 1:] += beta[:, None]
    for offset, factor in ((0, 1.0), (1, 4.0), (2, 1.0)):
        bands[0, offset : offset + kappa.size] += factor * kappa[:, None]
    bands[num_windows, : kappa.size] -= 2.0 * kappa[:, None]
    bands[num_windows, 1 : 1 + kappa.size] -= 2.0 * kappa[:, None]
    bands[2 * num_windows, : kappa.size] += kappa[:, None]
    return bands[: 2 * num_windows + 1].reshape(2 * num_windows + 1, num_times * num_windows)


def add_curvature(bands, rho, shape):
    """Add to the bands of `smoothness_bands` the penalty of steps that are not a line over windows.

    `rho` (num_times - 1,) is the precision of the second differences; `shape` is ``(num_times, num_windows)``, with at
    least 3 windows.
    """
    num_times, num_windows = shape
    bands = bands.reshape(-1, num_times, num_windows)
    second = np.diff(np.eye(num_windows), n=2, axis=0)
    penalty = second.T @ second
    for row, column in zip(*np.nonzero(penalty), strict=True):
        value = rho * penalty[row, column]
        if row >= column:
            bands[row - column, :-1, column] += value
            bands[row - column, 1:, column] += value
        bands[num_windows + row - column, :-1, column] -= value
