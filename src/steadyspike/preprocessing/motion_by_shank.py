"""Lazy correction of motion, each shank by a motion of its own."""

from typing import Any

import numpy as np
from spikeinterface.core.core_tools import define_function_handling_dict_from_class
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.core.arguments import contact_positions, refuse
from steadyspike.core.probe_layout import shank_of_channels
from steadyspike.core.settings import document, parameter, takes
from steadyspike.preprocessing.dtypes import cast_traces
from steadyspike.preprocessing.motion_arguments import InterpolationSettings, checked_motion
from steadyspike.preprocessing.motion_interpolation import SteadyInterpolateMotionRecording, keep_contacts


class InterpolationByShankSettings(InterpolationSettings):
    """Parameters of `SteadyInterpolateMotionByShankRecording`, those of `SteadyInterpolateMotionRecording`."""

    part = "steady_interpolate_motion_by_shank"

    covariance: Any = parameter(
        None,
        """Covariances of spikes and noise for "wiener", one for each shank. None: they are fitted to up to 40 s of
        the recording, which are read when the node is made; a saved chain keeps them""",
        type_doc="list of dict, or None",
    )


@document
class SteadyInterpolateMotionByShankRecording(BasePreprocessor):
    """Correct each shank by a motion of its own; channels keep their order, ids and properties.

    Every shank is interpolated from its own contacts only, as by `steadyspike.interpolate_motion`. The parent's traces
    are read once for all shanks.

    Parameters
    ----------
    recording : BaseRecording
        Recording with a probe, of any sample type.
    motions : sequence of Motion, or of dict as of `Motion.to_dict`
        One for each shank, in the order of `shanks`; each with a segment for each segment of the recording.
    shanks : array of int, shape (num_channels,), or None, default: None
        Shank of each channel, from 0 to ``len(motions) - 1``. None: as the probe has them, in the order in which the
        channels name them.
    {settings}

    Returns
    -------
    recording_corrected : SteadyInterpolateMotionByShankRecording
        Lazy.

    Raises
    ------
    ValueError
        If the motions are not as many as the shanks, or for the arguments of `interpolate_motion`.
    """

    @takes(InterpolationByShankSettings)
    def __init__(self, recording, motions, shanks=None, settings=None):
        of_channels = checked_shanks(shanks, recording, len(motions))
        covariances = [None] * len(motions) if settings.covariance is None else settings.covariance
        if not isinstance(covariances, list) or len(covariances) != len(motions):
            settings.refuse("covariance", f"None, or a list of {len(motions)}, one for each shank")
        # all of them before the first shank's covariance is fitted to data
        num_dimensions = contact_positions(recording, settings.part).shape[1]
        motions = [checked_motion(motion, recording, num_dimensions) for motion in motions]
        parts, channels, targets = [], [], []
        for shank, motion in enumerate(motions):
            members = np.flatnonzero(of_channels == shank)
            part = SteadyInterpolateMotionRecording(
                recording.select_channels(recording.channel_ids[members]),
                motion,
                **settings.saved(covariance=covariances[shank]),
            )
            parts.append(part)
            channels.append(members)
            targets.append(np.flatnonzero(np.isin(recording.channel_ids, part.channel_ids)))
        kept = np.sort(np.concatenate(targets))
        BasePreprocessor.__init__(
            self, recording, channel_ids=recording.channel_ids[kept], dtype=parts[0].get_dtype()
        )
        if kept.size < recording.get_num_channels():
            keep_contacts(self, recording, kept)
        columns = [np.searchsorted(kept, places) for places in targets]
        for segment_index, parent_segment in enumerate(recording.segments):
            segments = [part.segments[segment_index] for part in parts]
            self.add_recording_segment(
                SteadyInterpolateMotionByShankRecordingSegment(
                    parent_segment, segments, channels, columns, kept.size, parts[0].get_dtype()
                )
            )
        checked = [part._kwargs for part in parts]
        self._kwargs = {
            **checked[0],
            "recording": recording,
            "motions": [kwargs["motion"] for kwargs in checked],
            "covariance": checked[0]["covariance"] and [kwargs["covariance"] for kwargs in checked],
            "shanks": None if shanks is None else of_channels.tolist(),
        }
        del self._kwargs["motion"]


def checked_shanks(shanks, recording, num_motions):
    """Return the shank of each channel, every one of them with a motion."""
    part = InterpolationByShankSettings.part
    of_channels = shank_of_channels(recording) if shanks is None else np.asarray(shanks)
    if of_channels.shape != (recording.get_num_channels(),) or of_channels.dtype.kind not in "iu":
        allowed = f"one integer for each of the {recording.get_num_channels()} channels, or None"
        refuse("shanks", shanks, allowed, part)
    found = np.unique(of_channels)
    if not np.array_equal(found, np.arange(num_motions)):
        raise ValueError(
            f"{part}: motions holds {num_motions} motion(s), and the channels lie on the shanks {found.tolist()}; "
            "allowed: one motion for each shank, counted from 0"
        )
    return of_channels


class SteadyInterpolateMotionByShankRecordingSegment(BasePreprocessorSegment):
    """One segment of `SteadyInterpolateMotionByShankRecording`."""

    def __init__(self, parent_recording_segment, parts, channels, columns, num_channels, output_dtype):
        BasePreprocessorSegment.__init__(self, parent_recording_segment)
        self.parts = parts
        self.channels = channels
        self.columns = columns
        self.num_channels = num_channels
        self.output_dtype = output_dtype

    def get_traces(self, start_frame, end_frame, channel_indices):
        """Corrected traces of shape (num_samples, num_channels)."""
        start_frame = 0 if start_frame is None else start_frame
        end_frame = self.get_num_samples() if end_frame is None else end_frame
        wanted = np.arange(self.num_channels)
        if channel_indices is not None:
            wanted = wanted[channel_indices]
        parent = self.parent_recording_segment
        traces = parent.get_traces(start_frame, end_frame, slice(None))
        times = parent.sample_index_to_time(np.arange(start_frame, end_frame))
        corrected = np.empty((len(traces), wanted.size), dtype=self.parts[0].dtype)
        for part, channels, columns in zip(self.parts, self.channels, self.columns, strict=True):
            places = np.flatnonzero(np.isin(wanted, columns))
            if places.size:
                rows = np.searchsorted(columns, wanted[places])
                corrected[:, places] = part.corrected(traces[:, channels], times, rows)
        return cast_traces(corrected, self.output_dtype)


interpolate_motion_by_shank = define_function_handling_dict_from_class(
    source_class=SteadyInterpolateMotionByShankRecording, name="steady_interpolate_motion_by_shank"
)
