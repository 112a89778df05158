"""Zero-phase low-, high- and bandpass filter of a recording."""

import warnings

import numpy as np
from spikeinterface.core import get_chunk_with_margin
from spikeinterface.core.core_tools import define_function_handling_dict_from_class
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.kernels.filters.biquads import butterworth_sections, filter_zero_phase, settling_samples
from steadyspike.preprocessing.dtypes import cast_traces, resolve_output_dtype

LOWEST_FREQ_MIN = 100.0
MARGIN_PERIODS = 5
FILTER_TYPES = ("butter", "bessel")


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
    freq_min : float or None, default: 300.0
        Lower corner in Hz, above 0. None makes a lowpass.
    freq_max : float or None, default: 6000.0
        Upper corner in Hz, below half the sampling frequency. None makes a highpass.
    margin_ms : "auto" or float, default: "auto"
        Signal in ms that is read before and after each chunk, so that its ends show no transient. "auto":
        5 periods of the lowest corner, as SpikeInterface takes, or more where a narrow band or a high order
        needs longer for a transient to fall to 2e-4.
    dtype : dtype, str or None, default: None
        Type of the result: float32, float64 or a signed integer, which is rounded and saturates. None keeps
        float32 and float64 recordings as they are and makes float32 of every other.
    ignore_low_freq_error : bool, default: False
        Accept a `freq_min` below 100 Hz, whose margin is long, so that short chunks cost much.
    filter_order : int, default: 5
        Order of one pass, at least 1.
    add_reflect_padding : bool, default: False
        Continue the ends of the recording by a mirrored margin. Otherwise only a few samples are added there,
        reflected about the point at the end.
    ftype : "butter" | "bessel", default: "butter"
        Family of the filter.

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

    def __init__(
        self,
        recording,
        freq_min=300.0,
        freq_max=6000.0,
        margin_ms="auto",
        dtype=None,
        ignore_low_freq_error=False,
        filter_order=5,
        add_reflect_padding=False,
        ftype="butter",
    ):
        sampling_frequency = recording.get_sampling_frequency()
        check_band(freq_min, freq_max, sampling_frequency, ignore_low_freq_error)
        check_order_and_type(filter_order, ftype)
        output_dtype = resolve_output_dtype(recording.get_dtype(), dtype, signed=freq_min is not None)
        sections = butterworth_sections(sampling_frequency, freq_min, freq_max, filter_order, ftype)
        margin_ms = resolve_margin_ms(margin_ms, sections, freq_min or freq_max, sampling_frequency)

        BasePreprocessor.__init__(self, recording, dtype=output_dtype)
        self.annotate(is_filtered=True)
        if freq_min is not None and "offset_to_uV" in self.get_property_keys():
            # the filter has removed every offset
            self.set_channel_offsets(0)

        self.margin_samples = int(margin_ms * sampling_frequency / 1000.0)
        for parent_segment in recording.segments:
            segment = SteadyBandpassFilterRecordingSegment(
                parent_segment, sections, self.margin_samples, output_dtype, add_reflect_padding
            )
            self.add_recording_segment(segment)

        self._kwargs = dict(
            recording=recording,
            freq_min=freq_min,
            freq_max=freq_max,
            margin_ms=margin_ms,
            dtype=output_dtype.str,
            ignore_low_freq_error=ignore_low_freq_error,
            filter_order=filter_order,
            add_reflect_padding=add_reflect_padding,
            ftype=ftype,
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
        traces, left, _ = get_chunk_with_margin(
            self.parent_recording_segment,
            start_frame,
            end_frame,
            channel_indices,
            self.margin_samples,
            add_reflect_padding=self.add_reflect_padding,
        )
        # integers are rounded from float64, so that a value near a half is rounded once
        precision = "float64" if self.output_dtype.kind in "iu" else self.output_dtype
        stop = left + end_frame - start_frame
        filtered = filter_zero_phase(traces, self.sections, left, stop, precision)
        return cast_traces(filtered, self.output_dtype)


def _as_index(channel_indices):
    """Give what indexes all channels where no channels are named."""
    return slice(None) if channel_indices is None else channel_indices


def check_band(freq_min, freq_max, sampling_frequency, ignore_low_freq_error):
    """Raise ValueError for corner frequencies that make no filter."""
    nyquist = sampling_frequency / 2
    if freq_min is None and freq_max is None:
        raise ValueError("freq_min=None and freq_max=None: at least one corner frequency is needed")
    for name, freq in (("freq_min", freq_min), ("freq_max", freq_max)):
        if freq is not None and not 0 < freq < nyquist:
            allowed = f"above 0 and below half the sampling frequency, {nyquist} Hz, or None"
            raise ValueError(f"{name}={freq} Hz; allowed: {allowed}")
    if freq_min is not None and freq_max is not None and freq_min >= freq_max:
        raise ValueError(f"freq_min={freq_min} Hz; allowed: below freq_max={freq_max} Hz")
    if freq_min is not None and freq_min < LOWEST_FREQ_MIN and not ignore_low_freq_error:
        raise ValueError(
            f"freq_min={freq_min} Hz is below {LOWEST_FREQ_MIN} Hz: each chunk needs a margin of at least "
            f"{MARGIN_PERIODS / freq_min:.3g} s on each side. Read long chunks and set "
            "ignore_low_freq_error=True to filter all the same."
        )


def check_order_and_type(filter_order, ftype):
    """Raise ValueError for an order or a filter family that is not covered."""
    if isinstance(filter_order, bool) or filter_order != int(filter_order) or filter_order < 1:
        raise ValueError(f"filter_order={filter_order!r}; allowed: an integer of at least 1")
    if ftype not in FILTER_TYPES:
        raise ValueError(f"ftype={ftype!r}; allowed: {', '.join(FILTER_TYPES)}")


def resolve_margin_ms(margin_ms, sections, lowest_corner, sampling_frequency):
    """Margin in ms; warns where the one asked for is too short for a transient to decay."""
    periods_ms = MARGIN_PERIODS * (1000.0 / lowest_corner)
    settling_ms = settling_samples(sections) / sampling_frequency * 1000.0
    recommended_ms = max(periods_ms, settling_ms)
    if margin_ms == "auto":
        return recommended_ms
    if isinstance(margin_ms, str) or not 0 <= margin_ms < np.inf:
        raise ValueError(f'margin_ms={margin_ms!r}; allowed: "auto" or 0 and more')
    if margin_ms < recommended_ms:
        warnings.warn(
            f"margin_ms={margin_ms} is short for this filter: chunks may show transients at their ends. "
            f"margin_ms={recommended_ms:.4g} or more is enough.",
            stacklevel=3,
        )
    return margin_ms


bandpass_filter = define_function_handling_dict_from_class(
    source_class=SteadyBandpassFilterRecording, name="steady_bandpass_filter"
)
