"""Whitening of each channel of a recording from the nearest ones."""

from typing import Any, ClassVar, Self

import numpy as np
from pydantic import field_validator, model_validator
from spikeinterface.core.core_tools import define_function_handling_dict_from_class
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.core.arguments import contact_positions
from steadyspike.core.settings import Settings, document, parameter, takes
from steadyspike.kernels.channels.nearest_whitening import nearest_channels, nearest_whitening
from steadyspike.preprocessing.batch_filter import output_type

SMALLEST_SHARE = 1e-12
"""Of the median variance: what rounding leaves of a constant channel is no signal."""


def _as_rows(values):
    return values.tolist() if isinstance(values, np.ndarray) else values


class WhitenSettings(Settings):
    """Parameters of `SteadyWhitenRecording`."""

    part = "steady_whiten"

    num_neighbors: int = parameter(32, "Channels that each is whitened from, itself among them", ge=1)
    eps: float = parameter(1e-6, "What is added to the eigenvalues, as a part of the mean variance", ge=0)
    batch_size: int = parameter(60_000, "Samples of a batch", unit="samples", ge=1)
    every_nth_batch: int = parameter(25, "The covariance is that of the first of so many batches", ge=1)
    W: list[list[float]] | None = parameter(
        None,
        "Whitening matrix, so that ``(traces - M) @ W.T`` is whitened. None: from the recording",
        type_doc="array (num_channels, num_channels) or None",
    )
    M: list[float] | None = parameter(
        None,
        "Mean of each channel, with `W`. None: zeros with `W`, or else from the recording",
        type_doc="array (num_channels,) or None",
    )

    _plain = field_validator("W", "M", mode="before")(_as_rows)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.M is not None and self.W is None:
            self.refuse("M", "None where W is not given, as both are found together")
        return self


@document
class SteadyWhitenRecording(BasePreprocessor):
    """Whiten each channel from the nearest ones, as Kilosort4 does.

    The row of a channel is that of the symmetric (ZCA) whitening matrix of its `num_neighbors` nearest channels,
    W = U diag(1 / sqrt(d + eps)) U' with the eigenvectors U and eigenvalues d of their covariance. SpikeInterface's
    `whiten` takes channels within a radius, or all.

    Parameters
    ----------
    recording : BaseRecording
        Filtered, with contact positions. A part of its traces is read at once, unless `W` is given.
    {settings}

    Returns
    -------
    SteadyWhitenRecording
        The lazy recording, whose noise and spikes together have a standard deviation of about 1: float64 for float64,
        or else float32.

    Raises
    ------
    ValueError
        If the recording has no contact positions, or `W` or `M` do not fit it.

    Notes
    -----
    Silent channels stay silent, and samples that are not finite do not count for the covariance. The gains of the
    recording stay, though whitened samples are no voltages.

    References
    ----------
    Pachitariu M. et al. (2024) Spike sorting with Kilosort4. Nature Methods 21: 914-921.

    Examples
    --------
    >>> from spikeinterface.core import generate_recording
    >>> from steadyspike import batch_filter, whiten
    >>> recording = generate_recording(durations=[1.0], num_channels=8)
    >>> whitened = whiten(batch_filter(recording), num_neighbors=4)
    """

    _precomputable_kwarg_names: ClassVar = ["W", "M"]

    @takes(WhitenSettings)
    def __init__(self, recording, settings):
        number = recording.get_num_channels()
        if settings.W is None:
            positions = contact_positions(recording, settings.part)
            covariance, means = _moments(recording, settings)
            neighbors = nearest_channels(positions, settings.num_neighbors)
            matrix = nearest_whitening(covariance, neighbors, settings.eps)
        else:
            matrix = _checked(settings, "W", (number, number))
            means = np.zeros(number) if settings.M is None else _checked(settings, "M", (number,))
        BasePreprocessor.__init__(self, recording, dtype=output_type(recording))
        if "offset_to_uV" in self.get_property_keys():
            self.set_channel_offsets(0)
        for parent_segment in recording.segments:
            self.add_recording_segment(
                SteadyWhitenRecordingSegment(parent_segment, matrix, means, self.get_dtype())
            )
        self._kwargs = dict(recording=recording, **settings.saved(W=matrix.tolist(), M=means.tolist()))


class SteadyWhitenRecordingSegment(BasePreprocessorSegment):
    """Reads all channels of a chunk, and whitens those asked for."""

    def __init__(self, parent_recording_segment, matrix, means, output_dtype):
        BasePreprocessorSegment.__init__(self, parent_recording_segment)
        self.matrix = matrix.astype(output_dtype)
        self.means = means
        self.output_dtype = output_dtype

    def get_traces(self, start_frame, end_frame, channel_indices):
        """Whiten the samples from `start_frame` to `end_frame`."""
        traces = self.parent_recording_segment.get_traces(start_frame, end_frame, slice(None))
        channels: Any = slice(None) if channel_indices is None else channel_indices
        centered = (traces - self.means).astype(self.output_dtype)
        return centered @ np.ascontiguousarray(self.matrix[channels].T)


def _checked(settings, name, shape) -> np.ndarray:
    try:
        values = np.array(getattr(settings, name), dtype="float64")
    except ValueError:
        values = np.zeros(0)
    if values.shape != shape or not np.isfinite(values).all():
        settings.refuse(
            name, f"finite numbers of the shape {shape}, as the recording has {shape[0]} channels"
        )
    return values


def _moments(recording, settings) -> tuple[np.ndarray, np.ndarray]:
    """Covariance and means over every nth batch of each segment; what is not finite counts as the mean."""
    number, step = recording.get_num_channels(), settings.batch_size * settings.every_nth_batch
    products, sums, samples = np.zeros((number, number)), np.zeros(number), 0
    origin = None
    for segment in range(recording.get_num_segments()):
        for first in range(0, recording.get_num_samples(segment), step):
            last = min(first + settings.batch_size, recording.get_num_samples(segment))
            traces = recording.get_traces(segment_index=segment, start_frame=first, end_frame=last)
            finite = np.isfinite(traces)
            if origin is None:
                # sums of squares about it keep their digits where traces have a large offset
                known = np.where(finite, traces, 0).sum(axis=0, dtype="float64")
                origin = known / np.maximum(finite.sum(axis=0), 1)
            centered = np.where(finite, traces - origin, 0.0)
            sums += centered.sum(axis=0)
            products += centered.T @ centered
            samples += len(centered)
    if origin is None:
        return products, sums
    means = sums / samples
    covariance = products / samples - np.outer(means, means)
    variances = np.diag(covariance)
    silent = variances <= SMALLEST_SHARE * np.median(variances)
    covariance[silent] = covariance[:, silent] = 0.0
    return covariance, origin + means


whiten = define_function_handling_dict_from_class(source_class=SteadyWhitenRecording, name="steady_whiten")
