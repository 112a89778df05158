"""Losses, in units of the noise of each channel, over what is finite and has a live contact."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CHARBONNIER_EPSILON = 0.1

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "mae": torch.abs,
    "mse": torch.square,
    "charbonnier": lambda apart: torch.sqrt(apart * apart + CHARBONNIER_EPSILON**2) - CHARBONNIER_EPSILON,
}


def masked_sum(
    penalty: Callable[[Tensor], Tensor], predicted: Tensor, wanted: Tensor, mask: Tensor
) -> Tensor:
    """Sum a loss over live contacts, and count them.

    Parameters
    ----------
    penalty : callable
        One of `LOSSES`.
    predicted, wanted : Tensor, shape (batch, time, rows, columns)
        What is wanted is left out where it is NaN.
    mask : Tensor, shape (batch, rows, columns)
        1 where there is a live contact.

    Returns
    -------
    sums : Tensor of float32, shape (2,)
        Sum of the loss, and number of values in it.
    """
    valid = torch.isfinite(wanted) & (mask[:, None] > 0)
    apart = torch.where(valid, predicted.float() - wanted, 0.0)
    return torch.stack([torch.where(valid, penalty(apart), 0.0).sum(), valid.sum().float()])
