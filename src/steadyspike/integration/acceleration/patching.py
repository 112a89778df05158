"""Put replacements in the place of SpikeInterface's methods and functions, and take them out again.

This is the only file that does so, and `patches.py` the only list of them. Methods are replaced in their classes, so
that objects which a script has made before are accelerated too, and functions in their modules.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from steadyspike.integration import late_import
from steadyspike.integration.acceleration.calls import NotCoveredError, measured


@dataclass(frozen=True)
class Patch:
    """A function or method of SpikeInterface, and what takes its place.

    Parameters
    ----------
    name : str
        What the report calls it: SpikeInterface's own name for the part.
    module : str
        Where it is defined, or where another module holds it under its own name.
    attribute : str
        "function" or "Class.method".
    replacement : str
        Path of a function with the same arguments (of a class method: without the class). It raises
        `NotCoveredError` before doing anything where it does not cover a call.
    by_class : tuple of (str, str)
        For a method of segments that several classes of recordings share: class of the recording, and the name in the
        report for its calls, in place of `name`.
    """

    name: str
    module: str
    attribute: str
    replacement: str
    by_class: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names that calls of this patch have."""
        return tuple(dict.fromkeys((self.name, *(name for _, name in self.by_class))))

    def name_of_call(self, args: tuple[Any, ...]) -> str:
        """Return the name for a call with these arguments."""
        if not self.by_class:
            return self.name
        return dict(self.by_class).get(type(args[0].parent_extractor).__name__, self.name)


_originals: dict[Patch, Any] = {}
_waiting: set[Patch] = set()
_chosen: frozenset[str] | None = None


def choose(names: Iterable[str] | None) -> None:
    """Leave calls of all other names to SpikeInterface; None: of none."""
    global _chosen
    _chosen = None if names is None else frozenset(names)


def install(patches: Iterable[Patch]) -> None:
    """Put replacements in place; those of modules that nobody has imported yet, once somebody does."""
    waiting: dict[str, list[Patch]] = {}
    for patch in patches:
        if patch in _originals:
            continue
        if patch.module in sys.modules:
            _put(patch)
        else:
            waiting.setdefault(patch.module, []).append(patch)
    for module, held in waiting.items():
        _waiting.update(held)
        late_import.after_import(module, functools.partial(_put_waiting, held))


def _put_waiting(patches: list[Patch]) -> None:
    for patch in patches:
        if patch in _waiting and patch not in _originals:
            _put(patch)


def remove(patches: Iterable[Patch]) -> None:
    """Take replacements out, so that every name holds what it held before."""
    for patch in patches:
        _waiting.discard(patch)
        if patch not in _originals:
            continue
        original = _originals.pop(patch)
        owner, name = _holder(patch)
        if getattr(inspect.getattr_static(owner, name), "_steadyspike_patch", None) == patch:
            setattr(owner, name, original)


def original_of(module: str, attribute: str) -> Any:
    """Return SpikeInterface's own function, whether or not it is replaced at the moment."""
    for patch, original in _originals.items():
        if (patch.module, patch.attribute) == (module, attribute):
            return getattr(original, "__func__", original)
    found = import_module(module)
    for part in attribute.split("."):
        found = inspect.getattr_static(found, part)
    return getattr(found, "__func__", found)


def _put(patch: Patch) -> None:
    owner, name = _holder(patch)
    original = inspect.getattr_static(owner, name)
    kind = type(original) if isinstance(original, classmethod | staticmethod) else None
    wrapper: Any = _replacing(patch, original.__func__ if kind else original, takes_class=kind is classmethod)
    if kind is not None:
        wrapper = kind(wrapper)
    wrapper._steadyspike_patch = patch
    _originals[patch] = original
    setattr(owner, name, wrapper)


def _holder(patch: Patch) -> tuple[Any, str]:
    *path, name = patch.attribute.split(".")
    owner = sys.modules[patch.module]
    for part in path:
        owner = getattr(owner, part)
    return owner, name


def _replacing(patch: Patch, original: Callable, takes_class: bool) -> Callable:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if patch not in _originals:
            # acceleration is off, but someone else has wrapped this wrapper
            return original(*args, **kwargs)
        name = patch.name_of_call(args)
        if _chosen is not None and name not in _chosen:
            return original(*args, **kwargs)
        with measured(name) as outcome:
            try:
                return _resolve(patch.replacement)(*(args[1:] if takes_class else args), **kwargs)
            except NotCoveredError as reason:
                outcome.reason = str(reason)
            return original(*args, **kwargs)

    return call


@functools.cache
def _resolve(path: str) -> Callable:
    module, _, name = path.rpartition(".")
    function: Callable = getattr(import_module(module), name)
    return function
