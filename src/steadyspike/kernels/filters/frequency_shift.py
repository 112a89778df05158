"""Shift channels by fractions of a sample, as a rotation of the phases of their Fourier transforms.

The transform takes the whole chunk as one period, margins included, so that its length belongs to the result. Chunks of
float32 and int16 whose length has no prime factor above 5 take the transforms of `lane_fourier`. For others, a few
channels at a time, as many as fill a cache line, are copied, tapered, transformed, rotated and transformed back by
scipy: what they need stays in the cache, where a transform of all channels at once goes through memory several times.

Float32 samples are transformed in float32 (errors of a few 1e-7 of a channel's root mean square), unless an offset is
so much larger than the rest that these errors would matter.
"""

from functools import lru_cache

import numba
import numpy as np

from steadyspike.kernels.filters.lane_fourier import make_plan, shift_pairs, split_length
from steadyspike.kernels.lanes.arrays import as_kernel_array, one_range, unsigned
from steadyspike.kernels.lanes.lanes import num_lanes

# Bytes of the samples that are next to each other in memory and transformed together.
BLOCK_BYTES = 64
# Root mean square of a channel in standard deviations, of its own or of the channel it is paired with, from which on
# the errors of float32 matter.
LARGE_OFFSET = 20.0
# Every so many samples tell whether there is such an offset.
OFFSET_STEP = 16
# Rotations of one length and one set of shifts are remembered up to this size.
REMEMBERED_VALUES = 4_000_000


def shift_samples(traces, shifts, margin, pads, dtype, precision, over_ranges=one_range):
    """Delay each channel by a fraction of a sample.

    With the chunk x of n samples, its margins faded out by half a period of a cosine:
    `out = irfft(rfft(x) * exp(-2j * pi * shift * k / n))`, without the margins.

    `traces` (num_samples, num_channels) have their margins, as far as these are in the recording; `margin` samples on
    either side, at least 1, are not returned, and `pads` zeros take the place of missing samples before and after.
    `shifts` (num_channels,) are in samples. The result, (num_samples + sum(pads) - 2 * margin, num_channels), is of
    `dtype`, integers are rounded; transforms are in `precision`, "float32" or "float64". `over_ranges` is of blocks of
    channels (see `lanes.arrays.one_range`).
    """
    length = traces.shape[0] + sum(pads)
    num_channels = traces.shape[1]
    shifted = np.empty((length - 2 * margin, num_channels), dtype=dtype)
    if num_channels == 0:
        return shifted
    taper = ((1 - np.cos(np.arange(margin) / margin * np.pi)) / 2)[:, None]
    width = BLOCK_BYTES // np.dtype(precision).itemsize
    distinct, which = np.unique(shifts, return_inverse=True)

    def work(start: int, stop: int) -> None:
        for first in range(start * width, min(stop * width, num_channels), width):
            columns = slice(first, first + width)
            some = traces[:, columns]
            kind = "float64" if _has_large_offset(some) else precision
            block = np.empty((length, some.shape[1]), dtype=kind)
            block[: pads[0]] = 0
            block[pads[0] : pads[0] + len(some)] = some
            block[pads[0] + len(some) :] = 0
            block[:margin] *= taper
            block[-margin:] *= taper[::-1]
            result = _shift_block(block, distinct, which[columns])[margin:-margin]
            if shifted.dtype.kind in "iu":
                np.rint(result, out=result)
            shifted[:, columns] = result.astype(shifted.dtype, copy=False)

    pairs = _pairs(traces, shifts, shifted.dtype, precision) if split_length(length) else None
    if pairs is not None:
        _shift_in_pairs(traces, pairs, shifts, margin, taper, pads, precision, over_ranges, shifted)
    else:
        over_ranges(work, -(-num_channels // width))
    return shifted


def _shift_in_pairs(traces, pairs, shifts, margin, taper, pads, precision, over_ranges, shifted):
    """Do it with `lane_fourier`."""
    plan = make_plan(traces.shape[0] + sum(pads), precision)
    window = np.full(traces.shape[0] + sum(pads), 1.0 / (traces.shape[0] + sum(pads)))
    window[:margin] *= taper[:, 0]
    window[-margin:] *= taper[::-1, 0]
    window = window.astype(precision)
    of_pairs = np.asarray(shifts, dtype="float64")[pairs[:, 0]]
    lanes = num_lanes(precision)

    def work(start: int, stop: int) -> None:
        some = slice(start * lanes, stop * lanes)
        shift_pairs(traces, pairs[some], of_pairs[some], window, (pads[0], margin), plan, shifted)

    over_ranges(work, -(-len(pairs) // lanes))


def _pairs(traces, shifts, dtype, precision):
    """Channels to transform as one complex signal, of equal shifts; None where `lane_fourier` would not do.

    The errors of one channel of a pair reach the other one: in float32, they must be of similar size.
    """
    if traces.dtype != dtype or dtype not in ("float32", "int16") or not np.isfinite(shifts).all():
        return None
    spread = np.zeros(traces.shape[1])
    if precision == "float32":
        sums, squares = _moments(as_kernel_array(traces))
        squares /= len(traces)
        spread = np.sqrt(np.maximum(squares - (sums / len(traces)) ** 2, 0.0))
        size = np.sqrt(squares)
        if not np.isfinite(squares).all() or (size > LARGE_OFFSET * np.maximum(spread, 1e-30)).any(
            where=size > 0
        ):
            return None
    pairs = []
    for shift in np.unique(shifts):
        waiting: list[int] = []
        for channel in np.flatnonzero(shifts == shift).tolist():
            # neighbours, so that they are read together
            other = next((one for one in waiting if _alike(spread[one], spread[channel])), None)
            if other is None:
                waiting.append(channel)
            else:
                waiting.remove(other)
                pairs.append((other, channel))
        pairs += [(one, one) for one in waiting]
    return np.array(sorted(pairs), dtype="int64")


def _alike(one, other) -> bool:
    """Whether the errors of one channel are small for another one, too."""
    return bool(max(one, other) <= 0.25 * LARGE_OFFSET * min(one, other))


@numba.njit(nogil=True, cache=True)
def _moments(traces):
    """Sum, and sum of squares, of each channel."""
    sums, squares = np.zeros(traces.shape[1]), np.zeros(traces.shape[1])
    for sample in range(unsigned(traces.shape[0])):
        for channel in range(unsigned(traces.shape[1])):
            value = np.float64(traces[sample, channel])
            sums[channel] += value
            squares[channel] += value * value
    return sums, squares


def _has_large_offset(traces) -> bool:
    some = traces[::OFFSET_STEP].astype("float64")
    with np.errstate(invalid="ignore", over="ignore"):
        return bool((np.abs(some.mean(axis=0)) > LARGE_OFFSET * some.std(axis=0)).any())


def _shift_block(block, distinct, which):
    from scipy.fft import irfft, rfft

    length = len(block)
    spectrum = rfft(block, axis=0, overwrite_x=True)
    rotations_of = (
        _rotations if spectrum.shape[0] * len(distinct) <= REMEMBERED_VALUES else _rotations.__wrapped__
    )
    rotations = rotations_of(length, tuple(distinct.tolist()), spectrum.dtype.name)[:, which]
    np.multiply(spectrum, rotations, out=spectrum)
    return irfft(spectrum, n=length, axis=0, overwrite_x=True)


@lru_cache(4)
def _rotations(length, shifts, dtype):
    angles = 2 * np.pi * np.fft.rfftfreq(length)[:, None] * np.asarray(shifts)[None, :]
    return np.exp(-1j * angles).astype(dtype)
