"""Medians of sets of channels by counting, for the samples of a block side by side in vector registers.

The search is that of `counting`, for as many samples at once as a register has lanes: a pass goes through the channels
once and counts for all of them, and what follows from the counts is the same few instructions for all. It ends with the
sample that needs most passes, five or six.
"""

import numba
import numpy as np
from numba.extending import overload

from steadyspike.kernels.channels.counting import ADAPTATION, NEWTON_STEPS, key_of, key_type, value_of
from steadyspike.kernels.channels.small_sets import write_rows
from steadyspike.kernels.lanes.arrays import unsigned
from steadyspike.kernels.lanes.comparisons import (
    add_where_up_to,
    as_keys,
    fill_with,
    largest_up_to,
    smallest_beyond,
)
from steadyspike.kernels.lanes.lanes import convert_lanes, load_lanes, num_lanes, store_lanes
from steadyspike.kernels.lanes.memory import aligned
from steadyspike.kernels.lanes.transposition import TILE, transpose

# vectors of the search: integers of the type of the keys, and floats
PIVOT, COUNT, BELOW, ABOVE, LOW, HIGH, LOWER, UPPER, LEFT = range(9)
VALUE, VALUE_BEFORE, SPACING, MISSING_BEFORE = range(4)


def workspace(num_channels, largest_set, num_sets, dtype):
    """Memory for `subtract_medians` of traces of a type: int16, float32 or float64."""
    integer, limits = key_type(np.dtype(dtype).itemsize)
    precision = "float64" if dtype == "float64" else "float32"
    lanes = num_lanes(integer)
    block = max(lanes, TILE)
    # keys of one set after those of all channels, which lie where their values were
    keys = aligned((num_channels + largest_set) * block, integer)
    tile = keys[: num_channels * block].view(dtype)
    means, medians = np.zeros((num_sets, block), precision), np.zeros((block, num_sets + 1), precision)
    state, floats = aligned((LEFT + 1) * lanes, integer), aligned((MISSING_BEFORE + 1) * lanes, precision)
    return tile, keys, means, medians, state, floats, limits


def lanes_of(array):
    """Give the number of lanes of a type of array, which the compiler knows."""
    raise NotImplementedError("only compiled")


@overload(lanes_of)
def _lanes_of_compiled(array):
    number = num_lanes(f"{array.dtype}")
    return lambda array: number


@numba.njit(nogil=True, cache=True, error_model="numpy")
def subtract_medians(traces, sets, columns, work, referenced):
    """Fill `referenced` with the traces less the median of the set of each column.

    `traces` and `referenced` are as `small_sets.subtract_small_sets` has them, and so are `columns`; `sets` also says
    which is the first member of consecutive ones, else -1. `work` is what `workspace` gives for the type of the traces.
    """
    offsets, members, firsts = sets
    channels, which, first, in_turn = columns
    tile, keys, means, medians, state, floats, limits = work
    num_samples, num_channels = traces.shape
    block = len(medians)
    spacings = np.zeros(firsts.size, floats.dtype)
    for begin in range(0, num_samples, block):
        rows = min(block, num_samples - begin)
        transpose(traces[begin : begin + rows], tile, block)
        for index in range(firsts.size):
            _fill_means(tile, members[offsets[index] : offsets[index + 1]], means[index])
        any_nan = _fill_keys(tile, keys, state, limits)
        for index in range(firsts.size):
            chosen = members[offsets[index] : offsets[index + 1]]
            base = _gathered(keys, chosen, firsts[index], num_channels, block)
            for group in range(0, rows, lanes_of(state)):
                _begin(state, floats, means[index], group, spacings[index], limits)
                _search(keys, base * block + group, chosen.size, block, state, floats, limits)
                spacings[index] = _finish(state, floats, medians, group, index, spacings[index])
            if any_nan:
                for row in range(rows):
                    if _has_nan(traces[begin + row], chosen):
                        medians[row, index] = np.nan
        write_rows(traces, begin, rows, medians, channels, which, first, in_turn, referenced)


@numba.njit(nogil=True, cache=True)
def _fill_keys(tile, keys, state, limits):
    """Keys of all values; tells whether there is a NaN, whose keys lie beyond those of the infinities."""
    smallest, largest = limits
    least, none = fill_with(keys, largest), fill_with(keys, smallest)
    most, every = fill_with(keys, smallest), fill_with(keys, largest)
    for at in range(0, tile.size, lanes_of(keys)):
        key = as_keys(load_lanes(tile, at), keys)
        store_lanes(keys, at, key)
        least = smallest_beyond(least, key, none)
        most = largest_up_to(most, key, every)
    store_lanes(state, LOW * lanes_of(state), least)
    store_lanes(state, HIGH * lanes_of(state), most)
    infinity = key_of(np.inf, smallest)
    any_nan = False
    for lane in range(lanes_of(state)):
        any_nan |= state[HIGH * lanes_of(state) + lane] > infinity
        any_nan |= state[LOW * lanes_of(state) + lane] < ~infinity
    return any_nan


@numba.njit(nogil=True, cache=True)
def _gathered(keys, chosen, first, num_channels, block):
    """Channel at which the keys of a set begin; those of one that is not consecutive are copied behind all others."""
    if first >= 0:
        return first
    for position in range(chosen.size):
        target, source = unsigned((num_channels + position) * block), unsigned(chosen[position] * block)
        for row in range(unsigned(block)):
            keys[target + row] = keys[source + row]
    return num_channels


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _fill_means(tile, chosen, means):
    """Mean of a set at each sample, near which its median is looked for."""
    block = means.size
    for group in range(0, block, lanes_of(means)):
        total = fill_with(means, means.dtype.type(0))
        for channel in chosen:
            total = total + convert_lanes(tile, channel * block + group, means)
        store_lanes(means, group, total)
    for row in range(unsigned(block)):
        means[row] /= chosen.size


