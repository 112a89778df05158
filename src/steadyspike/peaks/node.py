"""What our localizers share: the start of a node, its waveforms, and its output."""

import warnings

import numpy as np
from spikeinterface.core.node_pipeline import PeakRetriever, PipelineNode, WaveformsNode, find_parent_of_type
from spikeinterface.postprocessing.unit_locations import dtype_localize_by_method
from spikeinterface.sortingcomponents.peak_localization.base import LocalizeBase

from steadyspike.core.arguments import finite_locations
from steadyspike.core.voltage import warn_of_unlike_scales
from steadyspike.kernels.spikes.contact_features import neighbour_columns
from steadyspike.kernels.spikes.spike_samples import in_traces, in_waveforms
from steadyspike.peaks.on_demand import spared_extractor

# A trough and a peak take two; with fewer than four, amplitudes depend on where between two samples a spike lies.
LEAST_SAMPLES, FEW_SAMPLES = 2, 4
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def waveforms_parent(parents, name):
    """Return the last node with waveforms among the parents; `name` asks for it."""
    parent = find_parent_of_type(parents, WaveformsNode)
    if parent is None:
        raise TypeError(f"{name} needs a {WaveformsNode.__name__} among its parents")
    return parent


def check_samples(parent, name, least=LEAST_SAMPLES):
    """Refuse waveforms that are too short to tell amplitudes, as those of LFP, and warn of those that are short."""
    found = parent.nbefore + parent.nafter
    rate = parent.recording.get_sampling_frequency()
    told = (
        f"{name}: the waveforms have {found} sample(s), at {rate:g} Hz; allowed: {least} or more, of a recording with "
        "the band of spikes, not LFP, or by longer ms_before and ms_after"
    )
    if found < least:
        raise ValueError(told)
    if found < FEW_SAMPLES:
        warnings.warn(f"{told}; with fewer than {FEW_SAMPLES} positions are rough", stacklevel=4)


def first_chunk(segment_index, start_frame, end_frame, max_margin):
    """Slice of no peaks that is not empty for the first chunk of a segment, which is computed then."""
    return 0, int(start_frame == 0)


class LocalizeSteady(LocalizeBase):
    """A localizer that solves all peaks of a chunk in one compiled call.

    A subclass begins its constructor with `_begin`, ends it with `_compile`, and gives what it solved to `_located`.
    Where the parent just extracts waveforms, `extractor` is that parent, the samples are read in the traces, and the
    pipeline is not asked for waveforms.
    """

    def _begin(self, recording, parents, return_output, method, more_fields=()):
        """Start the node, whose output is that of SpikeInterface's `method`; return the parent with waveforms."""
        locations = finite_locations(recording, self.name)
        parent = waveforms_parent(parents, self.name)
        warn_of_unlike_scales(recording, self.name, sizes_only=True)
        # not LocalizeBase.__init__: it keeps two channels x channels matrices, 225 MB for 5,000 contacts, that would
        # travel to each worker
        PipelineNode.__init__(self, recording, return_output=return_output, parents=parents)
        self.extractor = spared_extractor(parents)
        if self.extractor is not None:
            self.parents = parents[:1]
        source = find_parent_of_type(parents, PeakRetriever)
        if source is not None and not len(source._peaks):
            # SpikeInterface skips chunks without peaks, and fails where it has skipped them all
            source.get_peak_slice = first_chunk
        self.recording = recording
        self.contact_locations = locations
        self._dtype = np.dtype([*dtype_localize_by_method[method], *more_fields])
        return parent

    def get_margin(self):
        """Samples that are read beyond each end of a chunk."""
        return 0 if self.extractor is None else self.extractor.get_margin()

    def _place(self, neighbours, mask):
        """Note where the contacts around each main channel are: in the traces, and in the parent's waveforms."""
        self.columns = neighbour_columns(neighbours, mask)
        self.channels = np.where(self.columns >= 0, neighbours, -1)

    def _spikes(self, traces, peaks, waveforms):
        """Find the samples of peaks, in the traces if there are no waveforms, and the columns to read there."""
        if waveforms is None:
            assert self.extractor is not None
            reach = self.extractor.nbefore, self.extractor.nafter
            spikes = in_traces(traces, peaks["sample_index"], *reach)
            if spikes is not None:
                return spikes, self.channels
            waveforms = self.extractor.compute(traces, peaks)
        return in_waveforms(waveforms), self.columns

    def _compile(self, num_samples, num_columns):
        """Compile (or load) the kernels once, before SpikeInterface starts workers that would each do so."""
        dtype = self.recording.get_dtype()
        no_peaks = np.zeros(0, dtype=[("sample_index", "int64"), ("channel_index", "int64")])
        traces = np.zeros((1, len(self.contact_locations)), dtype)
        self.compute(traces, no_peaks, np.zeros((0, num_samples, num_columns), dtype))

    def _located(self, solved):
        """Give what was solved, shape (num_peaks, at least as many as fields), as the node's output."""
        locations = np.empty(len(solved), dtype=self._dtype)
        for column, field in enumerate(self._dtype.names or ()):
            locations[field] = np.minimum(solved[:, column], LARGEST_FLOAT32)
        return locations
