"""Refractory periods: which of many events of a channel count."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def outside_refractory(samples: np.ndarray, groups: np.ndarray, period: int) -> np.ndarray:
    """Keep each event that comes at least a period after the last one kept in its group.

    Parameters
    ----------
    samples : ndarray of int64, shape (num_events,)
        Rising within each group.
    groups : ndarray of int64, shape (num_events,)
        Events of one group, such as a channel, stand together.
    period : int
        In samples; with 0 all are kept.

    Returns
    -------
    kept : ndarray of bool, shape (num_events,)
    """
    kept = np.zeros(samples.size, dtype=np.bool_)
    last = 0
    for event in range(samples.size):
        fresh = event == 0 or groups[event] != groups[event - 1]
        if fresh or samples[event] - last >= period:
            kept[event] = True
            last = samples[event]
    return kept
