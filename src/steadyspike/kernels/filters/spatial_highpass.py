"""Highpass filter across channels, with automatic gain control over time, as destriping does it.

Each sample is divided by a running mean of its channel's absolute values, filtered forward and backward across the
channels, and multiplied with that mean again. The mean has the weights of a Hann window, a box plus a wave of one
period: both are updated from sample to sample by what enters and what leaves, whatever the length of the window.

References
----------
International Brain Laboratory et al. (2022) Spike sorting pipeline for the International Brain Laboratory.
https://doi.org/10.6084/m9.figshare.19705522
"""

import math

import numba
import numpy as np

from steadyspike.kernels.filters.biquads import filter_zero_phase
from steadyspike.kernels.lanes.arrays import as_kernel_array, unsigned
from steadyspike.kernels.lanes.memory import result
from steadyspike.kernels.lanes.transposition import transpose

# samples that are filtered together: of a few hundred channels they stay in the second-level cache
BLOCK = 256


def highpass_across_channels(traces, sections, taper, pad, half_window, smallest, start, stop):
    """Give blocks of filtered samples, from `start` to before `stop`, as pairs of the first sample and float64.

    `traces` (num_samples, num_channels) are float32, finite, in the order of the channels; the other samples are
    margin, `half_window` at most before `start`. `sections` are those of the filter (see `biquads`). `pad` channels are
    mirrored at either end, all of them then multiplied with `taper` (num_channels + 2 pad,). With `half_window` h, the
    gain of a channel at the sample t is `sum(hann(2 h + 1) * abs(traces[t - h : t + h + 1])) / h`, without what is
    beyond the ends, and `smallest` where that is more; `half_window` 0: no gain control. A block is overwritten by the
    next one.
    """
    num_channels = traces.shape[1]
    num_rows = num_channels + 2 * pad
    state = np.zeros((3, num_channels))
    if half_window:
        _run_in(traces, start, half_window, state)
    every_gain = np.ones((BLOCK, num_channels))
    memory = np.empty((2, BLOCK * num_rows))
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        gains = every_gain[:count]
        if half_window:
            _control(traces, first, half_window, state, gains)
        rows, columns = (one[: count * num_rows] for one in memory)
        rows, columns = rows.reshape(count, num_rows), columns.reshape(num_rows, count)
        _spread(traces, first, gains, smallest, taper, pad, half_window > 0, rows)
        transpose(rows, columns.reshape(-1), count)
        filtered = filter_zero_phase(columns, sections, dtype="float64")
        transpose(filtered, rows.reshape(-1), num_rows)
        block = rows[:, pad : pad + num_channels]
        block *= gains
        yield first, block


def floats_in_order(traces, order):
    """Channels in an order, as float32; `traces` (num_samples, num_channels) are of any real type."""
    traces = as_kernel_array(traces)
    ordered = result((len(traces), len(order)), "float32")
    _order(traces, np.asarray(order, "int64"), ordered)
    return ordered


@numba.njit(nogil=True, cache=True)
def _order(traces, order, ordered):
    for sample in range(unsigned(len(traces))):
        for column in range(unsigned(order.size)):
            ordered[sample, column] = traces[sample, order[column]]


@numba.njit(nogil=True, cache=True)
def _step(traces, sample, half, state):
    """Move the window to a sample, by what enters and what leaves."""
    cosine, sine = math.cos(math.pi / half), math.sin(math.pi / half)
    enters, leaves = sample + half, sample - half - 1
    for channel in range(unsigned(traces.shape[1])):
        new = old = 0.0
        if enters < len(traces):
            new = abs(np.float64(traces[unsigned(enters), channel]))
        if leaves >= 0:
            old = abs(np.float64(traces[unsigned(leaves), channel]))
        real, imaginary = state[1, channel] + old, state[2, channel]
        state[0, channel] += new - old
        state[1, channel] = cosine * real - sine * imaginary - new
        state[2, channel] = sine * real + cosine * imaginary


@numba.njit(nogil=True, cache=True)
def _run_in(traces, start, half, state):
    """State before the sample `start`."""
    for sample in range(-half, start):
        _step(traces, sample, half, state)


@numba.njit(nogil=True, cache=True)
def _control(traces, first, half, state, gains):
    for row in range(len(gains)):
        _step(traces, first + row, half, state)
        for channel in range(unsigned(traces.shape[1])):
            gains[row, channel] = 0.5 * (state[0, channel] + state[1, channel]) / half


@numba.njit(nogil=True, cache=True)
def _spread(traces, first, gains, smallest, taper, pad, is_controlled, rows):
    """Write the samples over their gains, mirrored at the ends and tapered."""
    num_channels = traces.shape[1]
    row_of = np.empty(num_channels, np.float32)
    for row in range(len(gains)):
        for channel in range(unsigned(num_channels)):
            value = traces[first + row, channel]
            if is_controlled:
                gain = max(smallest[channel], gains[row, channel])
                # a channel that is always 0 has no gain
                value = np.float32(value / gain) if gain > 0.0 else value
            row_of[channel] = value
        for place in range(pad):
            rows[row, place] = row_of[pad - 1 - place] * taper[place]
            other = num_channels + pad + place
            rows[row, other] = row_of[num_channels - 1 - place] * taper[other]
        for channel in range(unsigned(num_channels)):
            rows[row, unsigned(pad) + channel] = row_of[channel] * taper[unsigned(pad) + channel]
