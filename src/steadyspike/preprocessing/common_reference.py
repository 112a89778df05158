"""Common median or average reference of a recording."""

import warnings
from typing import Any, Literal, Self

import numpy as np
from pydantic import field_validator, model_validator
from spikeinterface.core import get_closest_channels
from spikeinterface.core.core_tools import define_function_handling_dict_from_class
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.core.arguments import channel_indices, refuse
from steadyspike.core.settings import Settings, document, parameter, takes
from steadyspike.core.voltage import warn_of_unlike_scales
from steadyspike.kernels.channels.median import subtract_reference
from steadyspike.preprocessing.bandpass import SteadyBandpassFilterRecordingSegment
from steadyspike.preprocessing.dtypes import SignedDtype, cast_traces, dtype_parameter, resolve_output_dtype
from steadyspike.preprocessing.phase_shift import SteadyPhaseShiftRecordingSegment

# segments whose traces are new arrays with each call
FRESH = (SteadyBandpassFilterRecordingSegment, SteadyPhaseShiftRecordingSegment)
# what stands for the set of a channel that is left as it is, and of one that belongs to no group
NO_REFERENCE, NO_GROUP = -1, -2


def as_plain_ids(ids):
    """Give ids as plain Python values, in lists where they came in sequences, so that they can be saved."""
    if isinstance(ids, list | tuple | np.ndarray):
        return [as_plain_ids(each) for each in ids]
    return ids.item() if isinstance(ids, np.generic) else ids


class CommonReferenceSettings(Settings):
    """Parameters of `SteadyCommonReferenceRecording`."""

    part = "steady_common_reference"

    reference: Literal["global", "single", "local"] = parameter(
        "global",
        "The set of each channel: all channels (of its group), one channel, or those in a ring around it",
    )
    operator: Literal["median", "average"] = parameter(
        "median",
        "What of the set is subtracted. The median ignores spikes on fewer than half of the channels",
    )
    groups: list[list] | None = parameter(
        None,
        """Reference each group by itself, for "global" and "single". Channels in no group become 0; a channel in
        several groups takes the reference of the last""",
        type_doc="list of lists of channel ids or None",
        allowed="a list of lists of channel ids, as [['0', '1'], ['2', '3']] or, for one group, [['0', '1']]; or None",
    )
    ref_channel_ids: Any = parameter(
        None,
        """With "global": the channels to take the median or mean of, instead of all; with `groups`, one list per group,
        or "out_of_group" for all channels outside each group. With "single": the channel id (or a list of one); with
        `groups`, a list with one channel id per group""",
        type_doc='list, channel id, "out_of_group" or None',
    )
    local_radius: tuple[float, float] = parameter(
        (30.0, 55.0),
        """With "local": inner and outer radius of the ring. The set holds the channels at a distance above the first
        and not above the second""",
        unit="um",
        ge=0,
        type_doc="(float, float)",
        allowed="0 <= inner radius < outer radius, in um",
    )
    min_local_neighbors: int = parameter(
        5,
        """With "local": where the ring holds fewer channels, this many of the nearest ones beyond the inner radius are
        taken instead. A channel without any stays as it is""",
        ge=1,
    )
    dtype: SignedDtype = dtype_parameter(signed=True)

    _plain_ids = field_validator("groups", "ref_channel_ids", mode="before")(as_plain_ids)

    @model_validator(mode="after")
    def _sets(self) -> Self:
        if self.groups == []:
            self.refuse("groups", self.allowed("groups"))
        local = self.reference == "local"
        for name in ("groups", "ref_channel_ids") if local else ():
            if getattr(self, name) is not None:
                self.refuse(name, "None with reference='local', which takes its sets from positions")
        if local and self.local_radius[0] >= self.local_radius[1]:
            self.refuse("local_radius", self.allowed("local_radius"))
        return self


