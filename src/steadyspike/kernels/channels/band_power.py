"""Power of each channel in a band of frequencies, by Welch's method.

A window of the samples, tapered, is multiplied with the cosines and sines of the band's frequencies, which is less
work than a Fourier transform of each channel, and needs no other library's threads. In a window of N samples the
cosine of a frequency is the same at n and N - n, and at n and N / 2 - n but for the sign, and so is the sine: a quarter
of the products is enough. Sixteen channels at a time have their sums in registers (`lanes`).

References
----------
Welch P. D. (1967) The use of fast Fourier transform for the estimation of power spectra. IEEE Transactions on Audio and
Electroacoustics 15: 70-73.
"""

import functools
from typing import NamedTuple

import numba
import numpy as np

from steadyspike.kernels.lanes.arrays import as_kernel_array, one_range
from steadyspike.kernels.lanes.lanes import (
    LANE_BYTES,
    TILE_LANES,
    add_scaled_once,
    convert_lanes,
    fill_lanes,
    load_lanes,
    num_lanes,
    store_lanes,
    store_tile,
    zero_tile,
)
from steadyspike.kernels.lanes.memory import aligned

# channels that are worth a thread
FEWEST_CHANNELS = 64


def band_power(traces, sampling_frequency, window_samples, freq_min, levels=None, over_ranges=one_range):
    """Mean power spectral density of each channel above a frequency, by `scipy.signal.welch` with a Hann window.

    `traces` (num_samples, num_channels), of any real type, hold one window of `window_samples` at least; `freq_min`
    is in Hz, and so is the sampling frequency. Windows overlap by half. `levels` are subtracted from the channels
    first: their power is 0, but without large means no digits are lost. `over_ranges` is of channels (see
    `lanes.arrays.one_range`). Returns the square of the unit of the traces per Hz, NaN where there is no frequency
    above.
    """
    frequencies = np.fft.rfftfreq(window_samples, 1 / sampling_frequency)
    num_wanted = np.count_nonzero(frequencies > freq_min)
    if num_wanted == 0:
        return np.full(traces.shape[1], np.nan)
    precision = "float64" if traces.dtype == "float64" else "float32"
    waves = _waves(window_samples, len(frequencies) - num_wanted, precision)
    starts = np.arange(0, len(traces) - window_samples + 1, window_samples - window_samples // 2)
    num_channels, lanes = traces.shape[1], num_lanes(precision)
    too_few = max(lanes - num_channels, 0)
    wide = as_kernel_array(np.pad(traces, ((0, 0), (0, too_few))) if too_few else traces)
    levels = np.zeros(num_channels) if levels is None else levels
    levels = np.pad(levels, (0, too_few)).astype(precision)
    # the last channels overlap those before
    columns = np.minimum(np.arange(0, len(levels), lanes), len(levels) - lanes)
    power = np.zeros((len(columns), lanes))

    def work(start, stop):
        folds = aligned(waves.tiles.shape[0] * waves.tiles.shape[2] * lanes, precision)
        block = aligned(TILE_LANES * lanes, precision)
        some = columns[start:stop], power[start:stop]
        _add_power(wide, starts, levels, some, waves[:2], waves.are_folded, folds, block)

    over_ranges(work, len(columns), max(FEWEST_CHANNELS // lanes, 1))
    last_new = -(len(levels) - lanes * (len(columns) - 1))
    power = np.concatenate([power[:-1].ravel(), power[-1, last_new:]])
    with np.errstate(invalid="ignore"):
        power = power[:num_channels] / (len(starts) * sampling_frequency * waves.taper_squares)
        return power / np.float64(num_wanted)


class _Waves(NamedTuple):
    """What a window is multiplied with: weights of its samples, then waves, as `_add_power` takes them."""

    weights: np.ndarray
    tiles: np.ndarray
    are_folded: bool
    taper_squares: float


@functools.lru_cache(8)
def _waves(size, first, precision):
    """Those of the frequencies from the `first` multiple of the lowest on."""
    wanted = np.arange(first, size // 2 + 1)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    are_folded = size % 2 == 0 and first >= 2
    weights, tiles = (_folded_waves if are_folded else _whole_waves)(wanted, size, taper)
    tiles = np.ascontiguousarray(tiles, precision)
    return _Waves(weights.astype(precision), tiles, are_folded, float(np.sum(np.square(taper))))


def _whole_waves(wanted, size, taper):
    """Weights, and cosines and sines, of a whole window."""
    phases = 2 * np.pi * wanted[:, None] * np.arange(size) / size
    rows = np.concatenate([np.cos(phases), np.sin(phases)]) * _amplitudes(wanted, size, times=2) * taper
    # as if the mean of each window were subtracted first
    return np.ones(size), _tiles([rows - rows.mean(axis=1, keepdims=True)])


def _folded_waves(wanted, size, taper):
    """Those of an even size, to be multiplied with the four folds of a window; no frequency is 0 or the first.

    The mean of a window has no part in them. The folds are `x[n] + y[n]`, `x[n] - y[n]` of what is even in time, and
    `x[n] - y[n]`, `x[n] + y[n]` of what is odd, where y[n] = x[size / 2 - n].
    """
    half = size // 2
    weights = taper[: half + 1].copy()
    weights[[0, half]] *= 0.5  # which are their own partners
    even, odd = wanted[wanted % 2 == 0], wanted[wanted % 2 == 1]
    times = np.arange(half // 2 + 1)
    groups = []
    for wave in (np.cos, np.sin):
        for some in (even, odd):
            rows = wave(2 * np.pi * some[:, None] * times / size) * _amplitudes(some, size)
            if half % 2 == 0:
                rows[:, -1] *= 0.5
            groups.append(rows)
    return weights, _tiles(groups)


def _amplitudes(wanted, size, times=1):
    """Factors of the waves: all but 0 and half the sampling frequency stand for two frequencies."""
    return np.tile(np.sqrt(np.where((wanted == 0) | (2 * wanted == size), 1.0, 2.0)), times)[:, None]


def _tiles(groups):
    """Groups of waves (num_waves, num_samples), as (groups, tiles, samples, `TILE_LANES`); what lacks is 0."""
    num_tiles = -(-max(map(len, groups)) // TILE_LANES)
    padded = [np.pad(rows, ((0, num_tiles * TILE_LANES - len(rows)), (0, 0))) for rows in groups]
    return np.stack([rows.reshape(num_tiles, TILE_LANES, -1).transpose(0, 2, 1) for rows in padded])


@numba.njit(nogil=True, cache=True)
def _add_power(traces, starts, levels, some, wanted, is_folded, folds, block):
    """Add for each of some vectors of channels the squares of the products of all windows with all waves."""
    columns, power = some
    weights, waves = wanted
    lanes = LANE_BYTES // block.itemsize
    groups, num_tiles, size, _ = waves.shape
    for start in starts:
        for index in range(columns.size):
            if is_folded:
                _fold(traces, start, columns[index], levels, weights, size, folds)
            else:
                _copy(traces, start, columns[index], levels, size, folds)
            block[:lanes] = 0
            total = load_lanes(block, 0)
            for group in range(groups):
                for tile in range(num_tiles):
                    base = (group * num_tiles + tile) * size * TILE_LANES
                    sums = zero_tile(block)
                    for sample in range(size):
                        values = load_lanes(folds, (group * size + sample) * lanes)
                        sums = add_scaled_once(sums, values, waves, base + sample * TILE_LANES, 1)
                    store_tile(block, 0, lanes, sums)
                    for row in range(TILE_LANES):
                        amplitude = load_lanes(block, row * lanes)
                        total = total + amplitude * amplitude
            store_lanes(block, 0, total)
            for lane in range(lanes):
                power[index, lane] += block[lane]


@numba.njit(nogil=True, cache=True)
def _copy(traces, start, column, levels, size, folds):
    """Set the samples of a window of one vector of channels, less their levels."""
    width, lanes = traces.shape[1], LANE_BYTES // folds.itemsize
    level = load_lanes(levels, column)
    for sample in range(size):
        values = convert_lanes(traces, (start + sample) * width + column, folds) - level
        store_lanes(folds, sample * lanes, values)


@numba.njit(nogil=True, cache=True)
def _fold(traces, start, column, levels, weights, size, folds):
    """Set the four folds of a window, tapered, of one vector of channels less their levels."""
    width, lanes, half = traces.shape[1], LANE_BYTES // folds.itemsize, weights.size - 1
    level = load_lanes(levels, column)
    base = start * width + column
    for sample in range(size):
        mirrored = 2 * half - sample if sample else 0
        first = convert_lanes(traces, base + sample * width, folds) - level
        last = convert_lanes(traces, base + mirrored * width, folds) - level
        lower = convert_lanes(traces, base + (half - sample) * width, folds) - level
        upper = convert_lanes(traces, base + (half + sample) * width, folds) - level
        outer, inner = fill_lanes(weights, sample), fill_lanes(weights, half - sample)
        even, even_inside = outer * (first + last), inner * (lower + upper)
        odd, odd_inside = outer * (first - last), inner * (lower - upper)
        store_lanes(folds, sample * lanes, even + even_inside)
        store_lanes(folds, (size + sample) * lanes, even - even_inside)
        store_lanes(folds, (2 * size + sample) * lanes, odd - odd_inside)
        store_lanes(folds, (3 * size + sample) * lanes, odd + odd_inside)
