"""Put replacements in the place of SpikeInterface's methods and functions, and take them out again.

This is the only file that does so; what there is to replace is declared at the replacements. Methods are replaced in
their classes, so that objects which a script has made before are accelerated too, and functions in their modules.

A call is left to SpikeInterface, and the report says why, if

- SpikeInterface's source is not one that the replacement was made for, or cannot be read;
- the arguments are not those of SpikeInterface's function, or not ones that the replacement covers;
- the replacement fails. It changes nothing that it is given, so that SpikeInterface does the call from its start: what
  is wrong with the call or with the data raises SpikeInterface's own error. An error that SpikeInterface has raised
  already is let through, so that a chain of replacements does not try each part again.

A repair is left likewise before it begins. Once it has begun its errors come out, since without it SpikeInterface would
raise another error, or return a wrong result.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Any

from steadyspike.integration import late_import
from steadyspike.integration.acceleration.calls import (
    NotCoveredError,
    NothingToRepairError,
    measured,
    upstreams_own,
)
from steadyspike.integration.acceleration.declarations import Patch
from steadyspike.integration.acceleration.sources import original_of, refusal

Place = tuple[str, str]
"""Module, and "function" or "Class.method" in it."""

_active: dict[Place, tuple[Patch, ...]] = {}
"""What is done at each place: a repair, then an acceleration, as far as they are on."""
_originals: dict[Place, Any] = {}
_absent: dict[str, str] = {}
_refusals: dict[tuple[Patch, Callable], str | None] = {}
_given_up: dict[Patch, str] = {}
_chosen: dict[bool, frozenset[str] | None] = {}


def activate(patches: Iterable[Patch], names: dict[bool, Iterable[str] | None]) -> None:
    """Have these patches in place and no others; those in modules that are not imported yet, after their import.

    Repairs come first where both are. `names` are those whose calls are taken, of accelerations (False) and repairs
    (True); None: all.
    """
    global _active
    _chosen.update({kind: None if some is None else frozenset(some) for kind, some in names.items()})
    wanted: dict[Place, tuple[Patch, ...]] = {}
    for patch in sorted(patches, key=lambda patch: patch.repairs is None):
        for module in patch.modules:
            place = (module, patch.attribute)
            wanted[place] = (*wanted.get(place, ()), patch)
    for some in (_absent, _refusals, _given_up):
        some.clear()
    for place in [place for place in _originals if place not in wanted]:
        _take_out(place)
    # at once, since other threads may be calling
    _active = wanted
    waiting = set()
    for place in wanted:
        if place[0] in sys.modules:
            _put(place)
        elif place[0] not in waiting:
            waiting.add(place[0])
            late_import.after_import(place[0], functools.partial(_put_all, place[0]))


def absent() -> dict[str, str]:
    """Return names of active patches that have no place in the installed SpikeInterface, with the reason."""
    return dict(_absent)


def is_taken(module: str, attribute: str) -> bool:
    """Tell whether calls are accelerated there: the patch is on, in place, and made for this SpikeInterface."""
    place = (module, attribute)
    patches = [
        patch for patch in _active.get(place, ()) if patch.repairs is None and _is_chosen(patch, patch.name)
    ]
    if not patches or place not in _originals:
        return False
    return not (_given_up.get(patches[0]) or _refusal(patches[0], original_of(module, attribute)))


def _put_all(module: str) -> None:
    for place in list(_active):
        if place[0] == module:
            _put(place)


def _put(place: Place) -> None:
    if place in _originals:
        return
    try:
        owner, name = _holder(place)
        # what a class has from its base is that of other classes too
        held = vars(owner)[name]
    except (AttributeError, KeyError):
        _say_absent(place, f"SpikeInterface has no {'.'.join(place)}")
        return
    kind = type(held) if isinstance(held, classmethod | staticmethod) else None
    function = original_of(*place)
    if not inspect.isfunction(function):
        _say_absent(place, f"{'.'.join(place)} of SpikeInterface is not a function")
        return
    original = held
    if _is_ours(held, place):
        # other code had kept our wrapper and has put it back
        original = kind(function) if kind else function
    wrapper: Any = _replacing(place, function, takes_class=kind is classmethod)
    _originals[place] = original
    setattr(owner, name, kind(wrapper) if kind else wrapper)


def _say_absent(place: Place, reason: str) -> None:
    for patch in _active[place]:
        _absent[patch.name] = reason


def _is_ours(held: Any, place: Place) -> bool:
    return getattr(getattr(held, "__func__", held), "_steadyspike_place", None) == place


def _take_out(place: Place) -> None:
    original = _originals.pop(place)
    owner, name = _holder(place)
    # what other code has put there meanwhile stays
    if _is_ours(inspect.getattr_static(owner, name, None), place):
        setattr(owner, name, original)


def _holder(place: Place) -> tuple[Any, str]:
    *path, name = place[1].split(".")
    owner: Any = sys.modules[place[0]]
    for part in path:
        owner = getattr(owner, part)
    return owner, name


def _replacing(place: Place, original: Callable, takes_class: bool) -> Callable:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        # none are active if other code has wrapped this wrapper, and all is off again
        return _do(_active.get(place, ()), original, takes_class, args, kwargs)

    call._steadyspike_place = place  # type: ignore[attr-defined]
    call._steadyspike_original = original  # type: ignore[attr-defined]
    return call


def _do(
    patches: tuple[Patch, ...],
    original: Callable,
    takes_class: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Do a call of SpikeInterface's with the first of these patches that takes it, or leave it to SpikeInterface."""
    if not patches:
        return original(*args, **kwargs)
    patch, others = patches[0], patches[1:]
    name = patch.name_of_call(args)
    if not _is_chosen(patch, name):
        return _do(others, original, takes_class, args, kwargs)
    if patch.repairs is not None:
        following = functools.partial(_do, others, original, takes_class)
        return _repair(patch, name, original, following, args, kwargs)
    with measured(name) as outcome:
        with outcome.attempt():
            _check(patch, original)
            # its parameters are those of the sources that it was made for, so that Python binds the arguments
            return patch.function(*args[takes_class:], **kwargs)
        if outcome.is_permanent:
            _given_up[patch] = f"{outcome.reason}; not tried again before the next accelerate()"
        with upstreams_own():
            return _do(others, original, takes_class, args, kwargs)


