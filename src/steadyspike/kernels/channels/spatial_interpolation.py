"""Traces where the contacts would be without motion: the time bins and the weights.

A contact at position `x` of a probe that has moved sees the tissue which, without motion, is seen from
another place. For each time bin the traces are therefore read at *target* positions (the contacts, moved by
the displacement of that bin) by weighting the *source* traces (the contacts as they are):

    corrected[t, i] = sum_j weights[i, j] * traces[t, j]

The weights depend on the displacement only, and fall off within a few contacts. `DisplacementWeights`
therefore remembers them, without the negligible ones, in the form that `banded_weights.apply_weights`
multiplies with traces.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np

from steadyspike.kernels.channels.banded_weights import (
    DROPPED_FRACTION,
    BandWeights,
    band_weights,
    drop_small,
    narrow_order,
)

METHODS = ("kriging", "idw", "nearest")

STILL_UM = 1e-3
REMEMBERED_DISPLACEMENTS = 32
# Variance added on the diagonal before the inverse, in units of a contact's variance.
NUGGET = 1e-6


def bin_edges(centers) -> np.ndarray:
    """Edges of time bins: halfway between neighbouring centers, and the first and last center themselves."""
    centers = np.asarray(centers, dtype="float64")
    return np.concatenate([centers[:1], 0.5 * (centers[1:] + centers[:-1]), centers[-1:]])


def bin_runs(times, edges) -> list[tuple[int, int, int]]:
    """Find the runs of samples, (start, end, bin) in their order, that fall into one time bin.

    Bin `b` holds `edges[b] <= time < edges[b + 1]`; times outside belong to the first or last bin.
    """
    if len(times) == 0:
        return []
    if (times[1:] >= times[:-1]).all():
        return _runs_of_increasing(times, edges)
    bins = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, len(edges) - 2)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(bins)) + 1])
    ends = np.append(starts[1:], len(times))
    return list(zip(starts.tolist(), ends.tolist(), bins[starts].tolist(), strict=True))


def _runs_of_increasing(times, edges) -> list[tuple[int, int, int]]:
    """Look for the few edges among the times, instead of for each time among the edges."""
    first, last = np.clip(np.searchsorted(edges, times[[0, -1]], side="right") - 1, 0, len(edges) - 2)
    inner = np.searchsorted(times, edges[first + 1 : last + 1], side="left")
    borders = [0, *inner.tolist(), len(times)]
    runs = zip(borders[:-1], borders[1:], range(first, last + 1), strict=True)
    return [(start, end, int(time_bin)) for start, end, time_bin in runs if start < end]


def suitable_sigma(positions) -> float:
    """Length scale of Gaussian kriging for a layout: 20 um, or three quarters of the pitch of sparser contacts.

    Of lengths from 15 to 120 um these lose least of the footprint of a monopolar source moved by up to 15 um
    (`waveform_loss`): 0.07 % of the energy on Neuropixels 2.0, 0.6 % on 1.0, 2.3 % on contacts 50 um apart.
    """
    if len(positions) < 2:
        return 20.0
    return max(20.0, 0.75 * float(np.median(distance_to_nearest(positions))))


def distance_to_nearest(positions: np.ndarray) -> np.ndarray:
    """Distance of each position, (num_positions, num_dimensions), to its nearest neighbour; infinite for one alone."""
    from scipy.spatial import KDTree

    return KDTree(positions).query(positions, k=2)[0][:, 1]


def distances_between(positions, other_positions) -> np.ndarray:
    """Euclidean distances, shape (num_positions, num_other_positions)."""
    from scipy.spatial.distance import cdist

    return cdist(positions, other_positions)


def covariance(positions, other_positions, sigma_um, p) -> np.ndarray:
    """Covariance of the traces at two sets of positions (number, num_dimensions), `exp(-(distance / sigma_um) ** p)`.

    With one length scale per dimension: `exp(-sum_d (|difference_d| / sigma_um[d]) ** p)`. The exponent 1 is
    exponential, 2 Gaussian.
    """
    if np.isscalar(sigma_um):
        return np.exp(-((distances_between(positions, other_positions) / sigma_um) ** p))
    exponent = np.zeros((len(positions), len(other_positions)))
    for dimension, sigma in enumerate(sigma_um):
        difference = positions[:, dimension, None] - other_positions[None, :, dimension]
        exponent += (np.abs(difference) / sigma) ** p
    return np.exp(-exponent)


def inverse_covariance(positions, sigma_um, p) -> np.ndarray:
    """Inverse of the contacts' covariance, the part of kriging that no displacement changes."""
    noisy_covariance = covariance(positions, positions, sigma_um, p) + NUGGET * np.eye(len(positions))
    return np.linalg.pinv(noisy_covariance, hermitian=True)


def is_inside(sources, targets, margin_um=0.0) -> np.ndarray:
    """Whether each target lies in the box spanned by the sources, or no further than a margin from it."""
    low, high = sources.min(axis=0) - margin_um, sources.max(axis=0) + margin_um
    return ((targets >= low) & (targets <= high)).all(axis=1)


def normalize_rows(weights, rows) -> np.ndarray:
    """Divide the chosen rows by their sum, in place; a row without any weight stays zero."""
    sums = weights.sum(axis=1)
    rows = rows & (sums != 0)
    weights[rows] /= sums[rows, None]
    return weights


