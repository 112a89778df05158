"""A network that sees all samples, the one it denoises too, and gives the spikes in them.

A blind-spot network learns without knowing any truth, and so predicts whatever can be predicted: noise too, where that
is correlated in time. This one is taught with spikes that were added to noise, and gives back the spikes alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from steadyspike.networks.folding import Unit, UnitFolding
from steadyspike.networks.layers import SINGLE, add_positive, added, positive_sum, repeated
from steadyspike.networks.linear import LinearTaps


class Seeing(nn.Module):
    """Residual convolutions over time, then along the probe, beside a linear filter with a longer reach.

    `unit`, rows of 0 and 1, says where a unit of the grid has contacts; there are `features` for each. The convolutions
    over time have `kernel` samples, an odd number, at the `dilations`; those along the probe have 3 units, at
    `depth_dilations`. The linear part sees `linear_taps` samples on each side in its unit, and the sample itself there
    and in the neighbouring units.
    """

    name = "seeing"
    arrangement = "lattice"
    omission = 0

    def __init__(
        self,
        unit: Unit,
        features: int = 16,
        kernel: int = 7,
        dilations: Sequence[int] = (1, 6),
        depth_dilations: Sequence[int] = (1, 2),
        linear_taps: int = 48,
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel={kernel} must be odd, 1 or more")
        if min(features, linear_taps, *dilations, *depth_dilations) < 1:
            raise ValueError("features, dilations, depth_dilations and linear_taps must be 1 or more each")
        self.sizes: dict[str, Any] = {
            "unit": [[int(cell) for cell in row] for row in unit],
            **{"features": features, "kernel": kernel, "dilations": list(dilations)},
            **{"depth_dilations": list(depth_dilations), "linear_taps": linear_taps},
        }
        self.reach = (kernel - 1) // 2 * sum(dilations)
        self.folding = UnitFolding(unit)
        inputs, outputs = self.folding.inputs, self.folding.outputs
        self.encoder = nn.Conv2d(inputs, features, (1, 3), padding=(0, 1))
        self.contacts = nn.Conv2d(inputs, features, (1, 3), padding=(0, 1), bias=False)
        self.time = nn.ModuleList(
            nn.Conv2d(features, features, (kernel, 1), dilation=(one, 1)) for one in dilations
        )
        self.depth = nn.ModuleList(
            nn.Conv2d(features, features, (1, 3), padding=(0, one), dilation=(1, one))
            for one in depth_dilations
        )
        self.out = nn.Conv2d(features, outputs, 1, dilation=SINGLE)
        self.sample = nn.Conv2d(inputs, outputs, (1, 3), padding=(0, 1), bias=False)
        self.linear = LinearTaps(inputs, outputs, linear_taps, reach=0)
        with torch.no_grad():
            for weights in (self.out.weight, self.sample.weight, *self.linear.parameters()):
                weights.mul_(0.1)

    @property
    def context(self) -> tuple[int, int]:
        """Samples that are read before and after each one."""
        return (max(self.reach, self.linear.taps),) * 2

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tensor:
        """Give the spikes in all samples of a chunk but its context; shapes as in `BlindSpot.forward`."""
        return self.folding.around(self, image, mask)

    def forward_folded(self, folded: Tensor, mask: Tensor) -> Tensor:
        """Give them folded; shapes as in `BlindSpot.forward_folded`."""
        context, length = self.context[0], folded.shape[2]
        told = repeated(self.contacts(mask), folded.shape[0])
        first = context - self.reach
        hidden = positive_sum(self.encoder(folded[:, :, first : length - first]), told)
        for layer in self.time:
            new = layer(hidden)
            lost = (hidden.shape[2] - new.shape[2]) // 2
            hidden = add_positive(hidden[:, :, lost : lost + new.shape[2]], new)
        for layer in self.depth:
            hidden = add_positive(hidden, layer(hidden))
        found = added(self.out(hidden), self.sample(folded[:, :, context : length - context]))
        return added(found, self.linear(folded, 0, context))