@document
class SteadyCommonReferenceRecording(BasePreprocessor):
    """Subtract from every channel, at each sample, the median or the mean of a set of channels.

    The signal that many channels share at one instant (movement, mains, the reference electrode) is noise to spike
    sorting. With the set R(c) of the channel c the result is `x[t, c] - median(x[t, R(c)])`, the one of
    SpikeInterface's `common_reference`, several times faster.

    Parameters
    ----------
    recording : BaseRecording
        The recording to reference, of any sample type.
    {settings}

    Returns
    -------
    SteadyCommonReferenceRecording
        The lazy, referenced recording.

    Raises
    ------
    ValueError
        For an unknown `reference`, `operator`, `dtype` or channel id, an empty set of channels, arguments that do
        not go together, or radii that are negative or in the wrong order.

    Notes
    -----
    A NaN sample makes the reference NaN at that instant for the channels whose set holds it, and for no
    other. Medians are exact, and means are summed in float64.

    References
    ----------
    Ludwig K. A. et al. (2009) Using a common average reference to improve cortical neuron recordings from
    microelectrode arrays. Journal of Neurophysiology 101: 1679-1689.

    Examples
    --------
    >>> from spikeinterface.core import generate_recording
    >>> from steadyspike import common_reference
    >>> recording = generate_recording(durations=[1.0], num_channels=8)
    >>> referenced = common_reference(recording, operator="median")
    """

    @takes(CommonReferenceSettings)
    def __init__(self, recording, settings):
        output_dtype = resolve_output_dtype(recording, settings, around_zero=True)
        find_sets = local_sets if settings.reference == "local" else shared_sets
        sets, which = find_sets(recording, settings)

        BasePreprocessor.__init__(self, recording, dtype=output_dtype)
        warn_of_unlike_scales(recording, settings.part)
        self._remove_common_offset(which)
        for parent_segment in recording.segments:
            segment = SteadyCommonReferenceRecordingSegment(
                parent_segment, sets, which, settings.operator, output_dtype
            )
            self.add_recording_segment(segment)

        self._kwargs = dict(recording=recording, **settings.saved(dtype=output_dtype.str))

    def _remove_common_offset(self, which):
        """Where all channels have one scale, an offset is part of what is subtracted."""
        gains, offsets = self.get_property("gain_to_uV"), self.get_property("offset_to_uV")
        if gains is not None and offsets is not None:
            alike = len(set(gains)) == len(set(offsets)) == 1
            stays = which == NO_REFERENCE if alike else which != NO_GROUP
            self.set_channel_offsets(np.where(stays, offsets, 0.0))


class SteadyCommonReferenceRecordingSegment(BasePreprocessorSegment):
    """Reads all channels of a chunk and subtracts the reference of the channels asked for."""

    def __init__(self, parent_recording_segment, sets, which, operator, output_dtype):
        BasePreprocessorSegment.__init__(self, parent_recording_segment)
        self.sets = sets
        self.which = which
        self.operator = operator
        self.output_dtype = output_dtype

    def get_traces(self, start_frame, end_frame, channel_indices):
        """Reference the samples from `start_frame` to `end_frame`."""
        start_frame = 0 if start_frame is None else start_frame
        end_frame = self.get_num_samples() if end_frame is None else end_frame
        channels = np.arange(len(self.which))[slice(None) if channel_indices is None else channel_indices]
        if end_frame <= start_frame or channels.size == 0:
            return np.empty((max(end_frame - start_frame, 0), channels.size), dtype=self.output_dtype)
        traces = self.parent_recording_segment.get_traces(start_frame, end_frame, slice(None))
        sets, which = self._sets_of(channels)
        precision = np.promote_types(np.promote_types(traces.dtype, self.output_dtype), np.float32)
        # what a node of ours has just computed nobody else holds, so that it can be overwritten
        fresh = isinstance(self.parent_recording_segment, FRESH) and traces.dtype == precision
        out = traces if fresh and np.array_equal(channels, np.arange(traces.shape[1])) else None
        referenced = subtract_reference(traces, sets, channels, which, self.operator, precision, out)
        referenced[:, self.which[channels] == NO_GROUP] = 0
        return cast_traces(referenced, self.output_dtype)

    def _sets_of(self, channels):
        """Sets that these channels need, and the place of each channel's among them (past the last: none)."""
        which = self.which[channels]
        needed, places = np.unique(which[which >= 0], return_inverse=True)
        positions = np.full(channels.size, needed.size)
        positions[which >= 0] = places
        return [self.sets[index] for index in needed], positions


