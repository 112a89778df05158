"""A network that predicts every sample of a chunk at once from what lies before and after an omission gap.

An encoder looks at each sample alone and mixes neighbouring contacts. Two branches of dilated convolutions over time
then share its output: one reads only the past, one only the future. The state of the past up to the gap, and of the
future from beyond it, are fused and mixed along the probe. No path leads from a hidden sample to the output, so that
noise which is independent from sample to sample cannot be learnt (Laine et al. 2019, arXiv:1901.10277; Lecoq et al.
2021, doi:10.1038/s41592-021-01285-2), and what one sample costs is shared by all that see it.

With `centre`, each contact is told what its neighbours record at the same time, never what it records itself
(SUPPORT: Eom et al. 2023, doi:10.1038/s41592-023-02005-8). That uses more signal, and lets through noise which
contacts share.
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from steadyspike.networks.folding import Unit, UnitFolding
from steadyspike.networks.layers import SINGLE, add_positive, added, positive_sum, repeated
from steadyspike.networks.linear import LinearTaps

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"features": 16, "kernel": 2, "depth_dilations": (1, 2), "centre_features": 4},
    "small": {"features": 32, "kernel": 2, "depth_dilations": (1, 2, 4), "centre_features": 8},
    "base": {"features": 48, "kernel": 3, "depth_dilations": (1, 2, 4), "centre_features": 16},
}


def dilations_for(frames: int, kernel: int) -> tuple[int, ...]:
    """Dilations 1, 2, 4, ... of as many layers as it takes to see `frames` samples."""
    dilations: list[int] = []
    while 1 + (kernel - 1) * sum(dilations) < frames:
        dilations.append(2 ** len(dilations))
    return tuple(dilations)


class TimeBranch(nn.Module):
    """Residual convolutions over time with rising dilation, without padding.

    Each keeps the sample that is nearest to the gap: the last one looking back, the first one looking ahead.
    """

    def __init__(self, features: int, kernel: int, dilations: Sequence[int], ahead: bool) -> None:
        super().__init__()
        self.ahead = ahead
        self.layers = nn.ModuleList(
            nn.Conv2d(features, features, (kernel, 1), dilation=(dilation, 1)) for dilation in dilations
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Shorten (batch, features, time, units) by what the branch sees beyond one sample."""
        for layer in self.layers:
            new = layer(hidden)
            lost = hidden.shape[2] - new.shape[2]
            kept = hidden[:, :, : new.shape[2]] if self.ahead else hidden[:, :, lost:]
            hidden = add_positive(kept, new)
        return hidden


class CentreBranch(nn.Module):
    """What the neighbours of each contact record around the predicted sample, with the contact itself hidden.

    Each output has its own features from here on: those of one contact may hold what another one records.
    """

    def __init__(self, folding: UnitFolding, shared: int, features: int, width: int) -> None:
        super().__init__()
        self.width = width
        inputs, outputs = folding.inputs, folding.outputs
        self.neighbours = nn.Conv2d(
            inputs, outputs * features, (2 * width + 1, 3), padding=(0, 1), bias=False
        )
        self.shared = nn.Conv2d(shared, outputs * features, 1)
        self.mixed = nn.Conv2d(outputs * features, outputs * features, 1, groups=outputs)
        self.out = nn.Conv2d(outputs * features, outputs, 1, groups=outputs)
        visible = torch.ones(outputs, features, inputs, 1, 3)
        for contact, own in enumerate(folding.own_contact):
            visible[contact, :, own, :, 1] = 0
        self.visible: Tensor
        self.register_buffer("visible", visible.flatten(0, 1), persistent=False)

    def forward(self, folded: Tensor, hidden: Tensor, context: int) -> Tensor:
        """Predict (batch, outputs, time, units) from the traces with context and from the fused branches."""
        around = folded[:, :, context - self.width : folded.shape[2] - context + self.width]
        seen = functional.conv2d(around, self.neighbours.weight * self.visible, padding=(0, 1))
        mixed = functional.relu(seen + self.shared(hidden))
        return self.out(functional.relu(self.mixed(mixed)))


