"""Zero-phase low-, high- and bandpass filter of a recording."""

import warnings
from typing import Literal, Self

import numpy as np
from pydantic import model_validator
from spikeinterface.core import get_chunk_with_margin
from spikeinterface.core.core_tools import define_function_handling_dict_from_class
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.core.settings import Settings, document, parameter, takes
from steadyspike.kernels.filters.biquads import butterworth_sections, filter_zero_phase, settling_samples
from steadyspike.kernels.filters.fractional_delay import delay
from steadyspike.preprocessing.dtypes import (
    SIGNED_DTYPES,
    OutputDtype,
    cast_traces,
    dtype_parameter,
    resolve_output_dtype,
)
from steadyspike.preprocessing.phase_shift import SteadyPhaseShiftRecordingSegment

LOWEST_FREQ_MIN = 100.0
MARGIN_PERIODS = 5


class BandpassSettings(Settings):
    """Parameters of `SteadyBandpassFilterRecording`."""

    part = "steady_bandpass_filter"

    freq_min: float | None = parameter(300.0, "Lower corner. None makes a lowpass", unit="Hz", gt=0)
    freq_max: float | None = parameter(
        6000.0, "Upper corner, below half the sampling frequency. None makes a highpass", unit="Hz", gt=0
    )
    margin_ms: Literal["auto"] | float = parameter(
        "auto",
        """Signal in ms that is read before and after each chunk, so that its ends show no transient. "auto": 5 periods
        of the lowest corner, as SpikeInterface takes, or more where a narrow band or a high order needs longer for a
        transient to fall to 2e-4""",
        unit="ms",
        ge=0,
    )
    dtype: OutputDtype = dtype_parameter()
    ignore_low_freq_error: bool = parameter(
        False, "Accept a `freq_min` below 100 Hz, whose margin is long, so that short chunks cost much"
    )
    filter_order: int = parameter(5, "Order of one pass", ge=1)
    add_reflect_padding: bool = parameter(
        False,
        """Continue the ends of the recording by a mirrored margin. Otherwise only a few samples are added there,
        reflected about the point at the end""",
    )
    ftype: Literal["butter", "bessel"] = parameter("butter", "Family of the filter")

    @model_validator(mode="after")
    def _band(self) -> Self:
        low, high = self.freq_min, self.freq_max
        if low is None and high is None:
            raise ValueError("freq_min=None and freq_max=None; allowed: at least one corner frequency")
        if low is not None and high is not None and low >= high:
            self.refuse("freq_min", f"below freq_max={high} Hz")
        if low is not None and low < LOWEST_FREQ_MIN and not self.ignore_low_freq_error:
            self.refuse(
                "freq_min",
                f"{LOWEST_FREQ_MIN:g} Hz or more, as each chunk needs a margin of at least "
                f"{MARGIN_PERIODS / low:.3g} s on each side; or, with long chunks, ignore_low_freq_error=True",
            )
        if low is not None and self.dtype is not None and np.dtype(self.dtype).kind == "u":
            self.refuse("dtype", f"None, {', '.join(SIGNED_DTYPES)}, as the result lies around zero")
        return self


@document
class SteadyBandpassFilterRecording(BasePreprocessor):
    """Zero-phase Butterworth filter of each channel, several times faster than SpikeInterface's.

    The filter runs forward and then backward in time, so that it shifts no phase and its gain is squared:
    with the order N and the corners f1 = `freq_min` and f2 = `freq_max`, the gain at the frequency f is about
    1 / (1 + (f1 / f) ** 2N) / (1 + (f / f2) ** 2N), and a half at each corner. The result is the one of
    SpikeInterface's `bandpass_filter` and `highpass_filter`.

    Parameters
    ----------
    recording : BaseRecording
        The recording to filter, of any sample type.
    {settings}

    Returns
    -------
    SteadyBandpassFilterRecording
        The lazy, filtered recording.

    Raises
    ------
    ValueError
        For corners outside 0 to half the sampling frequency or in the wrong order, no corner at all, an order
        below 1, a negative margin, a `freq_min` below 100 Hz unless `ignore_low_freq_error`, or an unknown
        `dtype` or `ftype`.

    Notes
    -----
    A NaN or infinite sample turns its own channel to NaN in the chunks that read it, margin included, and
    leaves the other channels alone. Recordings of any length work, one sample included.

    References
    ----------
    Butterworth S. (1930) On the theory of filter amplifiers. Experimental Wireless 7: 536-541.

    Examples
    --------
    >>> from spikeinterface.core import generate_recording
    >>> from steadyspike import bandpass_filter
    >>> recording = generate_recording(durations=[1.0], num_channels=8)
    >>> action_potentials = bandpass_filter(recording, freq_min=300.0, freq_max=6000.0)
    >>> field_potential = bandpass_filter(recording, freq_min=None, freq_max=250.0)
    """

    @takes(BandpassSettings)
    def __init__(self, recording, settings):
        sampling_frequency = recording.get_sampling_frequency()
        for name in ("freq_min", "freq_max"):
            corner = getattr(settings, name)
            if corner is not None and corner >= sampling_frequency / 2:
                settings.refuse(
                    name,
                    f"above 0 and below half the sampling frequency, {sampling_frequency / 2} Hz, or None",
                )
        output_dtype = resolve_output_dtype(recording, settings, around_zero=settings.freq_min is not None)
        sections = butterworth_sections(
            sampling_frequency, settings.freq_min, settings.freq_max, settings.filter_order, settings.ftype
        )
        margin_ms = resolve_margin_ms(settings, sections, sampling_frequency)

        BasePreprocessor.__init__(self, recording, dtype=output_dtype)
        self.annotate(is_filtered=True)
        if settings.freq_min is not None and "offset_to_uV" in self.get_property_keys():
            # the filter has removed every offset
            self.set_channel_offsets(0)

        self.margin_samples = int(margin_ms * sampling_frequency / 1000.0)
        for parent_segment in recording.segments:
            segment = SteadyBandpassFilterRecordingSegment(
                parent_segment, sections, self.margin_samples, output_dtype, settings.add_reflect_padding
            )
            self.add_recording_segment(segment)

        self._kwargs = dict(
            recording=recording, **settings.saved(margin_ms=margin_ms, dtype=output_dtype.str)
        )


