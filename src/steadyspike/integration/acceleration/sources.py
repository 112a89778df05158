"""Which sources of SpikeInterface a replacement was made for.

A replacement gives SpikeInterface's results, so it holds for the sources that it was compared with and no others.
``python -m steadyspike.integration.acceleration.sources`` prints the fingerprints for the installed SpikeInterface:
to add a version, compare the results (``tests/integration``), and enter the new ones beside those that are known.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from steadyspike.integration.acceleration.declarations import Patch, declared

LENGTH = 16
"""Hexadecimal digits of a fingerprint."""
NO_EFFECT = {"ctx", "kind", "type_comment", "type_ignores", "annotation", "returns"}
"""Fields of a syntax tree that change no result, or differ between versions of Python."""


@functools.lru_cache(None)
def fingerprint(functions: tuple[Any, ...]) -> str:
    """Hash the syntax trees of functions, without docstrings, comments, annotations of arguments, and layout.

    Functions are as they are, not what they wrap; or numba's of them. The `LENGTH` hexadecimal digits are the same in
    all versions of Python. Raises `OSError`, `TypeError`, `SyntaxError` or `AttributeError` where a source cannot be
    read.
    """
    trees = [_canonical(_parsed(function)) for function in functions]
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()[:LENGTH]


def _parsed(function: Any) -> ast.AST:
    # the code and not the function, since a wrapper shows the source of what it wraps
    source = inspect.getsource(getattr(function, "py_func", function).__code__)
    if source[:1].isspace():
        # a method; its docstring may be indented less
        source = "if True:\n" + source
    (tree,) = ast.parse(source).body
    return tree.body[0] if isinstance(tree, ast.If) else tree


def _canonical(node: Any) -> str:
    if isinstance(node, list):
        return "[" + ",".join(_canonical(one) for one in node) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node):
        fields["body"] = fields["body"][1:]
    if not isinstance(node, ast.AnnAssign):
        fields = {name: value for name, value in fields.items() if name not in NO_EFFECT}
    # newer versions of Python have more fields, which are empty
    shown = [f"{name}={_canonical(value)}" for name, value in fields.items() if value not in (None, [])]
    return f"{type(node).__name__}({','.join(shown)})"


def original_of(module: str, attribute: str) -> Any:
    """Return SpikeInterface's own function, whether or not it is replaced at the moment."""
    found = import_module(module)
    for part in attribute.split("."):
        found = inspect.getattr_static(found, part)
    found = getattr(found, "__func__", found)
    return getattr(found, "_steadyspike_original", found)


def of_patch(patch: Patch, original: Callable) -> str:
    """Return the fingerprint of a patch for SpikeInterface's function and its helpers as they are now."""
    helpers = []
    for helper in patch.helpers:
        module, _, attribute = helper.rpartition(":")
        helpers.append(original_of(module or patch.modules[0], attribute))
    return fingerprint((original, *helpers))


def refusal(patch: Patch, original: Callable) -> str | None:
    """Tell why a patch is not for SpikeInterface's function as it is now; None if it is."""
    try:
        found = of_patch(patch, original)
    except Exception as error:
        return f"its source in SpikeInterface cannot be read ({type(error).__name__}: {error})"
    if found in patch.sources:
        return None
    return f"another source in SpikeInterface than it was made for ({found})"


def main() -> None:
    """Print the fingerprint of every patch for the installed SpikeInterface, and whether it is known."""
    from importlib.metadata import version

    print(f"SpikeInterface {version('spikeinterface')}")
    for patch in declared(repairs=False) + declared(repairs=True):
        module = patch.modules[0]
        where = f"{module}.{patch.attribute}  in {patch.function.__module__}.{patch.function.__name__}"
        try:
            found = of_patch(patch, original_of(module, patch.attribute))
        except Exception as error:
            print(f"{'-' * LENGTH}  cannot be read ({type(error).__name__}: {error})  {where}")
            continue
        status = "known" if found in patch.sources else f'NEW: add "{found}" to sources'
        print(f"{found}  {status}  {where}")


if __name__ == "__main__":
    main()
