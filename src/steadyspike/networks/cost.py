"""What a network costs: parameters, and multiply-adds for each predicted frame."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def num_parameters(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(weights.numel() for weights in network.parameters())


def multiply_adds_per_frame(network: nn.Module, rows: int, columns: int) -> int:
    """Multiply-adds that one more predicted frame takes, counted without computing anything.

    Parameters
    ----------
    network : nn.Module
        One of `steadyspike.networks`.
    rows, columns : int
        Of the image.
    """
    bare = copy.deepcopy(network).to("meta")
    before, after = network.context  # type: ignore[misc]
    counted = []
    for time in (100, 300):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            bare(torch.empty(1, before + time + after, rows, columns, device="meta"))
        counted.append(counter.get_total_flops() // 2)
    return (counted[1] - counted[0]) // 200
