"""Events near each other in time: pairs of two lists, such as detected and true spikes, and refractory periods."""

import numba
import numpy as np


def near_pairs(samples, channels, other_samples, other_channels, locations, max_samples, max_um):
    """List the pairs of events of two lists that are near in time and space.

    The others (num_other,) are ordered by sample; `locations` (num_channels, 2) are in um. Pairs differ by
    `max_samples` in time and `max_um` at most. Returns indices into the one and the other list, ordered by the first.
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


@numba.njit(nogil=True, cache=True)
def outside_refractory(samples: np.ndarray, groups: np.ndarray, period: int) -> np.ndarray:
    """Keep each event that comes at least a period after the last one kept in its group.

    `samples` rise within each of the `groups`, such as channels, whose events stand together; both int64. With a
    period of 0 samples all are kept. Returns bool (num_events,).
    """
    kept = np.zeros(samples.size, dtype=np.bool_)
    last = 0
    for event in range(samples.size):
        fresh = event == 0 or groups[event] != groups[event - 1]
        if fresh or samples[event] - last >= period:
            kept[event] = True
            last = samples[event]
    return kept
