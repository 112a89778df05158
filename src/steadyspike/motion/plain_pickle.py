"""Read the plain values out of a pickle without running anything that it names.

A pickle is a program: it names functions, which are then called. Here every name is looked up in a short
table of stand-ins of our own, which hold numbers, text and arrays of these; a name that is not in the table
ends the reading. numpy's own functions are not called either, because numpy trusts what a pickle tells about
the memory of an array.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

# Numbers, booleans, text and bytes of a stated size: nothing that holds a pointer.
_PLAIN_DTYPE = re.compile(r"[<>|=]?[?biufcSU]\d*")


class NotPlainError(ValueError):
    """A file holds more than numbers, text, containers and arrays of these."""


class _Dtype:
    """Stands in for numpy.dtype: `value` is None for an array of Python objects."""

    def __init__(self, spec: Any, *_options: Any) -> None:
        if not isinstance(spec, str) or not (_PLAIN_DTYPE.fullmatch(spec) or spec in ("O", "O8", "|O")):
            raise NotPlainError(f"it holds an array of type {spec!r}")
        self.value = None if "O" in spec else np.dtype(spec)

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, sub-array, names, fields, ...): the last three make it more than a plain type
        if len(state) < 5 or any(part is not None for part in state[2:5]):
            raise NotPlainError("it holds a structured array")
        if self.value is not None and state[1] in ("<", ">"):
            self.value = self.value.newbyteorder(state[1])


class _Array:
    """Stands in for numpy.ndarray; `value` is an array, or a list of objects."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, is_fortran, content = state
        if not isinstance(dtype, _Dtype):
            raise NotPlainError("it holds an array without a type")
        if dtype.value is None:
            if not isinstance(content, list):
                raise NotPlainError("it holds bytes in the place of objects")
            self.value = content
        else:
            array = np.frombuffer(content, dtype.value)
            self.value = array.reshape(tuple(shape), order="F" if is_fortran else "C").copy()


def _reconstruct(_subtype: Any, _shape: Any, _typecode: Any) -> _Array:
    return _Array()


def _scalar(dtype: _Dtype, content: bytes) -> Any:
    if dtype.value is None:
        raise NotPlainError("it holds an object in the place of a number")
    return np.frombuffer(content, dtype.value)[0]


def _path(*parts: str) -> str:
    return "/".join(map(str, parts)).replace("//", "/")


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    **{
        (module, name): _path
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    },
    **{("builtins", kind.__name__): kind for kind in (bytearray, complex, frozenset, set)},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise NotPlainError(f"it names {module}.{name}, which is not a plain value")
        return _STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise NotPlainError("it refers to something outside of it")


def read_object_npy(file: str | Path) -> Any:
    """Read the one object that ``numpy.save`` wrote as a pickle, such as a dict.

    It may hold numbers, text, containers, and arrays of numbers; paths come as text. Raises `NotPlainError` if the file
    is no such file, or holds anything else.
    """
    with open(file, "rb") as stream:
        try:
            _skip_header(stream)
            content = _plain(_PlainUnpickler(stream).load())
        except NotPlainError as error:
            raise NotPlainError(f"{file} is not read: {error}") from None
        except RecursionError:
            raise NotPlainError(f"{file} is not read: it is nested too deeply") from None
        except Exception as error:  # a broken pickle ends in nearly any exception
            raise NotPlainError(f"{file} is not read, it is broken: {error!r}") from error
    if not isinstance(content, list) or len(content) != 1:
        raise NotPlainError(f"{file} is not read: it does not hold one object")
    return content[0]


def _skip_header(stream: IO[bytes]) -> None:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise NotPlainError(f"it has version {version} of numpy's format")
    shape, _order, dtype = readers[version](stream)
    if dtype != np.dtype(object) or shape != ():
        raise NotPlainError(f"it holds an array of shape {shape} and type {dtype}, not one object")


def _plain(value: Any, seen: dict[int, Any] | None = None) -> Any:
    """Put the content of the stand-ins in their place, once for each object: a container may hold itself."""
    seen = {} if seen is None else seen
    if isinstance(value, _Array):
        return _plain(value.value, seen)
    if isinstance(value, _Dtype):
        return str(value.value)
    if not isinstance(value, dict | list | tuple):
        return value
    if id(value) not in seen:
        if isinstance(value, tuple):
            seen[id(value)] = tuple(_plain(item, seen) for item in value)
        elif isinstance(value, list):
            seen[id(value)] = []
            seen[id(value)].extend(_plain(item, seen) for item in value)
        else:
            seen[id(value)] = {}
            seen[id(value)].update((_plain(key, seen), _plain(item, seen)) for key, item in value.items())
    return seen[id(value)]
