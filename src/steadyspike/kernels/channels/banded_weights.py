"""Weights that form a band along the probe, in blocks of a few rows, and their product with traces.

A channel of corrected traces needs a few source channels around it. A general sparse product would gather
these for each row; instead, as many neighbouring rows as a vector register holds share the sources that any
of them needs, and the sums of a few samples stay in registers until all sources are added. The sources of a
row are added in the order of the channels, whatever the sample and the block, so that a sample's last digit
depends neither on where a chunk begins nor on the processor. BLAS promises neither.
"""

from typing import NamedTuple

import numba
import numpy as np

from steadyspike.kernels.lanes.lanes import (
    TILE_LANES,
    add_scaled,
    load_lanes,
    num_lanes,
    store_tile,
    zero_tile,
)

# Weights are dropped, smallest first, while those dropped in a row sum to less than this (or than this
# fraction of the row): a product then moves by less than this fraction of the largest sample it sums.
DROPPED_FRACTION = 1e-6
# Samples times channels to cast and multiply at once, which stay in the processor's cache.
CHUNK_VALUES = 64_000
# Contacts closer than this many pitches count as neighbours when the channels are ordered.
NEIGHBOUR_PITCHES = 5
# Rows in another order are written one by one: only done if it leaves less than this fraction of the products.
WORTH_REORDERING = 0.6

# Unsigned indices spare the compiled loops a test for indices counted from the end.
unsigned = np.uint64


class BandWeights(NamedTuple):
    """Weights in blocks of `num_lanes` rows, the last one filled up with zeros.

    `rows` are the rows in the order of the blocks. Block `b` needs the channels
    `sources[starts[b] : starts[b + 1]]`; `matrix[s]` are the weights of its rows on channel `sources[s]`.
    """

    rows: np.ndarray
    starts: np.ndarray
    sources: np.ndarray
    matrix: np.ndarray


def drop_small(weights, dropped_fraction=DROPPED_FRACTION) -> np.ndarray:
    """Set the smallest weights of each row to 0, in place, and return the weights.

    Those that are dropped sum, in absolute value, to at most this fraction of 1 or of the row's absolute sum, whichever
    is smaller.
    """
    magnitudes = np.abs(weights)
    ascending = np.sort(magnitudes, axis=1)
    sums = np.cumsum(ascending, axis=1)
    num_dropped = (sums <= dropped_fraction * np.minimum(sums[:, -1:], 1.0)).sum(axis=1)
    last = np.minimum(num_dropped, weights.shape[1] - 1)
    smallest_kept = np.take_along_axis(ascending, last[:, None], axis=1)
    weights[magnitudes < smallest_kept] = 0.0
    return weights


def narrow_order(positions) -> np.ndarray | None:
    """Order of the contacts that brings neighbours close together; None if they are well ordered already."""
    from scipy.spatial.distance import cdist

    distances = cdist(positions, positions)
    neighbour = min(1, len(positions) - 1)
    pitch = np.median(np.partition(distances, neighbour, axis=1)[:, neighbour])
    return order_of_pattern(distances <= NEIGHBOUR_PITCHES * pitch)


