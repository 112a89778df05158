"""Held-out loss on a real recording: networks beside linear fits to the recording itself.

A linear fit sees the first part of the recording, a network none of it; both are judged on the second part. With
longer context any of them falls: what a highpass took away can be told from what lies far around.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.denoising.tables import markdown_table
from steadyspike_benchmarks.denoising_injected import prepare

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

# samples on each side that the fits from a contact's own past and future see
OWN_TAPS = (10, 32, 48)
OMISSION, PIECE, STEP = 1, 500, 1000


def held_out_losses(
    recording: BaseRecording, models: Sequence[Any], fit_until_s: float, phase_shift: bool = False
) -> dict[str, float]:
    """Mean squared error in noise levels on what follows a time, of linear fits to what is before, and of models."""
    from steadyspike.library.models.folder import load_model
    from steadyspike.preprocessing.phase_shift import phase_shift as shifted

    ready = prepare(shifted(recording, dtype="float32") if phase_shift else recording)
    images, mask, unit = _images(ready)
    border = round(fit_until_s * ready.sampling_frequency)
    loaded = {str(model): load_model(model).network.eval() for model in models}
    longest = max(max(OWN_TAPS) + OMISSION, *(max(network.context) for network in loaded.values()))
    found = {"predicting the median": _loss(None, images, mask, border, longest)}
    fits: list[tuple[str, Any, int]] = [
        *((f"linear fit, own contact, {taps} samples", ((1,),), taps) for taps in OWN_TAPS),
        ("linear fit, contacts around, 10 samples", unit, 10),
    ]
    for name, cells, taps in fits:
        reach = 0 if len(cells) == 1 else 1
        network = _fitted(images[:, :border], mask, cells, taps, reach)
        found[name] = _loss(network, images, mask, border, longest)
    for name, network in loaded.items():
        found[name] = _loss(network, images, mask, border, longest)
    return found


def fitted_model(ready: BaseRecording, until_s: float, taps: int = 10) -> Any:
    """Fit a linear interpolation from the contacts around to a prepared recording up to a time."""
    images, mask, unit = _images(ready)
    return _fitted(images[:, : round(until_s * ready.sampling_frequency)], mask, unit, taps, 1).eval()


def _images(ready: BaseRecording) -> tuple[Any, Any, Any]:
    import torch

    from steadyspike.core.normalization import measure_normalization
    from steadyspike.core.probe_layout import layout_of

    center, scale = measure_normalization(ready)
    layout = layout_of(ready, dead=scale <= 0, arrangement="lattice")
    traces = (ready.get_traces(0) - center) / np.where(scale > 0, scale, 1.0)
    images = torch.from_numpy(layout.scatter(traces.astype("float32")))
    return images, torch.from_numpy(layout.mask.astype("float32")), layout.type.unit


def _fitted(images: Any, mask: Any, unit: Any, taps: int, reach: int) -> Any:
    from steadyspike.networks.linear import RidgeFit, RidgeInterpolator

    fit = RidgeFit(RidgeInterpolator(unit, taps, OMISSION, reach))
    for start in range(0, images.shape[1] - PIECE + 1, STEP):
        fit.add(images[:, start : start + PIECE], mask)
    return fit.solve(1e-4)


def _loss(network: Any, images: Any, mask: Any, border: int, longest: int) -> float:
    """Of the samples that all have context for, after the border."""
    import torch

    wanted = images[:, border + longest : images.shape[1] - longest]
    live = (mask > 0)[:, None].expand_as(wanted)
    if network is None:
        return float(wanted[live].square().mean())
    before, after = network.context
    seen = images[:, border + longest - before : images.shape[1] - longest + after]
    with torch.inference_mode():
        return float((network(seen, mask) - wanted)[live].square().mean())


def losses_table(losses: dict[str, dict[str, float]]) -> str:
    """Write a table with a column for each way to prepare the recording."""
    names = list(next(iter(losses.values())))
    rows = [[name, *(f"{own[name]:.4f}" for own in losses.values())] for name in names]
    return markdown_table(["held-out loss", *losses], rows)
