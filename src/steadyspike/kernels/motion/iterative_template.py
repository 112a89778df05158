"""Registration to an iteratively averaged template: Kilosort 2.5's idea, on the spikes instead of their raster.

1. From the middle of each segment outwards, every time bin is aligned to the (forgetting) average of those aligned
   before it. This start follows the tissue over any distance, where one time bin as first template would lose it.
2. All aligned spikes make the template, a density over depth and amplitude; every time bin is aligned to it as a whole,
   and so on until nothing moves any more.
3. The same window by window, the curves of fit smoothed over time, windows and shifts; the best shift is found between
   depth bins by a parabola.

The raster over time, depth and amplitude is never stored: how well a time bin fits at a shift is a sum over its spikes
of the template's values, so that memory is that of the spikes.

References
----------
Steinmetz et al. 2021, Neuropixels 2.0: a miniaturized high-density probe for stable, long-term brain recordings,
Science.
Pachitariu et al. 2024, Spike sorting with Kilosort4, Nature Methods.
"""

from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np

from steadyspike.kernels.motion import pairwise_shift, template_registration

# Time bins. The template of the walk forgets what lies farther back.
MEMORY_BINS = 20.0
# Depth bins. A change below which the alignment has settled.
SETTLED = 0.05


@dataclass(frozen=True)
class TemplateSettings:
    """Numbers that steer `register_to_template`.

    `bin_um` is the depth step of the template, and of the shifts that are tried, `num_marks` its amplitude bins. One
    alignment moves a whole time bin by at most `max_displacement_um`, one round a window by `num_shifts_block` depth
    bins; there are at most `num_iterations` rounds of each. The curves of fit are smoothed by `smoothing_sigma` time
    bins, windows and depth bins.
    """

    bin_um: float = 5.0
    num_marks: int = 20
    max_displacement_um: float = 100.0
    num_shifts_block: int = 5
    num_iterations: int = 10
    smoothing_sigma: float = 0.5


@numba.njit(nogil=True, cache=True)
def _stamp(template, mark, position, weight, kernel):
    """Add a smoothed spike: shared between the two nearest points, and with the marks beside its own."""
    num_marks, num_points = template.shape
    cell = int(position)
    fraction = position - cell
    half = kernel.size // 2
    for side in range(-1, 2):
        other = mark + side
        if other < 0 or other >= num_marks:
            continue
        share = weight * (0.5 if side == 0 else 0.25)
        for index in range(kernel.size):
            point = cell + index - half
            if 0 <= point < num_points - 1:
                template[other, point] += share * kernel[index] * (1.0 - fraction)
                template[other, point + 1] += share * kernel[index] * fraction


@numba.njit(nogil=True, cache=True)
def align_outwards(
    first_spikes, positions, marks, shape, reach, kernel, start, stop, memory, outliers, displacement
):
    """Align each time bin of a segment to those between it and the middle, one after the other.

    Spikes, in the order of time, have `positions` in steps of the template's grid and `marks`; its `shape` is
    (num_marks, num_points). `first_spikes` (num_times + 1,) are the first of each time bin. A time bin is moved by at
    most `reach` steps against its neighbour; the template, smoothed by `kernel` over depth, forgets all but 1/e in
    `memory` time bins; the share `outliers` of it is spread evenly, so that a spike far from all others pulls little.
    `displacement` (num_times,) is filled between `start` and `stop`, in steps; 0 in the middle. A time bin without
    spikes takes its neighbour's.
    """
    num_marks, num_points = shape
    middle = (start + stop) // 2
    curve = np.zeros(2 * reach + 1)
    for direction in (1, -1):
        template = np.zeros((num_marks, num_points))
        total, weight, current = 0.0, 1.0, 0.0
        t = middle
        while start <= t < stop:
            first, last = first_spikes[t], first_spikes[t + 1]
            if total > 0.0 and last > first:
                floor = outliers * total / (num_marks * num_points)
                for index in range(curve.size):
                    # a broad prior, two standard deviations wide, chooses among shifts that fit alike
                    curve[index] = -2.0 * ((index - reach) / reach) ** 2
                for i in range(first, last):
                    position = positions[i] - current
                    for index in range(curve.size):
                        place = int(np.floor(position - (index - reach) + 0.5))
                        value = template[marks[i], place] if 0 <= place < num_points else 0.0
                        curve[index] += np.log(value + floor)
                best = int(np.argmax(curve))
                current += best - reach
                if 0 < best < curve.size - 1:
                    curvature = 2.0 * curve[best] - curve[best - 1] - curve[best + 1]
                    if curvature > 0.0:
                        current += 0.5 * (curve[best + 1] - curve[best - 1]) / curvature
            displacement[t] = current
            weight *= np.exp(1.0 / memory)
            if weight > 1e100:
                template /= weight
                total /= weight
                weight = 1.0
            for i in range(first, last):
                position = min(max(positions[i] - current, 0.0), num_points - 2.0)
                _stamp(template, marks[i], position, weight, kernel)
                total += weight
            t += direction


def _gaussian(sigma):
    half = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * np.square(np.arange(-half, half + 1) / sigma))
    return kernel / kernel.sum()


