"""`whiten`: the estimation of its matrix, and its product with traces."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from spikeinterface.core import get_channel_distances

from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.replacements.filters import check_channels, check_rounding
from steadyspike.integration.acceleration.threads import over_ranges
from steadyspike.kernels.channels.banded_weights import (
    BandWeights,
    apply_like_dense,
    band_weights,
    order_of_pattern,
)
from steadyspike.kernels.channels.column_statistics import column_medians

# Samples times channels that stay in the cache from the conversion to the rounding.
BLOCK_VALUES = 64_000
THREAD_SAMPLES = 2000
# Local matrices that are decomposed together.
TOGETHER = 64
SMALLEST_EPS = 1e-16

# Above this many channels BLAS is faster for a matrix of which the blocks hold more than this fraction.
FEW_CHANNELS = 192
DENSE_FRACTION = 0.4
BLAS_SAMPLES = 512

# The matrix of a segment, and its blocks (None: left to BLAS)
_bands: WeakKeyDictionary[Any, tuple[np.ndarray, str, BandWeights | None]] = WeakKeyDictionary()


@replaces(
    "spikeinterface.preprocessing.whiten",
    "WhitenRecordingSegment.get_traces",
    name="whiten",
    sources=("b35b2cd5f334a897", "1b6997692847bc7e"),
    helpers=("WhitenRecordingSegment.__init__",),
)
def whitened_traces(self: Any, start_frame: int, end_frame: int, channel_indices: Any) -> np.ndarray:
    """Do what `WhitenRecordingSegment.get_traces` does.

    Covered: matrices and traces whose product SpikeInterface calculates in float32 or float64.
    """
    matrix, means, dtype = np.asarray(self.W), self.M, np.dtype(self.dtype)
    check_rounding(dtype)
    check_channels(channel_indices)
    # a matrix whose band is known has been checked
    known = _bands.get(self, (None,))[0] is self.W
    if matrix.ndim != 2 or not (known or np.isfinite(matrix).all()):
        raise NotCoveredError("W that is not a matrix of finite numbers")
    if means is not None and np.size(means) != len(matrix):
        raise NotCoveredError("M of a size other than the number of channels")
    traces = self.parent_recording_segment.get_traces(start_frame, end_frame, slice(None))
    if traces.dtype.kind not in "iuf" or traces.shape[1] != len(matrix):
        raise NotCoveredError(f"samples of {traces.dtype} in {traces.shape[1]} channels")
    kind = np.dtype("float32") if traces.dtype.kind == "u" else traces.dtype
    if means is not None:
        means = np.asarray(means).reshape(1, -1)
        kind = np.result_type(kind, means.dtype)
    precision = np.result_type(kind, matrix.dtype)
    if precision not in ("float32", "float64"):
        raise NotCoveredError(f"products of {kind} and {matrix.dtype}")
    rows = _rows(channel_indices, matrix.shape[1])
    band = _band(self, matrix, precision.name)
    num_rows = matrix.shape[1] if rows is None else len(rows)
    whitened = np.empty((len(traces), num_rows), dtype=dtype)
    finish = _finisher(self.int_scale, dtype)
    directly = finish is None and precision == dtype
    dense = matrix.astype(precision, copy=False)

    def work(start: int, stop: int) -> None:
        if band is not None and directly and means is None:
            apply_like_dense(traces[start:stop], band, lambda: dense, rows, whitened[start:stop])
            return
        size = 1 + BLOCK_VALUES // len(matrix) if band is not None else BLAS_SAMPLES
        for first in range(start, stop, size):
            some = traces[first : min(first + size, stop)]
            if means is not None:
                some = np.subtract(some, means, dtype=kind)
            target = whitened[first : first + len(some)]
            product = target if directly else np.empty((len(some), num_rows), dtype=precision)
            if band is None:
                np.matmul(
                    some.astype(precision, copy=False), dense if rows is None else dense[:, rows], out=product
                )
            else:
                apply_like_dense(some, band, lambda: dense, rows, product)
            if not directly:
                target[:] = product if finish is None else finish(product)

    over_ranges(work, len(traces), THREAD_SAMPLES)
    return whitened


def _rows(channel_indices: Any, num_rows: int) -> np.ndarray | None:
    """Rows of the result; None for all of them."""
    if isinstance(channel_indices, slice) and channel_indices == slice(None):
        return None
    if channel_indices is None:
        raise NotCoveredError("channel_indices=None")
    return np.arange(num_rows)[channel_indices]


def _finisher(int_scale: float | None, dtype: np.dtype) -> Any:
    """What is done to the product, in its place, before it is converted; None if nothing."""
    rounded = dtype.kind in "iu"
    if int_scale is None and not rounded:
        return None

    def finish(product: np.ndarray) -> np.ndarray:
        if int_scale is not None:
            product *= int_scale
        return np.rint(product, out=product) if rounded else product

    return finish


def _band(segment: Any, matrix: np.ndarray, precision: str) -> BandWeights | None:
    """Blocks of the matrix, those of before if there are any; None for a dense one."""
    remembered = _bands.get(segment)
    if remembered is not None and remembered[0] is segment.W and remembered[1] == precision:
        return remembered[2]
    weights = matrix.T
    order = None
    if weights.shape[0] == weights.shape[1] and not weights.all():
        order = order_of_pattern((weights != 0) | (weights.T != 0))
    band: BandWeights | None = band_weights(weights, np.arange(len(weights)), order, precision)
    if len(matrix) > FEW_CHANNELS and band is not None and band.matrix.size > DENSE_FRACTION * matrix.size:
        band = None
    _bands[segment] = segment.W, precision, band
    return band


@replaces(
    "spikeinterface.preprocessing.whiten",
    "compute_whitening_matrix",
    name="whiten",
    sources=("3b09d56234856169",),
    helpers=("compute_whitening_from_covariance",),
    also_in=("spikeinterface.preprocessing.preprocessing_classes", "spikeinterface.preprocessing"),
)
def whitening_matrix(
    recording: Any,
    mode: str,
    random_chunk_kwargs: dict[str, Any],
    apply_mean: bool,
    radius_um: float | None = None,
    eps: float | None = None,
    regularize: bool = False,
    regularize_kwargs: dict[str, Any] | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Do what `compute_whitening_matrix` does.

    Covered: everything; the covariance, and a regularization by scikit-learn, are SpikeInterface's own.
    """
    from spikeinterface.preprocessing.whiten import (
        compute_covariance_matrix,
        compute_whitening_from_covariance,
    )

    if mode not in ("global", "local") or (mode == "local" and radius_um is None):
        raise NotCoveredError(f"mode={mode!r} with radius_um={radius_um}")
    data, covariance, means = compute_covariance_matrix(
        recording, apply_mean, regularize, regularize_kwargs, random_chunk_kwargs
    )
    if eps is None:
        eps = _suitable_eps(data)
    if mode == "global":
        return compute_whitening_from_covariance(covariance, eps), means
    return _local_matrix(covariance, get_channel_distances(recording) <= radius_um, eps), means


