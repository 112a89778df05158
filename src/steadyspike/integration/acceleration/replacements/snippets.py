"""Where the samples of spikes are, in waveforms or in traces, as the kernels read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.kernels.spikes.spike_snippets import DTYPES, masked_lists
from steadyspike.kernels.spikes.threshold_peaks import flat_rows


@dataclass(frozen=True)
class Snippets:
    """Sample ``s`` of spike ``i`` on channel ``c`` is ``flat[starts[i] + s * stride + c]``.

    `flat` is read-only, of one dimension; `stride` lies between two samples of a channel, `starts` are int64.
    """

    flat: np.ndarray
    stride: int
    starts: np.ndarray
    num_samples: int
    num_channels: int

    def of(self, spikes: slice) -> tuple[np.ndarray, int, np.ndarray]:
        """Return samples, stride and starts of some spikes, as the kernels take them."""
        return self.flat, self.stride, self.starts[spikes]


def _checked(values: Any, what: str, ndim: int) -> None:
    if not isinstance(values, np.ndarray) or values.ndim != ndim or values.dtype not in DTYPES:
        raise NotCoveredError(f"{what} of {getattr(values, 'dtype', type(values).__name__)}")


def in_waveforms(waveforms: Any) -> Snippets:
    """Find the samples of spikes in dense waveforms, shape (num_spikes, num_samples, num_channels)."""
    _checked(waveforms, "waveforms", 3)
    num_spikes, num_samples, num_channels = waveforms.shape
    if not num_samples or not num_channels:
        raise NotCoveredError("waveforms without a sample")
    flat, _ = flat_rows(np.ascontiguousarray(waveforms).reshape(-1, num_channels))
    starts = np.arange(num_spikes) * (num_samples * num_channels)
    return Snippets(flat, num_channels, starts, num_samples, num_channels)


def in_traces(traces: Any, samples: np.ndarray, before: int, after: int) -> Snippets:
    """Find the samples of spikes in traces, shape (num_samples, num_channels)."""
    _checked(traces, "traces", 2)
    samples = np.asarray(samples, dtype=np.int64)
    if before + after < 1 or not traces.shape[1]:
        raise NotCoveredError("waveforms without a sample")
    if samples.size and (samples.min() < before or samples.max() + after > len(traces)):
        raise NotCoveredError("a spike at the end of the traces")
    flat, stride = flat_rows(traces)
    return Snippets(flat, stride, (samples - before) * stride, before + after, traces.shape[1])


def checked_channels(channels: np.ndarray, num_channels: int) -> np.ndarray:
    """Return main channels as int64; those that do not exist, or count from the end, are not covered."""
    channels = np.ascontiguousarray(channels, dtype=np.int64)
    if channels.size and not 0 <= channels.min() <= channels.max() < num_channels:
        raise NotCoveredError("a main channel that does not exist")
    return channels


_lists: WeakKeyDictionary[Any, tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]] = WeakKeyDictionary()


def neighbours_of(node: Any, num_channels: int) -> tuple[np.ndarray, np.ndarray]:
    """List the neighbours that a node's mask gives each channel; once for each node."""
    mask = node.neighbours_mask
    if mask.shape != (num_channels, num_channels):
        raise NotCoveredError("another number of channels than the node's")
    known = _lists.get(node)
    if known is None or known[0] is not mask:
        known = _lists[node] = (mask, masked_lists(mask))
    return known[1]
