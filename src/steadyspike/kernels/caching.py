"""Compiled kernels are kept on the disk where that is possible, and work where it is not.

They are kept below ``NUMBA_CACHE_DIR``, or in the user's cache, or in a folder of the user's own among the temporary
files, whichever can be written first, and not beside the package: there they would go with every installation. What is
kept is found again by what it was compiled from, wherever the package is installed: the source of its module and of
the modules of kernels that this one imports, numba's version, and (by numba) the processor.

For the functions of this package, and no others, whatever fails means that they are compiled anew; numba by itself
refuses to compile a function with ``cache=True`` that it cannot keep.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
import platformdirs
from numba import config
from numba.core import caching, dispatcher

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).parents[2]
IMPORTS = re.compile(rf"^from ({PACKAGE}\.[\w.]+) import (\([^)]*\)|[^(\n]*)", re.MULTILINE)
STAMP_LENGTH = 12


@functools.lru_cache(None)
def source_stamp(file: str) -> str:
    """Return a digest of a module's source and of those of this package that it imports."""
    text = Path(file).read_text("utf8")
    digest = hashlib.sha256(text.encode())
    for module, names in IMPORTS.findall(text):
        path = ROOT.joinpath(*module.split("."))
        # what is imported is in the module, or is a module of the package
        files = [path.with_suffix(".py"), *(path / f"{name}.py" for name in re.findall(r"\w+", names))]
        for one in files:
            if one.is_file():
                digest.update(source_stamp(str(one)).encode())
    return digest.hexdigest()[:STAMP_LENGTH]


class KernelLocator(caching._CacheLocator):
    """Finds the place of a kernel in the first of some folders that can be written."""

    def __init__(self, py_func: Any, py_file: str, folder: str):
        self.folder = folder
        self._stamp = source_stamp(py_file)
        self._line = py_func.__code__.co_firstlineno

    @classmethod
    def folders(cls) -> list[str]:
        """Return folders to try, that asked for first."""
        user = platformdirs.user_cache_dir(PACKAGE, appauthor=False)
        return [*([config.CACHE_DIR] if config.CACHE_DIR else []), user]

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        """Return a locator, or None where there is no such place."""
        for folder in cls.folders():
            with suppress(OSError):
                locator = cls(py_func, py_file, folder)
                locator.ensure_cache_path()
                return locator
        return None

    def get_cache_path(self) -> str:
        """Return the folder; each numba has its own, since one discards what another has compiled."""
        return os.path.join(self.folder, f"{PACKAGE}-kernels-numba-{numba.__version__}")

    def get_source_stamp(self) -> str:
        """Return what changes with the source."""
        return self._stamp

    def get_disambiguator(self) -> str:
        """Return what tells functions of one name apart, and their sources: so several are kept side by side."""
        return f"{self._line}-{self._stamp}"


class TemporaryFolderLocator(KernelLocator):
    """Finds a place among the temporary files that nobody but the user can write: what is there is run."""

    @classmethod
    def folders(cls) -> list[str]:
        """Return the folder; none where there are no temporary files."""
        with suppress(OSError):
            return [os.path.join(tempfile.gettempdir(), f"{PACKAGE}-numba-{user_id()}")]
        return []

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
    _locator_classes = (KernelLocator, TemporaryFolderLocator)


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
