"""Where the samples of spikes are: in their waveforms, or in the traces themselves.

Kernels that look at a few contacts of each spike read them where they are; copying all contacts takes longer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# what the kernels read as it is
DTYPES = tuple(map(np.dtype, ("float32", "float64", "int16")))


class SpikeSamples(NamedTuple):
    """Sample ``s`` of spike ``i`` on channel ``c`` is ``flat[starts[i] + s * stride + c * step]``.

    `flat` is read-only, of one dimension, so that kernels are compiled once for each type, whatever the traces' order
    in memory; `starts` are int64.
    """

    flat: np.ndarray
    stride: int
    step: int
    starts: np.ndarray
    num_samples: int
    num_channels: int


def in_waveforms(waveforms):
    """Find the samples in waveforms, shape (num_spikes, num_samples, num_channels).

    They are read in place if float32, float64 or int16; others are converted to float32 first.
    """
    waveforms = np.asarray(waveforms)
    waveforms = np.ascontiguousarray(waveforms, None if waveforms.dtype in DTYPES else np.float32)
    num_spikes, num_samples, num_channels = waveforms.shape
    flat, stride, step = _flat(waveforms.reshape(-1, num_channels))
    starts = np.arange(num_spikes, dtype=np.int64) * (num_samples * num_channels)
    return SpikeSamples(flat, stride, step, starts, num_samples, num_channels)


def in_traces(traces, samples, before, after):
    """Find the samples in traces, shape (num_samples, num_channels), of any order in memory.

    `samples` are the spikes' peaks, whose waveforms would have `before` samples before the peak and `after` from it on.
    Returns None for traces of another type than `DTYPES`, and where a spike reaches beyond them.
    """
    samples = np.asarray(samples, dtype=np.int64)
    inside = not samples.size or before <= samples.min() <= samples.max() <= len(traces) - after
    if traces.dtype not in DTYPES or not inside:
        return None
    flat, stride, step = _flat(traces)
    return SpikeSamples(flat, stride, step, (samples - before) * stride, before + after, traces.shape[1])


def _flat(rows):
    """View an array of two dimensions as one read-only line of samples, with the steps along both."""
    size = rows.itemsize
    if any(stride < 0 or stride % size for stride in rows.strides):
        rows = np.ascontiguousarray(rows)
    stride, step = (one // size for one in rows.strides)
    length = (rows.shape[0] - 1) * stride + (rows.shape[1] - 1) * step + 1 if rows.size else 0
    return np.lib.stride_tricks.as_strided(rows, (length,), (size,), writeable=False), stride, step
