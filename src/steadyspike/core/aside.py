"""Files and folders that are there complete or not at all, are written by one process at a time, and deleted here.

What is being made, set aside or deleted bears a name that begins with `UNFINISHED` and ends with that of what it is
for. A kill may leave it; whoever next locks the same path clears it away. Nothing else is ever deleted: what has
another name is first renamed to such a one, and only where our marker says that it is ours.
"""

from __future__ import annotations

import errno
import functools
import inspect
import os
import re
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar, cast

from steadyspike.core.addresses import address_of

Marker = str | Collection[str] | Callable[[Path], bool]
"""By what a folder of ours is known: files that it has all of, or a function that tells."""

Function = TypeVar("Function", bound=Callable[..., Any])

UNFINISHED = ".unfinished-steadyspike-"
"""Begins the name of what is not complete, and of locks: they may stay after a kill, and can be deleted."""

_NEW, _OLD, _GONE = "new", "replaced", "deleted"
_ASIDE = re.compile(rf"{re.escape(UNFINISHED)}[0-9a-f]{{8}}-({_NEW}|{_OLD}|{_GONE})-(.+)", re.DOTALL)
# a file is written in less; who waits longer for a folder would replace what was just made
LOCK_WAIT_S = 0.5

_HELD = threading.local()


class InUseError(FileExistsError):
    """Another process is writing what was to be written."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let nobody else write a file or folder, and clear away what killed runs left of it.

    It need not be there. Folders above it are made, and vanish again if nothing was written to them. The thread that
    has the lock may take it again; another one, or another process, is refused with an `InUseError`.
    """
    from filelock import FileLock, Timeout

    path = _place(path)
    held = _HELD.__dict__.setdefault("paths", set())
    if path in held:
        yield
        return
    with _folder_for(path):
        file = path.with_name(f"{UNFINISHED}lock-{path.name}")
        lock = FileLock(file)
        try:
            lock.acquire(timeout=LOCK_WAIT_S)
        except Timeout:
            raise InUseError(
                f"{path} is being written by another run of steadyspike; wait until that has ended, or choose "
                "another place"
            ) from None
        held.add(path)
        try:
            clear_unfinished(path)
            yield
        finally:
            held.discard(path)
            # while it is held: who waits for it notices, and makes a new one. Windows deletes it when it is released
            _delete(file)
            lock.release()


def locking(function: Function) -> Function:
    """Let nobody else write the `folder` that a function is given, if it is given one, while it runs."""
    index = list(inspect.signature(function).parameters).index("folder")

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        folder = args[index] if index < len(args) else kwargs.get("folder")
        if not isinstance(folder, str | Path):
            return function(*args, **kwargs)
        with locked(Path(folder).expanduser()):
            return function(*args, **kwargs)

    return cast(Function, call)


@contextmanager
def written_aside(path: Path, marker: Marker = ()) -> Iterator[Path]:
    """Give a path to write a file or a folder to, which takes the place of `path` when the block has ended.

    A file that is there is replaced, and a folder that `marker` tells to be ours; raises `FileExistsError` for another
    one that holds anything, and `InUseError` if another process writes the same. Folders above it are made. The path
    that is given is in the same folder, so that relative paths in it hold, and ends like `path`; nothing is there yet,
    and it vanishes if the block ends with an error.
    """
    path = _place(path)
    with locked(path):
        _refuse_foreign(path, marker)
        new = _aside(path, _NEW)
        try:
            yield new
            put_in_place(new, path, marker)
        finally:
            _delete(new)


@contextmanager
def folder_aside(folder: Path, marker: Marker = ()) -> Iterator[Path]:
    """Do as `written_aside` for a folder, which is empty at first; a file is never replaced by it."""
    if folder.is_file():
        raise FileExistsError(f"{folder} is a file; choose another place for the folder")
    with written_aside(folder, marker) as aside:
        aside.mkdir()
        yield aside


