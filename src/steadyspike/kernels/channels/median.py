"""Common reference: subtract, sample by sample, the median or the mean of a set of channels.

Medians are exact. Those of large sets are counted (`counted_medians`), many samples at a time; small sets of channels
take the comparator networks of `small_sets` instead.
"""

import numba
import numpy as np

from steadyspike.kernels.channels.counted_medians import subtract_medians, workspace
from steadyspike.kernels.channels.small_sets import BLOCK, pack_networks, subtract_small_sets, write_rows
from steadyspike.kernels.lanes import memory
from steadyspike.kernels.lanes.arrays import as_kernel_array, one_range, unsigned

# above this size counting is faster than a comparator network
LARGEST_SMALL_SET = 48
# largest set whose members are counted in 16 bits
MOST_COUNTED = 32_767
# samples that are worth a thread
FEWEST_SAMPLES = 1024


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
            work_in = workspace(traces.shape[1], max(sizes), len(sizes), traces.dtype)
            subtract_medians(part, sets, columns, work_in, target)

    over_ranges(work, len(traces), FEWEST_SAMPLES, BLOCK)
    return referenced.astype(dtype, copy=False)


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
