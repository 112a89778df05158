"""Delay channels by fractions of a sample: Fourier transforms of many channels side by side in vector registers.

Two real channels of the same delay are the real and the imaginary part of one complex signal, since the delay's
impulse response is real. As many such pairs as a vector register has lanes are transformed together. A length
n = n1 n2 is split once: transforms of length n1 over every n2-th sample, factors exp(-2j pi j2 k1 / n), and transforms
of length n2 over neighbours. The short transforms fit the first-level cache, so that the samples pass through memory
only three times: the rotation of the phases, and the first half of the way back, are done while a row of the middle
step is in the cache. The spectrum stays in the order that the split leaves.

References
----------
Gentleman W. M., Sande G. (1966) Fast Fourier transforms: for fun and profit. AFIPS Fall Joint Computer Conference
29: 563-578.
"""

from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np
from numba.core import types
from numba.extending import overload

from steadyspike.kernels.filters.short_transforms import (
    factor_at,
    load,
    multiply,
    radix_constants,
    short_steps,
    short_transform,
    store,
    twiddle_factors,
)
from steadyspike.kernels.lanes.arrays import as_kernel_array, unsigned
from steadyspike.kernels.lanes.lanes import num_lanes

# Adding and subtracting it rounds a float64 to an integer, halves to even.
ROUNDING = 6755399441055744.0


class Plan(NamedTuple):
    """Everything that depends on the length and the precision only.

    `factors_1`, `factors_2` are the steps of the short transforms and `twiddles_1`, `twiddles_2` their twiddle factors,
    one step after the other; `twiddles` those between the two, (n1, n2). All complex numbers are pairs of real ones.
    """

    length_1: int
    length_2: int
    factors_1: np.ndarray
    factors_2: np.ndarray
    twiddles_1: np.ndarray
    twiddles_2: np.ndarray
    twiddles: np.ndarray


