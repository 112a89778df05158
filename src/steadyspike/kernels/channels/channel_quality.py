"""What tells a bad channel: its power at high frequencies, its likeness to all channels, and to its neighbours.

Power is the one of Welch's method, of a band only: a window of the samples, without its mean and tapered, is multiplied
with the cosines and sines of the band's frequencies, which is less work than a Fourier transform of each channel,
and needs no other library's threads.

References
----------
Welch P. D. (1967) The use of fast Fourier transform for the estimation of power spectra. IEEE Transactions on Audio and
Electroacoustics 15: 70-73.
"""

import numba
import numpy as np

from steadyspike.kernels.channels.column_statistics import column_medians
from steadyspike.kernels.channels.median import subtract_reference
from steadyspike.kernels.lanes.arrays import as_kernel_array, one_range, unsigned
from steadyspike.kernels.lanes.lanes import (
    LANE_BYTES,
    TILE_LANES,
    add_scaled,
    load_lanes,
    num_lanes,
    store_tile,
    zero_tile,
)
from steadyspike.kernels.lanes.memory import aligned, result


def centred_in_order(traces, order, gains, offsets):
    """Scaled channels in another order, less their means; the last column is 0.

    `traces` (num_samples, num_channels) are int16, uint16 or float32, with one sample at least; `order` is the channel
    of each column, `gains` and `offsets` are float32, one for each channel. Returns float32 (num_samples,
    num_columns + 1): `x - mean(x)` of `x = traces * gains + offsets`, with means summed in float64.
    """
    traces = as_kernel_array(traces)
    centred = result((len(traces), len(order) + 1), "float32")
    _centre(traces, np.asarray(order, "int64"), (gains, offsets), centred)
    return centred


@numba.njit(nogil=True, cache=True)
def _centre(traces, order, scales, centred):
    num_samples, num_channels = traces.shape
    gains, offsets = scales
    means = np.zeros(num_channels)
    row = np.empty(num_channels, np.float32)
    last = unsigned(order.size)
    for sample in range(unsigned(num_samples)):
        for channel in range(unsigned(num_channels)):
            product = np.float32(np.float32(traces[sample, channel]) * gains[channel])
            means[channel] += np.float32(product + offsets[channel])
    for channel in range(num_channels):
        means[channel] /= num_samples
    for sample in range(unsigned(num_samples)):
        for channel in range(unsigned(num_channels)):
            product = np.float32(np.float32(traces[sample, channel]) * gains[channel])
            row[channel] = np.float32(np.float32(product + offsets[channel]) - means[channel])
        for column in range(last):
            centred[sample, column] = row[order[column]]
        centred[sample, last] = np.float32(0.0)


def likeness_to_all(centred, over_ranges=one_range):
    """Regression of each channel on the median of all: `x.T @ m / sum(m**2)`, with m less its mean.

    `centred` is what `centred_in_order` returns. One number for each channel, NaN where the median does not change.
    """
    last = centred.shape[1] - 1
    # the last column, 0, less the median of the others
    median = -subtract_reference(centred, [np.arange(last)], [last], over_ranges=over_ranges)[:, 0]
    median = median - np.mean(median)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (median @ centred)[:last] / np.sum(np.square(median))


