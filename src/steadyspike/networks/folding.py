"""Images of contacts folded into repeating units, whose contacts become features of a one-dimensional network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Unit = Sequence[Sequence[int]]


class UnitFolding(nn.Module):
    """Fold a grid of contacts into its repeating units, and back.

    The contacts of a unit, a few rows of the grid, become the features of one place along the probe: nothing is
    computed for the empty cells of a staggered grid, and each weight knows the place of its contact in the unit.

    `unit`, rows of 0 and 1, says where a unit has contacts. A grid with more columns is cut into strips as wide as a
    unit, with which at each side `halo` columns are folded as input, 0 to the width of a unit.
    """

    def __init__(self, unit: Unit, halo: int = 0) -> None:
        super().__init__()
        # numpy, because the places are needed even where tensors have none (the meta device)
        cells = np.array([list(row) for row in unit])
        if cells.ndim != 2 or not np.isin(cells, (0, 1)).all() or not cells.any():
            raise ValueError(f"unit={unit!r} has no contact; allowed: rows of 0 and 1 with at least one 1")
        self.unit_rows, self.unit_columns = cells.shape
        if not 0 <= halo <= self.unit_columns:
            raise ValueError(f"halo={halo} must lie within 0 and the {self.unit_columns} columns of a unit")
        self.halo = halo
        wide = np.pad(cells, ((0, 0), (halo, halo)), mode="wrap")
        inner = np.pad(cells, ((0, 0), (halo, halo)))
        slots_in, slots_out = np.flatnonzero(wide), np.flatnonzero(cells)
        self.inputs, self.outputs = len(slots_in), len(slots_out)
        self.slots_in: Tensor
        self.slots_out: Tensor
        self.own: Tensor
        self.register_buffer("slots_in", torch.tensor(slots_in), persistent=False)
        self.register_buffer("slots_out", torch.tensor(slots_out), persistent=False)
        # which of the inputs is the contact of each output
        self.own_contact: list[int] = np.searchsorted(slots_in, np.flatnonzero(inner)).tolist()
        self.register_buffer("own", torch.tensor(self.own_contact), persistent=False)

    def fold(self, image: Tensor) -> Tensor:
        """Fold images (batch, time, rows, columns) to (batch * strips, inputs, time, units)."""
        time, rows, columns = image.shape[1:]
        missing = -columns % self.unit_columns
        image = functional.pad(image, (self.halo, missing + self.halo, 0, -rows % self.unit_rows))
        cells = image.unflatten(2, (-1, self.unit_rows))
        cells = cells.unfold(-1, self.unit_columns + 2 * self.halo, self.unit_columns)
        # (batch, time, units, unit rows, strips, columns) -> (batch, strips, unit rows, columns, time, units)
        cells = cells.permute(0, 4, 3, 5, 1, 2)
        units = cells.shape[-1]
        cells = cells.reshape(-1, self.unit_rows * (self.unit_columns + 2 * self.halo), time, units)
        return cells.index_select(1, self.slots_in)

    def unfold(self, folded: Tensor, rows: int, columns: int) -> Tensor:
        """Put outputs (batch * strips, outputs, time, units) back to images of some rows and columns; elsewhere 0."""
        strips = -(-columns // self.unit_columns)
        cells = folded.new_zeros(
            (folded.shape[0], self.unit_rows * self.unit_columns, *folded.shape[2:])
        ).index_copy(1, self.slots_out, folded)
        cells = cells.reshape(-1, strips, self.unit_rows, self.unit_columns, *folded.shape[2:])
        cells = cells.permute(0, 4, 5, 2, 1, 3)
        return cells.flatten(4, 5).flatten(2, 3)[:, :, :rows, :columns]

    def fold_mask(self, mask: Tensor | None, image: Tensor) -> Tensor:
        """Fold the mask of live contacts, (rows, columns) or (batch, rows, columns), to (strips, inputs, 1, units).

        None: everywhere in the image, which tells shape, type and device.
        """
        if mask is None:
            mask = image.new_ones(image.shape[2:])
        mask = mask.to(image)
        return self.fold(mask[None, None] if mask.ndim == 2 else mask[:, None])

    def around(self, network: Any, image: Tensor, mask: Tensor | None) -> Tensor:
        """Run a network's `forward_folded` on images, and put its output back into images."""
        # few features: with those of a place side by side, convolutions need not copy
        folded = self.fold(image).contiguous(memory_format=torch.channels_last)
        return self.unfold(network.forward_folded(folded, self.fold_mask(mask, image)), *image.shape[2:])
