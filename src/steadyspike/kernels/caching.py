"""Compiled kernels are kept on the disk where that is possible, and work where it is not.

numba refuses to compile a function with ``cache=True`` if neither its source's folder, nor ``NUMBA_CACHE_DIR``, nor the
user's cache can be written, and it raises if the disk is full. For the functions of this package, and no others, a
folder of the user's own among the temporary files is tried last, and whatever fails means that they are compiled anew.
"""

from __future__ import annotations

import os
import pickle
import stat
import tempfile
from contextlib import suppress
from typing import Any

from numba.core import caching, dispatcher

PACKAGE = __name__.partition(".")[0]


class TemporaryFolderLocator(caching.UserWideCacheLocator):
    """Finds a place among the temporary files that nobody but the user can write: what is there is run."""

    def __init__(self, py_func: Any, py_file: str):
        super().__init__(py_func, py_file)
        self.folder = os.path.join(tempfile.gettempdir(), f"{PACKAGE}-numba-{user_id()}")
        self._cache_path = os.path.join(self.folder, self.get_suitable_cache_subpath(py_file))

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        """Return a locator, or None where there is no such place."""
        try:
            return super().from_function(py_func, py_file)
        except OSError:
            # there are no temporary files
            return None

    def ensure_cache_path(self) -> None:
        """Make the folder, or raise `OSError`."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        found = os.lstat(self.folder)
        theirs = hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o022)
        if theirs or not stat.S_ISDIR(found.st_mode):
            raise PermissionError(f"{self.folder} can be written by others")
        super().ensure_cache_path()


def user_id() -> str:
    """Return what tells users of this machine apart; nothing where each has temporary files of their own."""
    return str(os.getuid()) if hasattr(os, "getuid") else "user"


class _Files(caching.FunctionCache._impl_class):  # type: ignore[name-defined,misc]
    _locator_classes = (*caching.FunctionCache._impl_class._locator_classes, TemporaryFolderLocator)


class KernelCache(caching.FunctionCache):
    """A cache of numba's that finds nothing where it cannot be read, and keeps nothing where it cannot be written."""

    _impl_class = _Files

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was compiled before, or None."""
        try:
            return super().load_overload(sig, target_context)
        except OSError:
            pass
        except (EOFError, pickle.UnpicklingError):
            # cut short: what is written next begins anew
            with suppress(OSError):
                self.flush()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled."""
        try:
            super().save_overload(sig, data)
        except OSError:
            # a full disk, or a folder that was removed
            self.disable()


def cache_of(py_func: Any) -> Any:
    """Return the cache of a function: ours for the functions of this package, and numba's for all others."""
    if py_func.__module__.partition(".")[0] != PACKAGE:
        return caching.FunctionCache(py_func)
    try:
        return KernelCache(py_func)
    except (OSError, RuntimeError):
        return caching.NullCache()


def install() -> None:
    """Let numba's dispatchers ask `cache_of`."""
    dispatcher.FunctionCache = cache_of