def shared_sets(recording, settings):
    """Sets of channels of "global" and "single", and which of them each channel takes."""
    which = np.zeros(recording.get_num_channels(), dtype="int64")
    if settings.groups is not None:
        which[:] = NO_GROUP
        for index, group in enumerate(settings.groups):
            which[to_indices(recording, group, "groups")] = index
        if (which == NO_GROUP).any():
            left_out = ", ".join(map(str, recording.channel_ids[which == NO_GROUP]))
            warnings.warn(f"groups: channels {left_out} are in none of them and become 0", stacklevel=4)
    if settings.reference == "single":
        ids = single_reference_ids(settings)
    else:
        ids = global_reference_ids(recording, settings)
    return [to_indices(recording, each, "ref_channel_ids") for each in ids], which


def single_reference_ids(settings):
    """One list of one channel id per group."""
    given = settings.ref_channel_ids
    ids = given if isinstance(given, list) else [given]
    expected = 1 if settings.groups is None else len(settings.groups)
    if given is None or len(ids) != expected or any(isinstance(each, list) for each in ids):
        settings.refuse(
            "ref_channel_ids", f"with reference='single': {expected} channel id(s), one for each group"
        )
    return [[each] for each in ids]


def global_reference_ids(recording, settings):
    """One list of channel ids per group."""
    all_ids = recording.channel_ids.tolist()
    groups, given = settings.groups, settings.ref_channel_ids
    if groups is None:
        if given is not None and not isinstance(given, list):
            allowed = "with reference='global': None or a list of ids, or, with groups, 'out_of_group'"
            settings.refuse("ref_channel_ids", allowed)
        return [all_ids if given is None else given]
    if given is None:
        return groups
    if isinstance(given, str) and given == "out_of_group":
        return [[each for each in all_ids if each not in group] for group in groups]
    lists = isinstance(given, list) and all(isinstance(each, list) for each in given)
    if not lists or len(given) != len(groups):
        settings.refuse(
            "ref_channel_ids",
            f"with reference='global' and groups: one list of channel ids for each of the {len(groups)} groups, None, "
            "or 'out_of_group'",
        )
    return given


def local_sets(recording, settings):
    """Neighbours of each channel in a ring around it, and which set each channel takes: its own, or none."""
    inner, outer = settings.local_radius
    least = settings.min_local_neighbors
    num_channels = recording.get_num_channels()
    which = np.full(num_channels, NO_REFERENCE)
    sets: list[np.ndarray] = []
    too_few: list[str] = []
    nearest, distances = (
        get_closest_channels(recording) if num_channels > 1 else (np.zeros((1, 0)), np.zeros((1, 0)))
    )
    for channel in range(num_channels):
        beyond = distances[channel] > inner
        members = nearest[channel, beyond & (distances[channel] <= outer)]
        if members.size < least:
            members = nearest[channel, beyond][:least]
            too_few.append(str(recording.channel_ids[channel]))
        if members.size > 0:
            which[channel] = len(sets)
            sets.append(np.sort(members))
    if too_few:
        warnings.warn(
            f"local_radius={settings.local_radius} um holds fewer than {least} channels around "
            f"{', '.join(too_few)}: the nearest ones beyond {inner} um are taken there, and a channel without any "
            "stays as it is.",
            stacklevel=4,
        )
    return sets, which


def to_indices(recording, ids, name):
    """Indices of channel ids; raises ValueError for an empty list or an unknown id."""
    if isinstance(ids, list) and not ids:
        refuse(name, ids, "ids of channels, at least one", part=CommonReferenceSettings.part)
    return channel_indices(name, ids, recording, CommonReferenceSettings.part)


common_reference = define_function_handling_dict_from_class(
    source_class=SteadyCommonReferenceRecording, name="steady_common_reference"
)
