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

        finite = np.isfinite(apart)
        values = torch.from_numpy(apart if finite.all() else apart[finite])
        for name, penalty in LOSSES.items():
            self.sums[name] += float(penalty(values).sum())
        self.number += values.numel()

    def means(self) -> dict[str, float]:
        """Return the mean of each loss; NaN of nothing."""
        return {name: total / self.number if self.number else np.nan for name, total in self.sums.items()}


class CleanErrors:
    r"""Errors against noise-free traces, in units of the noise of each channel: all, within spikes, and outside.

    .. math:: E = \sqrt{\frac{1}{n} \sum_{t, c} \left(\frac{y_c(t) - s_c(t)}{\sigma_c}\right)^2}
    """

    def __init__(self) -> None:
        self.sums = np.zeros(2)
        self.numbers = np.zeros(2, "int64")

    def add(self, apart: np.ndarray, within: np.ndarray) -> None:
        """Take in differences in units of noise; what is not finite is left out.

        `within`, of the shape of `apart`, says whether it is within a spike.
        """
        squares, number = np.square(apart), np.array([np.count_nonzero(within), apart.size])
        finite = np.isfinite(squares)
        if not finite.all():
            squares[~finite] = 0
            number = np.array([np.count_nonzero(finite & within), np.count_nonzero(finite)])
        inside = squares[within].sum(dtype="float64")
        self.sums += inside, squares.sum(dtype="float64") - inside
        self.numbers += number[0], number[1] - number[0]

    def values(self) -> dict[str, float]:
        """Return the three errors; NaN of nothing."""
        with np.errstate(divide="ignore", invalid="ignore"):
            # rounding may leave a sum just below 0
            parts = np.sqrt(np.maximum(self.sums, 0) / self.numbers)
            whole = np.sqrt(self.sums.sum() / self.numbers.sum())
        return {
            "rms_error": float(whole),
            "rms_error_in_spikes": float(parts[0]),
            "rms_error_outside": float(parts[1]),
        }
