"""Nodes of SpikeInterface's pipeline that cut spikes out of traces, or look them up."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np

from steadyspike.integration.acceleration import threads
from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.replacements.snippets import (
    checked_channels,
    in_traces,
    neighbours_of,
)
from steadyspike.kernels.spikes.spike_snippets import copy_neighbours, main_values

FEWEST_SPIKES = 50


@replaces(
    "spikeinterface.core.node_pipeline",
    "ExtractSparseWaveforms.compute",
    name="node_pipeline",
    sources=("b37e86b682d08197",),
    helpers=("ExtractSparseWaveforms.__init__",),
)
def sparse_waveforms(self: Any, traces: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Do what `ExtractSparseWaveforms.compute` does.

    Covered: traces of int16, uint16, int32, float32 or float64; spikes that are wholly inside.
    """
    spikes = in_traces(traces, peaks["sample_index"], self.nbefore, self.nafter)
    channels = checked_channels(peaks["channel_index"], spikes.num_channels)
    neighbours, counts = neighbours_of(self, spikes.num_channels)
    waveforms = np.zeros((spikes.starts.size, spikes.num_samples, self.max_num_chans), dtype=traces.dtype)

    def copy(first: int, last: int) -> None:
        part = slice(first, last)
        copy_neighbours(*spikes.of(part), channels[part], neighbours, counts, waveforms[part])

    threads.over_ranges(copy, spikes.starts.size, FEWEST_SPIKES)
    return waveforms


@replaces(
    "spikeinterface.core.node_pipeline",
    "PeakRetriever.get_peak_slice",
    name="node_pipeline",
    sources=("9769499ab66f967d",),
    helpers=("PeakRetriever.__init__",),
)
def peak_slice(
    self: Any, segment_index: int, start_frame: int, end_frame: int, max_margin: int
) -> tuple[int, int]:
    """Do what `PeakRetriever.get_peak_slice` does, without reading the times of all peaks for each chunk."""
    peaks = self._peaks if self.segment_slices is None else self._peaks[self.segment_slices[segment_index]]
    samples = peaks["sample_index"]
    first = bisect_left(samples, start_frame)
    return np.int64(first), np.int64(bisect_left(samples, end_frame, lo=first))  # type: ignore[return-value]


@replaces(
    "spikeinterface.core.node_pipeline",
    "SpikeRetriever.compute",
    name="node_pipeline",
    sources=("56bdd88e4b756401",),
    helpers=("SpikeRetriever.__init__", "SpikeRetriever.get_peak_slice"),
)
def retrieved_spikes(
    self: Any,
    traces: np.ndarray,
    start_frame: int,
    end_frame: int,
    segment_index: int,
    max_margin: int,
    peak_slice: tuple[int, int],
) -> tuple[np.ndarray]:
    """Do what `SpikeRetriever.compute` does, for all spikes of a chunk at once.

    Covered: spikes that are wholly inside the traces.
    """
    first, last = peak_slice
    offset = 0 if self.segment_slices is None else self.segment_slices[segment_index].start
    spikes = self.spike_vector[offset + first : offset + last]
    samples = spikes["sample_index"] - (start_frame - max_margin)
    # one sample each
    flat = in_traces(traces, samples, 0, 1)
    channels = checked_channels(self.main_channel_indices[spikes["unit_index"]], flat.num_channels)
    if not self.channel_from_template:
        signs = {"neg": -1, "pos": 1, "both": 0}
        if self.peak_sign not in signs:
            raise NotCoveredError(f"peak_sign={self.peak_sign!r}")
        neighbours, counts = neighbours_of(self, flat.num_channels)
        channels = channels.copy()
        main_values(flat.flat, flat.stride, samples, channels, neighbours, counts, signs[self.peak_sign])
    found = np.zeros(spikes.size, dtype=self._dtype)
    found["sample_index"] = samples
    found["channel_index"] = channels
    found["amplitude"] = traces[samples, channels]
    found["segment_index"] = spikes["segment_index"]
    found["unit_index"] = spikes["unit_index"]
    if self.include_spikes_in_margin:
        found["in_margin"] = (samples < max_margin) | (samples >= traces.shape[0] - max_margin)
    return (found,)
