"""Files and folders that are there complete or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

UNFINISHED = ".unfinished-"
"""Begins the name of what is not complete: it may stay after a kill, and can be deleted."""


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a path to write a file or a folder to, which takes the place of `path` when the block has ended.

    Parameters
    ----------
    path : Path
        What is there is replaced; folders above it are made.

    Yields
    ------
    aside : Path
        In the same folder, so that relative paths in it hold; its name ends like that of `path`. Nothing is there yet.
        It vanishes if the block ends with an error.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{UNFINISHED}{token_hex(4)}"
    aside, replaced = (
        path.with_name(f"{prefix}-{path.name}"),
        path.with_name(f"{prefix}-replaced-{path.name}"),
    )
    try:
        yield aside
        # a rename replaces a file, but no folder: that is set aside first, so that there is always a complete one
        if path.is_dir() or (aside.is_dir() and path.exists()):
            path.rename(replaced)
        os.replace(aside, path)
    finally:
        if replaced.exists() and not path.exists():
            replaced.rename(path)
        for leftover in (aside, replaced):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """Do as `written_aside` for a folder, which is empty at first."""
    with written_aside(folder) as aside:
        aside.mkdir()
        yield aside


def refuse_existing(folder: Path, marker: str, overwrite: bool, what: str) -> None:
    """Refuse to replace a folder unless it is one of ours and that was asked for.

    Parameters
    ----------
    folder : Path
        May be absent.
    marker : str
        Name of the file by which a folder of ours is known.
    overwrite : bool
        Whether one of ours may be replaced.
    what : str
        What a folder of ours is called.

    Raises
    ------
    FileExistsError
        If it is there, and may not be replaced.
    """
    ours = (folder / marker).is_file()
    if folder.exists() and not (overwrite and ours):
        hint = "pass overwrite=True to replace it" if ours else f"and is no {what}"
        raise FileExistsError(f"{folder} exists already; {hint}")
