"""Weights that read traces elsewhere with the least error, at a noise level that does not change.

For each target, a place where no contact need be, the weights `w` of the contacts `x` around it minimize the expected
error of the signal while the noise keeps its level:

    min_w E |s_target - w x|^2   with   w N w = v^2 n^2   gives   w = k (K + lambda N)^-1,

where `K` and `N` are the covariances of signal and noise between the contacts, `k` that of the signal between the
target and the contacts, `n` the noise level of the target's own channel, and `v` the share of it that is kept, the same
for all targets and times. `lambda` is found for each target: the closer it lies to a contact, the more is smoothed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from threadpoolctl import threadpool_limits

from steadyspike.kernels.channels.banded_weights import (
    DROPPED_FRACTION,
    BandWeights,
    band_weights,
    drop_small,
    narrow_order,
)
from steadyspike.kernels.channels.spatial_interpolation import STILL_UM, is_inside
from steadyspike.kernels.channels.trace_covariance import Mixture, separations

# Contacts that share in one target; farther ones have no weight worth keeping.
CONTACTS_PER_TARGET = 40
# Range of lambda, the noise's share, relative to signal of variance 1 and noise of mean variance 1.
SMALLEST_SHARE, LARGEST_SHARE = 1e-4, 1.0
BISECTIONS = 24
# Noise that a target keeps, as a share of its own channel's. Less would blur spikes; where more is to be had, it varies
# with the displacement, and so would thresholds and whitening.
KEPT_LEVEL = 0.95
# A channel noisier than those around it can't keep so much when it moves: it gets the mean over these displacements.
DISPLACEMENTS_TRIED = 9
REMEMBERED_DISPLACEMENTS = 32


class WienerWeights:
    """Weights for any displacement of the contacts, the latest of them remembered; see `DisplacementWeights`.

    Parameters
    ----------
    positions : array (num_channels, num_dimensions)
        Contact positions in um.
    dimension : int
        Along which the contacts move.
    signal, noise : Mixture
        Covariances of variance 1.
    levels : array (num_channels,)
        Noise level of each channel, relative to their mean.
    targets : array of int
        Contacts whose traces are wanted.
    dtype : dtype
        Of the weights, float32 or float64.
    extrapolate : bool
        False gives targets outside the box of the contacts no weights at all.
    """

    dropped_fraction = DROPPED_FRACTION

    # the matrices are small: on a busy machine threads of BLAS would wait for one another, ten times as long
    @threadpool_limits.wrap(limits=1, user_api="blas")
    def __init__(
        self, positions, dimension, signal: Mixture, noise: Mixture, levels, targets, dtype, extrapolate=True
    ):
        from scipy.spatial import KDTree

        self.positions, self.dimension = positions, dimension
        self.signal = signal
        self.targets, self.extrapolate, self.dtype = targets, extrapolate, np.dtype(dtype)
        self.order, self.tree = narrow_order(positions), KDTree(positions)
        number = min(CONTACTS_PER_TARGET, len(positions))
        self.sources = self.tree.query(positions, k=np.arange(1, number + 1))[1]
        # between the contacts around each, and not between all: thousands of contacts are as many of these
        across, along = separations(positions[self.sources], dimension)
        near = levels[self.sources]
        covariance = signal.at(across, along)
        noise_covariance = noise.at(across, along) + noise.own * np.eye(number)
        noise_covariance *= near[:, :, None] * near[:, None, :]
        root = np.linalg.inv(np.linalg.cholesky(noise_covariance))
        self.spectrum, vectors = np.linalg.eigh(root @ covariance @ root.transpose(0, 2, 1))
        # from covariances with the contacts to coordinates in which both covariances are diagonal, and back
        self.whiten = root.transpose(0, 2, 1) @ vectors
        self.wanted = np.minimum(KEPT_LEVEL * levels, self._mean_level()) ** 2
        # lru_cache is safe under threads: at worst two of them compute the same weights
        self._remembered = lru_cache(REMEMBERED_DISPLACEMENTS)(self._compute)

    def at(self, displacement_um) -> BandWeights:
        """Weights that read the traces at `positions + displacement_um`, (num_channels,) in um."""
        return self._remembered(np.asarray(displacement_um, dtype="float64").tobytes())

    def dense(self, displacement_um) -> np.ndarray:
        """All weights, shape (num_targets, num_channels), float64."""
        return self._spread(*self._weights(displacement_um))

    def _weights(self, displacement_um) -> tuple[np.ndarray, np.ndarray]:
        """Contacts around each target, and their weights; both (num_targets, contacts)."""
        moved = self._moved(self.targets, np.asarray(displacement_um)[self.targets])
        sources, coordinates, spectrum, whiten = self._in_view(moved)
        share = shares(coordinates, spectrum, self.wanted[self.targets])
        weights = np.einsum("tk,tck->tc", coordinates / (spectrum + share[:, None]), whiten)
        if not self.extrapolate:
            weights[~is_inside(self.positions, moved, STILL_UM)] = 0.0
        return sources, weights

    def _spread(self, sources, weights) -> np.ndarray:
        everywhere = np.zeros((len(self.targets), len(self.positions)))
        np.put_along_axis(everywhere, sources, weights, axis=1)
        return everywhere

    def _in_view(self, moved):
        """Contacts around each target, and the target's covariance with them, in diagonal coordinates."""
        center = self.tree.query(moved)[1]
        sources = self.sources[center]
        across, along = separations(moved[:, None], self.dimension, self.positions[sources])
        whiten = self.whiten[center]
        covariance = self.signal.at(across[:, 0], along[:, 0])
        return sources, np.einsum("tc,tck->tk", covariance, whiten), self.spectrum[center], whiten

    def _mean_level(self) -> np.ndarray:
        """Noise of each channel with the least smoothing, a mean over places around it within the probe."""
        depths = np.unique(self.positions[:, self.dimension])
        pitch = np.median(np.diff(depths)) if len(depths) > 1 else 0.0
        levels, counts = np.zeros(len(self.positions)), np.zeros(len(self.positions))
        for displacement in np.linspace(-pitch, pitch, DISPLACEMENTS_TRIED):
            moved = self._moved(np.arange(len(self.positions)), displacement)
            inside = is_inside(self.positions, moved)
            _, coordinates, spectrum, _ = self._in_view(moved)
            level = np.sqrt(((coordinates / (spectrum + SMALLEST_SHARE)) ** 2).sum(axis=1))
            levels += np.where(inside, level, 0.0)
            counts += inside
        return levels / counts

    def _moved(self, targets, displacement_um) -> np.ndarray:
        moved = self.positions[targets].copy()
        moved[:, self.dimension] += displacement_um
        return moved

    def _compute(self, displacement_bytes):
        sources, weights = self._weights(np.frombuffer(displacement_bytes))
        weights = self._spread(sources, drop_small(weights, self.dropped_fraction))
        return band_weights(weights, self.targets, self.order, self.dtype)


def shares(coordinates, spectrum, wanted) -> np.ndarray:
    """Share of the noise with which each target has the wanted noise variance, as near as the range allows."""
    low = np.full(len(wanted), np.log(SMALLEST_SHARE))
    # a stretch of large units needs more of it than a signal of variance 1
    high = np.log(LARGEST_SHARE * np.maximum(1.0, spectrum.max(axis=1, initial=1.0)))
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        variance = ((coordinates / (spectrum + np.exp(middle)[:, None])) ** 2).sum(axis=1)
        loud = variance > wanted
        low, high = np.where(loud, middle, low), np.where(loud, high, middle)
    return np.exp(0.5 * (low + high))
