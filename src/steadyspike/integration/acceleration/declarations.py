"""What a replacement says about itself, beside itself: which of SpikeInterface's parts it does, and for which sources.

    @replaces("spikeinterface.preprocessing.phase_shift", "PhaseShiftRecordingSegment.get_traces", sources=("0123...",))
    def shifted_traces(self, start_frame, end_frame, channel_indices): ...

The modules of `replacements` are imported, and so read, by the first call of a switch, not by ``import steadyspike``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable)


@dataclass(frozen=True, eq=False)
class Patch:
    """A function or method of SpikeInterface, and what is done in its place.

    `name` is SpikeInterface's own for the part: what `names=` and the report call it. `modules` are where it is
    defined, and then where other modules hold it under the same name; `attribute` is "function" or "Class.method".

    An acceleration's `function` takes the same arguments (of a class method: without the class) and changes nothing
    that it is given, so that SpikeInterface can do the call from its start if this fails. That of a repair takes a
    `RepairedCall`, and `repairs` tells the defect in a sentence.

    `sources` are fingerprints (`sources.fingerprint`) of SpikeInterface's source, one for each version that it was made
    for, with those of `helpers`: other functions of SpikeInterface whose work it does too, as "function",
    "Class.method" or "module:function". `by_class` is for a method of segments that several classes of recordings
    share: pairs of the class of the recording, and the name in the report for its calls, in place of `name`.
    """

    name: str
    modules: tuple[str, ...]
    attribute: str
    function: Callable
    sources: tuple[str, ...]
    helpers: tuple[str, ...] = ()
    by_class: tuple[tuple[str, str], ...] = ()
    repairs: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All names that calls of this patch have."""
        return tuple(dict.fromkeys((self.name, *(name for _, name in self.by_class))))

    def name_of_call(self, args: tuple[Any, ...]) -> str:
        """Return the name for a call with these arguments."""
        if not self.by_class:
            return self.name
        return dict(self.by_class).get(type(args[0].parent_extractor).__name__, self.name)


_declared: dict[tuple[str, str, bool], Patch] = {}
_not_loaded: dict[str, str] = {}


def replaces(
    module: str,
    attribute: str,
    *,
    name: str,
    sources: tuple[str, ...],
    helpers: tuple[str, ...] = (),
    also_in: tuple[str, ...] = (),
    by_class: tuple[tuple[str, str], ...] = (),
    repairs: str | None = None,
) -> Callable[[Function], Function]:
    """Declare that a function does what a function or method of SpikeInterface does, faster or right; see `Patch`."""

    def declare(function: Function) -> Function:
        patch = Patch(name, (module, *also_in), attribute, function, sources, helpers, by_class, repairs)
        _declared[module, attribute, repairs is not None] = patch
        return function

    return declare


def declared(*, repairs: bool) -> list[Patch]:
    """Return the patches of all modules of `replacements`; those that cannot be imported are in `not_loaded`."""
    package = import_module(f"{__package__}.replacements")
    _not_loaded.clear()
    for info in pkgutil.iter_modules(package.__path__):
        try:
            import_module(f"{package.__name__}.{info.name}")
        except Exception as error:
            # such as a name that SpikeInterface has no more
            _not_loaded[info.name] = f"{type(error).__name__}: {error}"
    return [patch for patch in _declared.values() if (patch.repairs is not None) == repairs]


def not_loaded() -> dict[str, str]:
    """Return modules of `replacements` that could not be imported, with the reason."""
    return dict(_not_loaded)