def _suitable_eps(data: np.ndarray) -> float:
    """Fraction 1e-3 of the median of the squares, where that is below 1: found only in that case."""
    size = 1 + BLOCK_VALUES // data.shape[1]
    blocks = (data[start : start + size] for start in range(0, len(data), size))
    if sum(np.count_nonzero(some * some < 1) for some in blocks) <= (data.size - 1) // 2:
        return SMALLEST_EPS
    median = column_medians((data * data).reshape(-1, 1))[0]
    return max(SMALLEST_EPS, median * 1e-3) if 0 < median < 1 else SMALLEST_EPS


def _local_matrix(covariance: np.ndarray, near: np.ndarray, eps: float) -> np.ndarray:
    """Column by column, from the channels near one; as many decompositions at a time as have the same size."""
    size = len(covariance)
    matrix = np.zeros((size, size), dtype="float32")
    counts = near.sum(axis=1)
    for count in np.unique(counts):
        channels = np.flatnonzero(counts == count)
        for first in range(0, len(channels), TOGETHER):
            some = channels[first : first + TOGETHER]
            members = np.nonzero(near[some])[1].reshape(len(some), count)
            left, values, right = np.linalg.svd(covariance[members[:, :, None], members[:, None, :]])
            own = left[members == some[:, None]]
            rows = (own * (1 / np.sqrt(values + eps)))[:, None, :] @ right
            matrix[members, some[:, None]] = rows[:, 0]
    return matrix
