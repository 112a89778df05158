"""What a network costs: parameters, and memory."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

# numbers of predicted frames whose difference in memory tells that of one
COUNTED_FRAMES = (4, 8)
# what lives at once, in units of input and output of the largest layer: residuals, skipped connections, copies to pad
ALIVE_AT_ONCE = 10


def num_parameters(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(weights.numel() for weights in network.parameters())


def bytes_needed(network: nn.Module, rows: int, columns: int, images: int = 1) -> tuple[float, float]:
    """Estimate the memory that a forward pass of some images in float32 takes beyond the weights.

    Returns the bytes that any call takes, and those for each predicted frame: ten times input and output of the largest
    layer.
    """
    # a copy, as other threads may be using the network
    network = copy.deepcopy(network)
    largest = [_largest_layer(network, frames, rows, columns) for frames in COUNTED_FRAMES]
    fewer, more = COUNTED_FRAMES
    per_frame = (largest[1] - largest[0]) / (more - fewer)
    fixed = max(0.0, largest[0] - fewer * per_frame)
    return ALIVE_AT_ONCE * images * fixed, ALIVE_AT_ONCE * images * per_frame


def _largest_layer(network: Any, frames: int, rows: int, columns: int) -> int:
    device = next(network.parameters()).device
    image = torch.zeros(1, sum(network.context) + frames, rows, columns, device=device)
    sizes = [2 * image.numel()]

    def count(_layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        sizes.append(sum(one.numel() for one in (*inputs, output) if isinstance(one, Tensor)))

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if layer is not network]
    with torch.inference_mode():
        network(image)
    for hook in hooks:
        hook.remove()
    return 4 * max(sizes)