class BlindSpot(nn.Module):
    """Predict every sample of a chunk from its past and future beyond an omission gap.

    `unit`, rows of 0 and 1, says where a unit of the grid has contacts
    (`steadyspike.core.probe_layout.LayoutType.unit`); there are `features` for each. Each branch convolves over time
    with `kernel` samples, 2 or more, at the `dilations`, and sees ``1 + (kernel - 1) * sum(dilations)`` samples; after
    the fusion follow convolutions along the probe, at `depth_dilations` in units. A linear interpolation of
    `linear_taps` samples on each side, of a unit and `linear_reach` on each side of it, is added; 0 taps: none.

    `omission` samples are hidden on each side of the predicted one; 0 hides only that one. With `centre`, its contact
    is told, in `centre_features` for each contact, what the neighbours record at so many samples on each side of the
    predicted one. `halo` columns are seen beyond each strip of a grid that has more columns than a unit.
    """

    name = "blindspot"
    arrangement = "lattice"

    def __init__(
        self,
        unit: Unit,
        features: int = 32,
        kernel: int = 2,
        dilations: Sequence[int] = (1, 2, 4, 8, 16),
        depth_dilations: Sequence[int] = (1, 2, 4),
        linear_taps: int = 16,
        linear_reach: int = 1,
        omission: int = 1,
        centre: int | None = None,
        centre_features: int = 8,
        halo: int = 0,
    ) -> None:
        super().__init__()
        self.sizes = {
            "unit": [[int(cell) for cell in row] for row in unit],
            **{"features": features, "kernel": kernel, "dilations": list(dilations)},
            **{"depth_dilations": list(depth_dilations), "linear_taps": linear_taps},
            **{"linear_reach": linear_reach, "omission": omission},
            **{"centre": centre, "centre_features": centre_features, "halo": halo},
        }
        _check(self.sizes)
        self.omission = omission
        in_branch = 1 + (kernel - 1) * sum(dilations)
        self.seen = max(in_branch, linear_taps)
        self.unused = self.seen - in_branch  # the linear part may see further
        self.folding = UnitFolding(unit, halo)
        inputs, outputs = self.folding.inputs, self.folding.outputs
        self.encoder = nn.Conv2d(inputs, features, (1, 3), padding=(0, 1))
        self.contacts = nn.Conv2d(inputs, features, (1, 3), padding=(0, 1), bias=False)
        self.past = TimeBranch(features, kernel, dilations, ahead=False)
        self.future = TimeBranch(features, kernel, dilations, ahead=True)
        self.fuse_past = nn.Conv2d(features, features, 1, dilation=SINGLE)
        self.fuse_future = nn.Conv2d(features, features, 1, bias=False, dilation=SINGLE)
        self.depth = nn.ModuleList(
            nn.Conv2d(features, features, (1, 3), padding=(0, dilation), dilation=(1, dilation))
            for dilation in depth_dilations
        )
        self.out = nn.Conv2d(features, outputs, 1, dilation=SINGLE)
        self.linear = LinearTaps(inputs, outputs, linear_taps, linear_reach) if linear_taps else None
        self.centre = None
        if centre is not None:
            self.centre = CentreBranch(self.folding, features, centre_features, centre)
        self._start_small()

    @classmethod
    def of_size(cls, size: str, unit: Unit, frames: int = 30, **others: Any) -> Self:
        """Make a network of a named size that sees at least `frames` samples on each side.

        Sizes are "tiny", for laptops, "small" and "base"; the layers over time are as many as it takes. Other arguments
        of the class go before those of the size.
        """
        if size not in SIZES:
            raise ValueError(f"size={size!r} is not known; allowed: {', '.join(SIZES)}")
        if frames < 1:
            raise ValueError(f"frames={frames} must be 1 or more")
        sizes = {**SIZES[size], **others}
        sizes.setdefault("dilations", dilations_for(frames, sizes["kernel"]))
        sizes.setdefault("linear_taps", min(16, frames))
        return cls(unit, **sizes)

    @property
    def context(self) -> tuple[int, int]:
        """Samples that are read before and after each predicted one."""
        return (self.omission + self.seen,) * 2

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tensor:
        """Predict all samples of a chunk but its context.

        `image` (batch, before + time + after, rows, columns) are normalized traces, 0 where there is no live contact;
        `mask` (rows, columns) or (batch, rows, columns) is 1 where there is one, None: everywhere. Returns (batch,
        time, rows, columns): dead contacts too, from their neighbours, and 0 in cells that never hold a contact.
        """
        return self.folding.around(self, image, mask)

    def forward_folded(self, folded: Tensor, mask: Tensor) -> Tensor:
        """Predict what is folded, (number, inputs, before + time + after, units), to (number, outputs, time, units).

        `mask`, which `UnitFolding.fold_mask` gives, may be repeated over a batch.
        """
        context = self.context[0]
        hidden = self._between(folded, mask)
        for layer in self.depth:
            hidden = add_positive(hidden, layer(hidden))
        predicted = self.out(hidden)
        if self.centre is not None:
            predicted = added(predicted, self.centre(folded, hidden, context))
        if self.linear is not None:
            predicted = added(predicted, self.linear(folded, self.omission, context))
        return predicted

    def _between(self, folded: Tensor, mask: Tensor) -> Tensor:
        """Fuse what lies before and after the gap of each sample."""
        told = repeated(self.contacts(mask), folded.shape[0])
        encoded = positive_sum(self.encoder(folded), told)
        # an output at t uses samples up to t - omission - 1 and from t + omission + 1 on
        split = self.context[0] + self.omission + 1
        length = encoded.shape[2] - split - self.unused
        past, future = (
            encoded[:, :, self.unused : self.unused + length],
            encoded[:, :, split : split + length],
        )
        return positive_sum(self.fuse_past(self.past(past)), self.fuse_future(self.future(future)))

    def _start_small(self) -> None:
        """Begin near the mean, so that the first steps do not unlearn an arbitrary start."""
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            if self.linear is not None:
                for weights in self.linear.parameters():
                    weights.mul_(0.1)


def _check(sizes: dict[str, Any]) -> None:
    """Refuse sizes that no network can have."""
    least = {
        "features": 1,
        "kernel": 2,
        "linear_taps": 0,
        "linear_reach": 0,
        "omission": 0,
        "centre_features": 1,
        "halo": 0,
    }
    for name, lowest in least.items():
        if sizes[name] < lowest:
            raise ValueError(f"{name}={sizes[name]} must be {lowest} or more")
    for name in ("dilations", "depth_dilations"):
        if any(dilation < 1 for dilation in sizes[name]):
            raise ValueError(f"{name}={sizes[name]} must be 1 or more each")
    context = sizes["omission"] + max(
        1 + (sizes["kernel"] - 1) * sum(sizes["dilations"]), sizes["linear_taps"]
    )
    if sizes["centre"] is not None and not 0 <= sizes["centre"] <= context:
        raise ValueError(f"centre={sizes['centre']} must lie within 0 and the context of {context} samples")
