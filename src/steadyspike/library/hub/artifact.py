"""What a repository on the Hub holds: which files, how each is checked, and how they are made ready to be pushed.

An artifact has one of two forms, each with a file that tells its kind: a model folder (`config.json`) and a preset
(`preset.toml`). Only the files named here are ever read from a repository. Nothing here touches the network or knows
what a model or a preset is: the caller supplies its `Form`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from steadyspike.library.hub.cards import Usage, complete_card, license_of, tags_of
from steadyspike.library.hub.reference import ArtifactError, HubReference, holds_token

CONFIG, WEIGHTS, PRESET, CARD = "config.json", "model.safetensors", "preset.toml", "README.md"
PAIR = ("test_input.safetensors", "test_output.safetensors")
# by form: files without which it is not whole; the first one tells the kind and is checked before others are downloaded
FILES = {"model": (CONFIG, WEIGHTS), "preset": (PRESET,)}
FIGURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.png")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_BYTES = {CONFIG: 2_000_000, PRESET: 200_000, CARD: 1_000_000, "figure": 10_000_000}
MAX_BYTES |= dict.fromkeys(PAIR, 10_000_000)
RUNS_CODE = (
    ".bin", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".npy", ".npz", ".h5", ".keras", ".py",
)  # fmt: skip


@dataclass(frozen=True)
class Form:
    """One form of artifact, as the part of steadyspike that uses it knows it.

    `name` is one of `FILES`, `error` what the others raise about files that cannot be used. ``kind(folder)`` gives the
    kind, after a check of the first file; ``most_bytes(folder)`` how large each further required file can be, by name,
    from what the first one says.
    """

    name: str
    error: type[ValueError]
    kind: Callable[[Path], str]
    most_bytes: Callable[[Path], dict[str, int]]

    @property
    def required(self) -> tuple[str, ...]:
        """Files without which it is not whole."""
        return FILES[self.name]

    @property
    def marker(self) -> str:
        """The file that tells the kind."""
        return self.required[0]

    @contextmanager
    def naming(self, ref: HubReference, folder: Path) -> Iterator[None]:
        """Let messages name the reference rather than where its files lie."""
        try:
            yield
        except self.error as error:
            raise type(error)(str(error).replace(str(folder), str(ref))) from None


def form_of(names: Iterable[str], where: str, forms: Sequence[Form]) -> Form:
    """Tell the form from the names of files.

    `names` are those of all files that are there, `where` is for messages. Raises `ArtifactError` if they are of no
    form or of both, a file is missing, or the form is not one of `forms`.
    """
    names = set(names)
    found = [name for name, required in FILES.items() if required[0] in names]
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
    wanted = {form.name: form for form in forms}
    if found[0] not in wanted:
        raise ArtifactError(f"{where}: holds a {found[0]}; what is wanted here is a {' or '.join(wanted)}")
    form = wanted[found[0]]
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
    pair = PAIR if form.name == "model" else ()
    beside = [name for name in (CARD, *pair, *figures) if name in names]
    return [form.marker, *beside, *form.required[1:]]


def check_size(name: str, size: int | None, where: str, limits: Mapping[str, int] = MAX_BYTES) -> None:
    """Refuse a file that is larger than one of its name can be."""
    most = limits.get(name, limits.get("figure") if FIGURE.fullmatch(name) else None)
    if not isinstance(size, int) or size < 0 or most is None:
        raise ArtifactError(f"{where}: {name}: its size is not known")
    if size > most:
        raise ArtifactError(f"{where}: {name}: has {size} bytes; allowed: up to {most}")


def check_figure(path: Path, where: str) -> None:
    """Refuse a figure that is no PNG."""
    with path.open("rb") as file:
        if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
            raise ArtifactError(f"{where}: {path.name}: is no PNG")


@dataclass(frozen=True)
class Staged:
    """An artifact written to a folder, checked and ready to be pushed."""

    form: Form
    kind: str
    usage: Usage
    folder: Path
    names: tuple[str, ...]

    def keep_license(self, repo_id: str, license_name: str | None) -> None:
        """Take over the licence that the card in the repository names, where the new one names none."""
        card = (self.folder / CARD).read_text(encoding="utf-8")
        if license_name is not None and self.license is None:
            card = complete_card(card, tags_of(self.form.name, self.kind), self.usage, repo_id, license_name)
            (self.folder / CARD).write_text(card, encoding="utf-8")

    @property
    def license(self) -> str | None:
        """The licence that the card names."""
        return license_of((self.folder / CARD).read_text(encoding="utf-8"))


def refuse_tokens(folder: Path, secrets: Iterable[str] = ()) -> None:
    """Refuse a folder where a text holds what looks like an access token, or one of the secrets."""
    for path in folder.iterdir():
        if path.suffix not in (".md", ".json", ".toml"):
            continue
        text = path.read_text(encoding="utf-8")
        if holds_token(text) or any(secret and secret in text for secret in secrets):
            raise ArtifactError(
                f"{path.name} holds what looks like an access token of the Hub; nothing was pushed. "
                "Remove it, and revoke the token if others have seen it"
            )
