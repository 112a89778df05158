"""Mean, common median and highpass of a recording, batch by batch, as Kilosort4 takes them."""

import functools
from typing import Any, Self

import numpy as np
from pydantic import model_validator
from spikeinterface.core.core_tools import define_function_handling_dict_from_class
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.core.settings import Settings, document, parameter, takes
from steadyspike.core.voltage import voltage_signs
from steadyspike.kernels.filters.batch_highpass import (
    highpass_batch,
    subtract_lower_median,
    subtract_means,
)

KEPT = 2
"""Batches that a segment keeps."""


class BatchFilterSettings(Settings):
    """Parameters of `SteadyBatchFilterRecording`."""

    part = "steady_batch_filter"

    freq_min: float = parameter(300.0, "Corner of the highpass", unit="Hz", gt=0)
    filter_order: int = parameter(3, "Order of the highpass; its gain is that of two passes", ge=1)
    reference: bool = parameter(
        True,
        "Subtract the median over all channels at each sample; of an even number the lower of the middle two",
    )
    batch_size: int = parameter(60_000, "Samples of a batch", unit="samples", ge=1)
    margin: int = parameter(
        61,
        "Samples of its neighbours that are filtered with a batch, at either side, where one fades into the other",
        unit="samples",
        ge=0,
    )
    artifact_threshold: float | None = parameter(
        None,
        """A batch in which a sample is farther than this from the mean of its channel becomes 0; None: none does""",
        unit="the recording's own",
        gt=0,
    )

    @model_validator(mode="after")
    def _two_at_a_time(self) -> Self:
        if 2 * self.margin > self.batch_size:
            self.refuse("margin", f"at most half of batch_size={self.batch_size}")
        return self


def output_type(recording) -> np.dtype:
    """Floating point as the recording, else float32."""
    parent = recording.get_dtype()
    return np.dtype("float64" if parent.kind == "f" and parent.itemsize == 8 else "float32")


@document
class SteadyBatchFilterRecording(BasePreprocessor):
    """Subtract each batch's mean and the common median, and take the highpass in the frequency domain.

    From each channel its mean over the batch is subtracted, from each sample the median over the channels, and what is
    left goes through a zero-phase Butterworth highpass, whose gain at the frequency f is about
    1 / (1 + (f1 / f) ** 2N), with the corner f1 = `freq_min` and the order N. So Kilosort4 does it, by its paper, its
    documentation and what it writes. Batches begin at the first sample of a segment, whatever is read; beyond the ends
    of a segment its first and last sample last, to the end of a whole batch.

    Parameters
    ----------
    recording : BaseRecording
        The recording to filter, of any sample type.
    {settings}

    Returns
    -------
    SteadyBatchFilterRecording
        The lazy, filtered recording: float64 for float64, or else float32.

    Raises
    ------
    ValueError
        For a corner that is not between 0 and half the sampling frequency, or another value out of its range.

    Notes
    -----
    Whatever is read of a batch, all of it is computed, and of its neighbours if the chunk reaches their margins; the
    last two are kept. Chunks should be as long as batches. Samples that are not finite are taken for the mean of their
    channel. `steadyspike.bandpass_filter` and `steadyspike.common_reference` have no
    batches, so that nothing changes at their borders, and read any chunk at the same cost: take them unless you want
    what Kilosort4 does: the mean of a last batch of which little is there is mostly that of its last sample.

    References
    ----------
    Pachitariu M. et al. (2024) Spike sorting with Kilosort4. Nature Methods 21: 914-921.

    Examples
    --------
    >>> from spikeinterface.core import generate_recording
    >>> from steadyspike import batch_filter
    >>> recording = generate_recording(durations=[1.0], num_channels=8)
    >>> filtered = batch_filter(recording, freq_min=300.0)
    """

    @takes(BatchFilterSettings)
    def __init__(self, recording, settings):
        half = recording.get_sampling_frequency() / 2
        if settings.freq_min >= half:
            settings.refuse("freq_min", f"above 0 and below half the sampling frequency, {half} Hz")
        BasePreprocessor.__init__(self, recording, dtype=output_type(recording))
        self.annotate(is_filtered=True)
        if "offset_to_uV" in self.get_property_keys():
            # the filter has removed every offset
            self.set_channel_offsets(0)
        # the lower of two voltages is the higher count then
        upside_down = bool((voltage_signs(recording) < 0).all())
        for parent_segment in recording.segments:
            self.add_recording_segment(
                SteadyBatchFilterRecordingSegment(
                    parent_segment, settings, 2 * half, self.get_dtype(), upside_down
                )
            )
        self._kwargs = dict(recording=recording, **settings.saved())


