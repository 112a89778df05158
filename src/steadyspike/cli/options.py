"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import functools
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast, get_args, get_origin

import typer

from steadyspike.cli.errors import UsageError

if TYPE_CHECKING:
    from steadyspike.core.setting_groups import GroupedSettings

Command = TypeVar("Command", bound=Callable[..., None])

writing = functools.partial(typer.Option, rich_help_panel="Writing")

Output = Annotated[Path, writing("--output", "-o", help="Folder; complete or not at all.")]
Overwrite = Annotated[bool, writing("--overwrite", help="Replace the folder if steadyspike wrote it.")]
RelativePaths = Annotated[
    bool,
    writing(
        "--relative-paths",
        help="Let recording.json, the data and the model be moved together. Load it with "
        "si.load(file, base_folder=True).",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--n-jobs", "-j", help="Worker processes; -1: one per core. Default: that, but at most 8."),
]
ChunkDuration = Annotated[str, typer.Option("--chunk-duration", help="How much each worker reads at once.")]
ProgressBar = Annotated[
    bool | None,
    typer.Option("--progress-bar/--no-progress-bar", help="Default: on a terminal only.", show_default=False),
]
Device = Annotated[
    str, typer.Option("--device", help="cpu, cuda, cuda:1 or mps. auto: cuda, else mps, else cpu.")
]
Precision = Annotated[str, typer.Option("--precision", help="float32, or half: sooner on most GPUs.")]

MOST_JOBS = 8
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def paragraphs(text: str) -> str:
    """Join the lines of each paragraph, which the terminal then breaks where it ends; the indent stays."""
    joined = []
    for paragraph in text.strip("\n").split("\n\n"):
        indent = len(paragraph) - len(paragraph.lstrip(" "))
        joined.append(" " * indent + " ".join(paragraph.split()))
    return "\n\n".join(joined)


def job_kwargs(n_jobs: int | None, chunk_duration: str, progress_bar: bool | None) -> dict[str, Any]:
    """Turn the shared options into SpikeInterface's job arguments."""
    from steadyspike.core.environment import shows_progress, usable_cores

    if n_jobs is None:
        n_jobs = min(MOST_JOBS, usable_cores())
    if n_jobs == 0 or n_jobs < -1:
        raise UsageError(f"--n-jobs {n_jobs} cannot work; allowed: 1 or more, or -1 for all cores")
    number, unit = chunk_duration.rstrip("ms"), chunk_duration.lstrip("0123456789.")
    if unit not in ("s", "ms") or not _is_positive(number):
        raise UsageError(f"--chunk-duration {chunk_duration} cannot work; allowed: such as 1s or 500ms")
    if progress_bar is None:
        progress_bar = sys.stderr.isatty() and shows_progress(None)
    return dict(n_jobs=n_jobs, chunk_duration=chunk_duration, progress_bar=progress_bar)


def parse_duration(text: str, option: str) -> float:
    """Read a time such as ``90s``, ``30min`` or ``8h`` in seconds."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(number) :].strip()
    if unit not in SECONDS or not _is_positive(number):
        raise UsageError(f"{option} {text} cannot work; allowed: such as 90s, 30min or 8h")
    return float(number) * SECONDS[unit]


def parse_settings(texts: list[str], option: str) -> dict[str, Any]:
    """Read texts like ``key=value``; a value is taken as JSON where it is JSON, and as text otherwise."""
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"{option} {text} is not of the form key=value")
        try:
            settings[key] = json.loads(value)
        except json.JSONDecodeError:
            settings[key] = value
    return settings


def _is_positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def option(name: str, kind: Any, default: Any, text: str, flag: str = "", **how: Any) -> inspect.Parameter:
    """Declare an option with its help for `takes_options`; `how` are further arguments of `typer.Option`."""
    flag = flag or f"--{name.replace('_', '-')}"
    annotation = Annotated[kind, typer.Option(flag, help=text, **how)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def takes_options(argument: str, options: Sequence[inspect.Parameter]) -> Callable[[Command], Command]:
    """Give a command options in the place of one keyword argument, which holds their values by name."""

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)

        @functools.wraps(command)
        def call(**values: Any) -> None:
            held = {one.name: values.pop(one.name) for one in options}
            command(**values, **{argument: held})

        others = [one for one in own.parameters.values() if one.name != argument]
        parameters = [*(one.replace(kind=one.KEYWORD_ONLY) for one in others), *options]
        call.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        return cast(Command, call)

    return decorate


def declared_options(
    settings: type[GroupedSettings], options: Mapping[str, tuple[str, str | None]], others: Mapping[str, str]
) -> list[inspect.Parameter]:
    """Make options whose type, default and help are those of declared parameters.

    `options` are by plain keyword: the name of the option, and the panel of the help that it is in. `others` are
    options of the command that stand for other keywords, by keyword.
    """
    fields, defaults = settings.fields(), settings.defaults()
    flags = {**others, **{name: flag for name, (flag, _) in options.items()}}
    declared = []
    for name, (flag, panel) in options.items():
        kind, choices = _type_of(fields[name].annotation)
        kind = kind if defaults[name] is not None else kind | None
        text, shown = _help(fields[name].description or "", flags), "|".join(choices) or None
        declared.append(option(name, kind, defaults[name], text, flag, rich_help_panel=panel, metavar=shown))
    return declared


def _type_of(annotation: Any) -> tuple[Any, list[str]]:
    """Return the type of an option, and what is allowed where that is a few texts."""
    if get_origin(annotation) is Literal:
        return str, [str(one) for one in get_args(annotation)]
    members = get_args(annotation) if get_origin(annotation) is not None else (annotation,)
    (member,) = (one for one in members if one is not type(None))
    return (member, []) if member is annotation else _type_of(member)


def _help(text: str, flags: Mapping[str, str]) -> str:
    """Say what a parameter is in the words of the command line."""
    words = re.sub(r"`+([^`]+)`+", lambda found: flags.get(found[1], found[1]), text)
    words = re.sub(r"\bNone: (\S)", lambda found: f"Default: {found[1]}", words).replace(
        "; Default", ". Default"
    )
    return words.rstrip(".").replace("[", r"\[") + "."