def split_length(length) -> tuple[int, int] | None:
    """Two factors of a length, as equal as possible, with prime factors up to 5; None if there are none."""
    rest = length
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1 or length < 16:
        return None
    small = max(first for first in range(1, int(length**0.5) + 1) if length % first == 0)
    return (length // small, small) if small > 1 else None


@lru_cache(4)
def make_plan(length, precision) -> Plan:
    """Plan for a length that `split_length` can split."""
    length_1, length_2 = split_length(length)  # type: ignore[misc]
    factors_1, twiddles_1 = short_steps(length_1, precision)
    factors_2, twiddles_2 = short_steps(length_2, precision)
    products = np.arange(length_1)[:, None] * np.arange(length_2)[None, :]
    return Plan(
        length_1,
        length_2,
        factors_1,
        factors_2,
        twiddles_1,
        twiddles_2,
        twiddle_factors(products / length, precision),
    )


def shift_pairs(traces, pairs, shifts, window, pads, plan, shifted) -> None:
    """Delay pairs of channels.

    `traces` (num_samples, num_channels) are int16, float32 or float64, finite. `pairs` (num_pairs, 2) of int64 are the
    channels that make one complex signal, the same twice for one by itself, `shifts` (num_pairs,) their delays in
    samples. `window` (length,), in the plan's precision, is a factor on each sample, zeros before and after the traces
    included; divide it by the length, as no transform does. `pads` are the zeros before the traces, and the samples at
    the begin of the result that are not written. The columns of the channels in `shifted` (num_out, num_channels) are
    overwritten; integers are rounded.
    """
    precision = plan.twiddles.dtype
    lanes = num_lanes(precision)
    traces = as_kernel_array(traces)
    length = plan.length_1 * plan.length_2
    spectra = np.empty(length * 2 * lanes, dtype=precision)
    buffers = np.empty((2, max(plan.length_1, plan.length_2) * 2 * lanes), dtype=precision)
    for first in range(0, len(pairs), lanes):
        # lanes without a pair repeat the last one
        some = np.minimum(np.arange(first, first + lanes), len(pairs) - 1)
        rotations = _rotations(shifts[some], plan, precision)
        _shift_block(traces, pairs[some], window, pads, tuple(plan), rotations, spectra, buffers, shifted)


def _rotations(shifts, plan, precision):
    """Rotation of each lane at k1, and at n1 k2 on either side of half the length; its last is that at the half."""
    length = plan.length_1 * plan.length_2

    def of(cycles):
        angles = -2 * np.pi * cycles[:, None] * shifts[None, :]
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(precision).ravel()

    steps = plan.length_1 * np.arange(plan.length_2) / length
    half = np.stack([np.cos(np.pi * shifts), np.zeros(len(shifts))]).astype(precision).ravel()
    return of(np.arange(plan.length_1) / length), of(steps), of(steps - 1), half


@numba.njit(nogil=True, cache=True)
def _load_sample(traces, sample, pairs, factor, buffer, at):
    """Put the two channels of each pair side by side, times a factor."""
    lanes = len(pairs)
    for lane in range(unsigned(lanes)):
        buffer[at + lane] = traces[sample, unsigned(pairs[lane, 0])] * factor
        buffer[at + unsigned(lanes) + lane] = traces[sample, unsigned(pairs[lane, 1])] * factor


def _store(buffer, at, pairs, shifted, sample):
    """Write the channels of each pair, rounded if the result holds integers."""
    raise NotImplementedError("only compiled")


@overload(_store)
def _store_compiled(buffer, at, pairs, shifted, sample):
    if isinstance(shifted.dtype, types.Integer):

        def store(buffer, at, pairs, shifted, sample):
            lanes = unsigned(len(pairs))
            for lane in range(lanes):
                one, other = np.float64(buffer[at + lane]), np.float64(buffer[at + lanes + lane])
                shifted[sample, unsigned(pairs[lane, 0])] = np.int64((one + ROUNDING) - ROUNDING)
                shifted[sample, unsigned(pairs[lane, 1])] = np.int64((other + ROUNDING) - ROUNDING)
    else:

        def store(buffer, at, pairs, shifted, sample):
            lanes = unsigned(len(pairs))
            for lane in range(lanes):
                shifted[sample, unsigned(pairs[lane, 0])] = buffer[at + lane]
                shifted[sample, unsigned(pairs[lane, 1])] = buffer[at + lanes + lane]

    return store


@numba.njit(nogil=True, cache=True)
def _rotate_row(buffer, k1, sizes, rotations, width, parts):
    """Multiply the spectrum of one row, every n1-th frequency from k1 on, with the rotations."""
    first, below, above, half = rotations
    length_1, length_2 = sizes
    length = length_1 * length_2
    row = load(first, k1 * width, parts)
    for k2 in range(length_2):
        k = k1 + length_1 * k2
        at = k2 * width
        z = load(buffer, at, parts)
        if unsigned(2) * k == length:
            w = load(half, unsigned(0), parts)
        else:
            table = below if unsigned(2) * k < length else above
            w = multiply(row, load(table, at, parts))
        store(buffer, at, parts, multiply(z, w))


@numba.njit(nogil=True, cache=True)
def _middle(spectra, plan, rotations, buffers, lanes, constants):
    """Rows: the second half of the transform, the rotation, and the first half of the way back."""
    length_1, length_2 = unsigned(plan[0]), unsigned(plan[1])
    factors, twiddles, between = plan[3], plan[5], plan[6]
    width = unsigned(2) * lanes
    # variables, because constants would be compiled apart
    start, parts, turned = np.int64(0), (unsigned(0), lanes), (lanes, unsigned(0))
    for k1 in range(length_1):
        for j2 in range(length_2):
            place = k1 * length_2 + j2
            z = load(spectra, place * width, parts)
            store(buffers[0], j2 * width, parts, multiply(z, factor_at(between, place)))
        now = short_transform(buffers, start, length_2, factors, twiddles, lanes, parts, constants)
        _rotate_row(buffers[now], k1, (length_1, length_2), rotations, width, parts)
        now = short_transform(buffers, now, length_2, factors, twiddles, lanes, turned, constants)
        for j2 in range(length_2):
            place = k1 * length_2 + j2
            z, w = load(buffers[now], j2 * width, parts), factor_at(between, place)
            conjugate = z[0] * w[0] + z[1] * w[1], z[1] * w[0] - z[0] * w[1]
            store(spectra, place * width, parts, conjugate)


@numba.njit(nogil=True, cache=True)
def _copy(source, source_at, source_step, target, target_at, target_step, count, parts):
    """Copy complex numbers that are steps apart."""
    for index in range(unsigned(count)):
        value = load(source, source_at + index * source_step, parts)
        store(target, target_at + index * target_step, parts, value)


@numba.njit(nogil=True, cache=True)
def _shift_block(traces, pairs, window, pads, plan, rotations, spectra, buffers, shifted):
    """All three steps for as many pairs as there are lanes."""
    length_1, length_2 = unsigned(plan[0]), unsigned(plan[1])
    lanes = unsigned(len(pairs))
    width = unsigned(2) * lanes
    constants = radix_constants(spectra)
    before, margin = pads
    # variables, because constants would be compiled apart
    start, parts, turned = np.int64(0), (unsigned(0), lanes), (lanes, unsigned(0))
    num_samples, num_out = traces.shape[0], shifted.shape[0]
    for j2 in range(length_2):
        buffer = buffers[0]
        for j1 in range(length_1):
            place = j1 * length_2 + j2
            sample = np.int64(place) - before
            if 0 <= sample < num_samples:
                _load_sample(traces, unsigned(sample), pairs, window[place], buffer, j1 * width)
            else:
                for lane in range(width):
                    buffer[j1 * width + lane] = 0
        now = short_transform(buffers, start, length_1, plan[2], plan[4], lanes, parts, constants)
        _copy(buffers[now], unsigned(0), width, spectra, j2 * width, length_2 * width, length_1, parts)
    _middle(spectra, plan, rotations, buffers, lanes, constants)
    for j2 in range(length_2):
        _copy(spectra, j2 * width, length_2 * width, buffers[0], unsigned(0), width, length_1, parts)
        now = short_transform(buffers, start, length_1, plan[2], plan[4], lanes, turned, constants)
        for j1 in range(length_1):
            sample = np.int64(j1 * length_2 + j2) - margin
            if 0 <= sample < num_out:
                _store(buffers[now], j1 * width, pairs, shifted, unsigned(sample))
