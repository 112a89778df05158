"""Positions of spikes by comparison with templates on a fine grid."""

import math

import numba
import numpy as np

from steadyspike.kernels.spikes.contact_features import checked_channels

# among so few fits a rank is found by partition
FEW = 48
# fits that crowd together are left to the partition after so many
MOST_HALVINGS = 12


def locate_on_grid(spikes, channels, columns, locations, prototype, grids, percentile=5.0):
    """Average the positions of the templates that fit each spike best.

    With ``w`` the waveform of contact ``c`` and ``p`` the prototype, the contact's size is
    ``g_c = sum_s w_s p_s``, and the fit of a template with weights ``W_c`` is ``sum_c W_c g_c``. Of all fits of
    a spike (every plane and grid point near its main channel) that are not negative, those at or above the
    ``100 - percentile`` percentile (with linear interpolation) count; the position is the mean of the grid
    points, and of the values of the planes, weighted by their fits.

    A contact whose size is NaN or infinite counts as silent. A spike that fits no template is placed on
    its main channel, with the smallest value of the planes as z.

    `spikes` are `spike_samples.SpikeSamples`. `columns`, of the shape of ``grids.contacts``, are those of their
    channels that belong to these, ``grids.contacts`` itself in traces and dense waveforms; a contact with a negative
    column is silent.
    `prototype` (num_samples,) is the expected waveform, `grids` what `local_grids.build_local_grids` returns,
    `percentile` that of the best fits that count, 0 (the best alone) to 100 (all that are not negative); for the
    others see `steadyspike.kernels.spikes`. Returns x, y and z in um, float64 (num_spikes, 3), always finite.

    Raises `ValueError` for a `prototype` of another length than the waveforms, columns or main channels that do not
    exist, or a `percentile` outside 0 to 100.
    """
    channels = checked_channels(channels, spikes.starts.size, grids.grid_index)
    prototype = np.ascontiguousarray(prototype, dtype=np.float64)
    if prototype.shape != (spikes.num_samples,):
        raise ValueError(f"prototype has shape {prototype.shape}; allowed is ({spikes.num_samples},)")
    if columns.shape != grids.contacts.shape or columns.max(initial=-1) >= spikes.num_channels:
        raise ValueError(
            f"columns has shape {columns.shape} and goes up to {columns.max(initial=-1)}; allowed is "
            f"{grids.contacts.shape} and up to {spikes.num_channels - 1}"
        )
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile is {percentile}; allowed is 0 to 100")
    # every spike starts on its main channel, and stays there if it fits no template
    located = np.empty((channels.size, 3))
    located[:, :2] = np.asarray(locations)[channels]
    located[:, 2] = grids.planes.min()
    columns = np.ascontiguousarray(columns, dtype=np.int64)
    rank = float((100 - percentile) / 100)
    where = (spikes.flat, spikes.stride, spikes.step, spikes.starts)
    _locate(*where, channels, columns, prototype, grids, rank, False, located)
    return located


def locate_snippets_on_grid(flat, stride, starts, channels, locations, prototype, grids, rank, located):
    """Locate spikes as `locate_on_grid` does, wherever their samples are.

    Samples are `flat`, with sample ``s`` of spike ``i`` on channel ``c`` at ``flat[starts[i] + s * stride + c]``;
    `channels` are the main ones, int64 as `starts`; `locations` and `prototype` are float64. `rank` is the share of
    the fits, 0 to 1, below the smallest that counts. `located` (num_spikes, 3), float64, is filled with x, y and z in
    um; zero for a spike that fits no template, and for one with a size that is not finite.
    """
    located[:, :2] = locations[channels]
    located[:, 2] = np.nan
    _locate(flat, stride, 1, starts, channels, grids.contacts, prototype, grids, rank, True, located)
    located[np.isnan(located[:, 2])] = 0.0


@numba.njit(nogil=True, cache=True)
def _locate(flat, stride, step, starts, channels, columns, prototype, grids, rank, strict, located):
    products = np.empty(columns.shape[1])
    sums = np.empty(grids.planes.size * grids.sizes[:, 1].max())
    fits, scratch = np.empty(sums.size, np.float32), np.empty((2, sums.size), np.float32)
    for i in range(starts.size):
        grid = grids.grid_index[channels[i]]
        rows, points = grids.sizes[grid, 0], grids.sizes[grid, 1]
        listed = columns[channels[i], :rows]
        if not _project(flat, stride, step, starts[i], listed, prototype, strict, products):
            continue
        _weigh_products(products, rows, points, grids, grid, sums)
        size = grids.planes.size * points
        for j in range(size):
            # adding zero turns the -0.0, to which a very small negative sum is rounded, into a plain zero
            fits[j] = np.float32(sums[j]) + np.float32(0.0)
        threshold = _threshold(fits[:size], rank, scratch)
        _average(fits, threshold, grids, grid, located[i])


@numba.njit(nogil=True, cache=True)
def _project(flat, stride, step, start, columns, prototype, strict, products):
    """Project each contact on the prototype; return whether any is not silent (and, if `strict`, all are finite)."""
    largest = 0.0
    for k in range(columns.size):
        total = 0.0
        if columns[k] >= 0:
            first = start + columns[k] * step
            for s in range(prototype.size):
                total += np.float64(flat[first + s * stride]) * prototype[s]
        if not math.isfinite(total):
            if strict:
                return False
            total = 0.0
        products[k] = total
        largest = max(largest, abs(products[k]))
    # a power of two changes no digit, and keeps the float32 fits of any recording in range
    _, exponent = math.frexp(largest)
    for k in range(columns.size):
        products[k] = math.ldexp(products[k], -exponent)
    return largest > 0.0


