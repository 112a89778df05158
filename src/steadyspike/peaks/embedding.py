"""Embedding and clustering of the waveforms of peaks, and their units in a sorting."""

from __future__ import annotations

from typing import Any

import numpy as np
from spikeinterface.core.node_pipeline import PeakRetriever, PipelineNode, run_node_pipeline

from steadyspike.peaks.classification import check_order, cut_waveforms, nearest_channels
from steadyspike.peaks.clusters import WaveformEmbedding, align_waveforms, embed_waveforms

BORDER = 6
"""Samples cut on both sides for the alignment, and dropped behind it."""


class ExtractNearestWaveforms(PipelineNode):
    """Cut the waveforms of each peak on the contacts nearest to its own.

    Parameters
    ----------
    recording : BaseRecording
        With positions of its contacts, if `num_channels` is given and above 1.
    parents : list of PipelineNode
        A source of peaks.
    return_output : bool, default: True
        Whether the pipeline returns the waveforms (num_peaks, num_samples, num_channels).
    nbefore, nafter : int
        Samples before the peak, and from it on.
    num_channels : int or None, default: None
        The nearest contacts, in order of distance; None: all channels, in their own order.
    """

    def __init__(self, recording, parents=None, return_output=True, nbefore=15, nafter=45, num_channels=None):
        PipelineNode.__init__(self, recording, return_output=return_output, parents=parents)
        self.nbefore, self.nafter = nbefore, nafter
        self.channels = None if num_channels is None else nearest_channels(recording, num_channels)
        self._kwargs.update(nbefore=nbefore, nafter=nafter, num_channels=num_channels)

    def get_margin(self):
        """Samples that the waveforms reach beyond a chunk."""
        return max(self.nbefore, self.nafter)

    def get_dtype(self):
        """Type of the waveforms."""
        return self.time_series.get_dtype()

    def compute(self, traces, peaks, *others):
        """Cut the waveforms of one chunk."""
        channels = None if self.channels is None else self.channels[peaks["channel_index"]]
        return cut_waveforms(traces, peaks["sample_index"], channels, self.nbefore, self.nafter)


def peak_waveforms(
    recording: Any,
    peaks: np.ndarray,
    *,
    ms_before: float = 0.5,
    ms_after: float = 1.0,
    num_channels: int | None = None,
    **job_kwargs: Any,
) -> np.ndarray:
    """Cut the waveforms of peaks.

    Parameters
    ----------
    recording : BaseRecording
        Filtered.
    peaks : ndarray
        In order of segment and time.
    ms_before, ms_after : float, default: 0.5, 1.0
        Before the peak, and from it on; 0 or more, and above 0.
    num_channels : int or None, default: None
        The contacts nearest to each peak's, in order of distance; None: all channels, in their own order.
    **job_kwargs
        SpikeInterface's job arguments.

    Returns
    -------
    waveforms : ndarray, shape (num_peaks, num_samples, num_channels)
        0 where they reach beyond a segment.

    Raises
    ------
    ValueError
        If a parameter cannot work.
    """
    from spikeinterface.core.job_tools import fix_job_kwargs

    if not (ms_before >= 0 and ms_after > 0):
        raise ValueError(
            f"ms_before={ms_before}, ms_after={ms_after} cannot be; allowed: 0 or more, and above 0"
        )
    if num_channels is not None and (isinstance(num_channels, bool) or num_channels < 1):
        raise ValueError(f"num_channels={num_channels!r} must be a whole number, 1 or more, or None")
    check_order(peaks)
    per_ms = recording.sampling_frequency / 1000
    nbefore, nafter = round(ms_before * per_ms), max(1, round(ms_after * per_ms))
    source = PeakRetriever(recording, peaks)
    node = ExtractNearestWaveforms(recording, [source], True, nbefore, nafter, num_channels)
    if not len(peaks):
        width = num_channels or recording.get_num_channels()
        return np.empty((0, nbefore + nafter, width), recording.get_dtype())
    found = run_node_pipeline(recording, [source, node], fix_job_kwargs(job_kwargs), job_name="cut waveforms")
    return np.asarray(found)


