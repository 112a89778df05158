"""Decentralized registration of spikes: from times, depths and amplitudes to displacement over time and depth.

1. The spikes become a raster over time, depth and amplitude; pairs of time bins at a schedule of lags are correlated
   in every depth window (`pairwise_shift`).
2. The displacements that best explain all those shifts are found by robust least squares (`pair_least_squares`).
3. Segments of the recording (sessions, say) are put in place as wholes (`segment_offsets`).
4. Each time bin is registered by maximum likelihood to the density of all corrected spikes, again and again while that
   density gets sharper (`template_registration`). The displacement is piecewise linear in depth, with a knot at each
   window's center, and the measurements of all bins and knots are joined by a prior of smooth motion (`motion_prior`).

References
----------
Varol et al. 2021, Decentralized motion inference and registration of Neuropixel data, ICASSP.
Windolf et al. 2025, DREDge: robust motion correction for high-density extracellular recordings across species, Nature
Methods.
"""

from copy import copy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from steadyspike.kernels.motion import (
    motion_prior,
    pair_least_squares,
    pairwise_shift,
    raster,
    template_registration,
)

# Spikes. A bin's spikes are judged as if this many more had been seen that tell nothing.
PSEUDO_SPIKES = 3.0
# um, and nats per spike. Motion of much more than this range has to gain so much over none: other units may look alike.
MOTION_RANGE_UM = 20.0
MOTION_COST = 0.1
# Spikes. A density of fewer is too rough to register to, and is made from a longer time.
LEAST_TEMPLATE_SPIKES = 50_000
# 1, and share. The density is first smoothed so many times as much, which each round multiplies by the share.
START_SMOOTH = 2.0
SMOOTH_DECAY = 0.8
# um. How far from the estimate so far a round looks for a better one.
REACH_UM = 12.0
# um. Depth step of the density.
TEMPLATE_UM = 1.0
# Amplitude bins of the raster for pairs.
NUM_PAIR_MARKS = 2


@dataclass(frozen=True)
class RegistrationSettings:
    """Numbers that steer `register_spikes`; lengths in um, times in time bins.

    The raster for pairs has depth bins of `bin_um` and is smoothed with Gaussians of `depth_smooth_um` and
    `time_smooth_bins`. Pairs are at most `horizon_bins` and `max_displacement_um` apart, and left out where they
    correlate less than `min_correlation`. The template has `num_marks` bins of the amplitude and is smoothed over depth
    with a standard deviation of `template_smooth_um`; `refine_iterations` rounds register to it, 0 for pairs alone.

    `reference` says which displacement is zero at each depth: "midrange", "mean" or "median" over time. Two segments
    differ by `max_segment_displacement_um` at most. A motion whose range is smaller than `negligible_um` everywhere is
    called none. Within `template_span_bins`, spikes count in full in the density that a time bin is registered to:
    units come and go.
    """

    bin_um: float = 4.0
    depth_smooth_um: float = 4.0
    time_smooth_bins: float = 0.5
    max_displacement_um: float = 100.0
    horizon_bins: int = 1000
    min_correlation: float = 0.1
    num_marks: int = 4
    refine_iterations: int = 8
    template_smooth_um: float = 1.0
    reference: str = "midrange"
    max_segment_displacement_um: float = 400.0
    negligible_um: float = 0.5
    template_span_bins: float = 3600.0


@dataclass(frozen=True)
class Spikes:
    """Spikes as the registration takes them, all arrays of shape (num_spikes,).

    Parameters
    ----------
    time_bins : ndarray of int32
        Time bin of each spike.
    depths_um : ndarray of float32
        Depth of each spike, finite.
    amplitudes : ndarray of float
        Amplitude, in any unit and of either sign.
    groups : ndarray of int32 or None
        Group of each spike (its shank, say): groups move together and are never taken for each other. None: one group.
    """

    time_bins: np.ndarray
    depths_um: np.ndarray
    amplitudes: np.ndarray
    groups: np.ndarray | None = None

    @property
    def num_groups(self):
        """Number of groups, at least 1."""
        return 1 if self.groups is None else int(self.groups.max(initial=0)) + 1

    def marks(self, num_amplitude_bins, limits=None):
        """Mark of each spike: its amplitude bin (see `raster.amplitude_marks`), apart for each group."""
        marks = raster.amplitude_marks(self.amplitudes, num_amplitude_bins, limits)
        if self.groups is not None:
            marks += np.int32(num_amplitude_bins) * self.groups.astype("int32")
        return marks


