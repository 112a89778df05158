"""What can be shared: the files of a model or a preset, how they are checked, and how they are made ready.

An artifact has one of two forms, each with a file that tells its kind: a model folder (`config.json`) and a preset
(`preset.toml`). Only the files named here are ever read from a repository. Nothing here touches the network.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.library.hub.reference import ArtifactError, HubReference, holds_token, is_reference

if TYPE_CHECKING:
    from steadyspike.library.models.folder import SavedModel
    from steadyspike.library.presets.presets import MotionPreset, PreprocessingPreset

CONFIG, WEIGHTS, PRESET, CARD = "config.json", "model.safetensors", "preset.toml", "README.md"
FIGURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.png")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_BYTES = {CONFIG: 2_000_000, PRESET: 200_000, CARD: 1_000_000, "figure": 10_000_000}
# the header of a safetensors file lists each weight
MAX_HEADER_BYTES = 1_000_000
RUNS_CODE = (
    ".bin",
    ".pt",
    ".pth",
    ".pkl",
    ".pickle",
    ".joblib",
    ".ckpt",
    ".npy",
    ".npz",
    ".h5",
    ".keras",
    ".py",
)


@dataclass(frozen=True)
class Form:
    """One form of artifact.

    Parameters
    ----------
    name : str
        "model" or "preset".
    required : tuple of str
        Files without which it is not whole; the first one tells the kind and is checked before others are downloaded.
    kind : callable
        ``kind(folder)``: the kind, after a check of the first file.
    most_bytes : callable
        ``most_bytes(folder)``: how large each further required file can be, by name, from what the first one says.
    load : callable
        ``load(folder)``: the object, after all checks.
    """

    name: str
    required: tuple[str, ...]
    kind: Callable[[Path], str]
    most_bytes: Callable[[Path], dict[str, int]]
    load: Callable[[Path], Any]

    @property
    def marker(self) -> str:
        """The file that tells the kind."""
        return self.required[0]


def _model_kind(folder: Path) -> str:
    from steadyspike.library.models.folder import read_config

    return read_config(folder).kind


def _weights_bytes(folder: Path) -> dict[str, int]:
    from steadyspike.library.models.folder import read_config, weights_bytes

    return {WEIGHTS: weights_bytes(folder, read_config(folder)) + MAX_HEADER_BYTES}


def _load_model(folder: Path) -> SavedModel:
    from steadyspike.library.models.folder import load_folder

    return load_folder(folder)


def _load_preset(folder: Path) -> MotionPreset | PreprocessingPreset:
    from steadyspike.library.presets.presets import load_preset

    return load_preset(folder / PRESET)


FORMS = {
    "model": Form("model", (CONFIG, WEIGHTS), _model_kind, _weights_bytes, _load_model),
    "preset": Form("preset", (PRESET,), lambda folder: _load_preset(folder).kind, lambda _: {}, _load_preset),
}


def tags_of(form: str, kind: str) -> list[str]:
    """Return the tags by which the Hub finds an artifact."""
    return ["steadyspike", "spikeinterface", "electrophysiology", tag_of(form), tag_of(kind)]


def tag_of(word: str) -> str:
    """Return the tag of a form or a kind."""
    return f"steadyspike-{word.replace('_', '-')}"


def form_of(names: Iterable[str], where: str, expected: str | None = None) -> Form:
    """Tell the form from the names of files.

    Parameters
    ----------
    names : iterable of str
        All files that are there.
    where : str
        For messages.
    expected : {"model", "preset"} or None, default: None
        Refuse the other form.

    Raises
    ------
    ArtifactError
        If they are of no form or of both, a file is missing, or it is the other form.
    """
    names = set(names)
    found = [form for form in FORMS.values() if form.marker in names]
    unsafe = sorted(name for name in names if name.lower().endswith(RUNS_CODE))
    hint = (
        f". There is {', '.join(unsafe[:3])}, which is never read, as such files can run code; "
        "see: steadyspike models import --help"
        if unsafe
        else ""
    )
    if not found:
        known = f"a model ({CONFIG} and {WEIGHTS}) nor a preset ({PRESET})"
        raise ArtifactError(f"{where}: is neither {known} of steadyspike{hint}")
    if len(found) > 1:
        raise ArtifactError(f"{where}: holds {CONFIG} and {PRESET}; allowed: one model or one preset")
    form = found[0]
    if expected is not None and form.name != expected:
        raise ArtifactError(f"{where}: holds a {form.name}; what is wanted here is a {expected}")
    missing = [name for name in form.required if name not in names]
    if missing:
        raise ArtifactError(f"{where}: {', '.join(missing)} is missing{hint}")
    return form


def check_names(names: Iterable[str], where: str) -> None:
    """Refuse file names that would leave the folder they are written to."""
    for name in names:
        parts = name.split("/")
        if {"", ".", ".."} & set(parts) or re.search(r'[\\:\x00-\x1f\x7f<>"|?*]', name):
            raise ArtifactError(
                f"{where}: holds a file named {name!r}, which would leave its folder; refused"
            )


def wanted_files(form: Form, names: Iterable[str]) -> list[str]:
    """List the files of a repository that are of the artifact, those without which it is not whole last."""
    names = set(names)
    figures = sorted(name for name in names if FIGURE.fullmatch(name))
    beside = [name for name in (CARD, *figures) if name in names]
    return [form.marker, *beside, *form.required[1:]]


def check_size(name: str, size: int | None, where: str, limits: Mapping[str, int] = MAX_BYTES) -> None:
    """Refuse a file that is larger than one of its name can be."""
    most = limits.get(name, limits.get("figure") if FIGURE.fullmatch(name) else None)
    if size is None or most is None:
        raise ArtifactError(f"{where}: {name}: its size is not known")
    if size > most:
        raise ArtifactError(f"{where}: {name}: has {size} bytes; allowed: up to {most}")


def check_figure(path: Path, where: str) -> None:
    """Refuse a figure that is no PNG."""
    with path.open("rb") as file:
        if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
            raise ArtifactError(f"{where}: {path.name}: is no PNG")


def load_checked(form: Form, folder: Path, ref: HubReference) -> Any:
    """Load an artifact from a folder; messages name the reference rather than where its files lie."""
    from steadyspike.library.models.folder import ModelError
    from steadyspike.library.presets.files import PresetError

    try:
        return form.load(folder)
    except (ModelError, PresetError) as error:
        raise type(error)(str(error).replace(str(folder), str(ref))) from None


@dataclass(frozen=True)
class Staged:
    """An artifact written to a folder, checked and ready to be pushed."""

    form: Form
    kind: str
    folder: Path
    names: tuple[str, ...]

    def keep_license(self, repo_id: str, license_name: str | None) -> None:
        """Take over the licence that the card in the repository names, where the new one names none."""
        from steadyspike.library.hub import cards as hub_cards

        card = (self.folder / CARD).read_text(encoding="utf-8")
        if license_name is not None and self.license is None:
            card = hub_cards.complete_card(card, self.form.name, self.kind, repo_id, license_name)
            (self.folder / CARD).write_text(card, encoding="utf-8")

    @property
    def license(self) -> str | None:
        """The licence that the card names."""
        from steadyspike.library.hub import cards as hub_cards

        return hub_cards.license_of((self.folder / CARD).read_text(encoding="utf-8"))


def stage(
    shared: Any, folder: Path, repo_id: str, license_name: str | None = None, secrets: Any = ()
) -> Staged:
    """Write a model or a preset to a folder, with the card that it will have in its repository.

    Parameters
    ----------
    shared : SavedModel, MotionPreset, PreprocessingPreset, str or Path
        What to share; a text as in any reference to a model, or the path or bundled name of a preset.
    folder : Path
        Empty.
    repo_id : str
        Where it will be.
    license_name : str or None, default: None
        Of the artifact; None: what its card says.
    secrets : iterable of str, default: ()
        Texts that must not be among what is pushed.

    Raises
    ------
    ValueError
        If it is nothing that can be shared, cannot be loaded, or a text holds what looks like an access token.
    """
    from steadyspike.library.hub import cards as hub_cards
    from steadyspike.library.models.folder import SavedModel
    from steadyspike.library.presets.presets import MotionPreset, PreprocessingPreset

    if isinstance(shared, SavedModel):
        form, kind, card = FORMS["model"], shared.config.kind, shared.card
        _write_model(shared, folder)
        card = card or hub_cards.model_card(shared.config)
    elif isinstance(shared, MotionPreset | PreprocessingPreset):
        form, kind = FORMS["preset"], shared.kind
        _write_preset(shared, folder)
        card = hub_cards.preset_card(shared)
    elif isinstance(shared, str | Path):
        return _stage_from_files(shared, folder, repo_id, license_name, secrets)
    else:
        raise ValueError(
            f"{type(shared).__name__} cannot be shared; allowed: a model, a preset, or the path of one"
        )
    card = hub_cards.complete_card(card, form.name, kind, repo_id, license_name)
    (folder / CARD).write_text(card, encoding="utf-8")
    names = tuple(sorted(path.name for path in folder.iterdir()))
    _refuse_tokens(folder, secrets)
    # as whoever pulls it will
    form.load(folder)
    return Staged(form, kind, folder, names)


def _stage_from_files(ref: str | Path, folder: Path, *others: Any) -> Staged:
    from steadyspike.library.models.folder import load_folder
    from steadyspike.library.models.references import find_model
    from steadyspike.library.presets.files import bundled_files
    from steadyspike.library.presets.presets import find_preset, load_preset

    if is_reference(ref):
        from steadyspike.library.hub.client import fetch

        fetched = fetch(str(ref))
        is_preset = fetched.form.name == "preset"
    else:
        is_preset = str(ref).endswith(".toml") or ref in bundled_files()
    if not is_preset:
        path = find_model(ref)
        if path.is_file():
            raise ValueError(
                f"{path} is a file; allowed: a model folder. See: steadyspike models import --help"
            )
        return stage(load_folder(path), folder, *others)
    preset = load_preset(ref)
    staged = stage(preset, folder, *others)
    # its comments tell why the values are as they are
    shutil.copyfile(find_preset(ref), folder / PRESET)
    _refuse_tokens(folder, others[-1])
    return staged


def _write_model(model: SavedModel, folder: Path) -> None:
    inner = folder / "model"
    model.save(inner)
    for path in inner.iterdir():
        path.rename(folder / path.name)
    inner.rmdir()
    for path in sorted(model.folder.iterdir()) if model.folder is not None else []:
        if FIGURE.fullmatch(path.name) and f"]({path.name})" in model.card:
            check_size(path.name, path.stat().st_size, str(model.folder))
            check_figure(path, str(model.folder))
            shutil.copyfile(path, folder / path.name)


def _write_preset(preset: MotionPreset | PreprocessingPreset, folder: Path) -> None:
    from steadyspike.library.presets.presets import save_preset

    save_preset(preset, folder / PRESET)


def _refuse_tokens(folder: Path, secrets: Iterable[str]) -> None:
    for path in folder.iterdir():
        if path.suffix not in (".md", ".json", ".toml"):
            continue
        text = path.read_text(encoding="utf-8")
        if holds_token(text) or any(secret and secret in text for secret in secrets):
            raise ArtifactError(
                f"{path.name} holds what looks like an access token of the Hub; nothing was pushed. "
                "Remove it, and revoke the token if others have seen it"
            )
