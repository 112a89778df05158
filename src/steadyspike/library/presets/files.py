"""Where preset files lie, and how one is read and written.

Nothing here knows what a preset may hold; `steadyspike.library.presets.presets` does. Importing this module is
cheap, so that registration can list the bundled presets without loading the validation.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steadyspike.core.aside import written_aside
from steadyspike.library.hub.artifact import MAX_BYTES, PRESET

KINDS = ("motion", "preprocessing")
# a key "a.a.a" of many parts takes the parser a time that rises with their square
MAX_PARTS = 20
_DEEP_KEY = re.compile(rf"(?<![\w-])(?:[\w-]++\s*\.\s*){{{MAX_PARTS - 1}}}")
# texts and comments, up to the end where none is; every start matches, so that this is done in one pass
_TEXTS = re.compile(
    r"""\"{3}(?:\\.|[^\\])*?(?:\"{3}|\Z)|'{3}.*?(?:'{3}|\Z)|"(?:\\.|[^"\\\n])*+"?|'[^'\n]*+'?|\#[^\n]*""",
    re.DOTALL,
)


class PresetError(ValueError):
    """A preset that cannot be used; the message names the file, the key and what is allowed."""


class UnknownPresetError(PresetError):
    """A name that no bundled preset has."""


def preset_folder() -> Path:
    """Return the folder with the bundled presets: inside the wheel, or at the root of a source checkout."""
    here = Path(__file__).resolve().parent
    shipped = here / "bundled"
    return shipped if shipped.is_dir() else here.parents[3] / "presets"


def bundled_files(kind: str | None = None) -> dict[str, Path]:
    """Return the file of each bundled preset by name, sorted by kind and name.

    Only those of `kind`, "motion" or "preprocessing"; None: all.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind={kind!r} is not known; allowed: {', '.join(KINDS)}")
    kinds = KINDS if kind is None else (kind,)
    return {path.stem: path for folder in kinds for path in sorted((preset_folder() / folder).glob("*.toml"))}


def read_text(path: Path) -> str:
    """Read the text of a preset, also as Notepad and Windows PowerShell's ">" write it."""
    content = path.read_bytes()
    return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises `FileNotFoundError` if there is none, and `PresetError` if it is a folder or not TOML.
    """
    if path.is_dir():
        raise PresetError(f"{path}: is a folder; a preset is one TOML file")
    if not path.is_file():
        raise FileNotFoundError(f"there is no preset file {path}")
    if path.stat().st_size > MAX_BYTES[PRESET]:
        raise PresetError(f"{path}: has {path.stat().st_size} bytes; allowed: up to {MAX_BYTES[PRESET]}")
    try:
        text = read_text(path)
        if _DEEP_KEY.search(_TEXTS.sub("_", text)):
            raise ValueError(f"a key of {MAX_PARTS} parts or more, which no preset has")
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PresetError(f"{path}: is not valid TOML: {error}") from None


def write_toml(content: Mapping[str, Any], path: Path) -> None:
    """Write a TOML file whole or not at all: a reader never sees half of it."""
    import tomlkit

    with written_aside(path) as aside:
        aside.write_text(tomlkit.dumps(content), encoding="utf-8", newline="\n")
