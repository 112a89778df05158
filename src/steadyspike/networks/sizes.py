"""Sizes of networks, checked, and their weights as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor


def whole_sizes(**sizes: Any) -> dict[str, Any]:
    """Return the sizes; refuse what is no whole number, 1 or more."""
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r} cannot be; allowed: whole numbers, 1 or more")
    return sizes


def kernel_arrays(tensors: Iterable[Tensor]) -> list[np.ndarray]:
    """Weights as the compiled kernels take them: float32, C order."""
    return [np.ascontiguousarray(one.detach().cpu().numpy().astype("float32")) for one in tensors]
