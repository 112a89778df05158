"""Every tuned number of the estimators, the verdict and the localizers, and how to change one for a while."""

from __future__ import annotations

import importlib
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Constant:
    """A tuned number.

    Parameters
    ----------
    module : str
        Module that holds it, below `steadyspike`.
    name : str
        Its name there.
    unit : str
        Of its values; "share" for 0 to 1, "count" for whole numbers of at least 1.
    groups : tuple of str
        Groups of scenarios that it may bear on.
    """

    module: str
    name: str
    unit: str
    groups: tuple[str, ...]

    @property
    def place(self) -> types.ModuleType:
        """The module."""
        return importlib.import_module(f"steadyspike.{self.module}")

    def scaled(self, factor: float) -> Any:
        """Give the value times a factor: whole numbers stay whole, shares stay shares."""
        value = getattr(self.place, self.name)
        if isinstance(value, tuple):
            return tuple(self._scaled(item, factor) for item in value)
        return self._scaled(value, factor)

    def _scaled(self, value: Any, factor: float) -> Any:
        changed = value * factor
        if self.unit == "share":
            changed = min(changed, 1.0)
        return max(round(changed), 1) if isinstance(value, int) else changed


@contextmanager
def changed(constant: Constant, factor: float) -> Iterator[Any]:
    """Change a constant, also where compiled functions of its module have it inside; gives its value."""
    module = constant.place
    before = getattr(module, constant.name)
    compiled = {name: value for name, value in vars(module).items() if _is_compiled_in(value, module)}
    value = constant.scaled(factor)
    setattr(module, constant.name, value)
    try:
        if any(constant.name in function.py_func.__code__.co_names for function in compiled.values()):
            _compile_again(module, compiled)
        yield value
    finally:
        setattr(module, constant.name, before)
        for name, function in compiled.items():
            setattr(module, name, function)


def _is_compiled_in(value: Any, module: types.ModuleType) -> bool:
    from numba.core.dispatcher import Dispatcher

    return isinstance(value, Dispatcher) and value.py_func.__module__ == module.__name__


def _compile_again(module: types.ModuleType, compiled: dict[str, Any]) -> None:
    """Make functions that read the module's constants anew; they find each other in the module."""
    import numba

    for name, function in compiled.items():
        options = {
            key: function.targetoptions[key]
            for key in ("nogil", "fastmath", "error_model")
            if key in function.targetoptions
        }
        setattr(module, name, numba.njit(**options)(function.py_func))
