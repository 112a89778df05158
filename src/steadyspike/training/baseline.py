"""The linear interpolation that a trained network has to beat, on the same windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from steadyspike.networks.linear import RidgeFit, RidgeInterpolator
from steadyspike.training.losses import LOSSES, masked_sum
from steadyspike.training.windows import Batch

MOST_TAPS = 10


def fit_ridge(
    unit: Any, context: tuple[int, int], omission: int, batches: Iterable[Batch]
) -> RidgeInterpolator | None:
    """Fit the ridge interpolator.

    `unit` is that of the layout type, `context` that of the network to compare with: the baseline sees 10 samples on
    each side, or as many as the network. `omission` are the hidden samples on each side; batches are in the arrangement
    "lattice". Returns None if the network sees nothing on one side, or every unit of the probe has a missing contact.
    """
    taps = min(MOST_TAPS, min(context) - omission)
    return None if taps < 1 else _fitted(unit, taps, omission, context, batches)


def start_linear(network: Any, batches: Iterable[Batch]) -> bool:
    """Give the linear part of a blind-spot network the weights of a ridge regression to start from.

    Returns False where its linear part is none that `RidgeInterpolator` knows: it has none, or reads beyond its unit.
    """
    sizes = network.sizes
    if not sizes["linear_taps"] or sizes["halo"]:
        return False
    ridge = _fitted(
        *(sizes["unit"], sizes["linear_taps"], network.omission, network.context, batches),
        reach=sizes["linear_reach"],
    )
    if ridge is None:
        return False
    network.linear.load_state_dict(ridge.linear.state_dict())
    return True


def _fitted(
    unit: Any, taps: int, omission: int, context: tuple[int, int], batches: Iterable[Batch], reach: int = 1
) -> RidgeInterpolator | None:
    ridge = RidgeInterpolator(unit, taps=taps, omission=omission, reach=reach)
    fit = RidgeFit(ridge)
    trim = [side - own for side, own in zip(context, ridge.context, strict=True)]
    for batch in batches:
        for image, mask in zip(batch.image, batch.mask, strict=True):
            values = torch.nan_to_num(torch.from_numpy(image[trim[0] : len(image) - trim[1]]))
            fit.add(values[None], torch.from_numpy(mask))
    return fit.solve().eval() if fit.num_rows else None


def score(
    network: nn.Module | None, batches: Sequence[Batch], context: tuple[int, int], device: Any = "cpu"
) -> dict[str, float]:
    """Measure all losses on held-out windows.

    The network sees `context` or less: samples before the first and after the last one of a window that count. None
    predicts 0, the median of each channel. Batches are in the arrangement of the network; the scores stand under the
    names of the losses.
    """
    sums = {name: torch.zeros(2, dtype=torch.float64) for name in LOSSES}
    own: Any = context if network is None else network.context
    trim = [side - seen for side, seen in zip(context, own, strict=True)]
    with torch.inference_mode():
        for batch in batches:
            image, mask = (torch.from_numpy(part).to(device) for part in batch)
            wanted = image[:, context[0] : image.shape[1] - context[1]]
            seen = torch.nan_to_num(image[:, trim[0] : image.shape[1] - trim[1]])
            predicted = torch.zeros_like(wanted) if network is None else network(seen, mask)
            for name, penalty in LOSSES.items():
                sums[name] += masked_sum(penalty, predicted, wanted, mask).cpu().double()
    return {name: float(total / count) for name, (total, count) in sums.items()}
