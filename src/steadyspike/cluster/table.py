"""The table of sessions: one recording a line, with options of its own."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECORDING, NAME = "recording", "name"
"""Columns that are no options."""
SESSIONS = "sessions"
"""Tables of a TOML file."""
BETWEEN = ";"
"""Between several values of an option, in a cell."""


@dataclass(frozen=True)
class Session:
    """One line of the table.

    `recording` is absolute, `options` are by their names without dashes at the front, each with its values: texts, or
    True for one that takes none.
    """

    name: str
    recording: str
    options: dict[str, list[str | bool]] = field(default_factory=dict)

    def arguments(self) -> Iterator[str]:
        """Give the options as they stand on a command line."""
        for option, values in self.options.items():
            for value in values:
                yield f"--{option}"
                if not isinstance(value, bool):
                    yield value


def read_sessions(file: Path) -> list[Session]:
    """Read a table of sessions, CSV with a line of names on top, or TOML with ``[[sessions]]``.

    A column "recording" is needed; a path in it is relative to the folder of the table. "name" is that of the folder
    of results, made of the recording's where there is none; every other column is an option of the command. In a CSV,
    an empty cell stands for none, "true" for an option without a value, and ";" between several values of one. Raises
    `ValueError` for what is no such table, which names the line, and `FileNotFoundError`.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not a file")
    read = _of_toml if file.suffix.lower() == ".toml" else _of_csv
    rows = list(read(file))
    if not rows:
        raise ValueError(f"{file} holds no session")
    for place, row in rows:
        if not row.get(RECORDING):
            raise ValueError(f"{file}, {place}: no {RECORDING}")
    paths = [_absolute(str(row.pop(RECORDING)), file.parent) for _, row in rows]
    given = [_text(row.pop(NAME, "")) for _, row in rows]
    names = _names(paths, given)
    sessions = []
    for (place, row), path, name in zip(rows, paths, names, strict=True):
        try:
            options = {str(key).replace("_", "-"): _values(key, value) for key, value in row.items()}
        except ValueError as error:
            raise ValueError(f"{file}, {place}: {error}") from None
        kept = {key: values for key, values in options.items() if values}
        sessions.append(Session(name, path, kept))
    return sessions


def folder_name(text: str) -> str:
    """Make a name for a folder, that any file system and shell takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "session"


def _of_csv(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, skipinitialspace=True)
        if RECORDING not in (reader.fieldnames or []):
            raise ValueError(f"{file} has no column {RECORDING}; its first line is to name the columns")
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row or None in row.values():
                raise ValueError(f"{file}, {place}: as many cells are needed as there are columns")
            cells = {
                key: [one.strip() for one in text.split(BETWEEN)] for key, text in row.items() if text.strip()
            }
            if cells:
                whole = {key: row[key].strip() for key in (RECORDING, NAME) if key in cells}
                yield (
                    place,
                    {**{key: [_flag(one) for one in values] for key, values in cells.items()}, **whole},
                )


def _of_toml(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} is no TOML: {error}") from None
    tables = content.pop(SESSIONS, None)
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables) or content:
        raise ValueError(f"{file} is to hold [[{SESSIONS}]], and nothing else")
    for number, table in enumerate(tables, 1):
        yield f"session {number}", dict(table)


def _flag(text: str) -> str | bool:
    return {"true": True, "false": False}.get(text.lower(), text)


def _values(key: str, value: Any) -> list[str | bool]:
    if isinstance(value, Mapping):
        raise ValueError(f"{key} is no option")
    values = value if isinstance(value, list) else [value]
    return [one if isinstance(one, bool) else str(one) for one in values if one is not False]


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _absolute(recording: str, folder: Path) -> str:
    """Give a path that holds whatever the working directory; addresses of other places stay."""
    if "://" in recording:
        return recording
    return str((folder / Path(recording).expanduser()).absolute())


def _names(paths: list[str], given: list[str]) -> list[str]:
    """Name the sessions, with the folder above where two are the same; raises `ValueError` where they still are."""
    parts = [path.rstrip("/").split("/") for path in paths]
    plain = [own or folder_name(part[-1]) for own, part in zip(given, parts, strict=True)]
    longer = [own or folder_name("-".join(part[-2:])) for own, part in zip(given, parts, strict=True)]
    names = [more if plain.count(name) > 1 else name for name, more in zip(plain, longer, strict=True)]
    for name, own in zip(names, given, strict=True):
        if own and folder_name(own) != own:
            raise ValueError(f"name={own!r}; allowed: letters, digits, dots, dashes and underlines")
        if names.count(name) > 1:
            raise ValueError(f"two sessions are called {name}; give them names, in a column {NAME}")
    return names
