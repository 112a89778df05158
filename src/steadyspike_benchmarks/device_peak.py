"""What a device does at most: the peak of its arithmetic, its name, and waiting for it."""

from __future__ import annotations

import time

MATRIX = {"cpu": 2048, "cuda": 8192, "mps": 4096}


def peak_of(device: str, precision: str) -> float:
    """Multiply-adds per second of a large product of matrices, the most that the device is seen to do."""
    import torch

    kind = torch.device(device).type
    size = MATRIX[kind]
    half = torch.bfloat16 if kind == "cpu" else torch.float16
    one = torch.randn(size, size, device=device, dtype=half if precision == "half" else torch.float32)
    best = 0.0
    # other programs do not count
    clock = time.process_time if kind == "cpu" else time.perf_counter
    for _ in range(5):
        wait_for(device)
        start = clock()
        one @ one
        wait_for(device)
        best = max(best, size**3 / (clock() - start))
    return best


def wait_for(device: str) -> None:
    """Wait until a device has done what it was given."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def device_name(device: str) -> str:
    """Name a device as its maker does, where that is known."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
