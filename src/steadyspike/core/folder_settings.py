"""What a folder of unfinished work was begun with, so that it is continued only with the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.aside import UNFINISHED, written_aside
from steadyspike.core.environment import own_version

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

SETTINGS = "settings.json"
KIND = "steadyspike {what}"
# texts longer than this are kept as a digest
LONGEST_TEXT = 200
PIECE_FRAMES, NUM_PIECES = 500, 4
ABSENT = "absent"
MOST_DIFFERENCES = 5


class OtherSettingsError(ValueError):
    """A folder was begun with another recording or other settings."""


def describe_recording(recording: BaseRecording) -> dict[str, Any]:
    """Tell by what a recording is known again: its provenance, times and contacts.

    Parameters
    ----------
    recording : BaseRecording
        A recording that cannot be written as JSON is known by pieces of its traces instead of by its provenance.

    Returns
    -------
    description : dict
        Of what JSON can hold.
    """
    segments = range(recording.get_num_segments())
    description: dict[str, Any] = dict(
        num_samples=[int(recording.get_num_samples(segment)) for segment in segments],
        sampling_frequency=float(recording.sampling_frequency),
        dtype=str(recording.get_dtype()),
        channel_ids=_digest(json.dumps(recording.channel_ids.tolist(), default=str)),
        channel_locations=_digest(recording.get_channel_locations().astype("float64").tobytes()),
    )
    if recording.check_serializability("json"):
        description["provenance"] = _provenance(recording.to_dict(recursive=True))
    else:
        description["traces"] = _digest_traces(recording)
    return description


def _provenance(content: dict[str, Any]) -> dict[str, Any]:
    """Keep of a recording's dictionary the classes and their arguments: what the traces depend on."""
    return {"class": content["class"], "kwargs": {k: _plain(v) for k, v in content["kwargs"].items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if {"class", "kwargs"} <= value.keys():
            return _provenance(value)
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    from spikeinterface.core.core_tools import SIJsonEncoder

    return json.loads(json.dumps(value, cls=SIJsonEncoder))


def _digest_traces(recording: BaseRecording) -> str:
    digest = hashlib.sha256()
    for segment in range(recording.get_num_segments()):
        last = max(recording.get_num_samples(segment) - PIECE_FRAMES, 0)
        for first in np.linspace(0, last, NUM_PIECES).astype(int):
            piece = recording.get_traces(
                segment_index=segment, start_frame=int(first), end_frame=int(first) + PIECE_FRAMES
            )
            digest.update(np.ascontiguousarray(piece).tobytes())
    return digest.hexdigest()


def _digest(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def flatten(settings: Any, prefix: str = "") -> dict[str, str]:
    """Give each value of nested settings under its full name, as a short text.

    Parameters
    ----------
    settings : dict
        Of what JSON can hold, and arrays.
    prefix : str, default: ""
        Before each name.

    Returns
    -------
    flat : dict of str to str
        Names are joined by dots.
    """
    if isinstance(settings, dict):
        flat: dict[str, str] = {}
        for key, value in settings.items():
            flat.update(flatten(value, f"{prefix}.{key}" if prefix else str(key)))
        return flat
    text = json.dumps(_plain(settings), sort_keys=True)
    return {prefix: text if len(text) <= LONGEST_TEXT else f"of digest {_digest(text)[:10]}"}


def _with_versions(settings: dict[str, Any]) -> dict[str, str]:
    import spikeinterface

    versions = dict(steadyspike=own_version(), spikeinterface=spikeinterface.__version__)
    return flatten(dict(settings, versions=versions))


def write_settings(folder: Path, settings: dict[str, Any], what: str = "peaks") -> None:
    """Write what a folder is begun with; `what` is the work that it will hold."""
    with written_aside(folder / SETTINGS) as unfinished:
        kind = KIND.format(what=what)
        text = json.dumps({"kind": kind, "settings": _with_versions(settings)}, indent=1)
        unfinished.write_text(text + "\n", encoding="utf8")


def check_folder(folder: Path, settings: dict[str, Any], overwrite: bool, what: str = "peaks") -> None:
    """Refuse a folder that holds something else, and empty one that is to be overwritten.

    Parameters
    ----------
    folder : Path
        May be absent.
    settings : dict
        What the work is to be done with.
    overwrite : bool
        Delete a folder that was begun, whatever its settings.
    what : str, default: "peaks"
        What it holds, in a word.

    Raises
    ------
    OtherSettingsError
        If the folder was begun with other settings; the message names them.
    FileExistsError
        If it was not made by `write_settings`.
    """
    is_new = folder.is_dir() and all(path.name.startswith(UNFINISHED) for path in folder.iterdir())
    if is_new or not folder.exists():
        return
    known = read_settings(folder, what)
    if known is None:
        raise FileExistsError(f"{folder} exists and holds no {what} of steadyspike; choose another folder")
    if overwrite:
        shutil.rmtree(folder)
        return
    wanted = _with_versions(settings)
    names = [name for name in {**known, **wanted} if known.get(name, ABSENT) != wanted.get(name, ABSENT)]
    if names:
        listed = [
            f"{name} is {known.get(name, ABSENT)} there and {wanted.get(name, ABSENT)} here" for name in names
        ]
        more = f"; and {len(listed) - MOST_DIFFERENCES} more" if len(listed) > MOST_DIFFERENCES else ""
        raise OtherSettingsError(
            f"{folder} holds {what} of other settings: {'; '.join(listed[:MOST_DIFFERENCES])}{more}. "
            "Begin anew with overwrite=True, or choose another folder"
        )


def read_settings(folder: Path, what: str = "peaks") -> dict[str, str] | None:
    """Read what a folder was begun with, under the names of `flatten`; None if it holds no `what` of ours."""
    try:
        content = json.loads((folder / SETTINGS).read_text(encoding="utf8"))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(content, dict) and content.get("kind") == KIND.format(what=what)
    return content["settings"] if is_ours else None