def band_power(traces, sampling_frequency, window_samples, freq_min):
    """Mean power spectral density of each channel above a frequency, by `scipy.signal.welch` with a Hann window.

    `traces` (num_samples, num_channels), float32 or float64, hold one window of `window_samples` at least; `freq_min`
    is in Hz, and so is the sampling frequency. Windows overlap by half. Returns the square of the unit of the traces
    per Hz, NaN where there is no frequency above.
    """
    frequencies = np.fft.rfftfreq(window_samples, 1 / sampling_frequency)
    wanted = np.flatnonzero(frequencies > freq_min)
    times = np.arange(window_samples)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * times / window_samples)
    waves = taper * np.exp(-2j * np.pi * wanted[:, None] * times / window_samples)
    # as if the mean of each window were subtracted first
    waves -= waves.mean(axis=1, keepdims=True)
    # all but 0 and half the sampling frequency stand for two frequencies
    twice = np.where((wanted == 0) | (2 * wanted == window_samples), 1.0, 2.0)[:, None]
    rows = np.concatenate([(np.sqrt(twice) * waves).real, (np.sqrt(twice) * waves).imag])
    # of each sample those of all waves, and as many as fill tiles
    waves = np.pad(rows, ((0, -len(rows) % TILE_LANES), (0, 0))).T.astype(traces.dtype)
    step = window_samples - window_samples // 2
    starts = range(0, len(traces) - window_samples + 1, step)
    num_channels = traces.shape[1]
    too_few = max(num_lanes(traces.dtype) - num_channels, 0)
    wide = np.pad(traces, ((0, 0), (0, too_few))) if too_few else traces
    power = np.zeros(wide.shape[1])
    block = aligned(TILE_LANES * num_lanes(traces.dtype), traces.dtype)
    wide, waves = as_kernel_array(wide), np.ascontiguousarray(waves)
    for start in starts:
        _add_power(wide, start, waves, block, power)
    power = power[:num_channels]
    with np.errstate(invalid="ignore"):
        return power / (len(starts) * sampling_frequency * np.sum(np.square(taper))) / np.float64(len(wanted))


@numba.njit(nogil=True, cache=True)
def _add_power(traces, start, waves, block, power):
    """Add for each channel the squares of the products of a window with each wave."""
    width, num_waves = traces.shape[1], waves.shape[1]
    lanes = LANE_BYTES // block.itemsize
    for first in range(0, width, lanes):
        # the last channels overlap those before, which are not added again
        column = min(first, width - lanes)
        for wave in range(0, num_waves, TILE_LANES):
            sums = zero_tile(block)
            for sample in range(len(waves)):
                values = load_lanes(traces, (start + sample) * width + column)
                sums = add_scaled(sums, values, waves, sample * num_waves + wave, 1)
            store_tile(block, 0, lanes, sums)
            for row in range(TILE_LANES):
                for lane in range(first - column, lanes):
                    amplitude = np.float64(block[row * lanes + lane])
                    power[column + lane] += amplitude * amplitude


def likeness_to_neighbours(traces, neighbours, over_ranges=one_range):
    """Correlation of each channel with the median of its neighbours, both around 0.

    With the median x of a channel over time subtracted, and the median m of those of its neighbours at each sample:
    `mean(x * m) / sqrt(mean(x**2) * mean(m**2))`, the denominator 1 where it is 0; NaN without neighbours.

    `traces` (num_samples, num_channels) are finite, `neighbours` a list of indices for each channel.
    """
    centred = np.asarray(traces, dtype="float32")
    centred = centred - column_medians(centred, over_ranges)
    which = np.array([index if len(some) else len(neighbours) for index, some in enumerate(neighbours)])
    sets = [some if len(some) else np.zeros(1, "int64") for some in neighbours]
    apart = subtract_reference(centred, sets, which=which, over_ranges=over_ranges)
    products, own, others = _products(centred, apart)
    size = np.sqrt(own * others)
    likeness = products / np.where(size == 0, 1.0, size)
    return np.where([len(some) > 0 for some in neighbours], likeness, np.nan)


@numba.njit(nogil=True, cache=True)
def _products(centred, apart):
    """Means over time of x m, x x and m m, given x and x - m."""
    num_samples, num_channels = centred.shape
    products, own, others = np.zeros(num_channels), np.zeros(num_channels), np.zeros(num_channels)
    for sample in range(unsigned(num_samples)):
        for channel in range(unsigned(num_channels)):
            value = np.float64(centred[sample, channel])
            other = value - apart[sample, channel]
            products[channel] += value * other
            own[channel] += value * value
            others[channel] += other * other
    return products / num_samples, own / num_samples, others / num_samples
