"""The test pair of a model folder: a small input, and what its network made of it where it was saved.

Another machine, version or backend that loads the folder can tell by it whether it computes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.library.hub.artifact import PAIR
from steadyspike.library.models.config import FolderConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

OUTPUT = "output"
ROWS, FRAMES, NUMBER, CONTACTS = 8, 8, 4, 3


def example_inputs(network: Any, config: FolderConfig) -> dict[str, Tensor]:
    """Make a small input for a network, by the names of the arguments of its ``forward``; the same at each call."""
    import torch

    made = _MAKE[config.network.name](network, config, torch.Generator().manual_seed(0))
    return {name: values.contiguous() for name, values in made.items()}


def _images(network: Any, config: Any, random: torch.Generator) -> dict[str, Tensor]:
    import torch

    unit = torch.tensor(config.layout.unit, dtype=torch.float32)
    times = -(-ROWS // len(unit))
    width = max(config.layout.columns, unit.shape[1])
    mask = unit.repeat(times, -(-width // unit.shape[1]))[:, :width]
    frames = sum(network.context) + FRAMES
    return {"image": torch.randn(1, frames, *mask.shape, generator=random) * mask, "mask": mask}


def _waveforms(network: Any, config: Any, random: torch.Generator) -> dict[str, Tensor]:
    import torch

    return {"waveforms": torch.randn(NUMBER, config.num_samples, config.num_channels, generator=random)}


def _local(network: Any, config: Any, random: torch.Generator) -> dict[str, Tensor]:
    import torch

    samples = network.temporal.in_features
    return {
        "waveforms": 5 * torch.randn(NUMBER, CONTACTS, samples, generator=random),
        "weights": torch.rand(NUMBER, CONTACTS, network.sizes["spatial"], generator=random),
    }


def _single(network: Any, config: Any, random: torch.Generator) -> dict[str, Tensor]:
    import torch

    return {"waveforms": 5 * torch.randn(NUMBER, network.num_samples, generator=random)}


def _traces(network: Any, config: Any, random: torch.Generator) -> dict[str, Tensor]:
    import torch

    neighbours = torch.arange(CONTACTS)[:, None].repeat(1, network.sizes["neighbours"])
    neighbours[:, 1:] = -1
    traces = 3 * torch.randn(network.sizes["taps"] + FRAMES, CONTACTS, generator=random)
    return {"traces": traces, "neighbours": neighbours}


_MAKE: dict[str, Callable[..., dict[str, Tensor]]] = {
    **dict.fromkeys(("blindspot", "ridge", "seeing", "unet_single_ephys_1024"), _images),
    **dict.fromkeys(
        ("waveform_autoencoder", "waveform_cnn", "waveform_discriminant", "waveform_gru"), _waveforms
    ),
    **dict.fromkeys(("local_spike_detector", "local_waveform_denoiser"), _local),
    "yass_denoiser": _single,
    "yass_detector": _traces,
}


def run_example(network: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """Return what a network makes of its example, on the CPU."""
    import torch

    weights = next(network.parameters(), None)
    device, was_training = "cpu" if weights is None else weights.device, network.training
    network.eval()
    try:
        with torch.inference_mode():
            made: Tensor = network(**{name: values.to(device) for name, values in inputs.items()})
            return made.cpu().contiguous()
    finally:
        network.train(was_training)


def write_pair(folder: Path, network: nn.Module, config: FolderConfig) -> None:
    """Write the test pair of a model folder."""
    from safetensors.torch import save_file

    inputs = example_inputs(network, config)
    save_file(inputs, folder / PAIR[0])
    save_file({OUTPUT: run_example(network, inputs)}, folder / PAIR[1])
