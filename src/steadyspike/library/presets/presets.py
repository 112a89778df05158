"""Presets: parameters of motion correction and of preprocessing, kept in TOML files.

A preset is plain data in a file that a lab can read, edit and share. `load_preset` reads a bundled preset by
name or a file by path, and holds every key and value against the methods of the installed SpikeInterface, so
that a misspelt parameter stops before any data is read::

    steadyspike.list_presets("motion")
    si.correct_motion(recording, preset="steady_nonrigid")
    si.correct_motion(recording, preset="my_lab.toml")

    steps = steadyspike.load_preset("neuropixels1").steps
    recording = si.apply_preprocessing_pipeline(recording, steps)
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from steadyspike.core.arguments import shown
from steadyspike.library.hub.artifact import PRESET, Form
from steadyspike.library.hub.cards import Usage, brief
from steadyspike.library.hub.client import fetch
from steadyspike.library.hub.reference import EXAMPLE, is_reference, tell_of_own
from steadyspike.library.hub.shareable import Shareable
from steadyspike.library.presets import checks as preset_checks
from steadyspike.library.presets.files import (
    KINDS,
    PresetError,
    UnknownPresetError,
    bundled_files,
    read_toml,
    write_toml,
)

SCHEMA = 1
MOST_PROBLEMS = 50
TABLES = (
    "detect_kwargs",
    "select_kwargs",
    "localize_peaks_kwargs",
    "estimate_motion_kwargs",
    "interpolate_motion_kwargs",
)
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
PRESET_FORM: Form = Form(
    "preset", PresetError, kind=lambda folder: load_preset(folder / PRESET).kind, most_bytes=lambda _: {}
)


class _Strict(BaseModel):
    """Base of everything in a preset: no unknown keys, no conversion of types, no change afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Preset(_Strict, Shareable):
    form: ClassVar[Form] = PRESET_FORM

    schema_version: Literal[1] = Field(alias="schema")
    name: str
    doc: str

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not NAME_PATTERN.fullmatch(name):
            raise ValueError("letters, digits, '_' and '-', starting with a letter or digit")
        return name

    @field_validator("doc")
    @classmethod
    def _check_doc(cls, doc: str) -> str:
        if not doc.strip() or "\n" in doc:
            raise ValueError("one line of text that is not empty")
        return doc

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values, checked like a file.

        Changes are keys of the preset file, such as ``name``, ``detect_kwargs`` or ``steps``, with their new values as
        a whole: ``detect_kwargs={**preset.detect_kwargs, "detect_threshold": 6.0}``. Raises `PresetError` if the
        changed preset has a key, a method, a type or a value that cannot work.
        """
        return cast(Self, _validate({**_content(self), **changes}, f"preset {self.name!r} with changes"))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = True) -> Self:
        """Return a copy with other values; `replace`, as pydantic's own would take any key and check nothing."""
        return self.replace(**(update or {}))

    def _write(self, folder: Path) -> None:
        write_toml(_content(self), folder / PRESET)

    def _described(self) -> str:
        """Write the card: what the preset is for, and what it does step by step."""
        lines = [f"# {self.name}", "", f"{self.doc}", "", f"{self.usage.title} for SpikeInterface.", ""]
        lines += ["| step | method | parameters |", "|---|---|---|"]
        lines += [f"| {step} | {method} | {brief(rest)} |" for step, method, rest in self._rows()]
        return "\n".join(lines) + "\n"

    def _reload(self, folder: Path) -> None:
        load_preset(folder / PRESET)

    def _rows(self) -> list[tuple[str, str, dict[str, Any]]]:
        raise NotImplementedError

    def _problems(self) -> Iterator[preset_checks.Problem]:
        raise NotImplementedError


