r"""Whether a unit is refractory, and whether two units are one: two tests of a correlogram.

They are those of Pachitariu et al. 2024 (Nature Methods, "Refractory auto-correlograms and cross-correlograms"), on
bins of 1 ms from -500 to 500 ms around which spikes coincide. Of the ``k`` bins at each side of the centre,
:math:`n_k` is the number of coincidences and :math:`\lambda_k = 2 k B` what is expected at the baseline rate *B*:

* **Q**, the ratio of coincidences: :math:`Q = \min_k n_k / \lambda_k`, an estimate of the contamination;
* **R**, the Poisson probability: :math:`R = \min_k \Phi\big((n_k - \lambda_k) / \sqrt{\lambda_k}\big)`, how likely so
  few coincidences are by chance. It speaks where there are too few spikes for Q to mean anything.

Both must lie below their thresholds: 0.2 and 0.2 for the autocorrelogram of one unit, 0.25 and 0.05 for the
cross-correlogram of two. The paper calls the ratio :math:`R_{12}` and the probability :math:`Q_{12}`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REACH = 500
"""Bins of 1 ms at each side of the centre."""
CENTRAL = 10
"""At most so many of them may be refractory."""
SHOULDERS = ((11, 50), (250, REACH))
"""Bins, first and last, that tell the baseline rate: the largest mean over one of these, at either side."""
AUTO_THRESHOLDS = (0.2, 0.2)
"""Of Q and R, below which a unit is refractory."""
CROSS_THRESHOLDS = (0.25, 0.05)
"""Of Q and R, below which two units are refractory to each other, as pieces of one neuron are."""
# as in the paper: keeps the square root of nothing finite
TINY = 1e-10


@dataclass(frozen=True)
class RefractoryTest:
    """Both tests of one correlogram.

    Attributes
    ----------
    q : float
        Ratio of coincidences in the refractory period to those expected at the baseline rate; 0 is clean, 1 is chance.
        NaN where there is no baseline.
    r : float
        Poisson probability of so few coincidences; NaN where there is no baseline.
    q_threshold, r_threshold : float
        What they must stay below.
    """

    q: float
    r: float
    q_threshold: float
    r_threshold: float

    @property
    def refractory(self) -> bool:
        """Whether both lie below their thresholds."""
        return bool(self.q < self.q_threshold and self.r < self.r_threshold)

    def __repr__(self) -> str:
        word = "refractory" if self.refractory else "not refractory"
        return (
            f"RefractoryTest: {word}; Q {self.q:.3f} (below {self.q_threshold:g}), "
            f"R {self.r:.3g} (below {self.r_threshold:g})"
        )


def correlogram(
    samples: np.ndarray, sampling_frequency: float, others: np.ndarray | None = None
) -> np.ndarray:
    """Count the spikes of one unit, or of another, around each spike of a unit.

    SpikeInterface's `compute_correlograms` counts them, in bins of half a millisecond that are joined around the
    centre.

    Parameters
    ----------
    samples : ndarray of int, shape (num_spikes,)
        Spike times of a unit, in samples.
    sampling_frequency : float
        In Hz.
    others : ndarray of int, or None, default: None
        Spike times of another unit. None: the unit's own.

    Returns
    -------
    counts : ndarray of int, shape (1001,)
        Of the bins of 1 ms from -500 to 500 ms; the bin in the middle is centred on 0, and of one unit holds no spike
        with itself.
    """
    from spikeinterface.core import NumpySorting
    from spikeinterface.postprocessing import compute_correlograms

    trains = {0: np.sort(samples)} if others is None else {0: np.sort(samples), 1: np.sort(others)}
    if any(train.size == 0 for train in trains.values()):
        return np.zeros(2 * REACH + 1, dtype="int64")
    sorting = NumpySorting.from_unit_dict([trains], sampling_frequency)
    # a few bins more, as whole samples in a bin can make it a little shorter than asked for
    counts, _ = compute_correlograms(sorting, window_ms=2.2 * REACH, bin_ms=0.5, fast_mode="off")
    # SpikeInterface's own lag is that of the first unit behind the second
    halves = counts[0, 0] if others is None else counts[1, 0]
    middle = halves.size // 2
    centred = halves[middle - 2 * REACH - 1 : middle + 2 * REACH + 1]
    joined: np.ndarray = centred.reshape(-1, 2).sum(axis=1)
    return joined


def refractory_test(counts: np.ndarray, thresholds: tuple[float, float] = AUTO_THRESHOLDS) -> RefractoryTest:
    """Compute Q and R of a correlogram.

    Parameters
    ----------
    counts : ndarray, shape (1001,)
        As of `correlogram`.
    thresholds : tuple of float, default: (0.2, 0.2)
        Of Q and R: those of one unit's autocorrelogram; (0.25, 0.05) for a cross-correlogram.

    Returns
    -------
    test : RefractoryTest
    """
    from scipy.special import erf

    counts = np.asarray(counts, dtype="float64")
    if counts.shape != (2 * REACH + 1,):
        raise ValueError(
            f"refractory_test: counts has shape {counts.shape}; allowed: ({2 * REACH + 1},), of correlogram"
        )
    before, after = counts[REACH::-1], counts[REACH:]
    baseline = max(side[first : last + 1].mean() for side in (before, after) for first, last in SHOULDERS)
    if baseline == 0:
        return RefractoryTest(float("nan"), float("nan"), *thresholds)
    # the bin in the middle is left out: two detections of one spike fall there
    found = np.cumsum(before[1 : CENTRAL + 1] + after[1 : CENTRAL + 1])
    expected = 2.0 * np.arange(1, CENTRAL + 1) * baseline
    below = 0.5 * (1.0 + erf((found - expected) / np.sqrt(TINY + 2.0 * expected)))
    return RefractoryTest(float((found / expected).min()), float(below.min()), *thresholds)
