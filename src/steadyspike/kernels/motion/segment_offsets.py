"""How far whole segments of a recording (sessions, say) lie from one another.

Between two sessions the probe may sit anywhere, far beyond what moves within one, and the segments may be hours apart.
Each segment is therefore first registered within itself; then the densities of the segments' corrected spikes over
depth and amplitude are correlated, all pairs of segments, first as wholes over any distance and then window by window
around that.
"""

from itertools import combinations, pairwise

import numpy as np

from steadyspike.kernels.motion import motion_prior, pair_least_squares, pairwise_shift, template_registration

# um. Depth step of the densities of segments.
STEP_UM = 4.0
# um. Standard deviation of their smoothing, and of a window's own estimate where the segments look the same.
SMOOTH_UM = 6.0
# Amplitude bins, which tell units apart that lie at one depth.
NUM_MARKS = 5


def segment_densities(spikes, knots_um, displacement, segment_edges, depth_range_um):
    """Square root of the rate of corrected spikes of each segment, (num_segments, num_depths, num_marks) of float32.

    Depth bins are `STEP_UM` apart and span `depth_range_um`, of corrected depths; marks are `NUM_MARKS` amplitude bins
    of each group. Other arguments are those of `register_segments`.
    """
    from scipy.ndimage import gaussian_filter1d

    num_marks = NUM_MARKS * spikes.num_groups
    marks = spikes.marks(NUM_MARKS)
    lower, upper_weight = template_registration.knot_weights(spikes.depths_um, knots_um)
    num_depths = int((depth_range_um[1] - depth_range_um[0]) / STEP_UM) + 2
    densities = np.zeros((segment_edges.size - 1, num_depths, num_marks), dtype="float32")
    for segment, (start, stop) in enumerate(pairwise(segment_edges)):
        chosen = (spikes.time_bins >= start) & (spikes.time_bins < stop)
        histogram = np.zeros((num_marks, num_depths))
        template_registration.corrected_histogram(
            spikes.depths_um[chosen],
            spikes.time_bins[chosen],
            marks[chosen],
            lower[chosen],
            upper_weight[chosen],
            displacement,
            float(depth_range_um[0]),
            STEP_UM,
            histogram,
        )
        # spikes beyond the range were counted at its ends
        histogram[:, [0, -1]] = 0.0
        smooth = gaussian_filter1d(histogram, SMOOTH_UM / STEP_UM, axis=1, mode="constant")
        densities[segment] = np.sqrt(smooth / max(stop - start, 1)).T
    return densities


def best_shift(first, second, max_shift):
    r"""Shift, in depth bins, of `second` against `first` over all depths, and the correlation there, from 0 to 1.

    Maximizes :math:`\sum_{y,m} a(y, m)\, b(y + s, m) / (|a|\,|b|)` for densities of shape (num_depths, num_marks) up to
    `max_shift`, with a parabola: of two shifts that fit alike, the one with the larger overlap wins. 0 where one is
    empty.
    """
    from scipy.signal import correlate

    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    if norm == 0.0:
        return 0.0, 0.0
    correlation = sum(
        correlate(second[:, mark], first[:, mark], mode="full", method="fft")
        for mark in range(first.shape[1])
    )
    center = first.shape[0] - 1
    reach = min(max_shift, center)
    correlation = correlation[center - reach : center + reach + 1] / norm
    best = int(np.argmax(correlation))
    shift = float(best - reach)
    if 0 < best < correlation.size - 1:
        left, middle, right = correlation[best - 1 : best + 2]
        curvature = left - 2.0 * middle + right
        shift += 0.5 * (left - right) / curvature if curvature < 0 else 0.0
    return shift, float(correlation[best])


def _solve(num_segments, pairs, shifts, weights):
    """Displacement of each segment (um) from the shifts of pairs (in depth bins), window by window."""
    lags = np.arange(1, num_segments)
    by_lag = np.zeros((lags.size, num_segments, shifts.shape[1]), dtype="float32")
    weight_by_lag = np.zeros_like(by_lag)
    for (i, j), shift, weight in zip(pairs, shifts, weights, strict=True):
        by_lag[j - i - 1, i] = shift * STEP_UM
        weight_by_lag[j - i - 1, i] = weight
    return pair_least_squares.solve_pairwise(lags, by_lag, weight_by_lag, scale=pair_least_squares.OUTLIER_UM)


def _rigid_offsets(densities, max_displacement_um):
    pairs = list(combinations(range(densities.shape[0]), 2))
    found = [best_shift(densities[i], densities[j], int(max_displacement_um / STEP_UM)) for i, j in pairs]
    shifts, correlations = np.array(found).reshape(-1, 2, 1).transpose(1, 0, 2)
    return _solve(densities.shape[0], pairs, shifts, np.square(correlations))


def _window_offsets(densities, windows):
    """Offsets window by window, held together where a window tells little."""
    num_segments = densities.shape[0]
    block_edges, weights = pairwise_shift.window_blocks(windows)
    reach = int(motion_prior.SPREAD_UM / STEP_UM)
    lags = np.arange(1, num_segments)
    shifts = np.zeros((lags.size, num_segments, windows.shape[0]), dtype="float32")
    correlations = np.zeros_like(shifts)
    for index, lag in enumerate(lags):
        pairwise_shift.correlate_at_lag(
            densities, lag, block_edges, weights, reach, shifts[index], correlations[index]
        )
    shifts *= STEP_UM
    offsets = pair_least_squares.solve_pairwise(
        lags, shifts, np.square(correlations), scale=pair_least_squares.OUTLIER_UM
    )
    agreement = correlations.sum(axis=0)
    for index, lag in enumerate(lags):
        agreement[lag:] += correlations[index, :-lag]
    precision = np.square(agreement / lags.size) / SMOOTH_UM**2
    apart = np.zeros(num_segments - 1)
    return motion_prior.solve_smooth(
        offsets, precision, apart, apart[1:], apart, 1.0 / motion_prior.SPREAD_UM**2
    )


def register_segments(
    spikes, knots_um, windows_of, depth_range_um, displacement, segment_edges, max_displacement_um
):
    """Add to a displacement that is known within each segment what lies between the segments.

    `displacement` (num_times, num_windows), in um, may have any offset in each segment; two segments lie at most
    `max_displacement_um` apart; for the others see `steadyspike.kernels.motion`. The result has a mean offset of zero.
    """
    displacement = displacement.copy()
    sizes = np.diff(segment_edges)
    if sizes.size < 2:
        return displacement
    margin_um = float(np.abs(displacement).max(initial=0.0))
    limits = (depth_range_um[0] - margin_um, depth_range_um[1] + margin_um)
    densities = segment_densities(spikes, knots_um, displacement, segment_edges, limits)
    displacement += np.repeat(_rigid_offsets(densities, max_displacement_um), sizes, axis=0)
    if knots_um.size > 1:
        densities = segment_densities(spikes, knots_um, displacement, segment_edges, limits)
        depths_um = limits[0] + STEP_UM * np.arange(densities.shape[1])
        displacement += np.repeat(_window_offsets(densities, windows_of(depths_um)), sizes, axis=0)
    return displacement - displacement.mean(axis=0)
