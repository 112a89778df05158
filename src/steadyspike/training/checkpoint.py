"""The state of a training run in one file: weights, optimizer, random numbers and counters; nothing is pickled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steadyspike.core.aside import written_aside

CHECKPOINT = "checkpoint.safetensors"


@dataclass
class Progress:
    """How far a run is; what JSON can hold."""

    step: int = 0
    elapsed_s: float = 0.0
    best_loss: float | None = None
    best_step: int = 0
    without_gain: int = 0
    initial_loss: float | None = None
    loss_sum: float = 0.0
    loss_count: int = 0
    stopped: str = ""
    scaler: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(
    folder: Path,
    network: nn.Module,
    best: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write the whole state, or leave the one before."""
    from safetensors.torch import save_file

    tensors = {f"network.{name}": values for name, values in network.state_dict().items()}
    tensors |= {f"best.{name}": values for name, values in best.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": values for name, values in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    # a copy each, as safetensors refuses tensors that share memory
    tensors = {name: values.detach().cpu().contiguous().clone() for name, values in tensors.items()}
    with written_aside(folder / CHECKPOINT) as aside:
        save_file(tensors, aside, metadata={"progress": json.dumps(asdict(progress))})


def read_checkpoint(folder: Path) -> tuple[Progress, dict[str, dict[str, Tensor]]]:
    """Return the progress, and tensors under "network", "best", "optimizer" and "random".

    Raises `ValueError` if the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    parts: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "optimizer": {}, "random": {}}
    try:
        with safe_open(folder / CHECKPOINT, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            for key in file.keys():  # noqa: SIM118, it is no dict
                part, _, name = key.partition(".")
                parts[part][name] = file.get_tensor(key)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / CHECKPOINT} is damaged ({error}); start anew with overwrite=True with resume=False"
        ) from None
    return progress, parts


def load_checkpoint(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor]]:
    """Put a saved state back; return the progress and the best weights so far."""
    progress, parts = read_checkpoint(folder)
    network.load_state_dict(parts["network"])
    state: dict[int, dict[str, Tensor]] = {}
    for key, values in parts["optimizer"].items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = values
    # groups (learning rate, weight decay) are set anew from the arguments
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(parts["random"]["cpu"])
    if "cuda" in parts["random"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(parts["random"]["cuda"])
    return progress, parts["best"]
