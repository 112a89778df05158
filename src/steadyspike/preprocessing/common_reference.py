"""Common median or average reference of a recording."""

import warnings

import numpy as np
from spikeinterface.core import get_closest_channels
from spikeinterface.core.core_tools import define_function_handling_dict_from_class
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.kernels.channels.median import subtract_reference
from steadyspike.preprocessing.dtypes import cast_traces, resolve_output_dtype

REFERENCES = ("global", "single", "local")
OPERATORS = ("median", "average")
# what stands for the set of a channel that is left as it is, and of one that belongs to no group
NO_REFERENCE, NO_GROUP = -1, -2


class SteadyCommonReferenceRecording(BasePreprocessor):
    """Subtract from every channel, at each sample, the median or the mean of a set of channels.

    The signal that many channels share at one instant (movement, mains, the reference electrode) is noise to spike
    sorting. With the set R(c) of the channel c the result is `x[t, c] - median(x[t, R(c)])`, the one of
    SpikeInterface's `common_reference`, several times faster.

    Parameters
    ----------
    recording : BaseRecording
        The recording to reference, of any sample type.
    reference : "global" | "single" | "local", default: "global"
        The set of each channel: all channels (of its group), one channel, or those in a ring around it.
    operator : "median" | "average", default: "median"
        What of the set is subtracted. The median ignores spikes on fewer than half of the channels.
    groups : list of lists of channel ids or None, default: None
        Reference each group by itself, for "global" and "single". Channels in no group become 0; a channel in
        several groups takes the reference of the last.
    ref_channel_ids : list, channel id, "out_of_group" or None, default: None
        With "global": the channels to take the median or mean of, instead of all; with `groups`, one list per group,
        or "out_of_group" for all channels outside each group. With "single": the channel id (or a list of one);
        with `groups`, a list with one channel id per group.
    local_radius : (float, float), default: (30.0, 55.0)
        With "local": inner and outer radius in um of the ring. The set holds the channels at a distance above the
        first and not above the second.
    min_local_neighbors : int, default: 5
        With "local": where the ring holds fewer channels, this many of the nearest ones beyond the inner radius
        are taken instead. A channel without any stays as it is.
    dtype : dtype, str or None, default: None
        Type of the result: float32, float64 or a signed integer, which is rounded and saturates. None keeps
        float32 and float64 recordings as they are and makes float32 of every other.

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

    def __init__(
        self,
        recording,
        reference="global",
        operator="median",
        groups=None,
        ref_channel_ids=None,
        local_radius=(30.0, 55.0),
        min_local_neighbors=5,
        dtype=None,
    ):
        check_choice("reference", reference, REFERENCES)
        check_choice("operator", operator, OPERATORS)
        output_dtype = resolve_output_dtype(recording.get_dtype(), dtype, signed=True)
        groups, ref_channel_ids = as_plain_ids(groups), as_plain_ids(ref_channel_ids)
        if reference == "local":
            if groups is not None or ref_channel_ids is not None:
                raise ValueError(
                    "reference='local' takes no groups or ref_channel_ids: positions make its sets"
                )
            sets, which = local_sets(recording, local_radius, min_local_neighbors)
        else:
            sets, which = shared_sets(recording, reference, groups, ref_channel_ids)

        BasePreprocessor.__init__(self, recording, dtype=output_dtype)
        self._remove_common_offset(which)
        for parent_segment in recording.segments:
            segment = SteadyCommonReferenceRecordingSegment(
                parent_segment, sets, which, operator, output_dtype
            )
            self.add_recording_segment(segment)

        self._kwargs = dict(
            recording=recording,
            reference=reference,
            operator=operator,
            groups=groups,
            ref_channel_ids=ref_channel_ids,
            local_radius=tuple(float(radius) for radius in local_radius),
            min_local_neighbors=int(min_local_neighbors),
            dtype=output_dtype.str,
        )

    def _remove_common_offset(self, which):
        """Where all channels have one scale, an offset is part of what is subtracted."""
        gains, offsets = self.get_property("gain_to_uV"), self.get_property("offset_to_uV")
        if gains is not None and offsets is not None and len(set(gains)) == len(set(offsets)) == 1:
            self.set_channel_offsets(np.where(which == NO_REFERENCE, offsets, 0.0))


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
        referenced = subtract_reference(traces, sets, channels, which, self.operator, precision)
        referenced[:, self.which[channels] == NO_GROUP] = 0
        return cast_traces(referenced, self.output_dtype)

    def _sets_of(self, channels):
        """Sets that these channels need, and the place of each channel's among them (past the last: none)."""
        which = self.which[channels]
        needed, places = np.unique(which[which >= 0], return_inverse=True)
        positions = np.full(channels.size, needed.size)
        positions[which >= 0] = places
        return [self.sets[index] for index in needed], positions