@numba.njit(nogil=True, cache=True)
def _weigh_products(products, rows, points, grids, grid, sums):
    sums[: grids.planes.size * points] = 0.0
    start, first_row = grids.starts[grid, 0], grids.starts[grid, 1]
    for k in range(rows):
        for plane in range(grids.planes.size):
            first, last = grids.spans[first_row + k, plane, 0], grids.spans[first_row + k, plane, 1]
            target = sums[plane * points + first : plane * points + last]
            _add_scaled(target, products[k], grids.weights[start + first : start + last])
            start += points


@numba.njit(nogil=True, cache=True)
def _add_scaled(target, factor, values):
    for t in range(target.size):
        target[t] += factor * values[t]


@numba.njit(nogil=True, cache=True)
def _threshold(fits, rank, scratch):
    """Percentile of the fits that are not negative, as `numpy.nanpercentile` interpolates it."""
    count = _count_from(fits, np.float32(0.0))
    if rank <= 0.0 or count == 0:
        return np.float32(0.0)
    position = (count - 1) * rank
    below = int(position)
    low, high = _neighbouring_ranks(fits, count - below, count, scratch)
    share = position - below
    # in float32 as numpy does, for fits that tie but for the last digit
    if share >= 0.5:
        return high - (high - low) * np.float32(1.0 - share)
    return low + (high - low) * np.float32(share)


@numba.njit(nogil=True, cache=True)
def _neighbouring_ranks(fits, wanted, count, scratch):
    """Return the fit of rank `wanted` from the top, and the one ranked above it.

    Counting takes a tenth of the time of a partition, so the rank is closed in by counting first.
    """
    lowest, highest = np.float32(0.0), _largest(fits)
    from_highest = _count_from(fits, highest)
    if wanted <= from_highest:
        return highest, highest
    for _ in range(MOST_HALVINGS):
        if count - from_highest <= FEW:
            break
        middle = np.float32(0.5) * (lowest + highest)
        from_middle = _count_from(fits, middle)
        if from_middle >= wanted:
            lowest, count = middle, from_middle
        else:
            highest, from_highest = middle, from_middle
    inside = np.int64(0)
    for j in range(fits.size):
        scratch[0, inside] = fits[j]
        inside += (fits[j] >= lowest) & (fits[j] < highest)
    low, high = _select(scratch, inside, inside - (wanted - from_highest))
    if high == np.inf:
        for j in range(fits.size):
            if fits[j] >= highest:
                high = min(high, fits[j])
    return low, high


@numba.njit(nogil=True, cache=True)
def _count_from(fits, lowest):
    # a counter as wide as the values, or the loop runs a tenth as fast
    count = np.int32(0)
    for j in range(fits.size):
        count = np.int32(count + np.int32(fits[j] >= lowest))
    return np.int64(count)


@numba.njit(nogil=True, cache=True)
def _largest(fits):
    """Return the largest fit, if any is not negative: such floats are ordered as their bits are."""
    bits = fits.view(np.int32)
    top, where = bits[0], 0
    for j in range(bits.size):
        top = max(top, bits[j])
    while bits[where] != top:
        where += 1
    return fits[where]


@numba.njit(nogil=True, cache=True)
def _select(scratch, count, k):
    """Value of rank `k` of the first row and the next higher one, or infinity; partitions without branches."""
    source, above = 0, np.float32(np.inf)
    while True:
        values, target = scratch[source], scratch[1 - source]
        pivot = _middle(values[0], values[count // 2], values[count - 1])
        less = equal = 0
        for j in range(count):
            target[less] = values[j]
            less += values[j] < pivot
            equal += values[j] == pivot
        if k < less:
            above, count = pivot, less
        elif k + 1 < less + equal:
            return pivot, pivot
        else:
            more = 0
            for j in range(count):
                target[more] = values[j]
                more += values[j] > pivot
            if k < less + equal:
                for j in range(more):
                    above = min(above, target[j])
                return pivot, above
            k, count = k - less - equal, more
        source = 1 - source


@numba.njit(nogil=True, cache=True)
def _middle(a, b, c):
    return max(min(a, b), min(max(a, b), c))


# the terms are finite and not negative, so that their order, which fastmath frees, moves only the last digit
@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _average(fits, threshold, grids, grid, located):
    """Move from the main channel to the mean of the templates at or above the threshold."""
    points, start = grids.sizes[grid, 1], grids.starts[grid, 2]
    total = x = y = z = 0.0
    for plane in range(grids.planes.size):
        plane_total = plane_x = plane_y = 0.0
        for t in range(points):
            fit = fits[plane * points + t]
            fit = np.float64(fit if fit >= threshold else np.float32(0.0))
            plane_total += fit
            plane_x += fit * grids.offsets[0, start + t]
            plane_y += fit * grids.offsets[1, start + t]
        total += plane_total
        x += plane_x
        y += plane_y
        z += plane_total * grids.planes[plane]
    if total > 0.0:
        located[0] += x / total
        located[1] += y / total
        located[2] = z / total
