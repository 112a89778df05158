"""Model folders of any kind: the weights of a network, and what is needed to make and use it.

A folder holds `model.safetensors`, `config.json`, `README.md` (the model card) and a test pair, an input with what the
network made of it (`steadyspike.library.models.pairs`). Nothing in it is ever unpickled or
run. A folder is complete or absent: it is written aside and then renamed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from steadyspike.core.aside import folder_aside, refuse_existing
from steadyspike.library.hub.artifact import CARD, CONFIG, FIGURE, WEIGHTS, Form, check_figure, check_size
from steadyspike.library.hub.cards import Usage, brief, has_section, license_of, table
from steadyspike.library.hub.client import fetch
from steadyspike.library.hub.reference import PREFIX, HubReference, is_reference
from steadyspike.library.hub.shareable import Shareable
from steadyspike.library.models.config import (
    MODEL_FORM,
    Described,
    FolderConfig,
    ModelError,
    described,
    expected_weights,
    is_model_folder,
    kind_class,
    looks_like,
    read_config,
)
from steadyspike.library.models.find import find_model, own_folder
from steadyspike.library.models.pairs import write_pair
from steadyspike.networks import make_network

if TYPE_CHECKING:
    from torch import nn

# what the file format calls the types of the weights that networks have
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64"}


@dataclass(frozen=True, eq=False)
class SavedModel(Shareable):
    """A network with its weights, and what is known about it.

    The network is in evaluation mode; `config` says what it was trained for, `card` is the model card in Markdown,
    empty if there is none, and `folder` where it was loaded from.
    """

    network: nn.Module
    config: Any
    card: str = ""
    folder: Path | None = None

    config_class: ClassVar[type[FolderConfig]]
    usage: ClassVar[Usage]
    baseline: ClassVar[str | None] = None
    """What the scores in the card of a model of this kind must stand beside."""
    form: ClassVar[Form] = MODEL_FORM

    @property
    def kind(self) -> str:
        """One of `steadyspike.library.models.config.KINDS`."""
        return str(self.config.kind)

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> Self:
        """Load as `steadyspike.load_model` does, and refuse models of other kinds with a `ModelError`."""
        model = load_folder(find_model(folder), device)
        if not isinstance(model, cls):
            raise ModelError(f"{folder}: is a model of kind {model.config.kind!r}, no {cls.__name__}")
        return model

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Save as `save_model` does."""
        save_model(folder, self.network, self.config, self.card, overwrite=overwrite)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        local_files_only: bool | None = None,
        device: str = "cpu",
    ) -> Self:
        """Load a model from a folder or from the Hugging Face Hub.

        Weights that do not fit the network in name, shape, type, or that are not finite are always refused: there is
        no ``strict=False``.

        Parameters
        ----------
        pretrained_model_name_or_path : str or Path
            A folder, or "owner/name" on the Hub; "hf:owner/name@revision" is understood too.
        revision : str or None, default: None
            Tag, branch or commit hash on the Hub; None: that of the reference, else the newest.
        token : str or None, default: None
            Access token; None: that of ``hf auth login`` or of HF_TOKEN.
        local_files_only : bool or None, default: None
            True: only what was downloaded before; see `offline` of `steadyspike.pull_from_hub`.
        device : str, default: "cpu"
            For the weights.

        Raises
        ------
        ValueError
            If `revision` is given for a folder, or differs from that of the reference.
        HubError
            As `steadyspike.pull_from_hub`.
        ModelError
            If it is of another kind, or its files do not fit each other.
        """
        name = pretrained_model_name_or_path
        if isinstance(name, Path) or (not is_reference(name) and Path(name).is_dir()):
            if revision is not None:
                raise ValueError(f"revision={revision!r}, but {str(name)!r} is a folder; allowed: None")
            return cls.load(Path(name), device)
        ref = HubReference.parse(name if is_reference(name) else PREFIX + name)
        if revision is not None:
            if ref.revision not in (None, revision):
                raise ValueError(f"revision={revision!r} and {name!r} differ; pass one of them")
            ref = HubReference.parse(f"{PREFIX}{ref.repo_id}@{revision}")
        fetched = fetch(str(ref), MODEL_FORM, token=token, offline=local_files_only)
        return cls.load(fetched.folder, device)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        overwrite: bool = False,
        **push_to_hub_kwargs: Any,
    ) -> None:
        """Save as a model folder, and push it if wanted.

        Parameters
        ----------
        save_directory : str or Path
            The folder.
        repo_id : str or None, default: None
            Where to push to; needed if `push_to_hub` is True.
        push_to_hub : bool, default: False
            Whether to push too.
        overwrite : bool, default: False
            Whether a model folder that is there is replaced.
        **push_to_hub_kwargs
            Of `push_to_hub`.

        Raises
        ------
        ValueError
            If it shall be pushed and there is no `repo_id`, or the other way round.
        FileExistsError
            If the folder is there.
        """
        if push_to_hub != (repo_id is not None) or (push_to_hub_kwargs and not push_to_hub):
            raise ValueError(f"push_to_hub={push_to_hub} and repo_id={repo_id!r}; allowed: both, or neither")
        self.save(save_directory, overwrite=overwrite)
        if repo_id is not None:
            self.push_to_hub(repo_id, **push_to_hub_kwargs)

    def _write(self, folder: Path) -> None:
        inner = folder / "model"
        self.save(inner)
        for path in inner.iterdir():
            path.rename(folder / path.name)
        inner.rmdir()
        for path in sorted(self.folder.iterdir()) if self.folder is not None else []:
            if FIGURE.fullmatch(path.name) and f"]({path.name})" in self.card:
                check_size(path.name, path.stat().st_size, str(self.folder))
                check_figure(path, str(self.folder))
                shutil.copyfile(path, folder / path.name)

    def _described(self) -> str:
        return self.card or model_card(self.config)

    def _lacking(self, card: str) -> list[str]:
        lacking = []
        if license_of(card) is None:
            lacking.append('a licence (license_name="cc-by-4.0", or another)')
        if not has_section(card, "Data"):
            lacking.append('a section "## Data", which says what it was trained on')
        if not has_section(card, "Scores"):
            lacking.append('a section "## Scores"')
        if self.baseline is not None and self.baseline not in card.lower():
            lacking.append(f'the score of the baseline, "{self.baseline}", beside its own')
        return lacking

    def _reload(self, folder: Path) -> None:
        load_folder(folder)


