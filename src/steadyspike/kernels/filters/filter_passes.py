"""Passes of a filter through traces, forward and backward in time, eight channels at a time.

The channels are taken in blocks, whose samples a pass goes through in groups of 16 rows. For each group, eight
channels at a time go through all sections (`parallel_sections`), while the next rows are fetched from memory. Of the
forward pass every sample is kept, in memory that is used again. A block is as wide as that memory allows: whole rows
are read and written faster than pieces of them, by more than smaller blocks gain in the caches.

Traces that are to be delayed before (`fractional_delay`) are delayed on the way, some rows of a block at a time, which
lie in the second-level cache until they are filtered. A reference after the filter is not taken along: it needs all
channels of a sample, whose forward pass would no longer fit the caches.
"""

import itertools

import numba
import numpy as np

from steadyspike.kernels.filters.fractional_delay import BLOCK_SAMPLES, delay, delay_rows
from steadyspike.kernels.filters.parallel_sections import LANES, STEPS, run_step, run_steps
from steadyspike.kernels.lanes.arrays import as_kernel_array, one_range
from steadyspike.kernels.lanes.lanes import TILE_LANES, num_lanes
from steadyspike.kernels.lanes.memory import (
    LINE_BYTES,
    MOST_KEPT_BYTES,
    aligned,
    prefetch_to_read,
    prefetch_to_write,
    scratch,
)

# A decaying state would end in subnormal numbers, which take a processor a hundred times longer.
SMALLEST_STATE = 1e-100
# Rows after which states are looked at for that: the fastest decay there is passes a few subnormal numbers at most.
CHECKED_ROWS = 4 * STEPS
# Bytes that a row of a block has between the two passes at least: memory is fastest where whole rows follow each other.
BLOCK_ROW_BYTES = 512