class MotionPreset(_Preset):
    """Parameters of `si.correct_motion`.

    `doc` says in one line what it does. `detect_kwargs`, `localize_peaks_kwargs` and `estimate_motion_kwargs` are
    ``method`` and parameters of each step, `select_kwargs` parameters of the selection of peaks; empty: all peaks are
    used. `interpolate_motion_kwargs` are, with ``method = "steady_interpolate_motion"``, parameters of
    `steadyspike.interpolate_motion`, without a method those of SpikeInterface's `interpolate_motion`.
    """

    usage: ClassVar[Usage] = Usage(
        "Motion correction preset",
        (
            "import spikeinterface.full as si",
            "import steadyspike",
            'recording_corrected = si.correct_motion(recording, preset="{ref}")',
        ),
    )

    kind: Literal["motion"]
    detect_kwargs: dict[str, Any]
    select_kwargs: dict[str, Any] = {}
    localize_peaks_kwargs: dict[str, Any]
    estimate_motion_kwargs: dict[str, Any]
    interpolate_motion_kwargs: dict[str, Any] = {}

    @property
    def parameters(self) -> dict[str, Any]:
        """The doc and the five tables, as SpikeInterface keeps its own presets; a copy."""
        tables = {table: copy.deepcopy(getattr(self, table)) for table in TABLES}
        return {"doc": self.doc, **tables}

    def _rows(self) -> list[tuple[str, str, dict[str, Any]]]:
        tables = {name: values for name, values in self.parameters.items() if name != "doc"}
        return [
            (name.removesuffix("_kwargs").replace("_", " "), values.pop("method", "-"), values)
            for name, values in tables.items()
        ]

    def _problems(self) -> Iterator[preset_checks.Problem]:
        yield from preset_checks.check_motion({table: getattr(self, table) for table in TABLES})


class _Step(_Strict):
    name: str
    params: dict[str, Any] = {}


class PreprocessingPreset(_Preset):
    """Steps of `si.apply_preprocessing_pipeline`.

    `doc` says in one line what it does; each of `steps` is a dict of ``name`` and ``params``.
    """

    usage: ClassVar[Usage] = Usage(
        "Preprocessing preset",
        (
            "import spikeinterface.full as si",
            "import steadyspike",
            'steps = steadyspike.load_preset("{ref}").steps',
            "recording_ready = si.apply_preprocessing_pipeline(recording, steps)",
        ),
    )

    kind: Literal["preprocessing"]
    steps_: tuple[_Step, ...] = Field(alias="steps", strict=False, min_length=1)

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The list that `si.apply_preprocessing_pipeline` takes; a copy."""
        return [{"name": step.name, "params": copy.deepcopy(step.params)} for step in self.steps_]

    def _rows(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [(str(number + 1), step["name"], step["params"]) for number, step in enumerate(self.steps)]

    def _problems(self) -> Iterator[preset_checks.Problem]:
        yield from preset_checks.check_steps(self.steps)


def list_presets(kind: str | None = None) -> list[str]:
    """List the names of the bundled presets.

    Parameters
    ----------
    kind : {"motion", "preprocessing"} or None, default: None
        Only presets for `si.correct_motion`, only those for `si.apply_preprocessing_pipeline`; None: all.

    Returns
    -------
    names : list of str

    Raises
    ------
    ValueError
        If `kind` is something else.
    """
    return list(bundled_files(kind))


def load_preset(ref: str | Path) -> MotionPreset | PreprocessingPreset:
    """Load a preset and check it against the installed SpikeInterface.

    Parameters
    ----------
    ref : str or Path
        Name of a bundled preset, path of a TOML file, or a reference to the Hugging Face Hub,
        "hf:owner/name@revision". A text is taken for a path when it ends in ``.toml`` or has a folder in it.

    Returns
    -------
    preset : MotionPreset or PreprocessingPreset

    Raises
    ------
    UnknownPresetError
        If no bundled preset has that name.
    FileNotFoundError
        If there is no file at that path.
    PresetError
        If the preset has a key, a method, a type or a value that cannot work: the message lists all of them
        with the file, the key and what is allowed.
    HubError
        If it is on the Hub, is not on this machine, and cannot be downloaded.
    """
    if is_reference(ref):
        fetched = fetch(str(ref), PRESET_FORM)
        with PRESET_FORM.naming(fetched.ref, fetched.folder):
            return load_preset(fetched.folder / PRESET)
    path = find_preset(ref)
    return _validate(read_toml(path), str(path))


def save_preset(
    preset: MotionPreset | PreprocessingPreset | Mapping[str, Any], path: str | Path, overwrite: bool = False
) -> Path:
    """Check a preset and write it to a TOML file, whole or not at all.

    Parameters
    ----------
    preset : MotionPreset, PreprocessingPreset or mapping
        A loaded preset, or the content of a preset file as a dictionary.
    path : str or Path
        Where to write; ends in ``.toml``.
    overwrite : bool, default: False
        Whether an existing file may be replaced.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    FileExistsError
        If there is a file and `overwrite` is False.
    PresetError
        If the preset cannot work.
    ValueError
        If `path` does not end in ``.toml``.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() != ".toml":
        raise ValueError(f"path={str(path)!r} is no place for a preset; allowed: a file name ending in .toml")
    content = _content(preset) if isinstance(preset, _Preset) else dict(preset)
    _validate(content, str(path))
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; overwrite=True replaces it")
    write_toml(content, path)
    return path