def model_card(config: FolderConfig) -> str:
    """Write a card for a model that has none, from its configuration."""
    known = config.model_dump(mode="json", exclude={"extra", "schema_version"})
    rows = {name.replace("_", " "): brief(value) for name, value in known.items()}
    lines = [f"# {kind_class(config.kind).usage.title}", "", *table(rows)]
    return "\n".join([*lines, "", "Nothing is said about what it was trained on, nor how it scored."]) + "\n"


def save_model(
    folder: str | Path,
    network: nn.Module,
    config: FolderConfig,
    card: str = "",
    overwrite: bool = False,
    beside: Iterable[Path] = (),
) -> None:
    """Save a model folder: whole or not at all.

    Parameters
    ----------
    folder : str or Path
        Where to.
    network : nn.Module
        One of `steadyspike.networks`, on any device.
    config : FolderConfig
        Of the kind of the model.
    card : str, default: ""
        The model card, Markdown.
    overwrite : bool, default: False
        Whether a model folder that is already there is replaced. Any other folder is never replaced.
    beside : iterable of Path
        Files to copy into it; those that are not there are left out.

    Raises
    ------
    FileExistsError
        If `folder` exists, and `overwrite` is False or it is no model folder.
    ValueError
        If something else would be loaded by the name of `folder`, such as a bundled model.
    ModelError
        If `config` describes another network.
    """
    from safetensors.torch import save_file

    folder = own_folder(folder)
    refuse_existing(folder, is_model_folder, overwrite, "model folder")
    weights = {name: values.detach().cpu().contiguous() for name, values in network.state_dict().items()}
    _check_weights(
        folder, expected_weights(folder, config), {name: described(value) for name, value in weights.items()}
    )
    with folder_aside(folder, is_model_folder) as new:
        for path in beside:
            if path.is_file():
                shutil.copyfile(path, new / path.name)
        save_file(weights, new / WEIGHTS, metadata={"format": "pt"})
        (new / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (new / CARD).write_text(card, encoding="utf-8")
        write_pair(new, network, config)


def load_model(folder: str | Path, device: str = "cpu") -> SavedModel:
    """Load a model of any kind.

    Parameters
    ----------
    folder : str or Path
        The name of a bundled model, or a folder with `config.json` and `model.safetensors`.
    device : str, default: "cpu"
        For the weights, as torch names it.

    Returns
    -------
    model : SavedModel
        A `DeepInterpolationModel`, or what else the kind of the folder asks for.

    Raises
    ------
    FileNotFoundError
        If the folder or a file is missing.
    ModelError
        If the folder was written by a newer version, or its files do not fit each other.
    """
    return load_folder(find_model(folder), device)


def load_folder(folder: Path, device: str = "cpu") -> SavedModel:
    """Load the model folder at a path; `steadyspike.load_model` takes names too.

    Raises `FileNotFoundError` if the folder or a file is missing, and `ModelError` if it was written by a newer
    version, or its files do not fit each other. All but whether weights are numbers is checked before they are read.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    config = read_config(folder)
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(f"there is no {WEIGHTS} in the model folder {folder}")
    expected = expected_weights(folder, config)
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, it is no dict
            found = {
                name: (tuple(part.get_shape()), DTYPES.get(part.get_dtype())) for name, part in slices.items()
            }
            _check_weights(folder, expected, found)
        weights = load_file(folder / WEIGHTS, device=device)
    except SafetensorError as error:
        path = folder / WEIGHTS
        raise ModelError(f"{path}: is not a whole safetensors file: {looks_like(path)} ({error})") from None
    network = make_network(config.network.name, config.network.sizes).to(device)
    _check_finite(folder, weights)
    network.load_state_dict(weights, strict=True)
    card = folder / CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    return kind_class(config.kind)(network.eval(), config, text, folder)


def _check_weights(folder: Path, expected: Described, found: Described) -> None:
    problems = [f"{name} is missing" for name in expected.keys() - found.keys()]
    problems += [f"{name} is not of this network" for name in found.keys() - expected.keys()]
    problems += [
        f"{name} is {found[name]}, should be {expected[name]}"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    ]
    if problems:
        raise ModelError(f"{folder / WEIGHTS}: does not fit {CONFIG}: " + "; ".join(sorted(problems)))


def _check_finite(folder: Path, weights: Mapping[str, Any]) -> None:
    """Refuse weights that hold NaN or infinity, with which every prediction would be NaN."""
    wrong = [name for name, values in weights.items() if not values.isfinite().all()]
    if wrong:
        raise ModelError(f"{folder / WEIGHTS}: is not finite in {', '.join(sorted(wrong))}")
