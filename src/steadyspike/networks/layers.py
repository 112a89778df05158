"""What layers share: sums that take no memory of their own outside of training, and convolutions of single samples."""

import torch
from torch import Tensor
from torch.nn import functional

SINGLE = 2
"""Dilation of convolutions of single samples: changes nothing, but that torch's fast code is used on one thread too."""


def add_positive(kept: Tensor, new: Tensor) -> Tensor:
    """Return ``kept + relu(new)``; outside of training in the memory of `new`, which is what small layers wait for."""
    if torch.is_grad_enabled():
        return kept + functional.relu(new)
    return new.relu_().add_(kept)


def repeated(told: Tensor, number: int) -> Tensor:
    """Repeat what is told of each image for all of its batch, in the order in which what it is added to lies."""
    told = told.repeat_interleave(number // told.shape[0], 0)
    return told.contiguous(memory_format=torch.channels_last)


def added(new: Tensor, other: Tensor) -> Tensor:
    """Return the sum of both; outside of training in the memory of `new`."""
    return new + other if torch.is_grad_enabled() else new.add_(other)


def positive_sum(new: Tensor, other: Tensor) -> Tensor:
    """Return ``relu(new + other)``; outside of training in the memory of `new`."""
    summed = added(new, other)
    return functional.relu(summed) if torch.is_grad_enabled() else summed.relu_()
