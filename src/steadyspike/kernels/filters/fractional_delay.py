"""Delay channels by fractions of a sample, with a windowed sinc for each.

A delay of d samples is a convolution with sinc(k - d). Cut to `NUM_TAPS` values by a Kaiser window around d,

    h[k] = sinc(k - d) I0(BETA sqrt(1 - (2 (k - d) / NUM_TAPS)**2)) / I0(BETA),

it delays every frequency up to about 0.7 of half the sampling frequency by d, and loses what is above. A sample of the
result needs `NUM_TAPS` samples around it and no more, so that chunks have a short margin and a bad sample goes not far.
Sixteen channels and several samples at a time have their sums in registers (`lanes`).

References
----------
Laakso T. I. et al. (1996) Splitting the unit delay: tools for fractional delay filter design. IEEE Signal Processing
Magazine 13: 30-60.
"""

import numba
import numpy as np

from steadyspike.kernels.lanes.arrays import as_kernel_array
from steadyspike.kernels.lanes.lanes import (
    LANE_BYTES,
    TILE_LANES,
    add_products,
    convert_lanes,
    load_lanes,
    num_lanes,
    store_lanes,
    store_tile,
    zero_tile,
)
from steadyspike.kernels.lanes.memory import aligned, result

NUM_TAPS = 32
BETA = 10.0
# Samples that are converted at a time: with the taps, 16 channels of them fit the first-level cache.
BLOCK_SAMPLES = 128


def delay_taps(shifts):
    """Taps that delay each channel, and the samples that they need before and after.

    `shifts` (num_channels,) are in samples. Returns float64 (num_taps, num_channels), to be multiplied with the samples
    from t - before to t + after (both included) for the one at t, and the two numbers. Taps of one channel sum to 1.
    """
    shifts = np.asarray(shifts, dtype="float64")
    half = NUM_TAPS // 2
    before = int(np.floor(shifts.max(initial=0.0))) + half
    after = half - 1 - int(np.floor(shifts.min(initial=0.0)))
    distances = np.arange(before, -after - 1, -1)[:, None] - shifts
    window = np.i0(BETA * np.sqrt(np.clip(1 - np.square(distances / half), 0, None)))
    taps = np.where(np.abs(distances) < half, np.sinc(distances) * window, 0.0)
    # a shift of whole samples is one tap; sinc leaves rounding errors beside it
    taps[np.abs(taps) < 1e-15 * window.max(initial=1.0)] = 0.0
    return taps / taps.sum(axis=0), before, after


def delay(traces, taps, dtype="float32"):
    """Multiply the samples of each channel with its taps.

    With K taps: `out[t, c] = sum_k taps[k, c] * traces[t + k, c]`, of shape (num_samples - K + 1, num_channels).

    `traces` (num_samples, num_channels) are of any real type. The result is of `dtype`, "float32", "float64" or
    "int16"; sums are in float64 for "float64" and in float32 otherwise. Integers are rounded to the nearest (halves to
    even), saturate, and are 0 where a sum is NaN, as it is for the samples whose taps reach one that is not finite.
    """
    num_samples, num_channels = len(traces) - len(taps) + 1, traces.shape[1]
    delayed = result((num_samples, num_channels), dtype)
    if delayed.size == 0:
        return delayed
    precision = "float64" if dtype == "float64" else "float32"
    lanes = num_lanes(precision)
    if num_channels < lanes or num_samples < TILE_LANES:
        rows, columns = max(TILE_LANES - num_samples, 0), max(lanes - num_channels, 0)
        wide = np.pad(as_kernel_array(traces), ((0, rows), (0, columns)))
        delayed[:] = delay(wide, np.pad(taps, ((0, 0), (0, columns))), dtype)[:num_samples, :num_channels]
        return delayed
    block = aligned((BLOCK_SAMPLES + len(taps)) * lanes, precision)
    _delay(as_kernel_array(traces), np.ascontiguousarray(taps, precision), block, delayed)
    return delayed


@numba.njit(nogil=True, cache=True)
def _delay(traces, taps, block, delayed):
    num_samples, width = delayed.shape
    # not a literal number, for which numba would compile the rest once more
    first = np.int64(0)
    for begin in range(0, num_samples, BLOCK_SAMPLES):
        # the last ones overlap those before, with the same results
        start = max(min(begin, num_samples - TILE_LANES), 0)
        size = min(BLOCK_SAMPLES, num_samples - start)
        delay_rows(traces, taps, block, start, size, first, width, delayed, start * width)


@numba.njit(nogil=True, cache=True)
def delay_rows(traces, taps, block, start, size, first, stop, delayed, base):
    """Delay `size` samples from `start` on, of the channels from `first` to before `stop`.

    At least `TILE_LANES` samples, and as many channels as `Lanes` of `block` hold, whose memory is overwritten. The
    first one goes to `base` in the flat memory of `delayed`, whose rows are as far apart as its shape says.
    """
    num_taps, width = taps.shape
    lanes, apart = LANE_BYTES // block.itemsize, delayed.shape[1]
    for begin in range(first, stop, lanes):
        column = min(begin, stop - lanes)
        for row in range(size + num_taps - 1):
            values = convert_lanes(traces, (start + row) * width + column, block)
            store_lanes(block, row * lanes, values)
        for tile in range(0, size, TILE_LANES):
            row = min(tile, size - TILE_LANES)
            sums = zero_tile(block)
            for tap in range(num_taps):
                factors = load_lanes(taps, tap * width + column)
                sums = add_products(sums, factors, block, (row + tap) * lanes, lanes)
            store_tile(delayed, base + row * apart + column - first, apart, sums)