class SteadyBatchFilterRecordingSegment(BasePreprocessorSegment):
    """Reads and filters the batches that hold a chunk."""

    def __init__(
        self, parent_recording_segment, settings, sampling_frequency, output_dtype, upside_down=False
    ):
        BasePreprocessorSegment.__init__(self, parent_recording_segment)
        self.settings = settings
        self.sampling_frequency_hz = sampling_frequency
        self.output_dtype = output_dtype
        self.upside_down = upside_down
        # each is needed for its neighbours too
        self._batch = functools.lru_cache(maxsize=KEPT)(self._filtered)

    def get_traces(self, start_frame, end_frame, channel_indices):
        """Filter the batches that hold the samples from `start_frame` to `end_frame`."""
        start = 0 if start_frame is None else start_frame
        end = self.get_num_samples() if end_frame is None else end_frame
        settings, num_channels = self.settings, self.get_num_channels()
        size, margin = settings.batch_size, settings.margin
        traces = np.zeros((max(end - start, 0), num_channels), self.output_dtype)
        first = max((start - margin) // size * size, 0)
        while first < self.get_num_samples() and first - margin < end and start < end:
            low, batch = self._batch(first)
            here = slice(max(low, start) - start, max(min(low + len(batch), end) - start, 0))
            traces[here] += batch[max(start - low, 0) : max(end - low, 0)]
            first += size
        channels: Any = slice(None) if channel_indices is None else channel_indices
        return np.ascontiguousarray(traces[:, channels])

    def _filtered(self, first):
        """Give the share in the traces of the batch that begins at a sample, and its first sample.

        Beyond the ends of the segment, its ends last. Where two batches meet, one fades out as the other fades in.
        """
        settings, limit = self.settings, self.settings.artifact_threshold
        num_samples, margin = self.get_num_samples(), settings.margin
        low, high = first - margin, first + settings.batch_size + margin
        start, end = max(low, 0), min(high, num_samples)
        traces = self.parent_recording_segment.get_traces(start, end, slice(None))
        centered = subtract_means(
            np.pad(traces, ((start - low, high - end), (0, 0)), mode="edge"), self.output_dtype.name
        )
        known = slice(start - low, end - low)
        own = centered[margin : margin + min(settings.batch_size, num_samples - first)]
        if limit is not None and np.abs(own).max(initial=0.0) > limit:
            return start, np.zeros_like(centered[known])
        if settings.reference and centered.shape[1]:
            sign = -1 if self.upside_down else 1
            centered = sign * subtract_lower_median(sign * centered)
        batch = highpass_batch(centered, settings.freq_min, self.sampling_frequency_hz, settings.filter_order)
        fading = np.arange(1, 2 * margin + 1, dtype=batch.dtype)[:, np.newaxis] / (2 * margin + 1)
        if first > 0:
            batch[: 2 * margin] *= fading
        if first + settings.batch_size < num_samples:
            batch[len(batch) - 2 * margin :] *= 1 - fading
        return start, batch[known]


batch_filter = define_function_handling_dict_from_class(
    source_class=SteadyBatchFilterRecording, name="steady_batch_filter"
)
