"""By what a recording is known again: what it is made of and what its files hold, not where they lie."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

# texts longer than this are kept as a digest
LONGEST_TEXT = 200
# of a source, which is read in a moment from any disk: 1.5 s of a Neuropixels probe, or all of a short recording
MOST_VALUES, NUM_PIECES = 2**24, 64


def describe_recording(recording: BaseRecording) -> dict[str, Any]:
    """Tell by what a recording is known again: its chain, what its sources hold, gains and contacts.

    Pieces of the recordings that its chain begins with are read; nothing is computed of its own traces, which may
    differ in their last digit from one machine to another. A node that cannot be written as JSON is known by pieces of
    its traces instead of by its arguments. Paths do not count. The result can be written as JSON.
    """
    segments = range(recording.get_num_segments())
    return dict(
        num_samples=[int(recording.get_num_samples(segment)) for segment in segments],
        sampling_frequency=float(recording.sampling_frequency),
        dtype=str(recording.get_dtype()),
        channel_ids=digest(json.dumps(recording.channel_ids.tolist(), default=str)),
        channel_locations=digest(recording.get_channel_locations().astype("float64").tobytes())
        if recording.has_channel_location()
        else None,
        gains=_digest_of(recording.get_channel_gains()),
        offsets=_digest_of(recording.get_channel_offsets()),
        provenance=_provenance(recording),
    )


def _provenance(recording: BaseRecording) -> dict[str, Any]:
    """Give class and arguments of each node of a chain, and samples of what it begins with."""
    from spikeinterface import BaseRecording

    content = recording.to_dict()
    known: dict[str, Any] = {"class": content["class"]}
    is_source = not any(isinstance(value, BaseRecording) for value in _members(content["kwargs"]))
    try:
        # a source that is no file may hold all its traces in its arguments
        if not is_source or recording.check_serializability("json"):
            known["kwargs"] = plain(content["kwargs"])
    except (TypeError, ValueError):
        is_source = True
    if is_source:
        known["samples"] = _digest_samples(recording)
    return known


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [one for member in value.values() for one in _members(member)]
    return [one for member in value for one in _members(member)] if isinstance(value, list) else [value]


def plain(value: Any) -> Any:
    """Give a value as JSON holds it, but for the paths in it; raises TypeError where that cannot be."""
    from spikeinterface import BaseRecording
    from spikeinterface.core.core_tools import SIJsonEncoder

    if isinstance(value, BaseRecording):
        return _provenance(value)
    if isinstance(value, dict):
        # as SpikeInterface knows them
        return {str(key): plain(item) for key, item in value.items() if "path" not in str(key)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json.loads(json.dumps(value, cls=SIJsonEncoder))


def _digest_samples(recording: BaseRecording) -> str:
    """Digest pieces of the traces, spread over each segment; all of them where these are few."""
    found = hashlib.sha256()
    segments = recording.get_num_segments()
    most = MOST_VALUES // (segments * recording.get_num_channels())
    number = max(NUM_PIECES // segments, 2)
    frames = max(most // number, 1)
    for segment in range(segments):
        size = recording.get_num_samples(segment)
        spread = np.linspace(0, max(size - frames, 0), number).astype(int)
        for first in np.arange(0, size, frames) if size <= most else np.unique(spread):
            piece = recording.get_traces(
                segment_index=segment, start_frame=int(first), end_frame=min(int(first) + frames, size)
            )
            found.update(np.ascontiguousarray(piece).tobytes())
    return found.hexdigest()


def digest(content: str | bytes | memoryview) -> str:
    """Digest a text or bytes."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def _digest_of(values: np.ndarray | None) -> str | None:
    return None if values is None else digest(np.asarray(values, dtype="float64").tobytes())


def flatten(settings: Any, prefix: str = "") -> dict[str, str]:
    """Give each value of nested settings under its full name, as a short text.

    The settings are what JSON can hold, and arrays. Names are joined by dots, with `prefix` before each.
    """
    if isinstance(settings, dict):
        flat: dict[str, str] = {}
        for key, value in settings.items():
            flat.update(flatten(value, f"{prefix}.{key}" if prefix else str(key)))
        return flat
    text = json.dumps(plain(settings), sort_keys=True)
    return {prefix: text if len(text) <= LONGEST_TEXT else f"of digest {digest(text)[:10]}"}
