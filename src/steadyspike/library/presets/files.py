"""Where preset files lie, and how one is read and written.

Nothing here knows what a preset may hold; `steadyspike.library.presets.presets` does. Importing this module is
cheap, so that registration can list the bundled presets without loading the validation.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steadyspike.core.aside import written_aside

KINDS = ("motion", "preprocessing")


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

    Parameters
    ----------
    kind : {"motion", "preprocessing"} or None, default: None
        Only presets of this kind; None: all.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind={kind!r} is not known; allowed: {', '.join(KINDS)}")
    kinds = KINDS if kind is None else (kind,)
    return {path.stem: path for folder in kinds for path in sorted((preset_folder() / folder).glob("*.toml"))}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PresetError
        If it is a folder or not TOML.
    """
    if path.is_dir():
        raise PresetError(f"{path}: is a folder; a preset is one TOML file")
    if not path.is_file():
        raise FileNotFoundError(f"there is no preset file {path}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise PresetError(f"{path}: is not valid TOML: {error}") from None


def write_toml(content: Mapping[str, Any], path: Path) -> None:
    """Write a TOML file whole or not at all: a reader never sees half of it."""
    import tomlkit

    with written_aside(path) as aside:
        aside.write_text(tomlkit.dumps(content), encoding="utf-8", newline="\n")
