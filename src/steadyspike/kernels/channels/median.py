"""Common reference: subtract, sample by sample, the median or the mean of a set of channels.

The exact median of a sample is found by counting. One pass over the channels counts those at or below a pivot
and finds the nearest values on either side; whole vector registers do this at once, without a branch. If the
count is right, these values are the median. If not, they bound it, and the next pivot comes from a Newton step:
the missing count times the usual distance between neighbouring values. The median of the sample before is the
first pivot, and four or five passes are enough; should a distribution defeat the steps, bisection ends the search.
Small sets of channels take the comparator networks of `small_sets` instead.

Samples of 16 bits are counted as they are, twice as many in a register. Floating-point numbers are compared as
integers of the same order (the bits, with all but the sign bit flipped for negative numbers), because the compiler
can vectorize the minimum and maximum of integers without assuming that there is no NaN.
"""

import numba
import numpy as np
from numba.extending import overload

from steadyspike.kernels.channels.small_sets import BLOCK, pack_networks, subtract_small_sets, write_rows
from steadyspike.kernels.lanes import memory
from steadyspike.kernels.lanes.arrays import as_kernel_array, one_range, unsigned

# above this size counting is faster than a comparator network
LARGEST_SMALL_SET = 96
NEWTON_STEPS = 8
# largest set whose members are counted in 16 bits
MOST_COUNTED = 32_767
# samples that are worth a thread
FEWEST_SAMPLES = 1024
# share of the newest sample in the running distance between neighbouring values
ADAPTATION = 0.1


def subtract_reference(
    traces,
    references,
    channels=None,
    which=None,
    operator="median",
    dtype="float32",
    out=None,
    over_ranges=one_range,
):
    """Subtract from each channel the median or the mean of a set of channels, at each sample.

    With the set R(c) of the channel c: `out[t, c] = traces[t, c] - median(traces[t, R(c)])`.

    `traces` (num_samples, num_channels) are of any real type. `references` are the sets of channels, none empty;
    `channels` (num_out,) says which channel is in each column of the result (None: all), and `which` the index of its
    set, `len(references)` for a column that stays as it is (None: the first set for all).

    With the `operator` "median", that of an even number of channels is the mean of the middle two, and medians are
    exact; "average" is accumulated in float64; "products" is the mean as a matrix product gives it: the sum of the
    products with 1 / size, which rounds otherwise. As with numpy, a NaN in a set makes its reference NaN at that
    sample.

    The result is of `dtype`, "float32", "float64" or "int16" (rounded to nearest, half to even, and cut to 16 bits as
    C does). It goes to `out` if that is of this type and shape; `traces` itself is allowed if its channels stay in
    place. `over_ranges` is of samples (see `lanes.arrays.one_range`).
    """
    traces = as_kernel_array(traces)
    channels = np.arange(traces.shape[1]) if channels is None else np.asarray(channels, dtype="int64")
    which = np.zeros(len(channels), dtype="int64") if which is None else np.asarray(which, dtype="int64")
    average = {"median": 0, "average": 1, "products": 2}[operator]
    sizes = [len(reference) for reference in references]
    sets = _pack_sets(references)
    # means of channels side by side are added up in registers, however few they are
    in_registers = operator == "average" and bool((sets[2] >= 0).all())
    small = operator == "products" or (max(sizes, default=0) <= LARGEST_SMALL_SET and not in_registers)
    integers = traces.dtype == "int16" and not average and not small and max(sizes) < MOST_COUNTED
    if traces.dtype == "int16" and not integers and not average and not small:
        traces = traces.astype("float32")
    precision = "float64" if average or traces.dtype == "float64" else "float32"
    # medians are exact in the type of the traces: no need to compile for another one
    result = dtype if average or np.dtype(dtype) == "int16" else precision
    referenced = memory.result((traces.shape[0], len(channels)), result) if out is None else out
    if referenced.size == 0:
        return referenced.astype(dtype)
    in_turn = bool((which == np.arange(len(which))).all())
    first = _first_if_consecutive(channels) if in_turn or not which.any() else -1
    columns = (channels, which, first, in_turn and len(which) > 1)
    networks = pack_networks([1] * len(sizes) if average else sizes) if small else None

    def work(start, stop):
        part, target = traces[start:stop], referenced[start:stop]
        if small:
            tile = np.zeros(traces.shape[1] * BLOCK, dtype=precision)
            subtract_small_sets(part, sets[:2], networks, columns, average, tile, target)
        elif average:
            _subtract_means(part, sets, columns, np.empty(traces.shape[1]), target)
        else:
            values = np.empty(traces.shape[1], dtype="int16" if integers else precision)
            _subtract_medians(part, sets, columns, _workspace(values, sets, precision), target)

    over_ranges(work, len(traces), FEWEST_SAMPLES, BLOCK)
    return referenced.astype(dtype, copy=False)


