"""The best linear interpolation of a sample from its past and future: the baseline that a network has to beat."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from steadyspike.networks.folding import Unit, UnitFolding

# outputs that are computed at once: a convolution with few outputs leaves most of a processor idle
TOGETHER = 16


class LinearTaps(nn.Module):
    """Weighted sum of `taps` samples before and after an omission gap, of a unit and `reach` on each side."""

    def __init__(self, inputs: int, outputs: int, taps: int, reach: int = 1) -> None:
        super().__init__()
        self.taps = taps
        kernel, padding = (taps, 2 * reach + 1), (0, reach)
        self.past = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False)
        self.future = nn.Conv2d(inputs, outputs, kernel, padding=padding)
        self._kept: tuple[list[Any], tuple[Tensor, Tensor | None], list[Tensor]] | None = None

    def forward(self, folded: Tensor, omission: int, context: int) -> Tensor:
        """Interpolate all samples but the first and last `context`, each from beyond its gap of `omission`.

        `folded` is (batch, inputs, time, units), `context` at least `omission + taps`. Returns (batch, outputs, time -
        2 * context, units).
        """
        weight, bias = self._moved(omission) if torch.is_grad_enabled() else self._moved_once(omission)
        length, first = folded.shape[2] - 2 * context, context - omission - self.taps
        seen = folded[:, :, first : first + length + 2 * (self.taps + omission)]
        seen = functional.pad(seen, (0, 0, 0, -length % TOGETHER))
        found = functional.conv2d(seen, weight, bias, stride=(TOGETHER, 1), padding=self.past.padding)
        return found.unflatten(1, (-1, TOGETHER)).transpose(2, 3).flatten(2, 3)[:, :, :length]

    def _moved_once(self, omission: int) -> tuple[Tensor, Tensor | None]:
        """Give the same while the weights stay as they are; it takes as long as a few samples."""
        weights: list[Tensor] = list(self.parameters())
        if any(one.is_inference() for one in weights):
            return self._moved(omission)
        state = [omission, *((id(one), one.data_ptr(), one._version) for one in weights)]
        kept = self._kept
        if kept is None or kept[0] != state:
            # with the weights themselves, so that no other ones come to have their places
            self._kept = kept = state, self._moved(omission), weights
        return kept[1]

    def _moved(self, omission: int) -> tuple[Tensor, Tensor | None]:
        """Give the weights of successive samples below each other, each moved on by one, with their bias."""
        hidden = self.past.weight.new_zeros(
            *self.past.weight.shape[:2], 2 * omission + 1, self.past.weight.shape[3]
        )
        kernel = torch.cat([self.past.weight, hidden, self.future.weight], 2)
        moved = [functional.pad(kernel, (0, 0, by, TOGETHER - 1 - by)) for by in range(TOGETHER)]
        bias = self.future.bias
        return torch.stack(moved, 1).flatten(0, 1), None if bias is None else bias.repeat_interleave(TOGETHER)


class RidgeInterpolator(nn.Module):
    r"""Linear interpolation whose weights are the closed-form solution of a ridge regression.

    .. math:: w = (X^T X / n + \lambda\, \mathrm{tr}(X^T X) / (n p)\, I)^{-1}\, X^T y / n

    with one row of X for each sample and unit: the `taps` samples before and after the omission gap, of all contacts
    of the unit and of its neighbours along the probe. The weights are shared by all units.

    `unit`, rows of 0 and 1, says where a unit of the grid has contacts; `reach` are the neighbouring units on each side
    along the probe, and `omission` the hidden samples on each side of the predicted one.
    """

    name = "ridge"
    arrangement = "lattice"

    def __init__(self, unit: Unit, taps: int = 10, omission: int = 1, reach: int = 1) -> None:
        super().__init__()
        if taps < 1 or omission < 0 or reach < 0:
            raise ValueError(
                f"taps={taps}, omission={omission}, reach={reach}: taps must be 1 or more, others 0 or more"
            )
        self.sizes = {
            "unit": [[int(cell) for cell in row] for row in unit],
            **{"taps": taps, "omission": omission, "reach": reach},
        }
        self.omission = omission
        self.folding = UnitFolding(unit)
        self.linear = LinearTaps(self.folding.inputs, self.folding.outputs, taps, reach)

    @property
    def context(self) -> tuple[int, int]:
        """Samples that are read before and after each predicted one."""
        return (self.omission + self.linear.taps,) * 2

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tensor:
        """Interpolate; shapes as in `BlindSpot.forward`. The mask is not used."""
        return self.folding.around(self, image, mask)

    def forward_folded(self, folded: Tensor, mask: Tensor) -> Tensor:
        """Interpolate what is folded; shapes as in `BlindSpot.forward_folded`."""
        return self.linear(folded, self.omission, self.context[0])


class RidgeFit:
    """Covariances of a ridge regression, gathered chunk by chunk, then solved.

    `network` gets the weights; `num_rows` are the samples times units seen so far.
    """

    def __init__(self, network: RidgeInterpolator) -> None:
        self.network = network
        folding, linear = network.folding, network.linear
        self.kernel = (linear.taps, linear.past.kernel_size[1])
        size = 2 * folding.inputs * self.kernel[0] * self.kernel[1] + 1
        self.covariance = torch.zeros(size, size, dtype=torch.float64)
        self.products = torch.zeros(size, folding.outputs, dtype=torch.float64)
        self.num_rows = 0

    def add(self, image: Tensor, mask: Tensor | None = None) -> None:
        """Take in a chunk of traces with context, (batch, time, rows, columns).

        Units with a contact that is dead by the mask are predicted, but nothing is learnt from them.
        """
        folding, (before, after) = self.network.folding, self.network.context
        folded = folding.fold(image)
        live = folding.fold_mask(mask, image).index_select(1, folding.own)[:, :, 0].all(1)
        target = folded.index_select(1, folding.own)[:, :, before : folded.shape[2] - after]
        live = live.repeat_interleave(folded.shape[0] // live.shape[0], 0)[:, None].expand(
            -1, target.shape[2], -1
        )
        rows = self._rows(folded, target.shape[2])[live].double()
        wanted = target.permute(0, 2, 3, 1)[live].double()
        rows = torch.cat([rows, rows.new_ones(len(rows), 1)], 1).cpu()
        self.covariance += rows.T @ rows
        self.products += rows.T @ wanted.cpu()
        self.num_rows += len(rows)

    def _rows(self, folded: Tensor, length: int) -> Tensor:
        """Return what each sample is predicted from, shape (batch, time, units, features)."""
        (taps, width), gap = self.kernel, self.network.omission
        parts = []
        for start in (0, taps + 2 * gap + 1):
            side = folded[:, :, start : start + length + taps - 1]
            # columns of unfold are ordered (input, tap, neighbour), like the weights of a convolution
            columns = functional.unfold(side, self.kernel, padding=(0, width // 2))
            parts.append(columns.transpose(1, 2).unflatten(1, (length, -1)))
        return torch.cat(parts, -1)

    def solve(self, alpha: float = 1e-3) -> RidgeInterpolator:
        """Set the weights of the network.

        The penalty `alpha`, above 0, is relative to the mean variance of the inputs. Returns the network given at the
        start. Raises `ValueError` if nothing was added, or no unit had all its contacts live.
        """
        if not self.num_rows:
            raise ValueError("there is nothing to solve: no unit with all its contacts live was added")
        penalty = torch.full((len(self.covariance),), float(alpha * self.covariance.diagonal()[:-1].mean()))
        penalty[-1] = 0  # the constant is not shrunk
        system = self.covariance + penalty.double().clamp_min(1e-12 * self.num_rows).diag()
        weights = torch.linalg.solve(system, self.products).T
        linear = self.network.linear
        with torch.no_grad():
            half = linear.past.weight[0].numel()
            linear.past.weight.copy_(weights[:, :half].reshape(linear.past.weight.shape))
            linear.future.weight.copy_(weights[:, half : 2 * half].reshape(linear.future.weight.shape))
            linear.future.bias.copy_(weights[:, -1])  # type: ignore[union-attr]
        return self.network
