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

A recursion cannot be vectorized over time, but channels are independent: eight at a time go through all sections in
vector registers (`parallel_sections`), and the signal is read and written twice, whatever the order of the filter
(`filter_passes`).
"""

import numpy as np

from steadyspike.kernels.filters.filter_passes import filter_both_ways
from steadyspike.kernels.filters.parallel_sections import filter_constants
from steadyspike.kernels.lanes.arrays import as_kernel_array, one_range
from steadyspike.kernels.lanes.memory import result

# What is left of a filter's response after the time that it takes to settle.
SETTLED = 2e-4


def butterworth_sections(sampling_frequency, freq_min=None, freq_max=None, order=5, ftype="butter"):
    """Second-order sections of a digital low-, high- or bandpass filter.

    Corners in Hz lie between 0 and half the sampling frequency: without `freq_min` the filter is a lowpass, without
    `freq_max` a highpass, with both a bandpass (of twice the order). The order is that of one pass, at least 1; the
    family is "butter" or "bessel". Returns float64 (num_sections, 6): b0, b1, b2, a0 = 1, a1, a2 of each section.

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
    traces,
    sections,
    start=0,
    stop=None,
    dtype="float32",
    extension=None,
    over_ranges=one_range,
    delays=None,
):
    """Filter every channel forward and backward in time.

    `traces` (num_samples, num_channels) are of any real type; a NaN or infinite sample turns its own channel to NaN
    and no other. Sections are as `scipy.signal` has them, with b0 other than 0. Samples from `start` to before `stop`
    are returned; the others are margin. Each end is continued by `extension` samples (None:
    `extension_samples(sections)`), `num_samples - 1` if that is less. `over_ranges` is of channels (see
    `lanes.arrays.one_range`).

    The result is of `dtype`, "float32", "float64" or "int16". The recursion is in float64 either way, and so is for
    int16 what is kept between the two passes: the result is then rounded once, to the nearest integer, and cut to 16
    bits as C does.

    With `delays`, taps and a type, the result is that for `fractional_delay.delay(traces, *delays)`, sooner.
    """
    num_samples, num_channels = traces.shape
    if delays is not None:
        num_samples -= len(delays[0]) - 1
    stop = num_samples if stop is None else stop
    filtered = result((stop - start, num_channels), dtype)
    if filtered.size == 0:
        return filtered
    traces = as_kernel_array(traces)
    extension = min(extension_samples(sections) if extension is None else extension, num_samples - 1)
    gain_at_0_hz = float(np.prod(sections[:, :3].sum(axis=1) / sections[:, 3:].sum(axis=1)))
    constants = filter_constants(sections)
    filter_both_ways(traces, constants, gain_at_0_hz, start, extension, filtered, over_ranges, delays)
    return filtered
