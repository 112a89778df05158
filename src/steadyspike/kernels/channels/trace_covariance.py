"""Covariance of traces between contacts as a function of the vector from one to the other.

Spikes that many contacts share make traces covary over tens of um; noise does so over less. Both are described by a
mixture of Matern covariances, which is positive definite on any layout and at any distance, so that it also tells the
covariance with a place where no contact is:

    C(across, along) = sum_k weight_k * M(sqrt((across / width_k)^2 + (along / height_k)^2)),
    M(r) = (1 + r + r^2 / 3) exp(-r)

where `along` runs in the direction in which the contacts move.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from steadyspike.kernels.channels.column_statistics import MEDIAN_DEVIATION, column_median_deviations

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
# From so many spikes the covariances that are the same everywhere are known.
GENERAL_SPIKES = 2000
# What lies this close to a spike is not noise.
QUIET_MS = 1.0
# Time from one sample whose products are summed to the next.
SAMPLING_MS = 0.1
# Channels whose covariances are found together.
CHANNELS_PER_BLOCK = 48


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


def noise_between(noise: Mixture, positions, dimension, levels) -> np.ndarray:
    """Covariance of the noise between contacts (num_channels, num_channels), of these levels."""
    across, along = separations(positions, dimension)
    return (noise.at(across, along) + noise.own * np.eye(len(positions))) * np.outer(levels, levels)


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


def fit_mixture(covariance, counts, across, along, own=False) -> Mixture | None:
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
    mixture : Mixture or None
        Of variance 1 at distance 0; None where the covariance is positive at no distance.
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
        return None
    weights, alone = (solution[:-1], solution[-1]) if own else (solution, 0.0)
    used = weights > 0
    return Mixture(lengths[used], weights[used] / total, float(alone / total))


class TraceMoments:
    """Covariances of traces around spikes and between them, of contacts near each other, added up chunk by chunk.

    Parameters
    ----------
    positions : array (num_channels, num_dimensions)
        Of the contacts, in um.
    dimension : int
        Along which most contacts lie.
    sampling_frequency : float
        In Hz.
    tissue : TissueMoments or None
        Gets the traces, and which of them are in spikes, too.
    """

    def __init__(self, positions, dimension, sampling_frequency, tissue=None):
        from scipy.spatial import KDTree

        tree = KDTree(positions)
        self.neighbors = _padded(tree.query_ball_point(positions, NEIGHBOR_UM))
        self.seen_from = _padded(tree.query_ball_point(positions, SPIKE_RADIUS_UM))
        self.blocks = []
        order = np.argsort(positions[:, dimension], kind="stable")
        for block in np.array_split(order, np.ceil(len(order) / CHANNELS_PER_BLOCK)):
            near = tree.query_ball_point(positions[block], FARTHEST_UM * np.sqrt(2))
            self.blocks.append((block, np.unique(np.concatenate(near)).astype(int)))
        self.per_ms = sampling_frequency / 1000.0
        shape = (len(positions), len(positions))
        self.sums = {name: np.zeros(shape) for name in ("spikes", "noise")}
        self.counts = {name: np.zeros(shape) for name in ("spikes", "noise")}
        self.tissue = tissue
        self.num_spikes = self.num_samples = 0

    def add(self, traces, displacement_um=None) -> None:
        """Add traces (num_samples, num_channels), one sample at least; what is not finite counts as silence.

        `displacement_um` (num_channels,) is that of the tissue around each contact, for `tissue`.
        """
        traces = np.nan_to_num(traces.astype("float32"), nan=0.0, posinf=0.0, neginf=0.0)
        medians, deviations = column_median_deviations(traces)
        traces -= medians
        self.num_samples += len(traces)
        frames, channels = self._peaks(traces, deviations / MEDIAN_DEVIATION)
        self.num_spikes += len(frames)
        before, after, quiet = (round(self.per_ms * ms) for ms in (BEFORE_MS, AFTER_MS, QUIET_MS))
        spikes, noise = np.zeros(traces.shape, dtype="float32"), np.ones(traces.shape, dtype="float32")
        for frame, channel in zip(frames, channels, strict=True):
            seen = self.seen_from[channel]
            spikes[max(0, frame - before) : frame + after, seen] = 1.0
            noise[max(0, frame - before - quiet) : frame + after + quiet, seen] = 0.0
        # neighboring samples tell the same
        step = max(1, round(self.per_ms * SAMPLING_MS))
        if self.num_spikes - len(frames) < GENERAL_SPIKES:
            self._add_products(traces[::step], dict(spikes=spikes[::step], noise=noise[::step]))
        if self.tissue is not None:
            self.tissue.add(traces[::step], spikes[::step] > 0, displacement_um)

    def _add_products(self, traces, masks) -> None:
        for name, mask in masks.items():
            chosen = traces * mask
            for block, near in self.blocks:
                place = np.ix_(block, near)
                self.sums[name][place] += chosen[:, block].T @ chosen[:, near]
                self.counts[name][place] += mask[:, block].T @ mask[:, near]

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Covariance of the spikes, without that of the noise, and of the noise."""
        spikes, noise = (self.sums[name] / np.maximum(self.counts[name], 1) for name in ("spikes", "noise"))
        return spikes - noise, noise

    def _peaks(self, traces, levels) -> tuple[np.ndarray, np.ndarray]:
        """Frames and channels of spikes, of either sign: largest in time and among the neighbors."""
        size = np.abs(traces) / np.where(levels > 0, levels, np.inf)
        frames, channels = np.nonzero(size >= DETECT_THRESHOLD)
        reach = round(self.per_ms * SWEEP_MS / 2)
        window = np.arange(-reach, reach + 1)
        # its own channel first, which leaves few to be held against all neighbors
        for others in (np.arange(size.shape[1])[:, np.newaxis], self.neighbors):
            around = np.clip(frames[:, np.newaxis] + window, 0, len(size) - 1)
            largest = size[around[:, :, np.newaxis], others[channels][:, np.newaxis]].max(
                axis=(1, 2), initial=0.0
            )
            kept = size[frames, channels] >= largest
            frames, channels = frames[kept], channels[kept]
        return frames, channels


def _padded(lists) -> np.ndarray:
    """Lists of indices as rows of one array, the shorter ones filled up with their first."""
    longest = max(map(len, lists))
    return np.array([[*indices, *[indices[0]] * (longest - len(indices))] for indices in lists])
