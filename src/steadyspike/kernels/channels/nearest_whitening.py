"""Whitening of each channel from the nearest ones.

With the covariance of the channel c and its nearest ones, its eigenvectors U and eigenvalues d, the row of c is that
of the symmetric whitening matrix

    W = U diag(1 / sqrt(d + eps)) U'

so that a channel stays where it was as far as it can, and those far away, whose covariance a short recording does
not tell, have no part in it.
"""

import numpy as np


def nearest_channels(positions, number):
    """Indices (num_channels, number) of the nearest contacts of each, itself first; fewer where there are no more.

    `positions` (num_channels, num_dimensions) are in um; of contacts that are equally far, the first ones are taken.
    """
    number = min(number, len(positions))
    distances = ((positions[:, None] - positions[None]) ** 2).sum(axis=-1)
    # rounded: the last digit must not choose between contacts that are equally far
    distances = np.round(distances, 6)
    distances[np.diag_indices(len(positions))] = -1.0
    return np.argsort(distances, axis=1, kind="stable")[:, :number]


def nearest_whitening(covariance, neighbors, eps):
    """Whitening matrix, with which `traces @ matrix.T` is whitened.

    `covariance` (num_channels, num_channels) is of the traces, `neighbors` are those of `nearest_channels`, and `eps`
    is added to the eigenvalues, as a part of the mean variance. A silent channel has a row of zeros, and no part in
    those of others. Returns float64 (num_channels, num_channels).
    """
    num_channels = len(covariance)
    matrix = np.zeros((num_channels, num_channels))
    variances = np.diag(covariance)
    live = variances > 0
    added = eps * variances[live].mean() if live.any() else 0.0
    for channel in np.flatnonzero(live):
        near = neighbors[channel][live[neighbors[channel]]]
        values, vectors = np.linalg.eigh(covariance[np.ix_(near, near)])
        own = vectors[near == channel][0]
        matrix[channel, near] = (own / np.sqrt(np.maximum(values, 0.0) + added)) @ vectors.T
    return matrix
