"""Medians and means of small sets of channels, for 64 samples at once.

The samples of a block lie side by side in vector registers, so that even a set of a handful of channels costs a
few nanoseconds per sample. Means are plain sums. Medians come from a comparator network. A comparator puts two
values in order, and a fixed list of them (Batcher's odd-even merge sort, less every one that the middle values
do not depend on) sorts any set of one size. Because the list never depends on the data, all samples of the block
go through it together.

References
----------
Batcher K. E. (1968) Sorting networks and their applications. AFIPS Spring Joint Computer Conference: 307-314.
"""

import functools

import numba
import numpy as np
from numba.core import types
from numba.extending import overload

from steadyspike.kernels.lanes.arrays import unsigned
from steadyspike.kernels.lanes.transposition import transpose

# samples that are processed together
BLOCK = 64


@functools.cache
def median_network(size):
    """Comparators that bring the middle one or two of `size` values to their sorted places, (num_comparators, 2).

    In order: the smaller of the values at two places goes to the first, the larger to the second.
    """
    needed = {(size - 1) // 2, size // 2}
    kept = []
    for first, second in reversed(list(_sorting_network(size))):
        if first in needed or second in needed:
            kept.append((first, second))
            needed |= {first, second}
    return np.array(kept[::-1], dtype="int64").reshape(-1, 2)


def _sorting_network(size):
    """Comparators of the merge exchange sort for any size."""
    top = 1 << max(size - 1, 0).bit_length() >> 1
    step = top
    while step > 0:
        span, remainder, distance = top, 0, step
        while distance > 0:
            for first in range(size - distance):
                if first & step == remainder:
                    yield first, first + distance
            distance, span, remainder = span - step, span >> 1, step
        step >>= 1


def pack_networks(sizes):
    """Comparators for every set: one list, and where each set's part of it begins and ends."""
    distinct = sorted(set(sizes))
    networks = [median_network(size) for size in distinct]
    ends = np.cumsum([len(network) for network in networks])
    ranges = {
        size: (end - len(network), end) for size, network, end in zip(distinct, networks, ends, strict=True)
    }
    comparators = np.concatenate([median_network(1), *networks])
    return comparators, np.array([ranges[size] for size in sizes], dtype="int64").reshape(-1, 2)


def as_type_of(value, array):
    """Give a float as an array has it: integers are rounded, half to even, and cut to their bits as C does."""
    raise NotImplementedError("only compiled")


@overload(as_type_of)
def _as_type_of_compiled(value, array):
    if isinstance(array.dtype, types.Integer):
        return lambda value, array: array.dtype.type(np.int32(np.rint(value)))
    return lambda value, array: array.dtype.type(value)


@numba.njit(nogil=True, cache=True)
def subtract_small_sets(traces, sets, networks, columns, average, tile, referenced):
    """Fill `referenced` with the traces less the median or mean of the set of each column.

    `sets` says where each set begins in its second array, with the end of the last, and holds the members of all sets;
    `networks` is what `pack_networks` returns. `columns` are the channel and the set of each column (the number of
    sets stands for no reference), the first channel if the channels are consecutive and have one set each, in turn, or
    all the first set, else -1; and which of both. `average` is 0 for the median, 1 for the mean, 2 for the sum of the
    products with 1 / size, as a matrix product has it. `tile` (num_channels * BLOCK,) is memory for a block of
    samples, whose type is that of the calculation. `referenced` (num_samples, num_columns) of int16, float32 or
    float64 may be `traces`, if the channels stay in place.
    """
    offsets, members = sets
    comparators, ranges = networks
    channels, which, first, in_turn = columns
    num_samples = traces.shape[0]
    num_sets = len(ranges)
    largest = 0
    for index in range(num_sets):
        largest = max(largest, offsets[index + 1] - offsets[index])
    work = np.zeros(largest * BLOCK, dtype=tile.dtype)
    # the last is no reference
    centres = np.zeros((num_sets + 1, BLOCK), dtype=tile.dtype)
    flat_centres = centres.reshape(-1)
    rows = np.zeros((BLOCK, num_sets + 1), dtype=tile.dtype)
    for begin in range(0, num_samples, BLOCK):
        count = min(BLOCK, num_samples - begin)
        block = traces[begin : begin + count]
        transpose(block, tile, BLOCK)
        for index in range(num_sets):
            chosen = members[offsets[index] : offsets[index + 1]]
            if average:
                _store_mean(tile, chosen, flat_centres, index, average == 2)
            else:
                _gather(tile, chosen, work, flat_centres, index)
                _compare(work, comparators, ranges[index, 0], ranges[index, 1])
                _store_median(work, chosen.size, flat_centres, index)
        transpose(centres, rows.reshape(-1), num_sets + 1)
        write_rows(traces, begin, count, rows, channels, which, first, in_turn, referenced)


@numba.njit(nogil=True, cache=True)
def write_rows(traces, begin, count, references, channels, which, first, in_turn, referenced):
    """Rows of the result: values less their references, in the type of the references, then in its own.

    The rows of `references` are those of the traces from `begin` on.
    """
    for row in range(unsigned(count)):
        sample = unsigned(begin) + row
        if first >= 0 and in_turn:
            for column in range(unsigned(channels.size)):
                value = (
                    references.dtype.type(traces[sample, unsigned(first) + column]) - references[row, column]
                )
                referenced[sample, column] = as_type_of(value, referenced)
        elif first >= 0:
            reference = references[row, 0]
            for column in range(unsigned(channels.size)):
                value = references.dtype.type(traces[sample, unsigned(first) + column]) - reference
                referenced[sample, column] = as_type_of(value, referenced)
        else:
            for column in range(unsigned(channels.size)):
                value = (
                    references.dtype.type(traces[sample, channels[column]]) - references[row, which[column]]
                )
                referenced[sample, column] = as_type_of(value, referenced)


@numba.njit(nogil=True, cache=True)
def _gather(tile, chosen, work, centres, index):
    """Copy the members of a set side by side; put NaN in the place of the median where a member is NaN."""
    centre = unsigned(index * BLOCK)
    for row in range(unsigned(BLOCK)):
        centres[centre + row] = 0.0
    for position in range(chosen.size):
        target, source = unsigned(position * BLOCK), unsigned(chosen[position] * BLOCK)
        for row in range(unsigned(BLOCK)):
            value = tile[source + row]
            work[target + row] = value
            centres[centre + row] = centres[centre + row] if value == value else value


@numba.njit(nogil=True, cache=True)
def _compare(work, comparators, begin, end):
    """Run a network over all samples of the block."""
    for index in range(begin, end):
        first = unsigned(comparators[index, 0] * BLOCK)
        second = unsigned(comparators[index, 1] * BLOCK)
        for row in range(unsigned(BLOCK)):
            one, other = work[first + row], work[second + row]
            work[first + row] = one if one < other else other
            work[second + row] = other if one < other else one


@numba.njit(nogil=True, cache=True)
def _store_median(work, size, centres, index):
    """Mean of the two middle values, or the middle value, unless NaN is there."""
    centre = unsigned(index * BLOCK)
    lower = unsigned((size - 1) // 2 * BLOCK)
    upper = unsigned(size // 2 * BLOCK)
    half = centres.dtype.type(0.5)
    for row in range(unsigned(BLOCK)):
        middle = work[lower + row]
        if size % 2 == 0:
            middle = (middle + work[upper + row]) * half
        centres[centre + row] = middle if centres[centre + row] == 0 else centres[centre + row]


# "contract" only lets a product and a sum round once, as matrix products do
@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _store_mean(tile, chosen, centres, index, products):
    """Mean of the members of a set."""
    centre = unsigned(index * BLOCK)
    share = centres.dtype.type(1.0 / chosen.size) if products else centres.dtype.type(1.0)
    for row in range(unsigned(BLOCK)):
        centres[centre + row] = 0.0
    for position in range(chosen.size):
        source = unsigned(chosen[position] * BLOCK)
        for row in range(unsigned(BLOCK)):
            centres[centre + row] += tile[source + row] * share
    if not products:
        for row in range(unsigned(BLOCK)):
            centres[centre + row] /= chosen.size