class SteadyBandpassFilterRecordingSegment(BasePreprocessorSegment):
    """Reads a chunk with its margin and filters it."""

    def __init__(self, parent_recording_segment, sections, margin_samples, output_dtype, add_reflect_padding):
        BasePreprocessorSegment.__init__(self, parent_recording_segment)
        self.sections = sections
        self.margin_samples = margin_samples
        self.output_dtype = output_dtype
        self.add_reflect_padding = add_reflect_padding

    def get_traces(self, start_frame, end_frame, channel_indices):
        """Filter the samples from `start_frame` to `end_frame`."""
        start_frame = 0 if start_frame is None else start_frame
        end_frame = self.get_num_samples() if end_frame is None else end_frame
        if end_frame <= start_frame:
            num_channels = len(np.arange(self.get_num_channels())[_as_index(channel_indices)])
            return np.empty((0, num_channels), dtype=self.output_dtype)
        traces, left, delays = self._with_margin(start_frame, end_frame, channel_indices)
        # integers are rounded from float64, so that a value near a half is rounded once
        precision = "float64" if self.output_dtype.kind in "iu" else self.output_dtype
        stop = left + end_frame - start_frame
        filtered = filter_zero_phase(traces, self.sections, left, stop, precision, delays=delays)
        return cast_traces(filtered, self.output_dtype)

    def _with_margin(self, start_frame, end_frame, channel_indices):
        """Traces, how many samples of margin they begin with, and delays that they still need.

        The delays of a phase shift before the filter are left to the filter's kernel, which spares the way to memory
        and back.
        """
        parent = self.parent_recording_segment
        if isinstance(parent, SteadyPhaseShiftRecordingSegment) and not self.add_reflect_padding:
            first = max(start_frame - self.margin_samples, 0)
            last = min(end_frame + self.margin_samples, parent.get_num_samples())
            traces, taps = parent.undelayed(first, last, _as_index(channel_indices))
            dtype = parent.delay_dtype(traces)
            if dtype == parent.output_dtype and dtype != "float64":
                return traces, start_frame - first, (taps, dtype)
            return cast_traces(delay(traces, taps, dtype), parent.output_dtype), start_frame - first, None
        traces, left, _ = get_chunk_with_margin(
            parent,
            start_frame,
            end_frame,
            channel_indices,
            self.margin_samples,
            add_reflect_padding=self.add_reflect_padding,
        )
        return traces, left, None


def _as_index(channel_indices):
    """Give what indexes all channels where no channels are named."""
    return slice(None) if channel_indices is None else channel_indices


def resolve_margin_ms(settings, sections, sampling_frequency):
    """Margin in ms; warns where the one asked for is too short for a transient to decay."""
    periods_ms = MARGIN_PERIODS * (1000.0 / (settings.freq_min or settings.freq_max))
    settling_ms = settling_samples(sections) / sampling_frequency * 1000.0
    recommended_ms = max(periods_ms, settling_ms)
    if settings.margin_ms == "auto":
        return recommended_ms
    if settings.margin_ms < recommended_ms:
        warnings.warn(
            f"margin_ms={settings.margin_ms} is short for this filter: chunks may show transients at their ends. "
            f"margin_ms={recommended_ms:.4g} or more is enough.",
            stacklevel=4,
        )
    return settings.margin_ms


bandpass_filter = define_function_handling_dict_from_class(
    source_class=SteadyBandpassFilterRecording, name="steady_bandpass_filter"
)
