"""Zero-phase recursive filters as cascades of second-order sections.

A filter of order N is a chain of biquads. With the numerator scaled so that its first coefficient is 1, each
is

    w[t] = x[t] - a1 w[t-1] - a2 w[t-2]
    y[t] = w[t] + b1 w[t-1] + b2 w[t-2]

and the product of all gains is applied once per pass. Running the chain forward and then backward in time
cancels the phase shift and squares the gain. Before filtering, each end is continued by point reflection
about its last sample, and each pass starts as if its first value had lasted for ever; this is what
`scipy.signal.sosfiltfilt` does, and the numbers are the same. Here that first value (the level) is
subtracted, the difference filtered from rest, and the level times the gain at 0 Hz added: a large offset then
costs no digits, however low the corner.

A recursion cannot be vectorized over time, but channels are independent. Filters with distinct poles go as sums of
sections through vector registers (`parallel_sections`, `filter_passes`). Of the others, which are filters with very
low corners or of high orders, eight samples of up to 192 channels are copied to a float64 tile that stays in the
first-level cache, every section runs over the tile with the channels side by side in vector registers, and the tile
is written back. The signal is read and written twice either way, whatever the order of the filter.
"""

import numba
import numpy as np

from steadyspike.kernels.filters.filter_passes import SMALLEST_STATE, filter_both_ways
from steadyspike.kernels.filters.parallel_sections import parallel_constants
from steadyspike.kernels.lanes.arrays import as_kernel_array, one_range, unsigned
from steadyspike.kernels.lanes.memory import result, scratch

STEPS = 8
LANES = 192
# What is left of a filter's response after the time that it takes to settle.
SETTLED = 2e-4


def butterworth_sections(sampling_frequency, freq_min=None, freq_max=None, order=5, ftype="butter"):
    """Second-order sections of a digital low-, high- or bandpass filter.

    Parameters
    ----------
    sampling_frequency : float
        In Hz.
    freq_min, freq_max : float or None
        Corner frequencies in Hz, between 0 and half the sampling frequency. Without `freq_min` the filter is
        a lowpass, without `freq_max` a highpass, with both a bandpass (of twice the order).
    order : int, default: 5
        Order of one pass, at least 1.
    ftype : "butter" | "bessel", default: "butter"
        Family of the filter.

    Returns
    -------
    sections : array of float64, (num_sections, 6)
        Coefficients b0, b1, b2, a0 = 1, a1, a2 of each section.

    References
    ----------
    Butterworth S. (1930) On the theory of filter amplifiers. Experimental Wireless 7: 536-541.
    """
    from scipy.signal import iirfilter

    btype = "lowpass" if freq_min is None else "highpass" if freq_max is None else "bandpass"
    corners = {"lowpass": freq_max, "highpass": freq_min, "bandpass": [freq_min, freq_max]}
    return iirfilter(order, corners[btype], fs=sampling_frequency, btype=btype, ftype=ftype, output="sos")


def settling_samples(sections):
    """Count the samples n in which the slowest pole p of a filter decays: `|p|**n = SETTLED`."""
    poles = np.concatenate([np.roots(section[3:]) for section in sections])
    return int(np.ceil(np.log(SETTLED) / np.log(np.abs(poles).max())))


def extension_samples(sections):
    """Count the samples by which each end is continued: three per coefficient of the whole filter."""
    num_coefficients = 2 * len(sections) + 1
    num_coefficients -= min(np.sum(sections[:, 2] == 0), np.sum(sections[:, 5] == 0))
    return 3 * int(num_coefficients)


def filter_zero_phase(
    traces, sections, start=0, stop=None, dtype="float32", extension=None, over_ranges=one_range
):
    """Filter every channel forward and backward in time.

    Parameters
    ----------
    traces : array, (num_samples, num_channels)
        Samples of any real type. A NaN or infinite sample turns its own channel to NaN and no other.
    sections : array of float64, (num_sections, 6)
        Second-order sections as `scipy.signal` has them; b0 must not be 0.
    start, stop : int, default: all samples
        Range of samples to return; the others are margin, which is filtered but not returned.
    dtype : "float32" | "float64" | "int16", default: "float32"
        Type of the result. The recursion is in float64 either way, and so is for int16 what is kept between the two
        passes: the result is then rounded once, to the nearest integer, and cut to 16 bits as C does.
    extension : int or None, default: None
        Samples by which each end is continued; None: `extension_samples(sections)`. `num_samples - 1` if that is less.
    over_ranges : callable, optional
        `over_ranges(work, size, smallest, multiple)` calls `work(start, stop)` for ranges that cover all channels,
        possibly in threads, which do not change the result.

    Returns
    -------
    filtered : array of `dtype`, (stop - start, num_channels)
    """
    num_samples, num_channels = traces.shape
    stop = num_samples if stop is None else stop
    filtered = result((stop - start, num_channels), dtype)
    if filtered.size == 0:
        return filtered
    traces = as_kernel_array(traces)
    extension = min(extension_samples(sections) if extension is None else extension, num_samples - 1)
    constants = parallel_constants(sections)
    if constants is None:
        _filter_cascade(traces, sections, start, extension, filtered)
    else:
        filter_both_ways(traces, constants, gain_at_0_hz(sections), start, extension, filtered, over_ranges)
    return filtered


def gain_at_0_hz(sections):
    """Gain of one pass for what does not change."""
    return float(np.prod(sections[:, :3].sum(axis=1) / sections[:, 3:].sum(axis=1)))