def order_of_pattern(near) -> np.ndarray | None:
    """Order of channels that brings those together that are `near`; None if they are well ordered already."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    order = reverse_cuthill_mckee(csr_array(near), symmetric_mode=True)
    channels = np.arange(len(near))
    as_they_are, reordered = (
        len(band_weights(near, channels, some_order, "float32").sources) for some_order in (None, order)
    )
    return order if reordered < WORTH_REORDERING * as_they_are else None


def band_weights(weights, targets, order, dtype) -> BandWeights:
    """Bring weights (num_targets, num_channels), whose rows belong to the channels `targets`, into blocks.

    `order` is that of `narrow_order`, `dtype` float32 or float64.
    """
    lanes = num_lanes(dtype)
    row_order = np.arange(len(targets)) if order is None else np.argsort(np.argsort(order)[targets])
    rows, sources, matrices = [], [], []
    for first in range(0, len(targets), lanes):
        # increasing within a block: rows that are neighbours are then written at once
        block_rows = np.sort(row_order[first : first + lanes])
        used = np.flatnonzero(weights[block_rows].any(axis=0))
        matrix = np.zeros((len(used), lanes), dtype=dtype)
        matrix[:, : len(block_rows)] = weights[np.ix_(block_rows, used)].T
        rows.append(block_rows)
        sources.append(used)
        matrices.append(matrix)
    starts = np.cumsum([0] + [len(used) for used in sources])
    return BandWeights(
        np.concatenate(rows).astype(unsigned),
        starts.astype(unsigned),
        np.concatenate(sources).astype(unsigned),
        np.concatenate(matrices),
    )


@numba.njit(nogil=True, cache=True)
def _multiply(traces, num_channels, rows, starts, sources, matrix, lanes, tile, corrected):
    """Write the product of traces and weights; all arrays are flat. Return whether it is finite.

    NaN or infinity reaches all rows of a block, be it as 0 * NaN, so that one row of each tells.
    """
    # one sample of each cache line first: in order, memory delivers faster than in the order of the blocks
    total = traces.dtype.type(0)
    for at in range(unsigned(0), unsigned(traces.size), lanes):
        total += traces[at]
    finite = np.isfinite(total)
    num_rows, one, height = unsigned(rows.size), unsigned(1), unsigned(TILE_LANES)
    num_samples = unsigned(corrected.size) // num_rows
    for block in range(unsigned(starts.size) - one):
        first = block * lanes
        count = min(lanes, num_rows - first)
        together = count == lanes and rows[first + lanes - one] - rows[first] == lanes - one
        for begin in range(unsigned(0), num_samples, height):
            # the last tile ends with the last sample, and may repeat some of the one before
            t = min(begin, num_samples - height)
            sums = zero_tile(matrix)
            for source in range(starts[block], starts[block + one]):
                weights = load_lanes(matrix, source * lanes)
                sums = add_scaled(sums, weights, traces, t * num_channels + sources[source], num_channels)
            if together:
                store_tile(corrected, t * num_rows + rows[first], num_rows, sums)
            else:
                store_tile(tile, unsigned(0), lanes, sums)
                for s in range(height):
                    for i in range(count):
                        corrected[(t + s) * num_rows + rows[first + i]] = tile[s * lanes + i]
            for s in range(height):
                finite &= np.isfinite(corrected[(t + s) * num_rows + rows[first]])
    return finite


def multiply(traces, weights, corrected) -> bool:
    """Write the product of traces and weights, all C-contiguous and of one type; return whether it is finite."""
    lanes = num_lanes(corrected.dtype)
    num_samples = len(traces)
    if num_samples < TILE_LANES:
        repeated = np.minimum(np.arange(TILE_LANES), num_samples - 1)
        product = np.empty((TILE_LANES, corrected.shape[1]), dtype=corrected.dtype)
        finite = multiply(traces[repeated], weights, product)
        corrected[:] = product[:num_samples]
        return finite
    # always read-only, as files are, so that the kernel is not compiled a second time for what is writable
    flat = traces.reshape(-1)
    flat.flags.writeable = False
    finite: bool = _multiply(
        flat,
        unsigned(traces.shape[1]),
        weights.rows,
        weights.starts,
        weights.sources,
        weights.matrix.reshape(-1),
        unsigned(lanes),
        np.empty(TILE_LANES * lanes, dtype=corrected.dtype),
        corrected.reshape(-1),
    )
    return finite


def multiply_not_finite(traces, weights, corrected) -> None:
    """Write the product where `traces` may hold NaN or infinity: NaN wherever one of them has a weight."""
    finite = np.isfinite(traces)
    multiply(np.where(finite, traces, 0), weights, corrected)
    has_weight = weights._replace(matrix=(weights.matrix != 0).astype(corrected.dtype))
    touched = np.empty_like(corrected)
    multiply((~finite).astype(corrected.dtype), has_weight, touched)
    corrected[touched > 0] = np.nan


def apply_weights(traces, weights, rows, corrected, not_finite=multiply_not_finite) -> None:
    """Write `corrected[t, i] = sum_j weights[rows[i], j] * traces[t, j]`.

    By default a NaN or infinite sample makes NaN of the rows that keep a weight on its channel, and changes no
    other row.

    `traces` (num_samples, num_channels) are of any number type; `weights` are in the type of `corrected` (num_samples,
    num_rows), float32 or float64, C-contiguous, which is overwritten. `rows` are the rows of the weights to write,
    None all. `not_finite(traces, weights, product)` overwrites the product where NaN or infinity has reached any row.
    """
    dtype = corrected.dtype
    size = 1 + CHUNK_VALUES // traces.shape[1]
    for first in range(0, len(traces), size):
        chunk = np.ascontiguousarray(traces[first : first + size], dtype=dtype)
        target = corrected[first : first + size]
        product = target if rows is None else np.empty((len(chunk), len(weights.rows)), dtype=dtype)
        if not multiply(chunk, weights, product):
            not_finite(chunk, weights, product)
        if rows is not None:
            target[:] = product[:, rows]


def apply_like_dense(traces, weights, dense, rows, corrected) -> None:
    """Write what `apply_weights` does, but NaN and infinite samples as a product with all weights has them.

    There 0 times NaN is NaN: in every row, whatever its weight.

    Arguments are those of `apply_weights`; `dense` returns all weights, (num_channels, num_all_rows), in the type of
    `corrected`, and is called only if needed.
    """

    def not_finite(some, weights, product):
        bad = ~np.isfinite(some).all(axis=1)
        product[bad] = some[bad] @ dense()

    apply_weights(traces, weights, rows, corrected, not_finite)
    silent = np.setdiff1d(np.arange(traces.shape[1]), weights.sources)
    if silent.size and traces.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(traces[:, silent]).all(axis=1))
        if bad.size:
            product = traces[bad].astype(corrected.dtype) @ dense()
            corrected[bad] = product if rows is None else product[:, rows]