class RepairedCall:
    """A call that a repair may change before, or after, SpikeInterface does it.

    `following` takes positional and keyword arguments: the accelerated function, or SpikeInterface's own.
    """

    def __init__(self, bound: inspect.BoundArguments, following: Callable[[tuple, dict], Any]):
        bound.apply_defaults()
        self._bound, self._following = bound, following

    def __getitem__(self, name: str) -> Any:
        return self._bound.arguments[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._bound.arguments[name] = value

    def proceed(self) -> Any:
        """Do the call with the arguments as they are now."""
        return self._following(self._bound.args, self._bound.kwargs)


def _repair(
    patch: Patch,
    name: str,
    original: Callable,
    following: Callable[[tuple, dict], Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    with measured(name, repair=True) as outcome:
        try:
            return patch.function(RepairedCall(_bound(patch, original, args, kwargs), following))
        except NothingToRepairError:
            outcome.is_counted = False
        except NotCoveredError as reason:
            outcome.reason = str(reason)
    return following(args, kwargs)


def _is_chosen(patch: Patch, name: str) -> bool:
    chosen = _chosen.get(patch.repairs is not None)
    return chosen is None or name in chosen


def _check(patch: Patch, original: Callable) -> None:
    """Refuse a patch that is not for SpikeInterface's function as it is, or that failed in a way that stays."""
    reason = _given_up.get(patch) or _refusal(patch, original)
    if reason:
        raise NotCoveredError(reason)


def _bound(
    patch: Patch, original: Callable, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> inspect.BoundArguments:
    """Bind the arguments to SpikeInterface's signature, or tell why the repair is not for this call."""
    _check(patch, original)
    try:
        return inspect.signature(original, follow_wrapped=False).bind(*args, **kwargs)
    except TypeError as error:
        raise NotCoveredError(f"arguments that SpikeInterface does not take: {error}") from None


def _refusal(patch: Patch, original: Callable) -> str | None:
    """Look at SpikeInterface's source once, at the first call."""
    key = (patch, original)
    if key not in _refusals:
        _refusals[key] = refusal(patch, original)
    return _refusals[key]