class _Aligner:
    """Spikes in the order of time, and the grid of the template."""

    def __init__(self, spikes, knots_um, depth_range_um, segment_edges, settings):
        self.settings = settings
        self.segment_edges = segment_edges
        self.knots_um = knots_um
        self.num_groups = spikes.num_groups
        marks = spikes.marks(settings.num_marks)
        low, high = depth_range_um
        order = np.flatnonzero((spikes.depths_um >= low) & (spikes.depths_um <= high))
        if np.any(np.diff(spikes.time_bins) < 0):
            order = order[np.argsort(spikes.time_bins[order], kind="stable")]
        self.depths_um, self.time_bins = spikes.depths_um[order], spikes.time_bins[order]
        self.marks = marks[order]
        # tissue beyond the probe's own length is never seen again
        span_um = depth_range_um[1] - depth_range_um[0]
        margin_um = span_um + settings.max_displacement_um
        self.origin_um = float(depth_range_um[0] - margin_um)
        self.num_points = int((span_um + 2 * margin_um) / settings.bin_um) + 4

    def walk(self):
        """Displacement of each time bin (um) after the first alignment, from the middle of each segment outwards."""
        settings = self.settings
        num_times = int(self.segment_edges[-1])
        displacement = np.zeros(num_times)
        first_spikes = np.searchsorted(self.time_bins, np.arange(num_times + 1))
        positions = (self.depths_um.astype("float64") - self.origin_um) / settings.bin_um
        reach = max(int(settings.max_displacement_um / settings.bin_um), 1)
        shape = (settings.num_marks * self.num_groups, self.num_points)
        spikes = (first_spikes, positions, self.marks)
        outliers = template_registration.OUTLIERS
        for start, stop in pairwise(self.segment_edges):
            segment = (_gaussian(1.0), start, stop, MEMORY_BINS, outliers, displacement)
            align_outwards(*spikes, shape, reach, *segment)
        return displacement * settings.bin_um

    def fit(self, displacement, knots_um, reach):
        """How well each time bin fits the template of its segment around each knot, for each extra shift."""
        settings = self.settings
        lower, upper_weight = template_registration.knot_weights(self.depths_um, knots_um)
        curves = np.zeros((*displacement.shape, 2 * reach + 1), dtype="float32")
        counts = np.zeros(displacement.shape, dtype="float32")
        for start, stop in pairwise(self.segment_edges):
            mine = slice(*np.searchsorted(self.time_bins, [start, stop]))
            spikes = [
                values[mine] for values in (self.depths_um, self.time_bins, self.marks, lower, upper_weight)
            ]
            grid = (displacement, self.origin_um, settings.bin_um)
            histogram = np.zeros((self.num_groups * settings.num_marks, self.num_points))
            template_registration.corrected_histogram(*spikes, *grid, histogram)
            density, background = template_registration.log_density(histogram, 1.0, 1.0, self.num_groups)
            density -= background[:, None].astype("float32")
            template_registration.log_likelihood_curves(*spikes, *grid, density, curves, counts)
        return curves


def _bridge(displacement, measured, segment_edges):
    """Interpolate over the time bins of a segment where a window measured nothing."""
    for start, stop in pairwise(segment_edges):
        for window in range(displacement.shape[1]):
            known = np.flatnonzero(measured[start:stop, window])
            if 0 < known.size < stop - start:
                values = displacement[start:stop, window]
                displacement[start:stop, window] = np.interp(np.arange(stop - start), known, values[known])
    return displacement


def register_to_template(spikes, knots_um, windows, depth_range_um, segment_edges, settings, progress):
    r"""Displacement of each time bin in each window, by alignment to the average of all aligned time bins.

    The fit of time bin t in window k at the shift s is

    .. math:: C_{tk}(s) = \sum_j w_k(c_j) \sum_{i \in t} \lambda_j(y_i)\, \log \frac{f(m_i, p_i - s)}{\bar f(m_i)}

    with the corrected depth :math:`p_i` and the mark :math:`m_i` of each spike, the template f and its mean over depth,
    the shares :math:`\lambda_j` of the spike in the two knots around it, and the window's weight at each knot. The
    logarithm makes it a likelihood, which is sharper than the covariance of the rasters.

    Each segment has its own template; for the arguments see `steadyspike.kernels.motion`. Returns um, float64
    (num_times, num_windows), with a mean of zero in every segment.
    """
    aligner = _Aligner(spikes, knots_um, depth_range_um, segment_edges, settings)
    displacement = aligner.walk()[:, None]
    reach = max(int(settings.max_displacement_um / settings.bin_um), 1)
    center = knots_um.mean(keepdims=True)
    displacement = _rounds(aligner, displacement, center, np.ones((1, 1)), reach, progress)
    if knots_um.size > 1:
        displacement = np.repeat(displacement, knots_um.size, axis=1)
        displacement = _rounds(aligner, displacement, knots_um, windows, settings.num_shifts_block, progress)
    pairwise_shift.center_segments(displacement, segment_edges)
    return displacement


def _rounds(aligner, displacement, knots_um, windows, reach, progress):
    """Align to the template until nothing moves any more."""
    from scipy.ndimage import gaussian_filter

    settings = aligner.settings
    sigma = settings.smoothing_sigma
    label = "alignment of time bins" if knots_um.size == 1 else "alignment of windows"
    for _ in progress(range(settings.num_iterations), label):
        curves = aligner.fit(displacement, knots_um, reach)
        if knots_um.size > 1:
            curves = np.einsum("kj,tjs->tks", windows.astype("float32"), curves)
            for start, stop in pairwise(aligner.segment_edges):
                curves[start:stop] = gaussian_filter(curves[start:stop], sigma, mode="nearest")
        shifts, precision = template_registration.curve_peaks(
            curves, template_registration.prior_precision(reach)
        )
        displacement = displacement + shifts * settings.bin_um
        displacement = _bridge(displacement, precision > 0, aligner.segment_edges)
        for start, stop in pairwise(aligner.segment_edges):
            displacement[start:stop] -= displacement[start:stop].mean()
        if np.abs(shifts).max(initial=0.0) < SETTLED:
            break
    return displacement
