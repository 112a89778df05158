"""Folders of unfinished work: known by a marker, gone on with for what they were begun with only, deleted as a whole.

Whoever works in one holds the lock of what comes of it (`steadyspike.core.aside.locked`).
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steadyspike.core.aside import UNFINISHED, clear_unfinished, flush, remove, written_aside
from steadyspike.core.environment import own_version
from steadyspike.core.identity import flatten

FINISHED = "steadyspike.json"
"""File by which a folder of results that a command wrote is known; it tells how the folder was made."""

SETTINGS = "settings.json"
KIND = "steadyspike "
FORMAT = 2
"""Of what is in a folder. Another version of steadyspike that writes the same goes on with the work."""

ABSENT = "absent"
MOST_DIFFERENCES = 5
# in the files of 0.1.0 only
UNCOMPARED = "versions."


class OtherSettingsError(ValueError):
    """A folder was begun with another recording or other settings."""


@dataclass(frozen=True)
class WorkFolder:
    """A folder of unfinished work.

    `path` may be absent. `what` says what it holds, in a word; folders that hold something else are not touched.
    `begin_anew` tells how the user begins anew.
    """

    path: Path
    what: str
    begin_anew: str = "overwrite=True"

    @property
    def marker(self) -> Path:
        """The file that says whose it is, and what it was begun with."""
        return self.path / SETTINGS

    def settings(self) -> dict[str, str] | None:
        """Read what it was begun with, under the names of `flatten`; None if it holds no such work of ours."""
        content = self._content()
        return None if content is None else dict(content["settings"])

    def exists(self) -> bool:
        """Whether something is there, but for what a kill left."""
        return self.path.exists() and not (
            self.path.is_dir() and all(one.name.startswith(UNFINISHED) for one in self.path.iterdir())
        )

    def check(self, settings: dict[str, Any], uncompared: tuple[str, ...] = ()) -> bool:
        """Return whether there is work to go on with; refuse what is something else.

        `uncompared` are names of settings that may differ. Raises `OtherSettingsError` if it was begun with other
        settings, which the message names, and `FileExistsError` if it is not ours.
        """
        if not self.exists():
            return False
        content = self._content()
        if content is None:
            raise self._foreign()
        known, wanted = content["settings"], flatten(settings)
        names: list[str] = [*dict.fromkeys([*known, *wanted])]
        written = content.get("format", 1)
        if written > FORMAT:
            raise OtherSettingsError(
                f"{self.path} holds {self.what} that a newer version of steadyspike began; go on with that, begin anew "
                f"with {self.begin_anew}, or choose another folder"
            )
        if written < FORMAT:
            # 0.1.0 noted less of a recording, and its own version
            names = [name for name in names if name in known and name in wanted]
            warnings.warn(
                f"{self.path} was begun by an older version of steadyspike, which did not note what the recording "
                f"holds: make sure that it is still the same, or begin anew with {self.begin_anew}",
                stacklevel=2,
            )
        other = [
            name
            for name in names
            if name not in uncompared
            and not name.startswith(UNCOMPARED)
            and known.get(name, ABSENT) != wanted.get(name, ABSENT)
        ]
        if other:
            raise self._other_settings(other, known, wanted)
        return True

    def begin(self, settings: dict[str, Any]) -> None:
        """Make the folder, which must be new or empty, and note what the work is to be done with."""
        self.path.mkdir(parents=True, exist_ok=True)
        clear_unfinished(self.marker)
        content = dict(
            kind=KIND + self.what, format=FORMAT, settings=flatten(settings), begun_with=own_version()
        )
        with written_aside(self.marker) as aside:
            aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf8")
        flush(self.path.parent, deep=False)

    def discard(self) -> None:
        """Delete it, if it is there.

        Raises `FileExistsError` if it is not ours.
        """
        clear_unfinished(self.path)
        if self.exists() and self._content() is None:
            raise self._foreign()
        if self.marker.is_file():
            remove(self.path, self.marker)

    def _content(self) -> dict[str, Any] | None:
        try:
            content = json.loads(self.marker.read_text(encoding="utf8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(content, dict):
            return None
        if "kind" not in content and {"network", "first_weights"} <= content.keys():
            # a training that 0.1.0 began
            content = dict(kind=f"{KIND}training", settings=flatten(content))
        known = content.get("settings")
        is_ours = content.get("kind") == KIND + self.what and isinstance(content.get("format", 1), int)
        if not is_ours or not isinstance(known, dict):
            return None
        return content if all(isinstance(one, str) for one in known.values()) else None

    def _foreign(self) -> FileExistsError:
        return FileExistsError(
            f"{self.path} exists and holds no {self.what} of steadyspike; choose another folder"
        )

    def _other_settings(self, names: list[str], known: dict, wanted: dict) -> OtherSettingsError:
        return OtherSettingsError(
            f"{self.path} holds {self.what} {differences(names, known, wanted)}. Begin anew with {self.begin_anew}, or "
            "choose another folder"
        )


def differences(names: list[str], known: dict[str, str], wanted: dict[str, str]) -> str:
    """Say in which of the settings that have these names what was begun differs from what is wanted."""
    listed = [
        f"{name} is {known.get(name, ABSENT)} there and {wanted.get(name, ABSENT)} here" for name in names
    ]
    more = f"; and {len(listed) - MOST_DIFFERENCES} more" if len(listed) > MOST_DIFFERENCES else ""
    is_other = any(name.startswith("recording.") for name in names)
    what = "of another recording, or of one that was changed since" if is_other else "of other settings"
    return f"{what}: {'; '.join(listed[:MOST_DIFFERENCES])}{more}"


@dataclass(frozen=True)
class Notes:
    """What of some work is done, line by line: a note that is there is whole, and outlives a crash of the machine."""

    file: Path

    def read(self) -> list[str]:
        """Return all notes; what a kill or a crash left of one is none."""
        try:
            lines = self.file.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        noted = (line.rpartition(b" ") for line in lines[:-1])
        return [text.decode("utf8") for text, _, check in noted if check == _check(text)]

    @contextmanager
    def appending(self, keep: list[str]) -> Iterator[Callable[[str], None]]:
        """Give what notes a line, after those to keep. What a note promises must be on the disk before it."""
        with written_aside(self.file) as aside:
            aside.write_bytes(b"".join(map(_line, keep)))
        with self.file.open("ab", buffering=0) as stream:

            def note(text: str) -> None:
                stream.write(_line(text))
                os.fsync(stream.fileno())

            yield note


def _check(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:8].encode()


def _line(text: str) -> bytes:
    content = text.encode("utf8")
    return b"%b %b\n" % (content, _check(content))
