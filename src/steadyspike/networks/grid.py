"""Traces to images and back as tensors, on any device and with gradients; `ProbeLayout` has the same for numpy."""

from collections.abc import Sequence

import torch
from torch import Tensor


def scatter(traces: Tensor, cells: Tensor, shape: Sequence[int], dead: Tensor | None = None) -> Tensor:
    """Put traces into images; cells without a live contact are 0.

    `traces` are (batch, time, num_channels); cells, dead channels and the shape of shanks, rows and columns are those
    of `ProbeLayout`. Returns (batch * shanks, time, rows, columns): the shanks of a recording are neighbours, and a
    mask (shanks, rows, columns) repeats over the batch.
    """
    shanks, rows, columns = shape
    if dead is not None:
        # not a product: a dead channel may hold NaN
        traces = torch.where(dead, torch.zeros((), dtype=traces.dtype, device=traces.device), traces)
    flat = traces.new_zeros((*traces.shape[:2], shanks * rows * columns)).index_copy(2, cells, traces)
    return flat.unflatten(2, (shanks, rows, columns)).transpose(1, 2).flatten(0, 1)


def gather(images: Tensor, cells: Tensor, shanks: int = 1) -> Tensor:
    """Take the channels out of images: the reverse of `scatter`.

    From (batch * shanks, time, rows, columns) to (batch, time, num_channels).
    """
    return images.unflatten(0, (-1, shanks)).transpose(1, 2).flatten(2).index_select(2, cells)
