"""How well detected peaks agree with true spikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steadyspike.kernels.spikes.event_pairs import near_pairs


@dataclass(frozen=True)
class DetectionScores:
    """Scores of a detection.

    Attributes
    ----------
    precision, recall, f1 : float
        Of detected peaks that are true spikes; of true spikes that are detected; their harmonic mean. 0 where there
        is nothing to count.
    num_true, num_detected, num_matched : int
        True spikes that count; peaks that count; pairs of them.
    """

    precision: float
    recall: float
    f1: float
    num_true: int
    num_detected: int
    num_matched: int


def score_detection(
    peaks: np.ndarray,
    samples: np.ndarray,
    channels: np.ndarray,
    locations: np.ndarray,
    *,
    counts: np.ndarray | None = None,
    max_samples: int = 12,
    max_um: float = 60.0,
) -> DetectionScores:
    """Match peaks and true spikes one to one, as many as can be, and count what is left over on either side.

    Parameters
    ----------
    peaks : ndarray
        Detected; fields "sample_index" and "channel_index"; of one segment.
    samples, channels : ndarray, shape (num_spikes,)
        Trough and main channel of each true spike.
    locations : ndarray, shape (num_channels, 2)
        Contact positions in um.
    counts : ndarray of bool or None, default: None
        Which true spikes count. A peak that matches one that does not, because it is too small to be asked for, is
        neither right nor wrong. None: all count.
    max_samples, max_um : int and float, default: 12, 60.0
        How far a peak may be from the spike it is matched to.

    Returns
    -------
    scores : DetectionScores
    """
    counts = np.ones(len(samples), dtype=bool) if counts is None else np.asarray(counts, dtype=bool)
    order = np.argsort(peaks["sample_index"], kind="stable")
    detected = peaks[order]
    partner = _match(samples[counts], channels[counts], detected, locations, max_samples, max_um)
    left = np.setdiff1d(np.arange(len(detected)), partner)
    spare = _match(samples[~counts], channels[~counts], detected[left], locations, max_samples, max_um)
    num_true, num_matched = int(counts.sum()), int((partner >= 0).sum())
    num_detected = len(detected) - int((spare >= 0).sum())
    both = num_true + num_detected
    return DetectionScores(
        precision=num_matched / num_detected if num_detected else 0.0,
        recall=num_matched / num_true if num_true else 0.0,
        f1=2 * num_matched / both if both else 0.0,
        num_true=num_true,
        num_detected=num_detected,
        num_matched=num_matched,
    )


def _match(
    samples: np.ndarray,
    channels: np.ndarray,
    detected: np.ndarray,
    locations: np.ndarray,
    max_samples: int,
    max_um: float,
) -> np.ndarray:
    """Give each spike the index of its peak, or -1: a largest one-to-one matching."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    pairs = near_pairs(
        samples, channels, detected["sample_index"], detected["channel_index"], locations, max_samples, max_um
    )
    shape = (len(samples), len(detected))
    if 0 in shape:
        return np.full(len(samples), -1)
    graph = csr_matrix((np.ones(pairs[0].size, dtype=bool), pairs), shape=shape)
    partner: np.ndarray = maximum_bipartite_matching(graph, perm_type="column")
    return partner
