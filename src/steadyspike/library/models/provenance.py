"""What a model was trained on, noted so that another recording can be held against it: steps, filters, stretches.

A stretch is known again by a digest of a few samples of the segment that it was read from, before any preprocessing,
so that neither traces nor paths get into a model folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from steadyspike.core.stretches import Stretch

PIECES, PIECE_FRAMES = 4, 500
DIGEST_LENGTH = 16
LONGEST_LIST = 4


class ModelUseWarning(UserWarning):
    """A model meets a recording that it was trained on, or one that is not as those that it was trained on."""


class Origin(NamedTuple):
    """The segment that traces are read from in the end; `first` is the sample of it where they begin."""

    recording: Any
    segment: int
    first: int


def origin_of(recording: Any, segment: int) -> Origin:
    """Follow a segment of a lazy recording back through slices and steps that keep the samples where they are."""
    from spikeinterface.core.frameslicerecording import FrameSliceRecording
    from spikeinterface.core.segmentutils import SelectSegmentRecording

    first = 0
    while (parent := recording.get_parent()) is not None:
        if isinstance(recording, FrameSliceRecording):
            first += recording._kwargs["start_frame"]
        elif isinstance(recording, SelectSegmentRecording):
            segment = recording._kwargs["segment_indices"][segment]
        elif _lengths(parent) != _lengths(recording):
            break
        recording = parent
    return Origin(recording, segment, first)


def _lengths(recording: Any) -> list[float]:
    numbers = [recording.get_num_samples(segment) for segment in range(recording.get_num_segments())]
    return [float(recording.sampling_frequency), *numbers]


def digest_of(recording: Any, segment: int) -> str:
    """Return what a segment is known by: a digest of its sizes and of a few ms at four places."""
    samples = recording.get_num_samples(segment)
    sizes = (samples, recording.get_num_channels(), float(recording.sampling_frequency))
    digest = hashlib.sha256(repr(sizes).encode())
    for start in np.linspace(0, max(samples - PIECE_FRAMES, 0), PIECES).astype(int):
        piece = recording.get_traces(segment, int(start), min(int(start) + PIECE_FRAMES, samples))
        digest.update(np.ascontiguousarray(piece).tobytes())
    return digest.hexdigest()[:DIGEST_LENGTH]


def note_stretches(recordings: Sequence[Any], stretches: Sequence[Stretch]) -> list[list[Any]]:
    """Note stretches as ``[digest, first sample, sample after the last]`` of the segments that they are read from."""
    origins = {
        one[:2]: origin_of(recordings[one.recording], one.segment)
        for one in {one[:2]: one for one in stretches}.values()
    }
    digests = {key: digest_of(origin.recording, origin.segment) for key, origin in origins.items()}
    return [
        [digests[one[:2]], origins[one[:2]].first + one.start, origins[one[:2]].first + one.stop]
        for one in stretches
    ]


def parts_in_both(noted: Any, recording: Any, stretches: Sequence[Stretch]) -> list[Stretch]:
    """Return the parts of stretches of a recording that are among those that were noted, each sample once."""
    try:
        known = sorted((int(start), int(stop), str(digest)) for digest, start, stop in noted or [])
    except (TypeError, ValueError):
        # not written by us
        return []
    parts = []
    for one, (digest, start, stop) in zip(
        stretches, note_stretches([recording], stretches) if known else [], strict=False
    ):
        reached, first = start, start - one.start
        for low, high, name in known:
            low, high = max(low, reached), min(high, stop)
            if name == digest and low < high:
                parts.append(one._replace(start=low - first, stop=high - first))
                reached = high
    return parts


def seconds_in_both(noted: Any, recording: Any, stretches: Sequence[Stretch]) -> float:
    """Tell how many seconds of stretches of a recording are among those that were noted; 0 where nothing was."""
    parts = parts_in_both(noted, recording, stretches)
    return sum(one.stop - one.start for one in parts) / float(recording.sampling_frequency)


def chain_of(recording: Any) -> str:
    """Name the preprocessing steps of a lazy recording with their plain parameters, the first one first."""
    from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor

    steps = []
    while recording is not None:
        if isinstance(recording, BasePreprocessor):
            plain = [f"{name}={value}" for name, value in recording._kwargs.items() if _is_plain(value)]
            steps.append(f"{type(recording).__name__.removesuffix('Recording')}({', '.join(plain)})")
        recording = recording.get_parent()
    return " -> ".join(reversed(steps))


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return 0 < len(value) <= LONGEST_LIST and all(isinstance(one, int | float) for one in value)
    # paths stay private
    return isinstance(value, int | float) or (isinstance(value, str) and not {"/", "\\"} & set(value))


def filter_mismatch(extra: Mapping[str, Any], recording: Any) -> str | None:
    """Say so where a model was trained on filtered recordings and this one is not filtered, or the other way round.

    `extra` is that of the model's configuration, as `train_deepinterpolation` writes it. Returns a sentence, or None
    where both are alike, and where it is not known of all recordings that were trained on.
    """
    recordings: Any = extra.get("recordings")
    known = recordings if isinstance(recordings, list) else []
    flags = [one.get("is_filtered") if isinstance(one, Mapping) else None for one in known]
    here = bool(recording.is_filtered())
    if not flags or any(flag is not (not here) for flag in flags):
        return None
    return (
        "the model was trained on filtered recordings, and this one is not marked as filtered"
        if flags[0]
        else "the model was trained on recordings that were not marked as filtered, and this one is filtered"
    )
