"""Networks run on traces: loaded once for each process, in blocks that keep memory below a limit."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.probe_layout import ProbeLayout
from steadyspike.library.models.references import ModelSource, load_source

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DEVICES = ("auto", "cuda", "mps", "cpu")
# on a GPU at most a quarter of all it has, used or not: blocks must not depend on who else is there
CPU_LIMIT_MB, GPU_LIMIT_MB = 256.0, 2000.0
# longer blocks leave the processor's caches, and an accelerator gains nothing from them. On a CPU: a multiple of what
# linear filters compute at once, of which a second holds a whole number
LONGEST_BLOCK = {"cpu": 400, "cuda": 8000, "mps": 4000}
# normalized samples beyond this are artefacts, and squares of them would overflow
LARGEST = 1e6


def resolve_device(device: str) -> str:
    """Name the device that "auto" stands for on this machine: cuda, else mps, else cpu.

    Raises `ValueError` if the device is not known, or not there.
    """
    import torch

    kind = str(device).split(":")[0]
    if kind not in DEVICES:
        raise ValueError(f"device={device!r} is not known; allowed: {', '.join(DEVICES)}, 'cuda:1'")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[kind]:
        raise ValueError(f"device={device!r} is not available here; allowed: 'auto' or 'cpu'")
    return str(device)


class Backend:
    """A network on a device.

    ``network(image, mask)`` is as `steadyspike.networks` describe it, `device` as `resolve_device` returns it. With
    the precision "half" it is float16, or bfloat16 on a CPU; what overflows is computed again in float32.
    """

    def __init__(self, network: Any, device: str, precision: str) -> None:
        import torch

        self.network = network
        self.device = torch.device(device)
        self.half = precision == "half"
        self._is_torch = isinstance(network, torch.nn.Module)
        self.context: tuple[int, int] = network.context
        self._low: Any = None
        if self.half and self.folding is not None:
            # sooner than a cast in each layer
            self._low = copy.deepcopy(network).to(self._half_type())
        # a GPU runs one pass at a time anyway, and the switch below holds for all threads
        self._lock = threading.Lock()
        self._needed: dict[tuple[int, int, int], tuple[float, float]] = {}

    def block_frames(self, shape: tuple[int, int, int], limit_mb: float | None) -> int:
        """Frames to predict at once for images of (number, rows, columns), so that memory stays below a limit."""
        import torch

        if limit_mb is None:
            limit_mb = CPU_LIMIT_MB
            if self.device.type == "cuda":
                total = torch.cuda.get_device_properties(self.device).total_memory
                limit_mb = min(GPU_LIMIT_MB, total / 4e6)
        if shape not in self._needed:
            self._needed[shape] = self._bytes_needed(shape)
        fixed, per_frame = self._needed[shape]
        fits = int((limit_mb * 1e6 - fixed) / max(per_frame, 1.0))
        return max(1, min(fits, LONGEST_BLOCK[self.device.type]))

    def _bytes_needed(self, shape: tuple[int, int, int]) -> tuple[float, float]:
        from steadyspike.networks.cost import bytes_needed

        if not self._is_torch:
            return self.network.bytes_needed(*shape[1:], images=shape[0])
        return bytes_needed(self.network, *shape[1:], images=shape[0])

    @property
    def folding(self) -> Any:
        """Where images need not be made: how the network folds them, on a CPU; else None."""
        return (
            getattr(self.network, "folding", None) if self._is_torch and self.device.type == "cpu" else None
        )

    def __call__(self, image: Tensor, mask: Tensor, folded: bool = False) -> Tensor:
        """Predict images (number, before + time + after, rows, columns) in float32, or what these are folded to."""
        import torch

        network = self.network.forward_folded if folded else self.network
        with torch.inference_mode():
            if self.half:
                if folded:
                    values = (one.to(self._half_type()) for one in (image, mask))
                    predicted = self._low.forward_folded(*values).float()
                else:
                    with torch.autocast(self.device.type, self._half_type()):
                        predicted = network(image, mask).float()
                if torch.isfinite(predicted).all():
                    return predicted
            with self._exact():
                return network(image, mask)

    def _half_type(self) -> torch.dtype:
        import torch

        return torch.bfloat16 if self.device.type == "cpu" else torch.float16

    @contextmanager
    def _exact(self) -> Iterator[None]:
        """Keep a GPU from rounding float32 to 10 bits inside convolutions."""
        import torch

        if self.device.type != "cuda":
            yield
            return
        with self._lock, torch.backends.cudnn.flags(allow_tf32=False):
            yield


_LOADING = threading.Lock()


def _renew_lock() -> None:
    global _LOADING
    _LOADING = threading.Lock()


if hasattr(os, "register_at_fork"):
    # another thread may hold the lock at the moment of a fork
    os.register_at_fork(after_in_child=_renew_lock)


def backend_of(source: ModelSource, device: str, precision: str) -> Backend:
    """Load a model, once for each process, whatever the number of recordings and threads."""
    with _LOADING:
        return _loaded(source, resolve_device(device), precision)


@lru_cache(maxsize=8)
def _loaded(source: ModelSource, device: str, precision: str) -> Backend:
    _keep_freed_memory()
    return Backend(load_source(source, device), device, precision)


def _keep_freed_memory() -> None:
    """Let a process keep what layers free, which they need again at once.

    The C library of Linux gives large pieces back to the system each time, and clearing their pages takes as long as
    some layers do, unless a larger one was freed before; 32 MB is the most that it takes note of.
    """
    np.empty(31 << 20, "uint8")


@contextmanager
def torch_threads(num_threads: int) -> Iterator[None]:
    """Let torch use this many threads on the CPU, and put it back as it was."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, eq=False)