def _filter_cascade(traces, sections, start, extension, filtered):
    """Fill `filtered`, one section after the other."""
    num_samples, num_channels = traces.shape
    gain = np.prod(sections[:, 0])
    coefficients = _unit_gain_coefficients(sections)
    gains = (gain, gain_at_0_hz(sections))
    wanted = filtered
    if filtered.dtype.kind == "i":
        filtered = np.empty(filtered.shape, "float64")
    widest = _whole_vectors(min(LANES, num_channels))
    forward = scratch((num_samples + 2 * extension) * widest, filtered.dtype)
    for first in range(0, num_channels, LANES):
        lanes = _whole_vectors(min(LANES, num_channels - first))
        _filter_block(traces, first, coefficients, gains, extension, lanes, forward, start, filtered)
    if wanted is not filtered:
        wanted[:] = np.rint(filtered, out=filtered)


def _whole_vectors(num_channels):
    """Round up to whole vector registers of eight channels; the lanes without a channel hold zeros."""
    return -(-num_channels // 8) * 8


def _unit_gain_coefficients(sections):
    """b1, b2, -a1, -a2 of each section, numerators scaled to b0 = 1."""
    numerators = sections[:, 1:3] / sections[:, :1]
    return np.concatenate([numerators, -sections[:, 4:6]], axis=1)


def _make_section(rows):
    """Compile one biquad that takes the samples of a tile in the order of `rows`."""

    # "contract" only lets a multiplication and an addition round once; NaN and infinity keep their meaning
    @numba.njit(nogil=True, cache=True, fastmath={"contract"})
    def section(tile, num_lanes, coefficients, state):
        b1, b2 = coefficients[0], coefficients[1]
        minus_a1, minus_a2 = coefficients[2], coefficients[3]
        for lane in range(unsigned(num_lanes)):
            older_lane = lane + unsigned(LANES)
            newer = state[lane]
            older = state[older_lane]
            for step in range(STEPS):
                at = unsigned(rows[step] * LANES) + lane
                w = (tile[at] + minus_a2 * older) + minus_a1 * newer
                tile[at] = (w + b2 * older) + b1 * newer
                older = newer
                newer = w
            state[lane] = 0.0 if abs(newer) < SMALLEST_STATE else newer
            state[older_lane] = 0.0 if abs(older) < SMALLEST_STATE else older

    return section


_section_forward = _make_section(tuple(range(STEPS)))
_section_backward = _make_section(tuple(range(STEPS))[::-1])


@numba.njit(nogil=True, cache=True)
def _load_sample(traces, sample, first, width, level, tile, row):
    """Put one sample of `width` channels, less the level, in a row of the tile; outside, its reflection."""
    last = traces.shape[0] - 1
    channel = unsigned(first)
    base = unsigned(row * LANES)
    if 0 <= sample <= last:
        inside = unsigned(sample)
        for lane in range(unsigned(width)):
            tile[base + lane] = traces[inside, channel + lane] - level[lane]
        return
    border = unsigned(0 if sample < 0 else last)
    mirrored = unsigned(-sample if sample < 0 else 2 * last - sample)
    for lane in range(unsigned(width)):
        twice = 2.0 * traces[border, channel + lane]
        tile[base + lane] = (twice - traces[mirrored, channel + lane]) - level[lane]


@numba.njit(nogil=True, cache=True)
def _filter_block(traces, first, coefficients, gains, extension, num_lanes, forward, start, filtered):
    """Filter up to LANES channels from `first` on; `forward` takes the result of the first pass."""
    width = min(LANES, traces.shape[1] - first)
    channel = unsigned(first)
    gain, level_gain = gains
    total = traces.shape[0] + 2 * extension
    tile = np.zeros(STEPS * LANES)
    level = np.zeros(LANES)
    states = np.zeros((len(coefficients), 2 * LANES))
    _load_sample(traces, -extension, first, width, level, tile, 0)
    for lane in range(unsigned(width)):
        level[lane] = tile[lane]
    for begin in range(0, total, STEPS):
        count = min(STEPS, total - begin)
        for row in range(count):
            _load_sample(traces, begin + row - extension, first, width, level, tile, row)
        for index in range(len(coefficients)):
            _section_forward(tile, num_lanes, coefficients[index], states[index])
        for row in range(count):
            source, target = unsigned(row * LANES), unsigned((begin + row) * num_lanes)
            for lane in range(unsigned(num_lanes)):
                forward[target + lane] = gain * tile[source + lane] + level_gain * level[lane]

    for lane in range(unsigned(num_lanes)):
        level[lane] = forward[unsigned((total - 1) * num_lanes) + lane]
    states = np.zeros((len(coefficients), 2 * LANES))
    # the tiles go back in time, but the rows of each are read and written upwards, which memory is faster at
    for end in range(total, extension + start, -STEPS):
        count = min(STEPS, end - extension - start)
        for row in range(STEPS - count, STEPS):
            source, target = unsigned((end - STEPS + row) * num_lanes), unsigned(row * LANES)
            for lane in range(unsigned(num_lanes)):
                tile[target + lane] = forward[source + lane] - level[lane]
        for index in range(len(coefficients)):
            _section_backward(tile, num_lanes, coefficients[index], states[index])
        for row in range(STEPS - count, STEPS):
            sample = end - STEPS + row - extension - start
            if sample < filtered.shape[0]:
                source, target = unsigned(row * LANES), unsigned(sample)
                for lane in range(unsigned(width)):
                    filtered[target, channel + lane] = gain * tile[source + lane] + level_gain * level[lane]