def find_preset(ref: str | Path) -> Path:
    """Return the file of a bundled name or a path; see `load_preset`."""
    if is_reference(ref):
        return fetch(str(ref), PRESET_FORM).folder / PRESET
    bundled = bundled_files()
    if isinstance(ref, str) and ref in bundled:
        tell_of_own(ref, Path(f"{ref}.toml"))
        return bundled[ref]
    if isinstance(ref, Path) or (
        isinstance(ref, str) and (ref.lower().endswith(".toml") or "/" in ref or "\\" in ref)
    ):
        return Path(ref).expanduser()
    close = get_close_matches(str(ref), bundled, n=1)
    suggestion = f"did you mean {close[0]!r}? " if close else ""
    names = ", ".join(bundled)
    raise UnknownPresetError(
        f"no preset {ref!r}; {suggestion}allowed: {names}, the path of a TOML file, or {EXAMPLE}"
    )


def _content(preset: _Preset) -> dict[str, Any]:
    """Return what a preset's file holds, in the order in which it is read."""
    content = preset.model_dump(by_alias=True, mode="python")
    first = {key: content.pop(key) for key in ("schema", "kind", "name", "doc")}
    if "steps" in content:
        content["steps"] = list(content["steps"])
    return {**first, **content}


def _validate(content: dict[str, Any], source: str) -> MotionPreset | PreprocessingPreset:
    _check_schema(content, source)
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise PresetError(f"{source}: kind: is {shown(kind)}; allowed: {', '.join(map(repr, KINDS))}")
    problems = [
        problem for key, value in content.items() for problem in preset_checks.check_plain(key, value)
    ]
    _raise_if_any(problems, source)
    model: type[MotionPreset | PreprocessingPreset] = (
        MotionPreset if kind == "motion" else PreprocessingPreset
    )
    try:
        preset = model.model_validate(content)
    except ValidationError as error:
        _raise_if_any([_as_problem(details, model) for details in error.errors()], source)
        raise
    _raise_if_any(list(preset._problems()), source)
    return preset


def _check_schema(content: dict[str, Any], source: str) -> None:
    schema = content.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise PresetError(f"{source}: schema: is {shown(schema)}; allowed: {SCHEMA}")
    if schema > SCHEMA:
        raise PresetError(
            f"{source}: schema: is {shown(schema)}, newer than this version of steadyspike knows; "
            f"upgrade steadyspike (pip install --upgrade steadyspike). Allowed: up to {SCHEMA}"
        )


def _as_problem(details: Any, model: type[_Preset]) -> preset_checks.Problem:
    """Say in our words what pydantic found."""
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in details["loc"]).lstrip(".")
    if details["type"] == "extra_forbidden":
        fields = (_Step if key.startswith("steps[") else model).model_fields
        return key, f"is no key of a preset; allowed: {', '.join(f.alias or n for n, f in fields.items())}"
    if details["type"] == "missing":
        return key, "is missing"
    message = details["msg"].removeprefix("Value error, ")
    return key, f"is {details['input']!r}; allowed: {message}"


def _raise_if_any(problems: list[preset_checks.Problem], source: str) -> None:
    if problems:
        lines = [f"{source}: {key}: {text}" for key, text in problems[:MOST_PROBLEMS]]
        more = len(problems) - MOST_PROBLEMS
        raise PresetError("\n".join([*lines, *([f"{source}: and {more} more"] if more > 0 else [])]))
