"""The middle of a set of values, found by counting.

One pass over the values counts those at or below a pivot and finds the nearest values on either side; whole vector
registers do this at once, without a branch. If the count is right, these values are the median. If not, they bound it,
and the next pivot comes from a Newton step: the missing count times the usual distance between neighbouring values.
The median of the set before is the first pivot, and four or five passes are enough; should a distribution defeat the
steps, bisection ends the search.

Values of 16 bits are counted as they are. Floating-point numbers are compared as integers of the same order, their keys
(the bits, with all but the sign bit flipped for negative numbers), because the compiler can vectorize the minimum and
maximum of integers without assuming that there is no NaN.
"""

import numba
import numpy as np
from numba.extending import overload

from steadyspike.kernels.lanes.arrays import unsigned

NEWTON_STEPS = 8
# share of the newest sample in the running distance between neighbouring values
ADAPTATION = 0.1


def key_type(itemsize):
    """Type of the keys of values of some bytes, and its smallest and largest number."""
    integer = np.dtype(f"int{8 * itemsize}").type
    return integer, (integer(np.iinfo(integer).min), integer(np.iinfo(integer).max))


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
