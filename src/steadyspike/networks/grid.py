"""Traces to images and back as tensors, on any device and with gradients; `ProbeLayout` has the same for numpy."""

from collections.abc import Sequence

import torch
from torch import Tensor


def scatter(traces: Tensor, cells: Tensor, shape: Sequence[int], dead: Tensor | None = None) -> Tensor:
    """Put traces into images; cells without a live contact are 0.

    Parameters
    ----------
    traces : Tensor, shape (batch, time, num_channels)
    cells : Tensor of int64, shape (num_channels,)
        `ProbeLayout.cells`.
    shape : sequence of int
        Shanks, rows and columns: `ProbeLayout.shape`.
    dead : Tensor of bool or None, shape (num_channels,), default: None
        `ProbeLayout.dead`.

    Returns
    -------
    images : Tensor, shape (batch * shanks, time, rows, columns)
        The shanks of a recording are neighbours: a mask of the shape (shanks, rows, columns) repeats over the batch.
    """
    shanks, rows, columns = shape
    if dead is not None:
        # not a product: a dead channel may hold NaN
        traces = torch.where(dead, torch.zeros((), dtype=traces.dtype, device=traces.device), traces)
    flat = traces.new_zeros((*traces.shape[:2], shanks * rows * columns)).index_copy(2, cells, traces)
    return flat.unflatten(2, (shanks, rows, columns)).transpose(1, 2).flatten(0, 1)


def gather(images: Tensor, cells: Tensor, shanks: int = 1) -> Tensor:
    """Take the channels out of images: the reverse of `scatter`.

    Parameters
    ----------
    images : Tensor, shape (batch * shanks, time, rows, columns)
    cells : Tensor of int64, shape (num_channels,)
        `ProbeLayout.cells`.
    shanks : int, default: 1

    Returns
    -------
    traces : Tensor, shape (batch, time, num_channels)
    """
    return images.unflatten(0, (-1, shanks)).transpose(1, 2).flatten(2).index_select(2, cells)
