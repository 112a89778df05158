"""Sharing models and presets on the Hugging Face Hub, whatever a user calls one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from steadyspike.library.hub import client
from steadyspike.library.hub.artifact import PRESET, Form
from steadyspike.library.hub.cards import Usage
from steadyspike.library.hub.reference import is_reference
from steadyspike.library.hub.shareable import Shareable
from steadyspike.library.models.config import MODEL_FORM
from steadyspike.library.models.find import find_model
from steadyspike.library.models.folder import load_folder
from steadyspike.library.presets.files import bundled_files
from steadyspike.library.presets.presets import (
    PRESET_FORM,
    MotionPreset,
    PreprocessingPreset,
    find_preset,
    load_preset,
)

if TYPE_CHECKING:
    from steadyspike.library.hub.client import Fetched
    from steadyspike.library.hub.listing import Pushed

FORMS = {form.name: form for form in (MODEL_FORM, PRESET_FORM)}


def push_to_hub(
    shared: Any,
    repo_id: str,
    *,
    tag: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    message: str | None = None,
    license_name: str | None = None,
) -> Pushed:
    """Share a model or a preset on the Hugging Face Hub.

    It is checked as a whole before anything is sent. What is there already is not pushed again. A tag is made once
    and never moved.

    Parameters
    ----------
    shared : model, preset, str or Path
        A loaded model of any kind, a loaded preset, or a reference to one: a bundled name, a folder, a TOML file.
    repo_id : str
        "owner/name". The repository is made if it does not exist.
    tag : str or None, default: None
        Name for this version, such as "v1".
    private : bool or None, default: None
        Whether only the owner sees the repository; None: as it is, public if it is new.
    token : str or None, default: None
        Access token; None: that of ``hf auth login`` or of the environment variable HF_TOKEN.
    message : str or None, default: None
        Of the commit.
    license_name : str or None, default: None
        For the card, such as "cc-by-4.0"; None: what the card says, else what the repository says, else "unknown".

    Returns
    -------
    pushed : Pushed
        ``pushed.ref`` is the reference by commit.

    Raises
    ------
    ValueError
        If an argument cannot work, or what is shared cannot be loaded, or holds an access token.
    HubError
        If the Hub cannot be reached or refuses; if the tag is there with other content; if the repository holds
        something else; if it is public and `private` is True, or the other way round.
    """
    return opened(shared).push_to_hub(
        repo_id, tag=tag, private=private, token=token, message=message, license_name=license_name
    )


def pull_from_hub(ref: str, *, token: str | None = None, offline: bool | None = None) -> Any:
    """Download a model or a preset from the Hugging Face Hub, check it and load it.

    Parameters
    ----------
    ref : str
        "hf:owner/name" or "hf:owner/name@revision", with a tag, a branch or a commit hash.
    token : str or None, default: None
        Access token; None: that of ``hf auth login`` or of the environment variable HF_TOKEN.
    offline : bool or None, default: None
        True: only what was downloaded before. None: the same if HF_HUB_OFFLINE is set, and what was downloaded
        before if the Hub cannot be reached.

    Returns
    -------
    pulled : model or preset
        As `steadyspike.load_model` or `steadyspike.load_preset` would return it.

    Raises
    ------
    ValueError
        If `ref` is no reference, or what is there cannot be used: `ArtifactError`, `ModelError` or `PresetError`, which
        name the file and what is wrong.
    HubError
        If the Hub cannot be reached or refuses; `NotOnDiskError` if it was not downloaded before.
    """
    return load_fetched(fetch(ref, token=token, offline=offline))


def fetch(
    ref: str, form: str | None = None, *, token: str | None = None, offline: bool | None = None
) -> Fetched:
    """Have the files of a model or a preset in the cache, without loading it; see `pull_from_hub`.

    `ref`, `token` and `offline` are those of `pull_from_hub`; `form`, "model" or "preset", refuses the other form.
    """
    forms = FORMS.values() if form is None else (FORMS[form],)
    return client.fetch(ref, *forms, token=token, offline=offline)


def load_fetched(fetched: Fetched) -> Any:
    """Load what was fetched; messages name the reference rather than where its files lie."""
    with fetched.form.naming(fetched.ref, fetched.folder):
        if fetched.form is MODEL_FORM:
            return load_folder(fetched.folder)
        return load_preset(fetched.folder / PRESET)


def opened(shared: Any) -> Shareable:
    """Return a model or a preset by any reference to it; what is loaded already as it is.

    Raises `ValueError` if it is nothing that can be shared, or cannot be loaded.
    """
    if isinstance(shared, Shareable):
        return shared
    if not isinstance(shared, str | Path):
        raise ValueError(
            f"{type(shared).__name__} cannot be shared; allowed: a model, a preset, or the path of one"
        )
    if is_reference(shared):
        is_preset = fetch(str(shared)).form is PRESET_FORM
    else:
        is_preset = str(shared).lower().endswith(".toml") or shared in bundled_files()
    if is_preset:
        return PresetFile(load_preset(shared), find_preset(shared))
    return load_folder(find_model(shared))


@dataclass(frozen=True)
class PresetFile(Shareable):
    """A preset that is shared as its file, with the comments that say why the values were chosen."""

    preset: MotionPreset | PreprocessingPreset
    path: Path

    form: ClassVar[Form] = PRESET_FORM

    @property
    def kind(self) -> str:
        """That of the preset."""
        return self.preset.kind

    @property
    def usage(self) -> Usage:
        """That of the preset."""
        return self.preset.usage

    def _write(self, folder: Path) -> None:
        shutil.copyfile(self.path, folder / PRESET)

    def _described(self) -> str:
        return self.preset._described()

    def _reload(self, folder: Path) -> None:
        self.preset._reload(folder)
