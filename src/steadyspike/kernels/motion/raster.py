"""Histograms of spikes over time, depth and amplitude: the images that registration works on."""

from itertools import pairwise

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def _accumulate(raster, time_bins, depths_um, marks, first_depth_um, bin_um):
    num_depths = raster.shape[1]
    for i in range(time_bins.size):
        position = (depths_um[i] - first_depth_um) / bin_um
        lower = int(np.floor(position))
        fraction = np.float32(position - lower)
        if 0 <= lower < num_depths:
            raster[time_bins[i], lower, marks[i]] += np.float32(1.0) - fraction
        if 0 <= lower + 1 < num_depths:
            raster[time_bins[i], lower + 1, marks[i]] += fraction


def spike_raster(time_bins, depths_um, marks, first_depth_um, bin_um, shape):
    """Count spikes per time bin, depth bin and mark.

    Every spike is shared between the two depth bins whose centers enclose it, in proportion to its nearness (linear
    binning), so that the raster moves smoothly when the spikes do.

    `time_bins` and `marks` (see `amplitude_marks`) are int32, from 0; depths are finite, and spikes outside the raster
    are not counted. Depth bins have centers `bin_um` apart from `first_depth_um` on. Returns float32 of `shape`,
    (num_times, num_depths, num_marks).
    """
    raster = np.zeros(shape, dtype="float32")
    _accumulate(raster, time_bins, depths_um, marks, float(first_depth_um), float(bin_um))
    return raster


def smooth_raster(spikes, depths_um, segment_edges, num_marks, settings):
    """Square root of the spikes' raster (see `spike_raster`), smoothed over time and depth within each segment."""
    from scipy.ndimage import gaussian_filter1d

    marks = spikes.marks(num_marks)
    shape = (int(segment_edges[-1]), depths_um.size, num_marks * spikes.num_groups)
    image = spike_raster(spikes.time_bins, spikes.depths_um, marks, depths_um[0], settings.bin_um, shape)
    for start, stop in pairwise(segment_edges):
        part = image[start:stop]
        for axis, sigma in ((1, settings.depth_smooth_um / settings.bin_um), (0, settings.time_smooth_bins)):
            if sigma > 0:
                gaussian_filter1d(part, sigma, axis=axis, mode="constant", output=part)
    # the square root gives bins with many and with few spikes noise of the same size
    return np.sqrt(image, out=image)


def amplitude_marks(amplitudes, num_marks, limits=None):
    """Sort spikes into bins of equal width in the logarithm of the absolute amplitude.

    What lies outside the limits falls into the first or the last bin. Amplitudes that are zero, infinite or not a
    number fall into the first bin.

    Amplitudes may be in any unit and of either sign. `limits` are what the bins span, in logarithms (see
    `amplitude_limits`); None: what these spikes span. Returns int32, from 0 to before `num_marks`, at least 1.
    """
    place, usable = _log_amplitudes(amplitudes)
    marks = np.zeros(usable.size, dtype="int32")
    if num_marks == 1 or place.size == 0:
        return marks
    low, high = _percentiles(place) if limits is None else limits
    if high > low:
        place -= low
        place *= num_marks / (high - low)
        marks[usable] = np.clip(place, 0, num_marks - 1, out=place)
    return marks


def amplitude_limits(amplitudes):
    """Logarithms of the 1st and the 99th percentile of the absolute amplitudes; both 0 where none is usable."""
    place, _ = _log_amplitudes(amplitudes)
    return _percentiles(place) if place.size else (0.0, 0.0)


def _log_amplitudes(amplitudes):
    """Logarithms of the absolute amplitudes that have one, and which these are."""
    # hours of spikes: every step in place, in single precision
    absolute = np.array(amplitudes, dtype="float32")
    np.abs(absolute, out=absolute)
    usable = np.isfinite(absolute) & (absolute > 0)
    place = absolute[usable]
    np.log(place, out=place)
    return place, usable


def _percentiles(place):
    low, high = np.percentile(place, [1.0, 99.0])
    return float(low), float(high)