class TraceImages:
    """Where the live channels of some shanks lie in images, and how they are made ready.

    `cells` (num_live,) are places in the flattened images, `center` and `scale` (num_live,) the normalization; `mask`
    (num_shanks, rows, columns) of float32 is 1 where there is a live contact.
    """

    cells: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(
        cls, layout: ProbeLayout, channels: np.ndarray, center: np.ndarray, scale: np.ndarray
    ) -> TraceImages:
        """Take live channels of a layout: all of them on each shank that has any of them."""
        shanks, number = np.unique(layout.shank[channels], return_inverse=True)
        mask = layout.mask[shanks].astype("float32")
        cells = np.ravel_multi_index((number, layout.row[channels], layout.column[channels]), mask.shape)
        return cls(cells, center[channels], scale[channels], mask)

    def folded(self, folding: Any) -> FoldedImages:
        """Where the same channels lie in images that a network folds."""
        import torch

        numbers = torch.zeros(self.mask.size, dtype=torch.float64)
        numbers[torch.from_numpy(self.cells)] = torch.arange(1.0, len(self.cells) + 1, dtype=torch.float64)
        mask = torch.from_numpy(self.mask)
        source = (
            folding.fold(numbers.reshape(mask.shape)[:, None])[:, :, 0].transpose(1, 2).flatten(1).long() - 1
        )
        number, units = len(source), -(-mask.shape[1] // folding.unit_rows)
        places = torch.arange(float(units * folding.outputs), dtype=torch.float64).expand(number, -1)
        places = places + units * folding.outputs * torch.arange(float(number))[:, None]
        places = places.unflatten(1, (units, 1, folding.outputs)).permute(0, 3, 2, 1)
        where = folding.unfold(places, *mask.shape[1:]).flatten()[torch.from_numpy(self.cells)].long()
        image, place = np.divmod(where.numpy(), units * folding.outputs)
        return FoldedImages(
            np.where(source < 0, len(self.cells), source), image, place, folding.fold_mask(mask, mask), units
        )


@dataclass(frozen=True, eq=False)
class FoldedImages:
    """Where live channels lie in the input and the output of a network that folds its images.

    `source` (num_folded, units * inputs) is the channel of each place in what goes in, the number of channels where
    there is none; `image` and `place` (num_live,) are those of each channel in what comes out, (num_folded, time,
    units * outputs). `mask` is folded.
    """

    source: np.ndarray
    image: np.ndarray
    place: np.ndarray
    mask: Tensor
    units: int


def predict_traces(
    backend: Backend, images: TraceImages, traces: np.ndarray, first: int, num_frames: int, block: int
) -> np.ndarray:
    """Predict each sample from those around it.

    `traces` (samples, num_live) are in the recording's units; samples that are missing before and after, and those
    that are not finite, are taken as the center of their channel. `first`, which may be negative, is the sample that
    is predicted first, `block` are predicted at once, and `num_frames` is a multiple of it. Rounding depends on where
    in a block a sample lies, so that blocks start at multiples of it whatever the chunks. Returns float32 (num_frames,
    num_live), normalized.
    """
    if backend.folding is not None:
        return _predict_folded(backend, images, traces, first, num_frames, block)
    import torch

    from steadyspike.networks.grid import gather, scatter

    before, after = backend.context
    device = backend.device
    mask = torch.from_numpy(images.mask).to(device)
    cells = torch.from_numpy(images.cells).to(device)
    ready = _normalizer(images, traces.dtype, device)
    predicted = np.empty((num_frames, len(images.cells)), "float32")
    for start in range(0, num_frames, block):
        low, high = first + start - before, first + start + block + after
        inside = slice(max(low, 0), max(0, min(high, len(traces))))
        values = torch.zeros(1, high - low, len(cells), device=device)
        if inside.start < inside.stop:
            values[0, inside.start - low : inside.stop - low] = ready(traces[inside])
        result = backend(scatter(values, cells, mask.shape), mask)
        predicted[start : start + block] = gather(result, cells, len(mask))[0].cpu().numpy()
    return predicted


def _predict_folded(
    backend: Backend, images: TraceImages, traces: np.ndarray, first: int, num_frames: int, block: int
) -> np.ndarray:
    """Do the same on a CPU without images in between: what they would hold goes straight to where it is folded to."""
    import torch

    from steadyspike.kernels.channels.image_rows import fill_rows, take_rows

    before, after = backend.context
    folded = images.folded(backend.folding)
    kind = "float64" if _is_wide(traces.dtype) else "float32"
    center, scale = images.center.astype(kind), images.scale.astype(kind)
    predicted = np.empty((num_frames, len(images.cells)), "float32")
    rows = np.empty((len(folded.source), before + block + after, folded.source.shape[1]), "float32")
    # of a network of channels side by side: (num_folded, inputs, time, units)
    image = torch.from_numpy(rows).unflatten(2, (folded.units, -1)).permute(0, 3, 1, 2)
    known = traces if traces.dtype in KNOWN_TO_KERNELS else traces.astype(kind)
    for start in range(0, num_frames, block):
        fill_rows(known, first + start - before, center, scale, folded.source, LARGEST, rows)
        found = backend(image, folded.mask, folded=True).permute(0, 2, 3, 1).flatten(2).contiguous()
        take_rows(found.numpy(), folded.image, folded.place, predicted[start : start + block])
    return predicted


def _is_wide(dtype: np.dtype) -> bool:
    """Whether float32 does not hold all values: those lose digits unless the center is taken off first."""
    return not (dtype.kind in "iu" and dtype.itemsize <= 2) and dtype != np.dtype("float32")


def _normalizer(images: TraceImages, dtype: np.dtype, device: torch.device) -> Callable[[np.ndarray], Tensor]:
    import torch

    wide = _is_wide(dtype)
    where, precise = (torch.device("cpu"), torch.float64) if wide else (device, torch.float32)
    center = torch.from_numpy(images.center).to(precise).to(where)
    scale = torch.from_numpy(images.scale).to(precise).to(where)

    def ready(traces: np.ndarray) -> Tensor:
        # a copy, as torch takes no arrays that are read-only, and knows few types
        known = dtype if dtype in _KNOWN_TO_TORCH else np.dtype("float64" if wide else "float32")
        values = torch.from_numpy(np.array(traces, known)).to(where).to(precise)
        values = (values - center).div_(scale).to(device, torch.float32)
        return values.nan_to_num_(0.0, 0.0, 0.0).clamp_(-LARGEST, LARGEST)

    return ready


_KNOWN_TO_TORCH = tuple(np.dtype(name) for name in ("int8", "uint8", "int16", "int32", "float32", "float64"))
KNOWN_TO_KERNELS = tuple(np.dtype(name) for name in ("int16", "float32", "float64"))
