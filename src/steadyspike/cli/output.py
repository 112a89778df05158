"""Output folders that are there complete or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.cli.errors import UsageError, say
from steadyspike.core.addresses import as_text
from steadyspike.core.aside import folder_aside, locked, put_in_place, remove
from steadyspike.core.unfinished import FINISHED

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

    from steadyspike.core.unfinished import WorkFolder

MARKER = FINISHED

LEFT_BY_0_1_0 = ("peaks", "traces")
"""What lay in the place of a work folder, without one around it."""

RESULT, PEAKS, RECORDING = "result", "peaks", "recording"
"""In a work folder: what becomes the output, and what of it and beside it is kept after an interrupt."""

DONE = "done.json"
"""In the folder of a stage: what came of it, once it is whole."""


def check_output(path: Path, overwrite: bool) -> None:
    """Refuse an output folder that would destroy something.

    With `overwrite` a folder that steadyspike wrote before may be replaced, never any other. Raises `UsageError` if
    something is there that may not be replaced.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / MARKER).is_file():
        raise UsageError(f"{path} exists and was not written by steadyspike; choose another --output")
    if not overwrite:
        raise UsageError(f"{path} exists; replace it with --overwrite, or choose another --output")


@contextmanager
def writing_to(path: Path | None, overwrite: bool) -> Iterator[None]:
    """Do as `check_output`, and let no other run write there meanwhile; None: nothing is written."""
    if path is None:
        yield
        return
    with locked(path):
        work = work_folder(path)
        if (path / MARKER).is_file() and not (work.path / RESULT).exists() and work.settings() is not None:
            # of a run that was killed when the output was complete
            work.discard()
        check_output(path, overwrite)
        yield


@contextmanager
def new_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Build a folder beside its place and move it there when it is complete.

    Gives an empty folder to write into, which vanishes if the block ends with an error. `overwrite` is that of
    `check_output`.
    """
    check_output(path, overwrite)
    with folder_aside(path, MARKER) as unfinished:
        yield unfinished


def work_folder(output: Path) -> WorkFolder:
    """Give the folder that keeps unfinished work until the output is complete."""
    from steadyspike.core.unfinished import WorkFolder

    output = output.absolute()
    return WorkFolder(output.with_name(f"{output.name}.part"), "unfinished output", "--restart")


def begin(work: WorkFolder) -> None:
    """Make a work folder if it is not there; refuse one that is not ours."""
    if not work.check({}):
        work.begin({})


def begin_anew(output: Path) -> WorkFolder:
    """Delete the work folder of an output, and give it."""
    work = work_folder(output)
    for what in LEFT_BY_0_1_0:
        left = replace(work, what=what)
        if left.settings() is not None:
            left.discard()
    with refused_work():
        work.discard()
    return work


@contextmanager
def worked_on(
    output: Path,
    overwrite: bool,
    finished: Callable[[Path], bool],
    what: str,
    kept: Collection[str] = (RECORDING, f"{RECORDING}.zarr"),
) -> Iterator[tuple[WorkFolder, Path]]:
    """Build an output folder in a work folder beside its place, which stays after an interrupt if it holds work.

    `overwrite` is that of `check_output`; `finished` says whether there is something in the work folder that need not
    be done again, `what` what that is, in words. Gives the work folder, whose content is gone on with, and the folder
    that becomes the output when the block has ended: it is empty, but for what is `kept` of a run that was interrupted:
    its traces, and what `stage` answers for.
    """
    work = work_folder(output)
    result = work.path / RESULT
    with writing_to(output, overwrite):
        with refused_work():
            begin(work)
        result.mkdir(exist_ok=True)
        for child in result.iterdir():
            if child.name not in kept:
                remove(child, work.marker)
        try:
            yield work, result
            put_in_place(result, output, MARKER)
        except BaseException as error:
            if not (result.exists() and finished(work.path)):
                work.discard()
            elif not isinstance(error, UsageError):
                say(f"[yellow]kept[/yellow]: {what}, in {work.path}; the same command goes on from there")
            raise
        work.discard()


def stage(
    work: WorkFolder, name: str, settings: dict[str, Any], made: list[Path], do: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Do a stage of some work, unless an interrupted run has done it with the same settings.

    What a run that was interrupted within it has left of it is deleted. `made` is what the stage makes, all in the work
    folder, and `do` makes it and gives what is to be noted of it: plain data.
    """
    from steadyspike.core.aside import flush, written_aside
    from steadyspike.core.unfinished import OtherSettingsError, WorkFolder

    own = WorkFolder(work.path / name, name, work.begin_anew)
    try:
        goes_on = own.check(settings) and (own.path / DONE).is_file()
    except OtherSettingsError:
        goes_on = False
    if goes_on:
        say(f"[bold]going on[/bold]    {name} already, in {work.path}")
        return dict(json.loads((own.path / DONE).read_text(encoding="utf8")))
    own.discard()
    for path in made:
        remove(path, work.marker)
    own.begin(settings)
    found = do()
    for path in made:
        # a note that is on the disk promises that this is too
        if path.exists():
            flush(path)
    with written_aside(own.path / DONE) as aside:
        aside.write_text(json.dumps(found), encoding="utf8")
    return found


def save_lazily(
    recording: BaseRecording, folder: Path, work: WorkFolder, save_as: str, relative_paths: bool
) -> list[str]:
    """Write the lazy recording as JSON, and return the names of what was written; none where that is impossible."""
    if recording.check_serializability("json"):
        # the work folder is as deep as the output will be
        relative_to = work.path if relative_paths else None
        file = folder / f"{RECORDING}.json"
        recording.dump_to_json(file, relative_to=relative_to)
        if relative_paths and not json.loads(file.read_text(encoding="utf8"))["relative_paths"]:
            say(
                f"[yellow]note[/yellow]: {file.name} holds absolute paths: not all are on the disk of the output"
            )
        return [f"{RECORDING}.json"]
    if save_as == "json":
        raise UsageError("this recording cannot be written as JSON; choose another --format")
    return []


@contextmanager
def refused_work() -> Iterator[None]:
    """Tell of a work folder that cannot be gone on with in the words of the command line."""
    from steadyspike.core.unfinished import OtherSettingsError

    try:
        yield
    except (OtherSettingsError, FileExistsError) as error:
        text = str(error).replace("overwrite=True", "--restart")
        raise UsageError(text.replace("choose another folder", "choose another --output")) from None


def write_marker(folder: Path, content: dict[str, Any]) -> None:
    """Write how `folder` was made into its `MARKER`, with the versions that made it."""
    from steadyspike.core.environment import versions

    text = json.dumps({"versions": versions(), **content}, indent=2, default=as_text)
    (folder / MARKER).write_text(text + "\n", encoding="utf8")