def aligned_waveforms(
    recording: Any, peaks: np.ndarray, *, ms_before: float = 0.5, ms_after: float = 1.0, **kwargs: Any
) -> np.ndarray:
    """Cut the waveforms of peaks as `peak_waveforms` does, and align them by `steadyspike.peaks.align_waveforms`.

    Parameters
    ----------
    recording, peaks, ms_before, ms_after, **kwargs
        As `peak_waveforms` takes them.

    Returns
    -------
    waveforms : ndarray of float32, shape (num_peaks, num_samples, num_channels)
    """
    ms = 1000 / recording.sampling_frequency
    wide = peak_waveforms(
        recording, peaks, ms_before=ms_before + BORDER * ms, ms_after=ms_after + BORDER * ms, **kwargs
    )
    nbefore = round((ms_before + BORDER * ms) / ms)
    return align_waveforms(wide, nbefore)[:, BORDER:-BORDER]


def embed_peaks(
    recording: Any,
    peaks: np.ndarray,
    method: str = "pca",
    *,
    num_dimensions: int = 3,
    ms_before: float = 0.5,
    ms_after: float = 1.0,
    num_channels: int | None = None,
    align: bool = True,
    seed: int = 0,
    **job_kwargs: Any,
) -> WaveformEmbedding:
    """Embed the waveforms of peaks in a few dimensions.

    Parameters
    ----------
    recording : BaseRecording
        Filtered.
    peaks : ndarray
        In order of segment and time.
    method : {"pca", "autoencoder"}, default: "pca"
        As `steadyspike.peaks.embed_waveforms` takes it.
    num_dimensions : int, default: 3
        1 or more.
    ms_before, ms_after : float, default: 0.5, 1.0
        Before the peak, and from it on.
    num_channels : int or None, default: None
        The contacts nearest to each peak's; None: all channels, as suits tetrodes and short probes.
    align : bool, default: True
        Whether waveforms are aligned by `steadyspike.peaks.align_waveforms`; without, units fall apart by where among
        the samples their peaks lie.
    seed : int, default: 0
        Of all random numbers.
    **job_kwargs
        SpikeInterface's job arguments.

    Returns
    -------
    embedding : WaveformEmbedding
    """
    options: dict[str, Any] = {"num_channels": num_channels, **job_kwargs}
    if align:
        waveforms = aligned_waveforms(recording, peaks, ms_before=ms_before, ms_after=ms_after, **options)
    else:
        waveforms = peak_waveforms(recording, peaks, ms_before=ms_before, ms_after=ms_after, **options)
    return embed_waveforms(waveforms, method, num_dimensions=num_dimensions, seed=seed)


def units_of_peaks(peaks: np.ndarray, sorting: Any, *, max_ms: float = 0.4) -> np.ndarray:
    """Find the unit of each peak in a sorting: that of the spike nearest in time.

    Parameters
    ----------
    peaks : ndarray
        Of the same recording, in any order.
    sorting : BaseSorting
        Of the same recording.
    max_ms : float, default: 0.4
        A peak with no spike as near as this has no unit; 0 or more.

    Returns
    -------
    units : ndarray of int, shape (num_peaks,)
        Index of the unit; -1: none.
    """
    if not max_ms >= 0:
        raise ValueError(f"max_ms={max_ms} must be 0 or more")
    spikes = sorting.to_spike_vector()
    most = max_ms * sorting.sampling_frequency / 1000
    units = np.full(len(peaks), -1)
    for segment in np.unique(peaks["segment_index"]):
        there = spikes[spikes["segment_index"] == segment]
        if not len(there):
            continue
        mine = peaks["segment_index"] == segment
        samples = peaks["sample_index"][mine]
        after = np.searchsorted(there["sample_index"], samples)
        sides = np.stack([np.maximum(after - 1, 0), np.minimum(after, len(there) - 1)])
        distances = np.abs(there["sample_index"][sides] - samples)
        nearest = np.where(distances[0] <= distances[1], sides[0], sides[1])
        units[mine] = np.where(distances.min(axis=0) <= most, there["unit_index"][nearest], -1)
    return units
