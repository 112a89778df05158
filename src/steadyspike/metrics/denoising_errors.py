"""Losses and errors of denoised traces, gathered chunk by chunk."""

from __future__ import annotations

import numpy as np


class TraceLosses:
    r"""Losses of predicted traces, in units of the noise of each channel (`steadyspike.training.losses`).

    .. math:: L = \frac{1}{n} \sum_{t, c} \ell\left(\frac{y_c(t) - x_c(t)}{\sigma_c}\right)
    """

    def __init__(self) -> None:
        from steadyspike.training.losses import LOSSES

        self.sums = dict.fromkeys(LOSSES, 0.0)
        self.number = 0

    def add(self, apart: np.ndarray) -> None:
        """Take in differences in units of noise, ndarray of float32; those that are not finite are left out."""
        import torch

        from steadyspike.training.losses import LOSSES

        values = torch.from_numpy(apart[np.isfinite(apart)])
        for name, penalty in LOSSES.items():
            self.sums[name] += float(penalty(values).sum(dtype=torch.float64))
        self.number += values.numel()

    def means(self) -> dict[str, float]:
        """Return the mean of each loss; NaN of nothing."""
        return {name: total / self.number if self.number else np.nan for name, total in self.sums.items()}


class CleanErrors:
    r"""Errors against noise-free traces, in units of the noise of each channel: all, within spikes, and outside.

    .. math:: E = \sqrt{\frac{1}{n} \sum_{t, c} \left(\frac{y_c(t) - s_c(t)}{\sigma_c}\right)^2}

    Parameters
    ----------
    threshold : float
        Within spikes is where the noise-free traces are larger than this many times the noise.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.sums = np.zeros(2)
        self.numbers = np.zeros(2, "int64")

    def add(self, apart: np.ndarray, clean: np.ndarray) -> None:
        """Take in differences and noise-free traces, both in units of noise; what is not finite is left out."""
        finite = np.isfinite(apart)
        squares = np.where(finite, np.square(apart, dtype="float64"), 0.0)
        within = np.abs(clean) > self.threshold
        for place, mask in enumerate((within, ~within)):
            self.sums[place] += squares[mask].sum()
            self.numbers[place] += np.count_nonzero(finite & mask)

    def values(self) -> dict[str, float]:
        """Return the three errors; NaN of nothing."""
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = np.sqrt(self.sums / self.numbers)
            whole = np.sqrt(self.sums.sum() / self.numbers.sum())
        return {
            "rms_error": float(whole),
            "rms_error_in_spikes": float(parts[0]),
            "rms_error_outside": float(parts[1]),
        }
