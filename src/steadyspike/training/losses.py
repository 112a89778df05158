"""Losses, in units of the noise of each channel, over what is finite and has a live contact."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CHARBONNIER_EPSILON = 0.1
# beyond this a spike has all the weight it needs, and an artefact gets no more
MOST_FOCUSED = 5.0

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "mae": torch.abs,
    "mse": torch.square,
    "charbonnier": lambda apart: torch.sqrt(apart * apart + CHARBONNIER_EPSILON**2) - CHARBONNIER_EPSILON,
}


def masked_sum(
    penalty: Callable[[Tensor], Tensor], predicted: Tensor, wanted: Tensor, mask: Tensor, focus: float = 0.0
) -> Tensor:
    r"""Sum a loss over live contacts, and its weights.

    .. math:: \left(\sum w\, p(y - x),\ \sum w\right), \qquad w = 1 + f \min(|y|, 5)

    The weight depends on the prediction :math:`y` alone, which is taken as fixed, never on the noise of what is wanted:
    the best prediction stays the same with any :math:`f`, but rare spikes count more while it is learnt. `penalty` is
    one of `LOSSES`, `focus` the factor :math:`f`, 0 or more. `predicted` and `wanted` have the shape (batch, time,
    rows, columns), and what is wanted is left out where it is NaN; `mask` (batch, rows, columns) is 1 where there is a
    live contact. Returns float32 (2,): the sum of the loss, and of its weights, without focus the number of values in
    it.
    """
    valid = torch.isfinite(wanted) & (mask[:, None] > 0)
    apart = torch.where(valid, predicted.float() - wanted, 0.0)
    loss = torch.where(valid, penalty(apart), 0.0)
    if not focus:
        return torch.stack([loss.sum(), valid.sum().float()])
    weight = 1 + focus * predicted.detach().float().abs().clamp(max=MOST_FOCUSED)
    return torch.stack([(weight * loss).sum(), torch.where(valid, weight, 0.0).sum()])
