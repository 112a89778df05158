"""Output folders that are there complete or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steadyspike.cli.errors import UsageError, say
from steadyspike.core.aside import folder_aside

MARKER = "steadyspike.json"
"""File by which a folder that steadyspike wrote is known; it tells how the folder was made."""


def check_output(path: Path, overwrite: bool) -> None:
    """Refuse an output folder that would destroy something.

    Parameters
    ----------
    path : Path
        Where the output shall go.
    overwrite : bool
        Whether a folder that steadyspike wrote before may be replaced. Any other folder stays as it is.

    Raises
    ------
    UsageError
        If something is there that may not be replaced.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / MARKER).is_file():
        raise UsageError(f"{path} exists and was not written by steadyspike; choose another --output")
    if not overwrite:
        raise UsageError(f"{path} exists; replace it with --overwrite, or choose another --output")


@contextmanager
def new_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Build a folder beside its place and move it there when it is complete.

    Parameters
    ----------
    path : Path
        Where the folder shall be.
    overwrite : bool, default: False
        As in `check_output`.

    Yields
    ------
    unfinished : Path
        An empty folder to write into. It vanishes if the block ends with an error.
    """
    path = path.absolute()
    check_output(path, overwrite)
    with folder_aside(path) as unfinished:
        yield unfinished


def work_folder(output: Path) -> Path:
    """Give the folder that keeps unfinished work until the output is complete."""
    return output.absolute().with_name(f"{output.absolute().name}.part")


@contextmanager
def work_beside(
    output: Path, is_ours: Callable[[Path], bool], finished: Callable[[Path], int], what: str
) -> Iterator[Path]:
    """Give a work folder that vanishes when all is done, and stays after an interrupt if it holds finished work.

    Parameters
    ----------
    output : Path
        Where the result shall be; the work folder lies beside it.
    is_ours : callable
        Whether a folder was begun by the command, and may be deleted.
    finished : callable
        How much in it need not be done again.
    what : str
        What that is, in words.

    Yields
    ------
    work : Path
        May be absent.
    """
    work = work_folder(output)
    try:
        yield work
    except BaseException as error:
        if finished(work):
            if not isinstance(error, UsageError):
                say(f"[yellow]kept[/yellow]: {what}, in {work}; the same command goes on from there")
        elif is_ours(work):
            shutil.rmtree(work)
        raise
    shutil.rmtree(work, ignore_errors=True)


def other_settings(error: Exception) -> UsageError:
    """Tell of a work folder that was begun with other settings in the words of the command line."""
    text = str(error).replace("overwrite=True, or choose another folder", "--restart")
    return UsageError(text.replace("choose another folder", "choose another --output"))


def write_marker(folder: Path, content: dict[str, Any]) -> None:
    """Write how `folder` was made into its `MARKER`, with the versions that made it."""
    from steadyspike.core.environment import versions

    text = json.dumps({"versions": versions(), **content}, indent=2, default=str)
    (folder / MARKER).write_text(text + "\n", encoding="utf8")