@dataclass(frozen=True)
class PairwiseRegistration:
    """What pairs of time bins tell: displacement (num_times, num_windows), lags, shifts and correlations per lag."""

    displacement: np.ndarray
    raster: np.ndarray | None
    lags: np.ndarray
    shifts: np.ndarray
    correlations: np.ndarray


@dataclass(frozen=True)
class Registration:
    """Displacement (um), its standard deviation (um) and what it explains, each of shape (num_times, num_windows).

    `explained` is the generalized coefficient of determination (pseudo-R2) of the bin's spikes, ``1 - exp(-2 gain)``.
    """

    displacement: np.ndarray
    deviation_um: np.ndarray
    explained: np.ndarray


def register_pairs(spikes, depths_um, windows, segment_edges, settings, progress, keep_raster=False):
    """Displacement of each time bin in each window, from pairs of time bins.

    `depths_um` are centers of the raster's depth bins, `settings.bin_um` apart; `windows` (num_windows, num_depths) is
    the weight of each in each window. Only time bins of one segment are paired, and the displacement has a mean of zero
    in every segment. With `keep_raster` the result holds the raster, the largest array of all, summed over its marks.
    """
    segments = list(pairwise(segment_edges))
    num_times = int(segment_edges[-1])
    # groups tell units apart as well as amplitudes do, at the same cost
    num_marks = NUM_PAIR_MARKS if spikes.num_groups == 1 else 1
    image = raster.smooth_raster(spikes, depths_um, segment_edges, num_marks, settings)
    block_edges, weights = pairwise_shift.window_blocks(windows)
    max_shift = int(np.clip(settings.max_displacement_um / settings.bin_um, 1, max(depths_um.size // 2, 1)))
    lags = pairwise_shift.lag_schedule(int(np.diff(segment_edges).max()), settings.horizon_bins)
    shifts = np.zeros((lags.size, num_times, windows.shape[0]), dtype="float32")
    correlations = np.zeros_like(shifts)
    for index, lag in enumerate(progress(lags, "pairwise displacement")):
        for start, stop in segments:
            pairwise_shift.correlate_at_lag(
                image[start:stop],
                lag,
                block_edges,
                weights,
                max_shift,
                shifts[index, start:stop],
                correlations[index, start:stop],
            )
    summed = image.sum(axis=2) if keep_raster else None
    # hours of it are not needed beside what the solver takes
    del image
    shifts *= settings.bin_um
    pair_weights = pairwise_shift.pair_weights(correlations, settings.min_correlation)
    displacement = pair_least_squares.solve_pairwise(
        lags, shifts, pair_weights, scale=pair_least_squares.OUTLIER_UM
    )
    pairwise_shift.center_segments(displacement, segment_edges)
    return PairwiseRegistration(displacement, summed, lags, shifts, correlations)


def first_estimates(displacement):
    """Where to start `refine`: from pairs in each window, from no motion, and from pairs on the whole probe.

    `displacement` is that of `register_pairs`, where the last window is the whole probe.
    """
    displacement, together = np.split(displacement, [-1], axis=1)
    starts = [displacement, np.zeros_like(displacement)]
    if displacement.shape[1] > 1:
        starts.append(np.repeat(together, displacement.shape[1], axis=1))
    return starts


def refine(spikes, knots_um, depth_range_um, starts, segment_edges, settings, progress):
    """Register each time bin to the density of all corrected spikes, in rounds.

    It starts from `starts`, (num_times, num_windows) in um. Within about `REACH_UM` of the answer, one would do; of
    several, the one that is best after the first round goes on (see `_best_start`).
    """
    extent_um = max(float(np.abs(start).max(initial=0.0)) for start in starts)
    template = Template(spikes, knots_um, depth_range_um, extent_um, starts[0].shape[0], settings)
    num_first = min(1, settings.refine_iterations) if len(starts) > 1 else 0
    paths = [_Path(start, segment_edges, settings) for start in starts]
    for path in progress(paths if num_first else [], "registration from several starts"):
        path.step(template)
    best = _best_start(paths, template) if num_first else paths[0]
    for _ in progress(range(settings.refine_iterations - num_first), "registration to the template"):
        best.step(template)
    measured = template.measure(best.displacement, settings.template_smooth_um)
    displacement = settled(best.displacement, settings)
    return Registration(displacement, deviation_of(measured.precision), measured.explained)


def settled(displacement, settings):
    """Take the median off a displacement, and give none where it is negligible."""
    displacement = displacement - np.median(displacement)
    if range_of_um(displacement).max() < settings.negligible_um:
        displacement = np.zeros_like(displacement)
    return displacement


def deviation_of(precision):
    """Give the standard deviation (um) of measurements of this precision (1/um^2), infinite where it is 0."""
    return np.where(precision > 0, 1.0 / np.sqrt(np.maximum(precision, 1e-12)), np.inf)


def explained_by(gain, counts):
    """Give ``1 - exp(-2 gain)`` for the summed gains (nats) of numbers of spikes."""
    return -np.expm1(-2.0 * np.maximum(gain, 0.0) / (counts + PSEUDO_SPIKES))


def range_of_um(displacement):
    """Range of the displacement in each window, from the 2nd to the 98th percentile over time."""
    low, high = np.quantile(displacement, [0.02, 0.98], axis=0)
    return high - low


class _Path:
    """An estimate that is refined round by round."""

    def __init__(self, displacement, segment_edges, settings):
        self.displacement = displacement
        self.segment_edges = segment_edges
        self.settings = settings
        self.bend_um = motion_prior.bend_scale(displacement, segment_edges)
        self.smooth_um = START_SMOOTH * settings.template_smooth_um

    def step(self, template):
        """Register all time bins once, and smooth the motion."""
        measured = template.measure(self.displacement, self.smooth_um)
        target, precision = self.displacement + measured.shifts, measured.precision
        lean = motion_prior.lean_bins(measured.counts)
        precision[motion_prior.lone_bins(target, precision, self.segment_edges, lean)] = 0.0
        smooth = motion_prior.smooth_motion(
            self.displacement, target, precision, self.bend_um, self.segment_edges, lean
        )
        self.displacement = smooth - reference_of(smooth, self.settings.reference)
        self.smooth_um = max(SMOOTH_DECAY * self.smooth_um, self.settings.template_smooth_um)


def _best_start(paths, template):
    r"""Choose the path whose spikes fit best, where motion has to be worth its size.

    Other units that begin to fire where some fall silent can be taken for the same ones, displaced: that lets some
    spikes fit better, true motion most of them. So :math:`\mathrm{gain} / n - c\, (1 - e^{-r / R})`, where r is the
    range of the displacement, has to be largest.
    """

    def worth(path):
        measured = template.measure(path.displacement, path.smooth_um)
        share = -np.expm1(-np.mean(range_of_um(path.displacement)) / MOTION_RANGE_UM)
        return measured.gain_per_spike - MOTION_COST * share

    return max(paths, key=worth)


def reference_of(displacement, reference):
    """Displacement at each depth that is called zero. What all times share at one depth cannot be told from spikes."""
    if reference == "mean":
        return displacement.mean(axis=0)
    if reference == "median":
        return np.median(displacement, axis=0)
    return np.quantile(displacement, [0.02, 0.98], axis=0).mean(axis=0)


@dataclass(frozen=True)
class _Measured:
    """Shift (um), its precision (1/um^2) and `explained` of each time bin at each knot.

    And the spikes of each time bin, and the gain per spike in nats.
    """

    shifts: np.ndarray
    precision: np.ndarray
    counts: np.ndarray
    explained: np.ndarray
    gain_per_spike: float


class Template:
    """Spikes laid out for the likelihood kernels, and the density of the corrected ones.

    The density is that around each time: hours away, other units fire. Spikes are counted in blocks of time bins, and
    a block's density joins the counts of all blocks by weights that fall off with the distance in time.
    """

    def __init__(self, spikes, knots_um, depth_range_um, extent_um, num_times, settings):
        self.settings = settings
        self.marks = spikes.marks(settings.num_marks)
        self.num_groups = spikes.num_groups
        lower, upper_weight = template_registration.knot_weights(spikes.depths_um, knots_um)
        margin_um = max(settings.max_displacement_um, 1.2 * extent_um)
        self.origin_um = float(depth_range_um[0] - margin_um)
        span_um = depth_range_um[1] - depth_range_um[0] + 2 * margin_um
        self.reach = max(round(REACH_UM / TEMPLATE_UM), 1)
        self.num_points = int(span_um / TEMPLATE_UM) + 2 * self.reach + 4
        depths_um = np.ascontiguousarray(spikes.depths_um)
        self.spikes = (depths_um, spikes.time_bins, self.marks, lower, upper_weight)
        span_bins = _template_span(settings.template_span_bins, spikes.time_bins.size, num_times)
        self.block_weights = _block_weights(num_times, span_bins)
        self.blocks = [self.spikes]
        if len(self.block_weights) > 1:
            self.blocks = list(_in_blocks(self.spikes, num_times, len(self.block_weights)))

    def parts(self, number):
        """Give the same of every ``number``-th time bin's spikes, from the first bin on, from the second ..."""
        for first in range(number):
            part = copy(self)
            own = [spikes[1] % number == first for spikes in self.blocks]
            pairs = zip(self.blocks, own, strict=True)
            part.blocks = [tuple(values[chosen] for values in spikes) for spikes, chosen in pairs]
            yield part

    def histograms(self, displacement):
        """Count the corrected spikes of each block of time, float64 (num_blocks, num_marks, num_points)."""
        grid = (displacement, self.origin_um, TEMPLATE_UM)
        num_marks = self.num_groups * self.settings.num_marks
        histograms = np.zeros((len(self.blocks), num_marks, self.num_points))
        for spikes, histogram in zip(self.blocks, histograms, strict=True):
            template_registration.corrected_histogram(*spikes, *grid, histogram)
        return histograms

    def densities(self, histograms, smooth_um):
        """Logarithm of the density around each block of time, above the background, (num_marks, num_points)."""
        for weights in self.block_weights:
            density, background = template_registration.log_density(
                np.tensordot(weights, histograms, axes=1),
                smooth_um / TEMPLATE_UM,
                template_registration.SMOOTH_MARKS,
                self.num_groups,
            )
            density -= background[:, None].astype("float32")
            yield density

    def curves(self, densities, displacement, reach):
        """Gains of corrected spikes around each knot for shifts of ``-reach ... reach`` steps, and their numbers."""
        curves = np.zeros((*displacement.shape, 2 * reach + 1), dtype="float32")
        counts = np.zeros(displacement.shape, dtype="float32")
        grid = (displacement, self.origin_um, TEMPLATE_UM)
        for spikes, density in zip(self.blocks, densities, strict=True):
            template_registration.log_likelihood_curves(*spikes, *grid, density, curves, counts)
        return curves, counts

    def measure(self, displacement, smooth_um):
        """Measure how the spikes of each time bin fit the density around each knot."""
        densities = self.densities(self.histograms(displacement), smooth_um)
        curves, counts = self.curves(densities, displacement, self.reach)
        shifts, precision = template_registration.curve_peaks(
            curves, template_registration.prior_precision(self.reach)
        )
        gain = curves[:, :, self.reach]
        explained = np.where(precision > 0, explained_by(gain, counts), 0.0)
        total = float(gain.sum()) / max(float(counts.sum()), 1.0)
        precision /= TEMPLATE_UM**2
        return _Measured(shifts * TEMPLATE_UM, precision, counts.sum(axis=1), explained, total)


def _template_span(span_bins, num_spikes, num_times):
    """Time bins over which spikes count in full: enough of them for a sharp density."""
    return max(span_bins, LEAST_TEMPLATE_SPIKES * num_times / max(num_spikes, 1))


def _block_weights(num_times, span_bins):
    r"""Weight of each block's spikes in the density of each block, :math:`1 / (1 + (d / \mathrm{span})^2)`.

    The heavy tail lets what stays in place for many hours tie them together.
    """
    if num_times <= 2 * span_bins:
        return np.ones((1, 1))
    centers = np.arange(int(np.ceil(num_times / span_bins)))
    return 1.0 / (1.0 + np.square(centers[:, None] - centers))


def _in_blocks(spikes, num_times, num_blocks):
    """Cut arrays over spikes, the second of which are their time bins, into blocks of equal duration."""
    time_bins = spikes[1]
    if np.any(np.diff(time_bins) < 0):
        order = np.argsort(time_bins, kind="stable")
        spikes = tuple(values[order] for values in spikes)
        time_bins = spikes[1]
    edges = np.searchsorted(time_bins, np.linspace(0, num_times, num_blocks + 1))
    for start, stop in pairwise(edges):
        yield tuple(values[start:stop] for values in spikes)
