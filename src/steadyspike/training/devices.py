"""Where training runs and in which precision: plain torch on one device, Lightning Fabric on several."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from steadyspike.training.settings import DeepInterpolationTraining

PART = DeepInterpolationTraining.part
PRECISIONS: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def check_devices(devices: int, device: str, precision: str) -> None:
    """Refuse several devices where they cannot work; one always can.

    Raises `ValueError` if there are not as many, or the precision needs a scale of the loss, and `ImportError` if
    Lightning is not installed.
    """
    if devices == 1:
        return
    if find_spec("lightning") is None:
        raise ImportError(f"devices={devices} needs Lightning Fabric: pip install 'steadyspike[train]'")
    if device.startswith("cuda") and devices > torch.cuda.device_count():
        raise ValueError(
            f"{PART}: devices={devices}; allowed: up to {torch.cuda.device_count()}, as there are of cuda"
        )
    if device not in ("cuda", "cpu"):
        raise ValueError(f"{PART}: devices={devices}; allowed: 1 on {device!r}, several on 'cuda' and 'cpu'")
    if precision == "float16":
        raise ValueError(f"{PART}: precision='float16'; allowed on several devices: bfloat16, float32")


def find_precision(precision: str, device: str | torch.device) -> torch.dtype:
    """Return the type of arithmetic that a name stands for; "auto" is a half precision on cuda, else float32.

    Raises `ValueError` if it is a half precision on another device than cuda.
    """
    device = torch.device(device)
    if precision == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if precision != "float32" and device.type != "cuda":
        raise ValueError(f"{PART}: precision={precision!r}; allowed on {device.type}: float32, auto")
    return PRECISIONS[precision]


class Runtime:
    """One device.

    `dtype` is that of the arithmetic; weights stay float32.
    """

    rank, num_ranks = 0, 1

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.device, self.dtype = device, dtype
        self._scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def setup(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        """Return what is called for a training step; the network must be on the device already."""
        return network

    def autocast(self) -> AbstractContextManager[Any]:
        """Context for the arithmetic of a network."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def descend(
        self, loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer, clip_norm: float | None
    ) -> None:
        """Take a step down the gradient, clipped to a norm."""
        optimizer.zero_grad()
        self._backward(self._scaler.scale(loss))
        if clip_norm is not None:
            self._scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        self._scaler.step(optimizer)
        self._scaler.update()

    def scaler_state(self) -> dict[str, Any]:
        """State of the loss scale of float16, empty for others."""
        return self._scaler.state_dict()

    def load_scaler(self, state: dict[str, Any]) -> None:
        """Put it back."""
        if state:
            self._scaler.load_state_dict(state)

    def from_first(self, measure: Callable[[], float]) -> float:
        """Return what the first process measures."""
        return measure()

    def any(self, mine: bool) -> bool:
        """Whether it is so in any process."""
        return mine

    def mean(self, mine: Tensor) -> Tensor:
        """Average over the processes, without a gradient where there are several."""
        return mine

    def _backward(self, loss: Tensor) -> None:
        loss.backward()


class FabricRuntime(Runtime):
    """One of several processes, each with a device of its own, that average their gradients.

    The fabric is launched; `dtype`, that of the arithmetic, is not float16.
    """

    def __init__(self, fabric: Any, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(fabric.device, dtype)
        self.fabric, self.rank, self.num_ranks = fabric, fabric.global_rank, fabric.world_size

    def setup(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        """Return the network wrapped so that gradients are averaged."""
        return self.fabric.setup_module(network)

    def from_first(self, measure: Callable[[], float]) -> float:
        """Measure in the first process, and tell the others."""
        return float(self.fabric.broadcast(measure() if self.rank == 0 else 0.0))

    def any(self, mine: bool) -> bool:
        """Whether it is so in any process."""
        return bool(self.fabric.all_reduce(torch.tensor(float(mine)), reduce_op="sum") > 0)

    def mean(self, mine: Tensor) -> Tensor:
        """Average over the processes, without a gradient."""
        return torch.as_tensor(self.fabric.all_reduce(mine.detach().clone(), reduce_op="mean"))

    def _backward(self, loss: Tensor) -> None:
        self.fabric.backward(loss)
