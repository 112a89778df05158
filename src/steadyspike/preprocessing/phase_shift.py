"""Correction of the sampling times of multiplexed channels."""

from typing import Any

import numpy as np
from pydantic import field_validator
from spikeinterface.core.core_tools import define_function_handling_dict_from_class
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.core.settings import Settings, document, parameter, takes
from steadyspike.kernels.filters.fractional_delay import delay, delay_taps
from steadyspike.preprocessing.dtypes import (
    OutputDtype,
    cast_traces,
    dtype_parameter,
    resolve_output_dtype,
)

LARGEST_SHIFT = 100.0
PROPERTY = "inter_sample_shift"


class PhaseShiftSettings(Settings):
    """Parameters of `SteadyPhaseShiftRecording`."""

    part = "steady_phase_shift"

    inter_sample_shift: Any = parameter(
        None,
        f"""How much later than the first each channel is sampled, one number for each channel. None: the recording's
        property `{PROPERTY}`, which SpikeInterface's readers of Neuropixels recordings set""",
        unit="samples",
        type_doc="list of float or None",
        allowed=f"None where the recording has the property {PROPERTY}, or one finite number for each channel, from "
        f"-{LARGEST_SHIFT:g} to {LARGEST_SHIFT:g} samples",
    )
    dtype: OutputDtype = dtype_parameter()

    @field_validator("inter_sample_shift", mode="before")
    @classmethod
    def _plain(cls, value):
        return value.tolist() if isinstance(value, np.ndarray) else value


@document
class SteadyPhaseShiftRecording(BasePreprocessor):
    """Delay each channel by its share of a sample, so that channels of one converter are as if sampled at once.

    A Neuropixels probe has fewer converters than channels, and each takes its channels one after the other. What
    reaches all channels at one instant is then spread over a sample, and a common reference leaves some of it. With the
    shift d of a channel the result is `y(t) = x(t - d)`, a convolution with a windowed sinc of 32 taps.

    Up to 12 kHz of a recording of 30 kHz (0.8 of half the sampling frequency) that is the exact delay, and so the one
    of SpikeInterface's `phase_shift`, within 3e-5 of the amplitude. What is above, where spikes have little, is
    weakened, where SpikeInterface's keeps it: look for bad channels by their power at high frequencies before.

    Parameters
    ----------
    recording : BaseRecording
        The recording to correct, of any sample type.
    {settings}

    Returns
    -------
    SteadyPhaseShiftRecording
        The lazy, corrected recording.

    Raises
    ------
    ValueError
        For shifts that are missing, not one for each channel, not finite or beyond 100 samples, or an unknown `dtype`.

    Notes
    -----
    A chunk is read with 16 samples around it, where SpikeInterface's transform needs 40 ms. The first and the last
    sample are taken to last for ever. A NaN or infinite sample makes the samples around it NaN that read it, in its
    own channel. Gains and offsets stay as they are.

    References
    ----------
    Karsh B. (2021) Tshift: sampling and aligning. https://billkarsh.github.io/SpikeGLX/help/dmx_vs_gbl/dmx_vs_gbl/

    Examples
    --------
    >>> import numpy as np
    >>> from spikeinterface.core import generate_recording
    >>> from steadyspike import phase_shift
    >>> recording = generate_recording(durations=[1.0], num_channels=8)
    >>> aligned = phase_shift(recording, inter_sample_shift=np.arange(8) / 13)
    """

    @takes(PhaseShiftSettings)
    def __init__(self, recording, settings):
        output_dtype = resolve_output_dtype(recording, settings)
        shifts = shifts_of(recording, settings)
        taps, before, after = delay_taps(shifts)

        BasePreprocessor.__init__(self, recording, dtype=output_dtype)
        for parent_segment in recording.segments:
            self.add_recording_segment(
                SteadyPhaseShiftRecordingSegment(parent_segment, taps, (before, after), output_dtype)
            )

        # the property stays, so that these must be saved: a chain may begin with another recording
        self._kwargs = dict(
            recording=recording,
            **settings.saved(inter_sample_shift=shifts.tolist(), dtype=output_dtype.str),
        )


def shifts_of(recording, settings) -> np.ndarray:
    """Shift of each channel in samples, checked."""
    shifts = settings.inter_sample_shift
    if shifts is None:
        shifts = recording.get_property(PROPERTY)
    name, allowed = "inter_sample_shift", settings.allowed("inter_sample_shift")
    try:
        numbers = np.asarray(shifts, dtype="float64")
    except (TypeError, ValueError):
        settings.refuse(name, allowed)
    if numbers.shape != (recording.get_num_channels(),) or not (np.abs(numbers) <= LARGEST_SHIFT).all():
        settings.refuse(name, f"{allowed}, of which there are {recording.get_num_channels()}")
    return numbers


class SteadyPhaseShiftRecordingSegment(BasePreprocessorSegment):
    """Reads a chunk with the samples around it that the taps need, and delays its channels."""

    def __init__(self, parent_recording_segment, taps, margins, output_dtype):
        BasePreprocessorSegment.__init__(self, parent_recording_segment)
        self.taps = taps
        self.margins = margins
        self.output_dtype = output_dtype

    def get_traces(self, start_frame, end_frame, channel_indices):
        """Delay the samples from `start_frame` to `end_frame`."""
        num_samples = self.get_num_samples()
        start_frame = 0 if start_frame is None else start_frame
        end_frame = num_samples if end_frame is None else end_frame
        channels = slice(None) if channel_indices is None else channel_indices
        num_channels = self.taps[:, channels].shape[1]
        if end_frame <= start_frame or num_channels == 0:
            return np.empty((max(end_frame - start_frame, 0), num_channels), dtype=self.output_dtype)
        traces, taps = self.undelayed(start_frame, end_frame, channels)
        return cast_traces(delay(traces, taps, self.delay_dtype(traces)), self.output_dtype)

    def undelayed(self, start_frame, end_frame, channels):
        """Traces and taps whose delay is the traces from `start_frame` to before `end_frame`."""
        num_samples = self.get_num_samples()
        first, last = start_frame - self.margins[0], end_frame + self.margins[1]
        traces = self.parent_recording_segment.get_traces(max(first, 0), min(last, num_samples), channels)
        if first < 0 or last > num_samples:
            traces = np.pad(traces, ((max(-first, 0), max(last - num_samples, 0)), (0, 0)), mode="edge")
        return traces, self.taps[:, channels]

    def delay_dtype(self, traces):
        """Type in which these traces are delayed; it may be cast afterwards."""
        if traces.dtype == "int16" and self.output_dtype == "int16":
            return "int16"
        few_digits = traces.dtype.itemsize <= 2 or traces.dtype == "float32"
        return "float32" if few_digits and self.output_dtype != "float64" else "float64"


phase_shift = define_function_handling_dict_from_class(
    source_class=SteadyPhaseShiftRecording, name="steady_phase_shift"
)
