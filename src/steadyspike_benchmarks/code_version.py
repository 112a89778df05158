"""Short keys of code and of settings, by which a study sees that a stored result is out of date."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

LENGTH = 10
PACKAGE = "steadyspike"


def settings_key(settings: Any) -> str:
    """Give a key of plain settings: the same for the same values, whether lists, tuples or arrays."""
    return _digest(json.dumps(settings, sort_keys=True, default=_as_plain))


def code_key(target: Any) -> str:
    """Give a key of the code of a class or function.

    Of ours, it is a digest of the module and of all modules of steadyspike that it imports, directly or not, without
    comments and docstrings. Of another package, it is the package's name and version.

    Parameters
    ----------
    target : class or function
        Whose code.

    Returns
    -------
    key : str
    """
    package = target.__module__.partition(".")[0]
    if package != PACKAGE:
        try:
            return f"{package}-{version(package)}"
        except PackageNotFoundError:
            return package
    return module_key(target.__module__)


def module_key(name: str) -> str:
    """Give the key of one of our modules and all of ours that it imports; see `code_key`."""
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module not in found and (file := _source_of(module)):
            found[module], imports = _read(file, module)
            waiting.extend(imports)
    return _digest(json.dumps(found, sort_keys=True))


@cache
def _source_of(module: str) -> Path | None:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@cache
def _read(file: Path, module: str) -> tuple[str, tuple[str, ...]]:
    """Digest one file, and list which of our modules it imports."""
    tree = ast.parse(file.read_text(encoding="utf8"))
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, file.name == "__init__.py")
            # what is imported from a package may be a module of it
            imports += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node):
            node.body = node.body[1:]
    # the package's own __init__ names everything and computes nothing
    ours = tuple(sorted({name for name in imports if name.startswith(f"{PACKAGE}.")}))
    return _digest(ast.dump(tree)), ours


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf8")).hexdigest()[:LENGTH]


def _as_plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if inspect.isclass(value):
        return value.__qualname__
    raise TypeError(f"{value!r} is no plain setting")