def shared_sets(recording, reference, groups, ref_channel_ids):
    """Sets of channels of "global" and "single", and which of them each channel takes."""
    which = np.zeros(recording.get_num_channels(), dtype="int64")
    if groups is not None:
        which[:] = NO_GROUP
        for index, group in enumerate(groups):
            which[to_indices(recording, group, "groups")] = index
    if reference == "single":
        ids = single_reference_ids(groups, ref_channel_ids)
    else:
        ids = global_reference_ids(recording, groups, ref_channel_ids)
    return [to_indices(recording, each, "ref_channel_ids") for each in ids], which


def single_reference_ids(groups, ref_channel_ids):
    """One list of one channel id per group."""
    if ref_channel_ids is None:
        raise ValueError("ref_channel_ids=None; reference='single' needs a channel id")
    ids = ref_channel_ids if isinstance(ref_channel_ids, list) else [ref_channel_ids]
    expected = 1 if groups is None else len(groups)
    if len(ids) != expected or any(isinstance(each, list) for each in ids):
        raise ValueError(
            f"ref_channel_ids={ref_channel_ids!r}; allowed with reference='single': {expected} channel id(s), "
            "one for each group"
        )
    return [[each] for each in ids]


def global_reference_ids(recording, groups, ref_channel_ids):
    """One list of channel ids per group."""
    all_ids = recording.channel_ids.tolist()
    if isinstance(ref_channel_ids, str) and ref_channel_ids == "out_of_group":
        if groups is None:
            raise ValueError("ref_channel_ids='out_of_group' needs groups")
        return [[each for each in all_ids if each not in group] for group in groups]
    if ref_channel_ids is None:
        return [all_ids] if groups is None else groups
    if not isinstance(ref_channel_ids, list):
        raise ValueError(
            f"ref_channel_ids={ref_channel_ids!r}; allowed with reference='global': None or a list of ids"
        )
    if groups is None:
        return [ref_channel_ids]
    lists = all(isinstance(each, list) for each in ref_channel_ids)
    if len(ref_channel_ids) != len(groups) or not lists:
        raise ValueError(
            f"ref_channel_ids={ref_channel_ids!r}; allowed with reference='global' and groups: one list of channel "
            f"ids for each of the {len(groups)} groups, None, or 'out_of_group'"
        )
    return ref_channel_ids


def local_sets(recording, local_radius, min_local_neighbors):
    """Neighbours of each channel in a ring around it, and which set each channel takes: its own, or none."""
    inner, outer = local_radius
    if not 0 <= inner < outer:
        raise ValueError(f"local_radius={local_radius}; allowed: 0 <= inner radius < outer radius, in um")
    if min_local_neighbors < 1:
        raise ValueError(f"min_local_neighbors={min_local_neighbors}; allowed: 1 and more")
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
        if members.size < min_local_neighbors:
            members = nearest[channel, beyond][:min_local_neighbors]
            too_few.append(str(recording.channel_ids[channel]))
        if members.size > 0:
            which[channel] = len(sets)
            sets.append(np.sort(members))
    if too_few:
        warnings.warn(
            f"local_radius={local_radius} um holds fewer than {min_local_neighbors} channels around "
            f"{', '.join(too_few)}: the nearest ones beyond {inner} um are taken there, and a channel without any "
            "stays as it is.",
            stacklevel=3,
        )
    return sets, which


def to_indices(recording, ids, name):
    """Indices of channel ids; raises ValueError for an empty list or an unknown id."""
    known = recording.channel_ids.tolist()
    unknown = [each for each in ids if each not in known]
    if unknown or len(ids) == 0:
        raise ValueError(f"{name} holds {unknown or 'an empty list'}; allowed: ids of channels, at least one")
    return np.array([known.index(each) for each in ids], dtype="int64")


def check_choice(name, value, allowed):
    """Raise ValueError for a value that is none of the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r}; allowed: {', '.join(allowed)}")


def as_plain_ids(ids):
    """Give ids as plain Python values, in lists where they came in sequences, so that they can be saved."""
    if isinstance(ids, list | tuple | np.ndarray):
        return [as_plain_ids(each) for each in ids]
    return ids.item() if isinstance(ids, np.generic) else ids


common_reference = define_function_handling_dict_from_class(
    source_class=SteadyCommonReferenceRecording, name="steady_common_reference"
)