def kriging_weights(sources, targets, inverse, sigma_um, p, sparse_thresh=None) -> np.ndarray:
    """Kriging, `covariance(targets, sources) @ inverse`, rows of sum 1 for targets inside the sources' box.

    `sources` and `targets` (num, num_dimensions) are positions in um, `inverse` is what `inverse_covariance` returns,
    for `sigma_um` and `p` see `covariance`. Weights below `sparse_thresh` (negative ones too) become 0 before the rows
    are normalized. Returns float64 (num_targets, num_sources); rows of targets outside keep their sum, which falls to
    0 with the distance.

    References
    ----------
    .. [1] Pachitariu, M., Sridhar, S., Pennington, J., Stringer, C. (2024). Spike sorting with Kilosort4.
       Nature Methods 21, 914-921.
    """
    weights = covariance(targets, sources, sigma_um, p) @ inverse
    if sparse_thresh is not None:
        weights[weights < sparse_thresh] = 0.0
    return normalize_rows(weights, is_inside(sources, targets))


def closest_sources(sources, targets, num_closest) -> tuple[np.ndarray, np.ndarray]:
    """Return the closest sources of each target, nearest first, and their distances: (num_targets, num_closest)."""
    distances = distances_between(sources, targets)
    closest = np.argsort(distances, axis=0)[:num_closest]
    return closest.T, np.take_along_axis(distances, closest, axis=0).T


def idw_weights(sources, targets, num_closest) -> np.ndarray:
    """Inverse distance weights of the `num_closest` sources, sum 1; a source on the target counts alone."""
    closest, distances = closest_sources(sources, targets, num_closest)
    nearest = distances[:, :1]
    # relative to the nearest, because 1 / distance overflows for the tiniest distances
    closeness = np.divide(nearest, distances, out=np.zeros_like(distances), where=nearest > 0)
    closeness[nearest[:, 0] == 0, 0] = 1.0
    weights = np.zeros((len(targets), len(sources)))
    np.put_along_axis(weights, closest, closeness, axis=1)
    return normalize_rows(weights, np.ones(len(targets), dtype=bool))


def nearest_weights(sources, targets) -> np.ndarray:
    """Weight 1 on the nearest source of each target."""
    weights = np.zeros((len(targets), len(sources)))
    weights[np.arange(len(targets)), np.argmin(distances_between(sources, targets), axis=0)] = 1.0
    return weights


@dataclass(eq=False)
class DisplacementWeights:
    """Sparse weights for any displacement of the contacts, the latest of them remembered.

    `dropped_fraction` tells `drop_small` what is negligible. A contact beyond the outermost ones by no more than
    `still_um` has not left them: smoothing, and files, leave such errors of rounding.

    `positions` (num_channels, num_dimensions) of the contacts are in um, and move along `dimension`; `targets` are the
    contacts whose traces are wanted. For the methods and what they take see `kriging_weights`, `idw_weights` and
    `nearest_weights`; without `extrapolate`, targets outside the box of the contacts have no weights at all. `dtype`
    is float32 or float64.
    """

    positions: np.ndarray
    dimension: int
    method: str
    sigma_um: float | Sequence[float]
    p: float
    num_closest: int
    sparse_thresh: float | None
    extrapolate: bool
    targets: np.ndarray
    dtype: np.dtype

    dropped_fraction: ClassVar[float] = DROPPED_FRACTION
    still_um: ClassVar[float] = STILL_UM

    def __post_init__(self):
        self.dtype = np.dtype(self.dtype)
        # lru_cache is safe under threads: at worst two of them compute the same weights
        self._remembered: Callable = lru_cache(REMEMBERED_DISPLACEMENTS)(self._compute)

    @cached_property
    def _order(self):
        return narrow_order(self.positions)

    @cached_property
    def _inverse(self):
        return inverse_covariance(self.positions, self.sigma_um, self.p)

    def at(self, displacement_um) -> BandWeights:
        """Weights that read the traces at `positions + displacement_um`.

        `displacement_um` (num_channels,) is that of each contact along `dimension`.
        """
        return self._remembered(np.asarray(displacement_um, dtype="float64").tobytes())

    def moved(self, displacement_um) -> np.ndarray:
        """Positions of the targets, moved."""
        moved = self.positions.copy()
        moved[:, self.dimension] += displacement_um
        return moved[self.targets]

    def dense(self, displacement_um) -> np.ndarray:
        """All weights, shape (num_targets, num_channels), float64."""
        moved = self.moved(displacement_um)
        if self.method == "kriging":
            weights = kriging_weights(
                self.positions, moved, self._inverse, self.sigma_um, self.p, self.sparse_thresh
            )
        elif self.method == "idw":
            weights = idw_weights(self.positions, moved, self.num_closest)
        else:
            weights = nearest_weights(self.positions, moved)
        if not self.extrapolate:
            weights[~is_inside(self.positions, moved, self.still_um)] = 0.0
        return weights

    def _compute(self, displacement_bytes):
        weights = drop_small(self.dense(np.frombuffer(displacement_bytes)), self.dropped_fraction)
        return band_weights(weights, self.targets, self._order, self.dtype)
