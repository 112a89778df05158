"""What can be said of motion estimates without a truth: how far they agree, and how sharp the corrected depths are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from steadyspike_benchmarks.peak_folder import RealPeaks

if TYPE_CHECKING:
    from spikeinterface.core.motion import Motion

HISTOGRAM_BIN_UM, HISTOGRAM_MARGIN_UM = 2.0, 100.0
GRID_STEP_S, GRID_STEP_UM = 1.0, 50.0


def histogram_limits(peaks: RealPeaks) -> tuple[float, float]:
    """Give the range, in um, over which histograms of raw and of corrected depths are compared."""
    return peaks.depths_um.min() - HISTOGRAM_MARGIN_UM, peaks.depths_um.max() + HISTOGRAM_MARGIN_UM


def sharpness(
    depths_um: np.ndarray, limits_um: tuple[float, float], bin_um: float = HISTOGRAM_BIN_UM
) -> float:
    r"""Variance of the time-averaged depth histogram, in units of its squared mean.

    .. math:: \frac{1}{B} \sum_b \left(\frac{n_b}{N / B} - 1\right)^2

    for N peaks in B bins: 0 where all depths are alike, larger the narrower the lines that the units make. Peaks
    beyond the limits count in N only.

    Parameters
    ----------
    depths_um : ndarray, shape (num_peaks,)
        In um.
    limits_um : tuple of float
        Range of the histogram; compare only values of the same range and bins.
    bin_um : float, default: 2.0
        Width of the bins in um.

    Returns
    -------
    sharpness : float
        At least 0.
    """
    edges = np.arange(limits_um[0], limits_um[1] + bin_um, bin_um)
    counts = np.histogram(depths_um, edges)[0]
    return float(np.mean(np.square(counts * (counts.size / max(depths_um.size, 1)) - 1.0)))


def corrected_depths(peaks: RealPeaks, motion: Motion) -> np.ndarray:
    """Give the peaks' depths, in um, with the motion but not its offset (see `without_offset`) taken out."""
    shift = without_offset(motion).get_displacement_at_time_and_depth(
        peaks.times_s, peaks.depths_um, segment_index=0
    )
    return peaks.depths_um - shift


def without_offset(motion: Motion) -> Motion:
    """Give the motion with median 0 over time in every window: what all times share no estimator can know."""
    from spikeinterface.core.motion import Motion

    displacement = motion.displacement[0] - np.median(motion.displacement[0], axis=0)
    return Motion([displacement], motion.temporal_bins_s, motion.spatial_bins_um, direction=motion.direction)


def measure_agreement(peaks: RealPeaks, first: Motion, second: Motion) -> dict[str, float]:
    """Compare two motions over the times and depths that the peaks cover.

    Parameters
    ----------
    peaks : RealPeaks
        Give the range of times and depths.
    first, second : Motion
        Two estimates.

    Returns
    -------
    measured : dict
        "correlation" and "mean_difference_um" (of the absolute difference) on a grid of 1 s and 50 um, after
        removing the mean, or the median of the difference, at each depth; and "mean_difference_at_peaks_um", of the
        corrected depths of the peaks themselves.
    """
    times = np.arange(0.5 * GRID_STEP_S, peaks.times_s[-1], GRID_STEP_S)
    depths = np.arange(peaks.depths_um.min(), peaks.depths_um.max() + GRID_STEP_UM, GRID_STEP_UM)
    a, b = (
        motion.get_displacement_at_time_and_depth(times, depths, segment_index=0, grid=True)
        for motion in (first, second)
    )
    difference = a - b - np.median(a - b, axis=1, keepdims=True)
    a, b = (grid - grid.mean(axis=1, keepdims=True) for grid in (a, b))
    norm = np.sqrt(np.sum(a**2) * np.sum(b**2))
    # two estimates without any motion agree; one of the two does not
    correlation = np.sum(a * b) / norm if norm > 0 else float(not difference.any())
    at_peaks = corrected_depths(peaks, first) - corrected_depths(peaks, second)
    return dict(
        correlation=float(correlation),
        mean_difference_um=float(np.abs(difference).mean()),
        mean_difference_at_peaks_um=float(np.abs(at_peaks - np.median(at_peaks)).mean()),
    )
