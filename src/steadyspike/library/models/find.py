"""Where the files of a model are: bundled, at a path, or on the Hugging Face Hub."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from steadyspike.core.arguments import refuse, shown
from steadyspike.library.hub.artifact import CONFIG, WEIGHTS
from steadyspike.library.hub.client import fetch, pin
from steadyspike.library.hub.reference import EXAMPLE, is_reference, tell_of_own
from steadyspike.library.models.config import MODEL_FORM, ModelError

KERAS_SUFFIXES = (".h5", ".hdf5", ".keras")


def bundled_folder() -> Path:
    """Return the folder with the models that ship with the package."""
    return Path(__file__).resolve().parent / "bundled"


def bundled_models() -> dict[str, Path]:
    """Return the folder of each bundled model by name."""
    return {path.parent.name: path.parent for path in sorted(bundled_folder().glob(f"*/{CONFIG}"))}


def find_model(ref: str | Path) -> Path:
    """Return the folder of a bundled name or a path.

    Also of a reference to the Hugging Face Hub, "hf:owner/name@revision". Raises `ModelError` if it is none of them,
    `FileNotFoundError` if a path was given and there is nothing, and `HubError` if it is on the Hub, is not on this
    machine, and cannot be downloaded.
    """
    if not isinstance(ref, str | Path) or not str(ref):
        raise ModelError(f"model={shown(ref)} is no model; allowed: a bundled name, a folder, or {EXAMPLE}")
    if is_reference(ref):
        return fetch(str(ref), MODEL_FORM).folder
    bundled = bundled_models()
    if isinstance(ref, str) and ref in bundled:
        tell_of_own(ref, Path(ref))
        return bundled[ref]
    path = Path(ref).expanduser().absolute()
    if path.is_file():
        raise ModelError(f"{path} is a file; allowed: a model folder. See: steadyspike models import --help")
    if path.exists():
        return path
    if isinstance(ref, Path) or "/" in ref or "\\" in ref or is_keras(ref):
        raise FileNotFoundError(
            f"there is no {path}; a model is a folder with {CONFIG} and {WEIGHTS}, or a Keras file"
        )
    close = get_close_matches(ref, bundled, n=1)
    suggestion = f"did you mean {close[0]!r}? " if close else ""
    names = ", ".join(bundled) or "none is bundled"
    raise ModelError(
        f"no model {ref!r}; {suggestion}allowed: a bundled name ({names}), the path of a folder, or {EXAMPLE}"
    )


def is_keras(ref: Any) -> bool:
    """Whether a path is that of a Keras file, by the end of its name."""
    return isinstance(ref, str | Path) and str(ref).lower().endswith(KERAS_SUFFIXES)


def own_folder(folder: str | Path, part: str = "save_model") -> Path:
    """Return the absolute path of a folder for a new model, unless something else is loaded by its name.

    Raises `ValueError` for the name of a bundled model, a reference to the Hub, or what ends like a Keras file.
    """
    bundled = bundled_models()
    if Path(folder).parts in [(name,) for name in bundled] or is_reference(str(folder)) or is_keras(folder):
        allowed = "another name: by this one a bundled model, one of the Hub or a Keras file is loaded"
        refuse("folder", str(folder), allowed, part)
    return Path(folder).expanduser().absolute()


def pin_model(ref: Any) -> Any:
    """Return a reference to a model on the Hub by its commit, with its files in the cache; anything else as it is."""
    return pin(ref, MODEL_FORM)
