"""Weights that form a band along the probe, as small dense blocks, and their product with traces.

A channel of corrected traces needs a few source channels around it. A general sparse product would gather
these one by one, or transpose the traces; instead, neighbouring rows of weights share one dense block over
the sources that any of them needs, and BLAS multiplies it with a few hundred samples at a time, which stay in
the processor's cache. Channels in an order that scatters neighbours are brought into a better one first.
"""

from typing import NamedTuple

import numpy as np

# Weights are dropped, smallest first, while those dropped in a row sum to less than this (or than this
# fraction of the row): a product then moves by less than this fraction of the largest sample it sums.
DROPPED_FRACTION = 1e-6
# Rows of a block: fewer read the sources more often, more hold more zeros.
BLOCK_ROWS = 32
# Samples * rows * sources up to which BLAS multiplies without packing its operands (measured with OpenBLAS).
UNPACKED_PRODUCT = 600_000
# Contacts closer than this many pitches count as neighbours when the channels are ordered.
NEIGHBOUR_PITCHES = 5
# Reordering copies the traces twice: only done if it leaves less than this fraction of the products.
WORTH_REORDERING = 0.6


class Block(NamedTuple):
    """Dense piece of the weights: some neighbouring rows, and the neighbouring sources that they need."""

    sources: slice
    rows: slice
    matrix: np.ndarray


class BandWeights(NamedTuple):
    """Weights as dense blocks along a band.

    `order` are the channels in the order in which the band is narrow (None: as they are), `columns[i]` is the
    place of row `i` among the rows in that order, and `block_samples` the samples to work on at once.
    """

    order: np.ndarray | None
    columns: np.ndarray
    blocks: list[Block]
    block_samples: int


def drop_small(weights, dropped_fraction=DROPPED_FRACTION) -> np.ndarray:
    """Set the smallest weights of each row to 0, in place, and return the weights.

    Parameters
    ----------
    weights : array (num_targets, num_sources)
        Finite weights.
    dropped_fraction : float, default: 1e-6
        The dropped weights of a row sum, in absolute value, to at most this fraction of 1 or of the row's
        absolute sum, whichever is smaller.
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
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee
    from scipy.spatial.distance import cdist

    distances = cdist(positions, positions)
    neighbour = min(1, len(positions) - 1)
    pitch = np.median(np.partition(distances, neighbour, axis=1)[:, neighbour])
    near = distances <= NEIGHBOUR_PITCHES * pitch
    order = reverse_cuthill_mckee(csr_array(near), symmetric_mode=True)
    as_they_are = sum(block.matrix.size for block in cut_into_blocks(near, "bool"))
    reordered = sum(block.matrix.size for block in cut_into_blocks(near[order][:, order], "bool"))
    return order if reordered < WORTH_REORDERING * as_they_are else None


def cut_into_blocks(weights, dtype) -> list[Block]:
    """Cut weights of shape (num_rows, num_sources) into blocks of a few rows, without most of the zeros."""
    blocks = []
    for first in range(0, len(weights), BLOCK_ROWS):
        rows = slice(first, min(first + BLOCK_ROWS, len(weights)))
        used = np.flatnonzero(weights[rows].any(axis=0))
        sources = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1)
        blocks.append(Block(sources, rows, np.ascontiguousarray(weights[rows, sources].T, dtype=dtype)))
    if 2 * sum(block.matrix.size for block in blocks) > weights.size:
        whole = slice(0, len(weights)), np.ascontiguousarray(weights.T, dtype=dtype)
        return [Block(slice(0, weights.shape[1]), *whole)]
    return blocks


def band_weights(weights, targets, order, dtype) -> BandWeights:
    """Bring weights into blocks.

    Parameters
    ----------
    weights : array (num_targets, num_channels)
        With zeros where there is nothing to add.
    targets : array of int (num_targets,)
        Channel of each row.
    order : array of int (num_channels,) or None
        As returned by `narrow_order`.
    dtype : dtype
        float32 or float64.
    """
    columns = np.arange(len(targets))
    if order is not None:
        row_order = np.argsort(np.argsort(order)[targets])
        columns = np.argsort(row_order)
        weights = weights[row_order][:, order]
    blocks = cut_into_blocks(weights, dtype)
    largest = max(block.matrix.size for block in blocks)
    block_samples = np.clip(UNPACKED_PRODUCT // largest // 64 * 64, 64, 512)
    return BandWeights(order, columns, blocks, int(block_samples))


def multiply(traces, blocks, corrected) -> None:
    """Write the product of traces and weights, block by block."""
    with np.errstate(invalid="ignore", over="ignore"):
        for sources, rows, matrix in blocks:
            np.matmul(traces[:, sources], matrix, out=corrected[:, rows])


def multiply_not_finite(traces, blocks, corrected) -> None:
    """Write the product where `traces` may hold NaN or infinity: NaN wherever one of them has a weight."""
    finite = np.isfinite(traces)
    multiply(np.where(finite, traces, 0), blocks, corrected)
    touched = np.empty_like(corrected)
    has_weight = [block._replace(matrix=(block.matrix != 0).astype(corrected.dtype)) for block in blocks]
    multiply((~finite).astype(corrected.dtype), has_weight, touched)
    corrected[touched > 0] = np.nan


def apply_weights(traces, weights, rows, corrected) -> None:
    """Write `corrected[t, i] = sum_j weights[rows[i], j] * traces[t, j]`.

    A NaN or infinite sample makes NaN of the rows that keep a weight on its channel, and changes no other
    row.

    Parameters
    ----------
    traces : array (num_samples, num_channels)
        Of any number type.
    weights : BandWeights
        In the type of `corrected`.
    rows : array of int (num_rows,) or None
        Rows of the weights to write; None writes all.
    corrected : array (num_samples, num_rows)
        float32 or float64, C-contiguous; overwritten.
    """
    size, dtype, order = weights.block_samples, corrected.dtype, weights.order
    read_directly = order is None and traces.dtype == dtype and traces.flags.c_contiguous
    write_directly = order is None and rows is None
    columns = weights.columns if rows is None else weights.columns[rows]
    source = np.zeros((size, traces.shape[1]), dtype=dtype)
    result = np.empty((size, len(weights.columns)), dtype=dtype)
    for first in range(0, len(traces), size):
        chunk, target = traces[first : first + size], corrected[first : first + size]
        # every product is of one size, so that a sample's last digit does not depend on where a chunk begins
        is_full = len(chunk) == size
        if not (read_directly and is_full):
            source[: len(chunk)] = chunk if order is None else np.take(chunk, order, axis=1)
            source[len(chunk) :] = 0
        block_in = chunk if read_directly and is_full else source
        block_out = target if write_directly and is_full else result
        multiply(block_in, weights.blocks, block_out)
        # NaN or infinity reaches all rows of a block, be it as 0 * NaN, so that one row of each tells
        if not np.isfinite(block_out[:, ::BLOCK_ROWS].sum()):
            multiply_not_finite(block_in, weights.blocks, block_out)
        if block_out is result:
            target[:] = result[: len(chunk)] if write_directly else result[: len(chunk), columns]
