"""Which detected and which true spikes are near each other."""

import numpy as np


def near_pairs(samples, channels, other_samples, other_channels, locations, max_samples, max_um):
    """List the pairs of events of two lists that are near in time and space.

    Parameters
    ----------
    samples, channels : np.ndarray
        Of the events of one list, shape (num,).
    other_samples, other_channels : np.ndarray
        Of the other list, shape (num_other,), ordered by sample.
    locations : np.ndarray
        Contact positions, shape (num_channels, 2), in um.
    max_samples : int
        Largest difference in time.
    max_um : float
        Largest distance of the contacts, in um.

    Returns
    -------
    first, second : np.ndarray
        Indices into the one and the other list, ordered by the first.
    """
    samples, other_samples = np.asarray(samples, dtype=np.int64), np.asarray(other_samples, dtype=np.int64)
    start = np.searchsorted(other_samples, samples - max_samples, side="left")
    stop = np.searchsorted(other_samples, samples + max_samples, side="right")
    first = np.repeat(np.arange(samples.size), stop - start)
    # start[i], start[i] + 1, ..., stop[i] - 1 for each i in turn
    passed = np.cumsum(stop - start) - (stop - start)
    second = np.arange(first.size) - np.repeat(passed - start, stop - start)
    offsets = locations[np.asarray(channels)[first]] - locations[np.asarray(other_channels)[second]]
    near = np.linalg.norm(offsets, axis=1) <= max_um
    return first[near], second[near]