def _workspace(values, sets, precision):
    """Memory for one sample: values, their bits, and keys with those of one set after them; limits of the keys."""
    integer, limits = key_type(values.itemsize)
    keys = np.empty(values.size + np.diff(sets[0]).max(), integer)
    return values, values.view(integer), keys, np.zeros(1, precision), limits


def key_type(itemsize):
    """Type of the keys of values of some bytes, and its smallest and largest number."""
    integer = np.dtype(f"int{8 * itemsize}").type
    return integer, (integer(np.iinfo(integer).min), integer(np.iinfo(integer).max))


def _pack_sets(references):
    """Sets one after the other: where each starts, their members, and the first member of consecutive ones or -1."""
    references = [np.asarray(reference, dtype="int64") for reference in references]
    offsets = np.cumsum([0, *(reference.size for reference in references)])
    members = np.concatenate(references) if references else np.zeros(0, dtype="int64")
    firsts = np.array([_first_if_consecutive(reference) for reference in references], dtype="int64")
    return offsets, members, firsts


def _first_if_consecutive(indices):
    """First of consecutive rising indices, else -1."""
    return int(indices[0]) if np.all(np.diff(indices) == 1) else -1


def value_of(key):
    """Give the float with this key, of the same width."""
    raise NotImplementedError("only compiled")


def key_of(value, alike):
    """Give the key, of the type of the key `alike`, of a value."""
    raise NotImplementedError("only compiled")


@overload(value_of)
def _value_of_compiled(key):
    if key.bitwidth == 16:
        return lambda key: np.float32(key)
    if key.bitwidth == 32:
        return lambda key: np.int32(key ^ ((key >> 31) & 0x7FFFFFFF)).view(np.float32)
    return lambda key: np.int64(key ^ ((key >> 63) & 0x7FFFFFFFFFFFFFFF)).view(np.float64)


@overload(key_of)
def _key_of_compiled(value, alike):
    if alike.bitwidth == 16:
        # rounded down, so that the limits of 16 bits hold all that is outside
        return lambda value, alike: np.int16(min(max(np.floor(value), -32768.0), 32767.0))
    if alike.bitwidth == 32:

        def compiled(value, alike):
            bits = np.float32(value).view(np.int32)
            return np.int32(bits ^ ((bits >> 31) & 0x7FFFFFFF))
    else:

        def compiled(value, alike):
            bits = np.float64(value).view(np.int64)
            return np.int64(bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF))

    return compiled


@numba.njit(nogil=True, cache=True, inline="always")
def _count_to(keys, base, size, pivot, limits):
    """Count the keys up to the pivot; find the largest of them and the smallest of the others."""
    smallest, largest = limits
    count = keys.dtype.type(0)
    below, above = smallest, largest
    for index in range(unsigned(size)):
        key = keys[unsigned(base) + index]
        count = keys.dtype.type(count + keys.dtype.type(key <= pivot))
        below = max(below, key if key <= pivot else smallest)
        above = min(above, largest if key <= pivot else key)
    return np.int64(count), below, above


@numba.njit(nogil=True, cache=True, inline="always")
def neighbouring_keys(keys, base, size, wanted, single, low, high, value, spacing, limits):
    """Keys at the rank `wanted` (counted from 1) and the next one, and the first pivot's error in ranks.

    If `single` is 1 and not 0, the next one is not looked for: the first is given twice. All keys lie between `low`
    and `high`; `value` is the first pivot, `spacing` the distance of neighbours.
    """
    pivot = key_of(value, low)
    error = 0
    steps = 0
    value_before, missing_before = value, 0
    while True:
        if pivot < low or pivot >= high:
            pivot = low if pivot < low or low == high else keys.dtype.type(high - 1)
            value = np.float64(value_of(pivot))
        count, below, above = _count_to(keys, base, size, pivot, limits)
        if low == high:
            # one value fills the middle, several times over unless the upper one is the next
            return low, low if single or count > wanted else above, error
        missing = wanted - count
        if steps == 0:
            error = missing
        elif missing != missing_before:
            spacing = (value - value_before) / (missing_before - missing)
        if missing == 0:
            return below, below if single else above, error
        if missing == 1 and single:
            return above, above, error
        if missing < 0:
            high = below
        else:
            low = above
        steps += 1
        if missing == -1:
            pivot = keys.dtype.type(below - 1)
        elif missing == 1 + single:
            pivot = above
        elif steps < NEWTON_STEPS:
            value_before, missing_before = value, missing
            value += (missing - 0.5 * single) * spacing
            pivot = key_of(value, low)
        else:
            # their mean, without overflow
            pivot = keys.dtype.type((low >> 1) + (high >> 1) + (low & high & 1))


