"""Registration of spikes as points: depth, amplitude and place across the probe, without a raster over depth.

Two time bins are two clouds of points. A pair of spikes, one of each, that are alike in all but depth says by its
difference in depth how far the tissue may have moved; the shift that most pairs agree on is the maximum of the kernel
correlation of the clouds (Tsin & Kanade 2004), found on a coarse grid and then by Newton's method, continuously. The
shifts of pairs at a schedule of lags are joined by robust least squares (`pair_least_squares`). A window's shift is an
average over its whole width; pairs of the corrected clouds find what that left.

References
----------
Boussard et al. 2021, Three-dimensional spike localization and improved motion correction for Neuropixels recordings,
NeurIPS.
Tsin & Kanade 2004, A correlation-based approach to robust point set registration, ECCV.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from steadyspike.kernels.motion import (
    kernel_correlation,
    pair_least_squares,
    pairwise_shift,
    template_registration,
)

# Standard deviations of the kernel between groups, which are never taken for each other.
FARTHEST_GROUPS = 1e6


@dataclass(frozen=True)
class CloudSettings:
    """Numbers that steer `register_clouds`.

    Lengths in um: the standard deviation of the kernel over depth, and the largest displacement between two time bins.
    `horizon_bins` is the largest lag of a pair, and pairs that correlate less than `min_correlation` are left out.
    Where a time bin holds more than `max_spikes_per_bin`, evenly spread ones of this number are taken; time bins are
    put together until, at the median, they hold `spikes_per_window` for each window. In `residual_rounds` the pairs
    are made again from corrected depths, with a small largest shift: a window's shift is an average over its whole
    width, and what that leaves is found here.
    """

    depth_kernel_um: float = 5.0
    max_displacement_um: float = 100.0
    horizon_bins: int = 1000
    min_correlation: float = 0.1
    max_spikes_per_bin: int = 500
    spikes_per_window: float = 8.0
    residual_rounds: int = 2


@dataclass(frozen=True)
class CloudRegistration:
    """Displacement (um) of shape (num_times, num_windows), and how many time bins were put together for pairs."""

    displacement: np.ndarray
    merged_bins: int


def scaled_features(columns, kernel, groups=None):
    """Scale features so that the kernel over each has a standard deviation of one.

    `columns` are features beside depth, (num_spikes,) each: what is not finite counts as the median, and those that do
    not vary are left out. `kernel` is in robust standard deviations of each feature, larger than 0; `groups` (shanks),
    if given, are never taken for each other. Returns float32 (num_spikes, num_features).
    """
    scaled = []
    for column in columns:
        column = np.asarray(column, dtype="float64")
        finite = column[np.isfinite(column)]
        if finite.size == 0:
            continue
        median = np.median(finite)
        low, high = np.percentile(finite, [16.0, 84.0])
        if high > low:
            filled = np.where(np.isfinite(column), column, median)
            scaled.append((filled - median) / (0.5 * (high - low) * kernel))
    if groups is not None:
        scaled.append(FARTHEST_GROUPS * np.asarray(groups, dtype="float64"))
    count = len(columns[0]) if columns else 0
    return np.array(scaled, dtype="float32").reshape(len(scaled), count).T.copy()


def merged_bins(time_bins, num_times, num_windows, spikes_per_window):
    """How many time bins, up to a tenth of all, to put together so that a window sees enough spikes.

    The median time bin, where it holds any, must have `spikes_per_window` spikes for each window.
    """
    counts = np.bincount(time_bins, minlength=num_times)
    counts = counts[counts > 0]
    if counts.size == 0:
        return 1
    needed = int(np.ceil(spikes_per_window * num_windows / np.median(counts)))
    return int(np.clip(needed, 1, max(num_times // 10, 1)))


class _Clouds:
    """Time bins, some put together, as clouds of spikes."""

    def __init__(self, spikes, features, knots_um, depth_range_um, segment_edges, merged, max_spikes):
        sizes = np.diff(segment_edges)
        counts = -(-sizes // merged)
        self.edges = np.concatenate([[0], np.cumsum(counts)])
        self.num_clouds = int(self.edges[-1])
        segment = np.repeat(np.arange(sizes.size), sizes)
        inside = np.arange(int(segment_edges[-1])) - segment_edges[:-1][segment]
        cloud_of_bin = self.edges[:-1][segment] + inside // merged
        low, high = depth_range_um
        chosen = np.flatnonzero((spikes.depths_um >= low) & (spikes.depths_um <= high))
        clouds = cloud_of_bin[spikes.time_bins[chosen]]
        by_cloud = np.argsort(clouds, kind="stable")
        chosen, clouds = chosen[by_cloud], clouds[by_cloud]
        keep = _thinned(clouds, self.num_clouds, max_spikes)
        chosen, self.clouds = chosen[keep], clouds[keep]
        self.first_spikes = np.searchsorted(self.clouds, np.arange(self.num_clouds + 1))
        self.depths_um, self.features = spikes.depths_um[chosen], features[chosen]
        self.knots = template_registration.knot_weights(self.depths_um, knots_um)

    def corrected(self, displacement):
        """Arrays as `kernel_correlation.add_differences` takes them, with the depths that a displacement corrects."""
        lower, upper_weight = self.knots
        upper = np.minimum(lower + 1, displacement.shape[1] - 1)
        moved = displacement[self.clouds, lower] * (1.0 - upper_weight)
        moved += displacement[self.clouds, upper] * upper_weight
        depths_um = (self.depths_um - moved).astype("float32")
        order = np.lexsort((depths_um, self.clouds))
        arrays = (depths_um, self.features, lower, upper_weight)
        return (*(values[order] for values in arrays), self.first_spikes)


def _thinned(clouds, num_clouds, max_spikes):
    """Places of the spikes to keep, at most so many in each cloud, evenly spread; `clouds` is ordered."""
    first = np.searchsorted(clouds, np.arange(num_clouds + 1))
    counts = np.diff(first)
    rank = np.arange(clouds.size) - first[clouds]
    count = np.maximum(counts, 1)[clouds]
    kept = np.minimum(count, max_spikes)
    # the n-th of `kept` is where rank * kept / count passes n
    return np.flatnonzero((rank * kept) // count != ((rank - 1) * kept) // count)


def register_clouds(spikes, features, knots_um, windows, depth_range_um, segment_edges, settings, progress):
    """Displacement of each time bin in each window, from pairs of clouds.

    `features` are those of `scaled_features`; for the others see `steadyspike.kernels.motion`. Only time bins of one
    segment are paired, and the displacement has a mean of zero in each.
    """
    merged = merged_bins(spikes.time_bins, int(segment_edges[-1]), knots_um.size, settings.spikes_per_window)
    most = settings.max_spikes_per_bin * merged
    clouds = _Clouds(spikes, features, knots_um, depth_range_um, segment_edges, merged, most)
    displacement = np.zeros((clouds.num_clouds, knots_um.size))
    lags = pairwise_shift.lag_schedule(
        int(np.diff(clouds.edges).max()), max(settings.horizon_bins // merged, 1)
    )
    limit_um = settings.max_displacement_um
    for number in range(1 + settings.residual_rounds):
        label = f"pairs of clouds, round {number + 1}"
        displacement += _residual(clouds, displacement, windows, lags, limit_um, settings, progress, label)
        limit_um = min(kernel_correlation.REACH_SD * settings.depth_kernel_um, settings.max_displacement_um)
    return CloudRegistration(_on_all_bins(displacement, clouds.edges, segment_edges, merged), merged)


def _residual(clouds, displacement, windows, lags, limit_um, settings, progress, label):
    """Displacement (um) of each cloud that is left after a displacement, from pairs of the corrected clouds."""
    sigma_um = settings.depth_kernel_um
    spikes = clouds.corrected(displacement)
    windows = np.ascontiguousarray(windows, dtype="float32")
    energies = kernel_correlation.self_correlations(spikes, windows, sigma_um)
    shifts = np.zeros((lags.size, *displacement.shape), dtype="float32")
    correlations = np.zeros_like(shifts)
    for index, lag in enumerate(progress(lags, label)):
        for start, stop in pairwise(clouds.edges):
            found = shifts[index], correlations[index]
            kernel_correlation.correlate_clouds(
                spikes, start, stop, lag, windows, energies, limit_um, sigma_um, *found
            )
    weights = pairwise_shift.pair_weights(correlations, settings.min_correlation)
    return pair_least_squares.solve_pairwise(lags, shifts, weights, scale=pair_least_squares.OUTLIER_UM)


def _on_all_bins(coarse, cloud_edges, segment_edges, merged):
    """Interpolate between the centers of the merged time bins, segment by segment."""
    displacement = np.zeros((int(segment_edges[-1]), coarse.shape[1]))
    for (first, last), (start, stop) in zip(pairwise(cloud_edges), pairwise(segment_edges), strict=True):
        bins = np.arange(stop - start)
        begins = merged * np.arange(last - first)
        centers = 0.5 * (begins + np.minimum(begins + merged, stop - start) - 1)
        for window in range(coarse.shape[1]):
            displacement[start:stop, window] = np.interp(bins, centers, coarse[first:last, window])
    pairwise_shift.center_segments(displacement, segment_edges)
    return displacement
