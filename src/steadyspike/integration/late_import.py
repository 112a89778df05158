"""An action that runs after a module has been imported by other code, so that we need not import it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


class AfterImport(MetaPathFinder):
    """Finds one module as Python would have, and does something after it has run.

    `action` takes no arguments; what it raises is raised by the import of `module`, a full name.
    """

    def __init__(self, module: str, action: Callable[[], None]):
        self.module = module
        self.action = action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module with the other finders, and add the action to what its loader does."""
        if fullname != self.module:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            # the module is complete, and must be found by its name
            sys.modules.setdefault(fullname, module)
            self.action()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def after_import(module: str, action: Callable[[], None]) -> None:
    """Do something once, after a module that is not imported yet has been.

    A second call for the same module takes the place of the first.
    """
    for finder in list(sys.meta_path):
        # by name, as a package that was imported anew has a class of its own
        if type(finder).__name__ == "AfterImport" and getattr(finder, "module", None) == module:
            sys.meta_path.remove(finder)
    sys.meta_path.insert(0, AfterImport(module, action))