@numba.njit(nogil=True, cache=True, inline="always")
def median_of(keys, base, size, low, high, first_pivot, spacing, limits):
    """Median of one set, and the distance of neighbouring values for the next sample."""
    lower, upper, error = neighbouring_keys(
        keys, base, size, (size + 1) // 2, size % 2, low, high, first_pivot, spacing, limits
    )
    median = value_of(lower)
    if upper != lower:
        median = (median + value_of(upper)) * type(median)(0.5)
    if error != 0 and np.isfinite(median):
        distance = abs((median - first_pivot) / error)
        spacing = distance if spacing == 0 else spacing + ADAPTATION * (distance - spacing)
    return median, spacing


@numba.njit(nogil=True, cache=True)
def _subtract_medians(traces, sets, columns, workspace, referenced):
    """Fill `referenced`, one sample after the other."""
    offsets, members, firsts = sets
    channels, which, first, in_turn = columns
    values, value_bits, keys, typed, limits = workspace
    smallest, largest = limits
    infinity = key_of(np.inf, smallest)
    sign_shift = keys.dtype.type(8 * keys.itemsize - 1)
    medians = np.zeros((BLOCK, firsts.size + 1), dtype=typed.dtype)
    pivots = np.zeros(firsts.size)
    spacings = np.zeros(firsts.size)
    for sample in range(traces.shape[0]):
        row = sample % BLOCK
        low, high = largest, smallest
        for channel in range(unsigned(values.size)):
            values[channel] = traces[sample, channel]
        for channel in range(unsigned(values.size)):
            bits = value_bits[channel]
            key = bits if keys.itemsize == 2 else keys.dtype.type(bits ^ ((bits >> sign_shift) & largest))
            keys[channel] = key
            low, high = min(low, key), max(high, key)
        # the keys of NaN lie beyond those of the infinities
        any_nan = high > infinity or low < ~infinity
        for index in range(firsts.size):
            begin, end = offsets[index], offsets[index + 1]
            if any_nan and _has_nan(values, members, begin, end):
                medians[row, index] = np.nan
                continue
            base = firsts[index]
            if base < 0:
                base = values.size
                for position in range(unsigned(end - begin)):
                    keys[unsigned(base) + position] = keys[members[unsigned(begin) + position]]
            median, spacing = median_of(
                keys, base, end - begin, low, high, pivots[index], spacings[index], limits
            )
            medians[row, index] = median
            spacings[index] = spacing
            if np.isfinite(median):
                pivots[index] = median
        if row == BLOCK - 1 or sample == traces.shape[0] - 1:
            write_rows(traces, sample - row, row + 1, medians, channels, which, first, in_turn, referenced)


@numba.njit(nogil=True, cache=True)
def _has_nan(values, members, begin, end):
    """Tell whether one of the channels of a set is NaN."""
    nan = False
    for position in range(begin, end):
        nan |= np.isnan(values[members[position]])
    return nan


# "reassoc" only lets the sum be taken in another order; NaN and infinity keep their meaning
@numba.njit(nogil=True, cache=True, fastmath={"reassoc"})
def _sum_range(values, first, size):
    """Sum of consecutive channels."""
    total = 0.0
    for index in range(unsigned(size)):
        total += values[unsigned(first) + index]
    return total


@numba.njit(nogil=True, cache=True)
def _subtract_means(traces, sets, columns, values, referenced):
    """Fill `referenced`, one sample after the other."""
    offsets, members, firsts = sets
    channels, which, first, in_turn = columns
    means = np.zeros((BLOCK, firsts.size + 1))
    for sample in range(traces.shape[0]):
        row = sample % BLOCK
        for channel in range(unsigned(values.size)):
            values[channel] = traces[sample, channel]
        for index in range(firsts.size):
            begin, end = offsets[index], offsets[index + 1]
            total = 0.0
            if firsts[index] >= 0:
                total = _sum_range(values, firsts[index], end - begin)
            else:
                for position in range(unsigned(begin), unsigned(end)):
                    total += values[members[position]]
            means[row, index] = total / (end - begin)
        if row == BLOCK - 1 or sample == traces.shape[0] - 1:
            write_rows(traces, sample - row, row + 1, means, channels, which, first, in_turn, referenced)