def put_in_place(new: Path, path: Path, marker: Marker = ()) -> None:
    """Rename what is complete, and on the same disk, to its place, in place of what is there; see `written_aside`.

    What is renamed outlives a crash of the machine.
    """
    path = _place(path)
    with locked(path):
        _refuse_foreign(path, marker)
        flush(new)
        old = _aside(path, _OLD)
        try:
            # a rename replaces a file, but no folder: that is set aside first, so that there is always a complete one
            if path.is_dir() or (path.is_symlink() and new.is_dir()):
                path.rename(old)
            os.replace(new, path)
        finally:
            if os.path.lexists(old) and not os.path.lexists(path):
                old.rename(path)
        flush(path.parent, deep=False)
        _delete(old)


def remove(path: Path, marker: Path) -> None:
    """Delete a file or a folder of ours: all at once, whatever interrupts it.

    `path` may be absent; `marker` is a file that says that it is ours, in it or in a folder around it. Raises
    `FileExistsError` if the marker is not there.
    """
    path, marker = _place(path), _place(marker)
    if not os.path.lexists(path):
        return
    if not marker.is_file() or not ({path, *path.parents} & {marker, marker.parent}):
        raise FileExistsError(f"{path} was not made by steadyspike, and is not deleted")
    gone = _aside(path, _GONE)
    path.rename(gone)
    _delete(gone)


def clear_unfinished(path: Path) -> None:
    """Delete what killed runs left aside of a path; what they had set aside to replace it comes back."""
    for left in list(path.parent.iterdir()) if path.parent.is_dir() else []:
        found = _ASIDE.fullmatch(left.name)
        if found is None or found[2] != path.name:
            continue
        if found[1] == _OLD and not os.path.lexists(path):
            left.rename(path)
        else:
            _delete(left)


def flush(path: Path, deep: bool = True) -> None:
    """Have a file, or a folder with all in it, written to the disk, so that a crash of the machine does not lose it."""
    is_folder = path.is_dir() and not path.is_symlink()
    for child in path.iterdir() if is_folder and deep else ():
        flush(child)
    if not (path.is_file() or (is_folder and os.name != "nt")):
        return
    opened = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        # some network disks don't know it for folders
        if not is_folder or error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)


def is_ours(folder: Path, marker: Marker) -> bool:
    """Whether a folder is known by a marker."""
    if callable(marker):
        return marker(folder)
    names = [marker] if isinstance(marker, str) else marker
    return bool(names) and all((folder / name).is_file() for name in names)


def refuse_existing(folder: Path, marker: Marker, overwrite: bool, what: str) -> None:
    """Refuse to replace a folder unless it is one of ours and that was asked for.

    It may be absent. `marker` tells a folder of ours, which is called `what` and may be replaced with `overwrite`; else
    a `FileExistsError` is raised.
    """
    ours = is_ours(folder, marker)
    if folder.exists() and not (overwrite and ours):
        hint = "pass overwrite=True to replace it" if ours else f"and is no {what}"
        raise FileExistsError(f"{folder} exists already; {hint}")


def _refuse_foreign(path: Path, marker: Marker) -> None:
    """Refuse to replace a folder that holds something, and is not ours."""
    if path.is_dir() and not is_ours(path, marker) and any(path.iterdir()):
        raise FileExistsError(
            f"{path} is a folder that holds something else, and is not replaced; choose another place"
        )


def _place(path: Path) -> Path:
    """Give the one name of what is at a path, or will be; raises `ValueError` for an address of another machine."""
    if (address := address_of(path)) is not None:
        raise ValueError(
            f"{address} is no folder of this machine, and results are written to one; "
            "steadyspike.cluster.save_recording writes traces to a bucket"
        )
    path = Path(os.path.abspath(path))
    return path.parent.resolve() / path.name


def _aside(path: Path, why: str) -> Path:
    return path.with_name(f"{UNFINISHED}{token_hex(4)}-{why}-{path.name}")


def _delete(path: Path) -> None:
    """Delete what bears a name of ours, which is all that ever is; what cannot be deleted is left to the next run."""
    if not path.name.startswith(UNFINISHED):
        raise ValueError(f"{path} does not bear a name that is deleted")
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def _folder_for(path: Path) -> Iterator[None]:
    """Make the folders above a path; those that are still empty at the end vanish."""
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