@numba.njit(nogil=True, cache=True)
def _begin(state, floats, means, group, spacing, limits):
    """First pivots; `spacing` is the distance of neighbouring values."""
    lanes = lanes_of(state)
    smallest, largest = limits
    for lane in range(unsigned(lanes)):
        value = means[unsigned(group) + lane]
        floats[lane + VALUE * lanes] = value
        floats[lane + SPACING * lanes] = spacing
        # something is always beyond the pivot
        state[lane + PIVOT * lanes] = min(key_of(value, smallest), state.dtype.type(largest - 1))
        state[lane + LOW * lanes] = smallest
        state[lane + HIGH * lanes] = largest
        state[lane + LEFT * lanes] = 1


@numba.njit(nogil=True, cache=True)
def _search(keys, base, size, block, state, floats, limits):
    """Find the keys at the middle rank of a set and the next one; the same twice for an odd number of channels."""
    lanes = lanes_of(state)
    steps = 0
    while True:
        _count(keys, base, size, block, state, limits)
        _step(state, floats, (size + 1) // 2, size % 2, steps, limits)
        steps += 1
        left = 0
        for lane in range(unsigned(lanes)):
            left += state[lane + LEFT * lanes]
        if left == 0:
            return


@numba.njit(nogil=True, cache=True)
def _count(keys, base, size, block, state, limits):
    """Count the keys up to the pivots; find the largest of them and the smallest of the others."""
    lanes = lanes_of(state)
    smallest, largest = limits
    pivots = load_lanes(state, PIVOT * lanes)
    counts = fill_with(keys, keys.dtype.type(0))
    below, above = fill_with(keys, smallest), fill_with(keys, largest)
    for at in range(base, base + size * block, block):
        key = load_lanes(keys, at)
        counts = add_where_up_to(counts, key, pivots)
        below = largest_up_to(below, key, pivots)
        above = smallest_beyond(above, key, pivots)
    store_lanes(state, COUNT * lanes, counts)
    store_lanes(state, BELOW * lanes, below)
    store_lanes(state, ABOVE * lanes, above)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _step(state, floats, wanted, single, steps, limits):
    """What the counts say in each lane, as in `counting.neighbouring_keys`: found, or the next pivot.

    Without a branch, and in two arrays at most, so that the compiler does all lanes at once.
    """
    lanes = lanes_of(state)
    smallest, _ = limits
    integer, real = state.dtype.type, floats.dtype.type
    for lane in range(unsigned(lanes)):
        below, above = state[lane + BELOW * lanes], state[lane + ABOVE * lanes]
        low, high = state[lane + LOW * lanes], state[lane + HIGH * lanes]
        left = state[lane + LEFT * lanes]
        missing = integer(wanted - state[lane + COUNT * lanes])
        # one value fills the middle, several times over unless the upper one is the next
        filled = low == high
        found = filled | (missing == 0) | ((missing == 1) & (single == 1))
        lower = low if filled else (below if missing == 0 else above)
        upper = low if filled & ((single == 1) | (missing < 0)) else above
        upper = below if (missing == 0) & (single == 1) & (not filled) else upper
        newly = found & (left == 1)
        state[lane + LOWER * lanes] = lower if newly else state[lane + LOWER * lanes]
        state[lane + UPPER * lanes] = upper if newly else state[lane + UPPER * lanes]
        state[lane + LEFT * lanes] = integer(0) if found else left
        value, lacking = floats[lane + VALUE * lanes], real(missing)
        change = floats[lane + MISSING_BEFORE * lanes] - lacking
        slope = (value - floats[lane + VALUE_BEFORE * lanes]) / change
        spacing = slope if (steps > 0) & (change != 0) else floats[lane + SPACING * lanes]
        floats[lane + SPACING * lanes] = spacing
        floats[lane + VALUE_BEFORE * lanes] = value
        floats[lane + MISSING_BEFORE * lanes] = lacking
        low, high = (low if missing < 0 else above), (below if missing < 0 else high)
        newton = key_of(value + (lacking - real(0.5) * real(single)) * spacing, smallest)
        # their mean, without overflow
        middle = integer((low >> 1) + (high >> 1) + (low & high & 1))
        pivot = newton if steps < NEWTON_STEPS else middle
        pivot = integer(below - 1) if missing == -1 else pivot
        pivot = above if missing == 1 + single else pivot
        pivot = pivot if pivot < high else integer(high - 1)
        pivot = pivot if pivot >= low else low
        floats[lane + VALUE * lanes] = real(value_of(pivot))
        state[lane + LOW * lanes], state[lane + HIGH * lanes] = low, high
        state[lane + PIVOT * lanes] = pivot


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _finish(state, floats, medians, group, index, spacing):
    """Write the medians of a set, and give the distance of neighbouring values for the next samples."""
    lanes = lanes_of(state)
    distance = floats.dtype.type(0)
    for lane in range(lanes):
        lower, upper = state[lane + LOWER * lanes], state[lane + UPPER * lanes]
        median = value_of(lower)
        if upper != lower:
            median = (median + value_of(upper)) * type(median)(0.5)
        medians[group + lane, index] = median
        distance += floats[lane + SPACING * lanes]
    distance /= lanes
    if not 0 < distance < np.inf:
        return spacing
    return distance if spacing == 0 else spacing + ADAPTATION * (distance - spacing)


@numba.njit(nogil=True, cache=True)
def _has_nan(row, chosen):
    """Tell whether one of the channels of a set is NaN."""
    nan = False
    for channel in chosen:
        nan |= np.isnan(row[channel])
    return nan