def filter_both_ways(
    traces, constants, level_gain, start, extension, filtered, over_ranges=one_range, delays=None
):
    """Fill `filtered` with the traces from `start` on, filtered forward and then backward.

    `traces` (num_samples, num_channels) are C-contiguous int16, float32 or float64, with one sample at least,
    `constants` those of `parallel_sections.filter_constants`. Each pass begins as if its first value had lasted for
    ever: `level_gain` is the gain of the filter at 0 Hz. Each end is continued by `extension` samples, less than there
    are, by reflection about its last point. `filtered` (num_wanted, num_channels) is int16, float32 or float64;
    `over_ranges` is of vectors of channels (see `lanes.arrays.one_range`).

    With `delays`, taps and a type as of `fractional_delay.delay`, the traces are delayed before, and `start` and
    `extension` are counted in what comes of that; the result is that of both functions, to the bit.
    """
    num_samples = len(traces)
    if delays is not None:
        num_samples -= len(delays[0]) - 1
        if traces.shape[1] < num_lanes("float32") or num_samples < TILE_LANES or extension < 1:
            traces, delays = as_kernel_array(delay(traces, *delays)), None
    if traces.shape[1] < LANES:
        _with_more_channels(filter_both_ways, traces, constants, level_gain, start, extension, filtered)
        return
    ends = _delayed_ends(traces, *delays, extension) if delays else continued_ends(traces, extension)
    columns = _columns(traces.shape[1])
    dtype = "float32" if filtered.dtype == "float32" else "float64"
    num_rows = num_samples + 2 * extension
    row_bytes = max(MOST_KEPT_BYTES // num_rows, BLOCK_ROW_BYTES)

    def work(begin, end):
        for first, last in _blocks(begin, end, row_bytes // (LANES * np.dtype(dtype).itemsize)):
            forward = scratch(num_rows * (last - first) * LANES, dtype)
            _both_ways(
                traces, ends, columns[first:last], constants, level_gain, start, forward, filtered, delays
            )

    over_ranges(work, len(columns))


def continued_ends(traces, extension):
    """Samples before and after the traces, in float64: twice the sample at the end, less its neighbours."""
    before = 2.0 * traces[:1] - traces[extension:0:-1].astype("float64")
    after = 2.0 * traces[-1:] - traces[::-1][1 : extension + 1].astype("float64")
    return before, after


def _delayed_ends(traces, taps, dtype, extension):
    """`continued_ends` of delayed traces."""
    reach = extension + len(taps)
    before, _ = continued_ends(delay(traces[:reach], taps, dtype), extension)
    _, after = continued_ends(delay(traces[-reach:], taps, dtype), extension)
    return before, after


def filter_one_way(traces, constants, start, filtered, backward=False, over_ranges=one_range):
    """Fill `filtered` with the traces from `start` on, filtered once, from rest.

    Arguments are those of `filter_both_ways`; `backward`: from the last sample to the first.
    """
    if traces.shape[1] < LANES:
        _with_more_channels(filter_one_way, traces, constants, start, filtered, backward)
        return
    columns = _columns(traces.shape[1])

    def work(begin, end):
        _one_way(traces, columns[begin:end], constants, start, backward, filtered)

    over_ranges(work, len(columns))


def _with_more_channels(function, traces, *arguments):
    """Filter too few channels for one vector, together with silent ones."""
    wide = np.zeros((len(traces), LANES), traces.dtype)
    wide[:, : traces.shape[1]] = traces
    place = next(index for index, one in enumerate(arguments) if isinstance(one, np.ndarray))
    filtered = arguments[place]
    wide_filtered = np.empty((len(filtered), LANES), filtered.dtype)
    function(as_kernel_array(wide), *arguments[:place], wide_filtered, *arguments[place + 1 :])
    filtered[:] = wide_filtered[:, : filtered.shape[1]]


def _columns(num_channels):
    """First channel of each vector; the last two overlap where channels do not divide into vectors."""
    return np.minimum(np.arange(0, num_channels, LANES), num_channels - LANES)


def _blocks(begin, end, most):
    """Ranges of vectors, of about the same size and at most `most`."""
    edges = np.linspace(begin, end, -(-(end - begin) // most) + 1).astype(int)
    return itertools.pairwise(edges)


@numba.njit(nogil=True, cache=True)
def _fetch_rows(rows, row, step, num_rows, columns, to_write):
    """Bring the rows of the next group to the cache."""
    values, width = LINE_BYTES // rows.itemsize, columns[-1] + LANES - columns[0]
    for index in range(min(STEPS, num_rows)):
        at = (row + step * index) * rows.shape[1] + columns[0]
        stop = at + width
        # no range, whose length is a division
        while at < stop:
            if to_write:
                prefetch_to_write(rows, at)
            else:
                prefetch_to_read(rows, at)
            at += values


@numba.njit(nogil=True, cache=True)
def _flush_subnormals(states, size):
    """Put zero for states that have decayed; the first two vectors of each slot are levels."""
    for slot in range(0, states.size, size):
        for index in range(slot + 2 * LANES, slot + size):
            states[index] = 0.0 if abs(states[index]) < SMALLEST_STATE else states[index]


@numba.njit(nogil=True, cache=True)
def _pass(
    source, first, sources, target, target_first, target_step, targets, step, num_rows, constants, states
):
    """Filter `num_rows` rows of `source` from `first` on, up or down by `step`, to rows of `target`.

    `sources` and `targets` are the columns at which each vector begins there.
    """
    width, target_width = source.shape[1], target.shape[1]
    size = states.size // sources.size
    stride, target_stride = step * width, target_step * target_width
    row = 0
    while row + STEPS <= num_rows:
        left = num_rows - row - STEPS
        _fetch_rows(source, first + step * (row + STEPS), step, left, sources, False)
        if target_step != 0:
            _fetch_rows(target, target_first + target_step * (row + STEPS), target_step, left, targets, True)
        base = (first + step * row) * width
        target_base = (target_first + target_step * row) * target_width
        for slot in range(sources.size):
            run_steps(
                source, base + sources[slot], stride,
                target, target_base + targets[slot], target_stride,
                constants, states, slot * size,
            )  # fmt: skip
        row += STEPS
        if row % CHECKED_ROWS == 0:
            _flush_subnormals(states, size)
    while row < num_rows:
        base = (first + step * row) * width
        target_base = (target_first + target_step * row) * target_width
        for slot in range(sources.size):
            run_step(
                source, base + sources[slot], stride,
                target, target_base + targets[slot], target_stride,
                constants, states, slot * size,
            )  # fmt: skip
        row += 1


def _states_at(levels, columns, constants, gain=0.0):
    """Levels and states of each vector, which begin as if the levels had lasted for ever."""
    states = np.zeros((len(columns), 2 + (len(constants) - 1) // 2, LANES))
    if levels is not None:
        states[:, 0] = levels[columns[:, None] + np.arange(LANES)]
        states[:, 1] = gain * states[:, 0]
    return states.reshape(-1)


def _both_ways(traces, ends, columns, constants, level_gain, start, forward, filtered, delays):
    """Filter one block of vectors."""
    before, after = ends
    places = np.arange(len(columns)) * LANES
    kept = forward.reshape(-1, len(columns) * LANES)
    extension, total = len(before), len(kept)
    num_samples = total - 2 * extension
    # the continued ends wait where their results will be
    lanes = columns[:, None] + np.arange(LANES)
    kept[:extension] = before[:, lanes.reshape(-1)]
    kept[total - extension :] = after[:, lanes.reshape(-1)]
    levels = kept[0].astype("float64") if extension else traces[0, lanes.reshape(-1)].astype("float64")
    states = _states_at(levels, places, constants, level_gain)
    _pass(kept, 0, places, kept, 0, 1, places, 1, extension, constants, states)
    if delays is None:
        _pass(traces, 0, columns, kept, extension, 1, places, 1, num_samples, constants, states)
    else:
        _pass_delayed(traces, *delays, columns, kept, extension, places, constants, states)
    back = total - extension
    _pass(kept, back, places, kept, back, 1, places, 1, extension, constants, states)
    states = _states_at(kept[-1].astype("float64"), places, constants, level_gain)
    end = extension + start + len(filtered)
    # what is not wanted goes back to where it came from
    _pass(kept, total - 1, places, kept, total - 1, -1, places, -1, total - end, constants, states)
    last = len(filtered) - 1
    _pass(kept, end - 1, places, filtered, last, -1, columns, -1, len(filtered), constants, states)


def _pass_delayed(traces, taps, dtype, columns, kept, first, places, constants, states):
    """Delay the channels of one block of vectors, and filter them to the rows of `kept` from `first` on."""
    stop = columns[-1] + LANES
    begin = max(min(columns[0], stop - num_lanes("float32")), 0)
    block = aligned((BLOCK_SAMPLES + len(taps)) * num_lanes("float32"), "float32")
    tile = aligned(BLOCK_SAMPLES * (stop - begin), dtype).reshape(BLOCK_SAMPLES, -1)
    taps = np.ascontiguousarray(taps, "float32")
    target = (kept, first, places)
    _delay_and_pass(traces, taps, block, tile, begin, stop, columns - begin, target, constants, states)


@numba.njit(nogil=True, cache=True)
def _delay_and_pass(traces, taps, block, tile, begin, stop, sources, target, constants, states):
    kept, first, places = target
    num_rows, done = len(traces) - len(taps) + 1, 0
    # not literal numbers, for which numba would compile the rest once more
    zero, one = np.int64(0), np.int64(1)
    while done < num_rows:
        # the last rows overlap those before
        row = min(done, num_rows - TILE_LANES)
        size = min(len(tile), num_rows - row)
        delay_rows(traces, taps, block, row, size, begin, stop, tile, zero)
        new = row + size - done
        _pass(tile, done - row, sources, kept, first + done, one, places, one, new, constants, states)
        done += new


def _one_way(traces, columns, constants, start, backward, filtered):
    """Filter one block of vectors from rest."""
    states = _states_at(None, columns, constants)
    nowhere = np.empty((1, len(columns) * LANES), filtered.dtype)
    places = np.arange(len(columns)) * LANES
    first, target, unwanted, step = start + len(filtered) - 1, len(filtered) - 1, len(traces) - start, -1
    unwanted -= len(filtered)
    begin = len(traces) - 1
    if not backward:
        begin, first, target, unwanted, step = 0, start, 0, start, 1
    _pass(traces, begin, columns, nowhere, 0, 0, places, step, unwanted, constants, states)
    _pass(traces, first, columns, filtered, target, step, columns, step, len(filtered), constants, states)
