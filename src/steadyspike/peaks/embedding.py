"""Embedding and clustering of the waveforms of peaks, and their units in a sorting."""

from __future__ import annotations

from typing import Any

import numpy as np
from spikeinterface.core.node_pipeline import PeakRetriever, PipelineNode, run_node_pipeline

from steadyspike.core.settings import Settings, parameter, takes
from steadyspike.peaks.classification import check_order, cut_waveforms, nearest_channels
from steadyspike.peaks.clusters import EmbeddingSettings, WaveformEmbedding, align_waveforms, embed_waveforms

BORDER = 6
"""Samples cut on both sides for the alignment, and dropped behind it."""


class WindowSettings(Settings):
    """Parameters of `peak_waveforms`: what of the traces is a peak's waveform."""

    part = "peak_waveforms"

    ms_before: float = parameter(0.5, "Of the waveforms, before the peak", unit="ms", ge=0)
    ms_after: float = parameter(1.0, "Of the waveforms, from the peak on", unit="ms", gt=0)
    num_channels: int | None = parameter(
        None,
        """The contacts nearest to each peak's, in order of distance; None: all channels in their own order, as suits
        tetrodes and short probes""",
        ge=1,
    )


# fields stand in the order of the bases from the last to the first
class EmbedPeaksSettings(WindowSettings, EmbeddingSettings):
    """Parameters of `embed_peaks`."""

    part = "embed_peaks"

    align: bool = parameter(
        True,
        """Whether waveforms are aligned by `steadyspike.peaks.align_waveforms`. Without, units fall apart by where
        among the samples their peaks lie""",
    )


class UnitsSettings(Settings):
    """Parameters of `units_of_peaks`."""

    part = "units_of_peaks"

    max_ms: float = parameter(0.4, "A peak with no spike as near as this has no unit", unit="ms", ge=0)


class ExtractNearestWaveforms(PipelineNode):
    """Cut the waveforms of each peak on the contacts nearest to its own.

    The waveforms have `nbefore` samples before the peak and `nafter` from it on, on the `num_channels` nearest contacts
    in order of distance, which takes a recording with positions; None: on all channels, in their own order.
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


@takes(WindowSettings)
def peak_waveforms(
    recording: Any, peaks: np.ndarray, *, settings: WindowSettings, **job_kwargs: Any
) -> np.ndarray:
    """Cut the waveforms of peaks.

    The recording is filtered, and `peaks` are in order of segment and time. Returns (num_peaks, num_samples,
    num_channels), 0 where they reach beyond a segment.
    """
    from spikeinterface.core.job_tools import fix_job_kwargs

    check_order(settings.part, peaks)
    per_ms = recording.sampling_frequency / 1000
    nbefore, nafter = round(settings.ms_before * per_ms), max(1, round(settings.ms_after * per_ms))
    num_channels = settings.num_channels
    source = PeakRetriever(recording, peaks)
    node = ExtractNearestWaveforms(recording, [source], True, nbefore, nafter, num_channels)
    if not len(peaks):
        width = num_channels or recording.get_num_channels()
        return np.empty((0, nbefore + nafter, width), recording.get_dtype())
    found = run_node_pipeline(recording, [source, node], fix_job_kwargs(job_kwargs), job_name="cut waveforms")
    return np.asarray(found)


@takes(WindowSettings)
def aligned_waveforms(
    recording: Any, peaks: np.ndarray, *, settings: WindowSettings, **job_kwargs: Any
) -> np.ndarray:
    """Cut the waveforms of peaks as `peak_waveforms` does, and align them by `steadyspike.peaks.align_waveforms`."""
    ms = 1000 / recording.sampling_frequency
    before = settings.ms_before + BORDER * ms
    wider = settings.saved(ms_before=before, ms_after=settings.ms_after + BORDER * ms)
    waveforms = peak_waveforms(recording, peaks, **wider, **job_kwargs)
    return align_waveforms(waveforms, round(before / ms))[:, BORDER:-BORDER]


@takes(EmbedPeaksSettings)
def embed_peaks(
    recording: Any, peaks: np.ndarray, settings: EmbedPeaksSettings, **job_kwargs: Any
) -> WaveformEmbedding:
    """Embed the waveforms of peaks in a few dimensions.

    Parameters
    ----------
    recording : BaseRecording
        Filtered.
    peaks : ndarray
        In order of segment and time.
    {settings}
    **job_kwargs
        SpikeInterface's job arguments.

    Returns
    -------
    embedding : WaveformEmbedding
    """
    cut = aligned_waveforms if settings.align else peak_waveforms
    waveforms = cut(recording, peaks, **settings.to(WindowSettings).values(), **job_kwargs)
    return embed_waveforms(waveforms, **settings.to(EmbeddingSettings).values())


@takes(UnitsSettings)
def units_of_peaks(peaks: np.ndarray, sorting: Any, *, settings: UnitsSettings) -> np.ndarray:
    """Find the unit of each peak in a sorting: that of the spike nearest in time.

    Parameters
    ----------
    peaks : ndarray
        Of the same recording, in any order.
    sorting : BaseSorting
        Of the same recording.
    {settings}

    Returns
    -------
    units : ndarray of int, shape (num_peaks,)
        Index of the unit; -1: none.
    """
    spikes = sorting.to_spike_vector()
    most = settings.max_ms * sorting.sampling_frequency / 1000
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
