"""Covariance of traces between contacts as a function of the vector from one to the other.

Spikes that many contacts share make traces covary over tens of um; noise does so over less. Both are described by a
mixture of Matern covariances, which is positive definite on any layout and at any distance, so that it also tells the
covariance with a place where no contact is:

    C(across, along) = sum_k weight_k * M(sqrt((across / width_k)^2 + (along / height_k)^2)),
    M(r) = (1 + r + r^2 / 3) exp(-r)

where `along` runs in the direction in which the contacts move.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

# Widths and heights that a mixture is made of, in um: from the sharpest footprint that is seen at 10 um from a cell to
# waves seen by many contacts; the ratio of the two is at most `LARGEST_RATIO`.
LENGTHS_UM = 5.0 * 2.0 ** np.arange(0, 4.5, 0.5)
LARGEST_RATIO = 2.1
# Pairs of contacts farther apart along or across tell nothing about interpolation.
FARTHEST_UM = 170.0
# A spike is a sample this many noise levels from zero, the largest within these times and distances.
DETECT_THRESHOLD = 5.0
SWEEP_MS = 0.6
NEIGHBOR_UM = 75.0
# Samples of a spike, and contacts that see it.
BEFORE_MS, AFTER_MS = 0.2, 0.4
SPIKE_RADIUS_UM = 150.0
# What lies this close to a spike is not noise.
QUIET_MS = 1.0


class Mixture(NamedTuple):
    """A covariance: `lengths_um` (num_parts, 2) across and along, `weights` (num_parts,), `own` only with itself."""

    lengths_um: np.ndarray
    weights: np.ndarray
    own: float = 0.0

    def at(self, across, along) -> np.ndarray:
        """Covariance of places so far apart, in um, without `own`."""
        covariance = np.zeros(np.broadcast_shapes(np.shape(across), np.shape(along)))
        for (width, height), weight in zip(self.lengths_um, self.weights, strict=True):
            covariance += weight * matern(np.hypot(across / width, along / height))
        return covariance


def matern(distance) -> np.ndarray:
    """Matern covariance of smoothness 5/2 at a distance in units of its length."""
    return (1.0 + distance * (1.0 + distance / 3.0)) * np.exp(-distance)


def separations(positions, dimension, others=None) -> tuple[np.ndarray, np.ndarray]:
    """Distances across and along `dimension` between positions and others (default: themselves)."""
    others = positions if others is None else others
    difference = positions[..., :, None, :] - others[..., None, :, :]
    along = np.abs(difference[..., dimension])
    across = np.sqrt(np.delete(difference**2, dimension, axis=-1).sum(axis=-1))
    return across, along


def fit_mixture(covariance, counts, across, along, own=False) -> Mixture:
    """Fit a mixture to a covariance matrix by non-negative least squares.

    Parameters
    ----------
    covariance : array (num_channels, num_channels)
        Of traces; pairs of the same separation are averaged.
    counts : array (num_channels, num_channels)
        How many samples each was found from: the weight of the pair.
    across, along : array (num_channels, num_channels)
        See `separations`.
    own : bool
        Whether traces have a part that they share with no other contact.

    Returns
    -------
    mixture : Mixture
        Of variance 1 at distance 0.
    """
    from scipy.optimize import nnls

    near = (across <= FARTHEST_UM) & (along <= FARTHEST_UM) & (counts > 0)
    keys = np.round(np.stack([across[near], along[near]], axis=1), 1)
    lags, group = np.unique(keys, axis=0, return_inverse=True)
    weight = np.bincount(group.ravel(), counts[near])
    mean = np.bincount(group.ravel(), (covariance * counts)[near]) / weight
    width, height = (grid.ravel() for grid in np.meshgrid(LENGTHS_UM, LENGTHS_UM))
    similar = np.maximum(width / height, height / width) <= LARGEST_RATIO
    lengths = np.stack([width[similar], height[similar]], axis=1)
    parts = [matern(np.hypot(lags[:, 0] / width, lags[:, 1] / height)) for width, height in lengths]
    if own:
        parts.append((lags == 0).all(axis=1).astype("float64"))
    importance = np.sqrt(weight / weight.sum())
    solution, _ = nnls(np.stack(parts, axis=1) * importance[:, None], mean * importance)
    total = solution.sum()
    if not total > 0:
        raise ValueError("the covariance is not positive at any distance")
    weights, alone = (solution[:-1], solution[-1]) if own else (solution, 0.0)
    used = weights > 0
    return Mixture(lengths[used], weights[used] / total, float(alone / total))


class TraceMoments:
    """Covariances of traces around spikes and between them, added up chunk by chunk.

    Parameters
    ----------
    positions : array (num_channels, num_dimensions)
        Of the contacts, in um.
    sampling_frequency : float
        In Hz.
    """

    def __init__(self, positions, sampling_frequency):
        from scipy.spatial.distance import cdist

        distances = cdist(positions, positions)
        self.neighbors = [np.flatnonzero(row <= NEIGHBOR_UM) for row in distances]
        self.seen_from = distances <= SPIKE_RADIUS_UM
        self.per_ms = sampling_frequency / 1000.0
        num_channels = len(positions)
        shape = (num_channels, num_channels)
        self.sums = {name: np.zeros(shape) for name in ("spikes", "noise")}
        self.counts = {name: np.zeros(shape) for name in ("spikes", "noise")}
        self.num_spikes = 0

    def add(self, traces) -> None:
        """Add a chunk of traces (num_samples, num_channels), longer than a few ms; channels with NaN count as silent."""
        traces = np.nan_to_num(traces - np.median(traces, axis=0), nan=0.0, posinf=0.0, neginf=0.0)
        traces = traces.astype("float32")
        spikes = self._around_spikes(traces)
        quiet = ~self._widened(spikes, self.per_ms * QUIET_MS, self.per_ms * QUIET_MS)
        for name, mask in (("spikes", spikes), ("noise", quiet)):
            chosen, ones = traces * mask, mask.astype("float32")
            self.sums[name] += chosen.T @ chosen
            self.counts[name] += ones.T @ ones

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Covariance of the spikes, without that of the noise, and of the noise."""
        spikes, noise = (self.sums[name] / np.maximum(self.counts[name], 1) for name in ("spikes", "noise"))
        return spikes - noise, noise

    def _around_spikes(self, traces) -> np.ndarray:
        from scipy.ndimage import maximum_filter1d

        levels = np.median(np.abs(traces), axis=0) / 0.6745
        size = np.abs(traces) / np.where(levels > 0, levels, np.inf)
        largest = maximum_filter1d(size, 2 * round(self.per_ms * SWEEP_MS / 2) + 1, axis=0)
        around = np.stack([largest[:, near].max(axis=1) for near in self.neighbors], axis=1)
        peaks = (size >= DETECT_THRESHOLD) & (size == around)
        self.num_spikes += int(peaks.sum())
        spread = (peaks.astype("float32") @ self.seen_from.astype("float32")) > 0
        return self._widened(spread, self.per_ms * BEFORE_MS, self.per_ms * AFTER_MS)

    @staticmethod
    def _widened(mask, before, after) -> np.ndarray:
        """Whether a mask holds within so many samples: set from `before` ahead of each true sample to `after` behind."""
        from scipy.ndimage import maximum_filter1d

        size = round(before) + round(after) + 1
        origin = (round(before) - round(after)) // 2
        return maximum_filter1d(mask.astype("uint8"), size, axis=0, origin=origin).astype(bool)


def sum_moments(positions, sampling_frequency, chunks: Iterable[np.ndarray]) -> TraceMoments:
    """Add up the moments of chunks of traces."""
    moments = TraceMoments(positions, sampling_frequency)
    for traces in chunks:
        moments.add(traces)
    return moments
