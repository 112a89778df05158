"""The test pair of a model folder: a small input, and what its network made of it where it was saved.

Another machine, version or backend that loads the folder can tell by it whether it computes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.library.hub.artifact import PAIR
from steadyspike.library.models.config import FolderConfig, ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# of the largest output: float32 is summed in another order by each processor
TOLERANCE = 1e-4
OUTPUT = "output"
ROWS, FRAMES, NUMBER, CONTACTS = 8, 8, 4, 3


@dataclass(frozen=True)
class PairTest:
    """How far a model is from its test pair: `difference` and `allowed`, as shares of the largest output."""

    difference: float
    allowed: float = TOLERANCE

    @property
    def passed(self) -> bool:
        """Whether the model computes what it computed when it was saved."""
        return self.difference <= self.allowed


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
    **dict.fromkeys(("blindspot", "ridge", "unet_single_ephys_1024"), _images),
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


def check_pair(model: Any, device: str = "cpu") -> PairTest:
    """Compute the test pair of a model again.

    Parameters
    ----------
    model : str, Path or model
        A bundled name, a model folder, a reference to the Hub, or a model that was loaded from one of them.
    device : str, default: "cpu"
        Where it computes, as torch names it.

    Returns
    -------
    tested : PairTest
        ``tested.passed`` says whether both agree.

    Raises
    ------
    ModelError
        If there is no test pair, or it is not of this network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from steadyspike.library.models.find import find_model
    from steadyspike.library.models.folder import SavedModel, load_folder

    folder = model.folder if isinstance(model, SavedModel) else find_model(model)
    missing = [name for name in PAIR if folder is None or not (folder / name).is_file()]
    if folder is None or missing:
        raise ModelError(f"model={model}: has no {' and '.join(missing)}; save it anew to have a test pair")
    loaded = load_folder(folder, device)
    try:
        inputs, expected = load_file(folder / PAIR[0]), load_file(folder / PAIR[1])[OUTPUT]
        found = run_example(loaded.network, inputs)
        if found.shape != expected.shape:
            raise ValueError(f"it gives the shape {tuple(found.shape)}, not {tuple(expected.shape)}")
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder}: its test pair is not of this network: {error}") from None
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    difference = float((found - expected).abs().max()) if expected.numel() else 0.0
    return PairTest(difference / largest if largest > 0 else difference)
