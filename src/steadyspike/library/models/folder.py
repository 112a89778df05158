"""Model folders of any kind: the weights of a network, and what is needed to make and use it.

A folder holds `model.safetensors`, `config.json` and `README.md` (the model card). Nothing in it is ever unpickled or
run. A folder is complete or absent: it is written aside and then renamed.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from steadyspike.library.hub.shareable import ShareableModel
from steadyspike.networks import make_network

if TYPE_CHECKING:
    from torch import nn

SCHEMA = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
MAX_CONFIG_BYTES = 10_000_000

# what `kind` in config.json stands for: a subclass of `SavedModel`
KINDS = {
    "deepinterpolation": "steadyspike.library.models.deepinterpolation:DeepInterpolationModel",
    "spike_classifier": "steadyspike.library.models.waveforms:SpikeClassifier",
    "spike_detector": "steadyspike.library.models.spikes:SpikeDetectorModel",
    "waveform_autoencoder": "steadyspike.library.models.waveforms:WaveformAutoencoderModel",
    "waveform_denoiser": "steadyspike.library.models.spikes:WaveformDenoiserModel",
}


class ModelError(ValueError):
    """A model folder that cannot be used; the message names the folder and what is wrong."""


class StrictModel(BaseModel):
    """Fields that are refused unless all are known, of their type, and finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetworkConfig(StrictModel):
    """Name of a network (`steadyspike.networks.NETWORKS`) and the arguments of its class."""

    name: str
    sizes: dict[str, JsonValue]


class FolderConfig(StrictModel):
    """What `config.json` of every kind holds.

    Each kind has a subclass, which gives `kind` its one value and adds what the network's user has to know. `extra` is
    for notes of whoever made the model; nothing depends on it.
    """

    schema_version: int = Field(default=SCHEMA, ge=1, le=SCHEMA)
    kind: str
    network: NetworkConfig
    extra: dict[str, JsonValue] = {}

    networks: ClassVar[tuple[str, ...]]
    """Names of the networks that this kind may have."""

    def unlike(self, network: Any) -> list[str]:
        """Tell what the configuration says of its network that is not so, sentence by sentence."""
        return []


@dataclass(frozen=True, eq=False)
class SavedModel(ShareableModel):
    """A network with its weights, and what is known about it.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode.
    config : FolderConfig
        What it was trained for.
    card : str
        The model card, Markdown; empty if there is none.
    folder : Path or None
        Where it was loaded from.
    """

    network: nn.Module
    config: Any
    card: str = ""
    folder: Path | None = None

    config_class: ClassVar[type[FolderConfig]]

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> Self:
        """Load as `steadyspike.load_model` does, and refuse models of other kinds with a `ModelError`."""
        from steadyspike.library.models.references import find_model

        model = load_folder(find_model(folder), device)
        if not isinstance(model, cls):
            raise ModelError(f"{folder}: is a model of kind {model.config.kind!r}, no {cls.__name__}")
        return model

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Save as `save_model` does."""
        save_model(folder, self.network, self.config, self.card, overwrite=overwrite)


def kind_class(kind: str) -> type[SavedModel]:
    """Return the class of the models of a kind."""
    module, _, name = KINDS[kind].partition(":")
    found: type[SavedModel] = getattr(import_module(module), name)
    return found


def save_model(
    folder: str | Path, network: nn.Module, config: FolderConfig, card: str = "", overwrite: bool = False
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

    Raises
    ------
    FileExistsError
        If `folder` exists, and `overwrite` is False or it is no model folder.
    ModelError
        If `config` describes another network.
    """
    from safetensors.torch import save_file

    folder = Path(folder).absolute()
    if folder.exists() and not (overwrite and (folder / CONFIG).is_file()):
        hint = (
            "pass overwrite=True to replace it" if (folder / CONFIG).is_file() else "and is no model folder"
        )
        raise FileExistsError(f"{folder} exists already; {hint}")
    weights = {name: values.detach().cpu().contiguous() for name, values in network.state_dict().items()}
    _check_weights(
        folder, _expected(folder, config), {name: _described(value) for name, value in weights.items()}
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    # a folder of its own, so that the new one inside has the permissions of any new folder
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-unfinished-") as aside:
        new = Path(aside) / "new"
        new.mkdir()
        save_file(weights, new / WEIGHTS, metadata={"format": "pt"})
        (new / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (new / CARD).write_text(card, encoding="utf-8")
        replaced = Path(aside) / "replaced"
        if folder.exists():
            folder.rename(replaced)
        try:
            new.rename(folder)
        except OSError:
            if replaced.exists():
                replaced.rename(folder)
            raise


def load_folder(folder: Path, device: str = "cpu") -> SavedModel:
    """Load the model folder at a path; `steadyspike.load_model` takes names too.

    Raises
    ------
    FileNotFoundError
        If the folder or a file is missing.
    ModelError
        If the folder was written by a newer version, or its files do not fit each other. All but whether weights are
        numbers is checked before they are read.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    config = read_config(folder)
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(f"there is no {WEIGHTS} in the model folder {folder}")
    expected = _expected(folder, config)
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, it is no dict
            found = {
                name: (tuple(part.get_shape()), _DTYPES.get(part.get_dtype()))
                for name, part in slices.items()
            }
            _check_weights(folder, expected, found)
        weights = load_file(folder / WEIGHTS, device=device)
    except SafetensorError as error:
        raise ModelError(f"{folder / WEIGHTS}: is not a whole safetensors file: {error}") from None
    network = make_network(config.network.name, config.network.sizes).to(device)
    _check_finite(folder, weights)
    network.load_state_dict(weights, strict=True)
    card = folder / CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    return kind_class(config.kind)(network.eval(), config, text, folder)


def read_config(folder: str | Path) -> FolderConfig:
    """Read and check `config.json` of a model folder; torch is not needed.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ModelError
        If it was written by a newer version, or is not valid; all problems are named.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"there is no {CONFIG} in the model folder {folder}")
    if os.path.getsize(path) > MAX_CONFIG_BYTES:
        raise ModelError(f"{path}: is larger than {MAX_CONFIG_BYTES} bytes, which no configuration is")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: is not valid JSON: {error}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        raise ModelError(
            f"{path}: has schema_version {version}, and this steadyspike reads up to {SCHEMA}; "
            "upgrade with: pip install --upgrade steadyspike"
        )
    if version is None:
        raise ModelError(f"{path}: schema_version is missing; this is no steadyspike model")
    kind = content.get("kind")
    if kind not in KINDS:
        raise ModelError(f"{path}: kind: {kind!r} is not known; allowed: {', '.join(KINDS)}")
    try:
        return kind_class(kind).config_class.model_validate_json(json.dumps(content))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'config'}: {one['msg']}" for one in error.errors()]
        raise ModelError(f"{path}: " + "; ".join(problems)) from None


# what the file format calls the types of the weights that networks have
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64"}
_Described = dict[str, tuple[tuple[int, ...], str | None]]


def _described(values: Any) -> tuple[tuple[int, ...], str]:
    return tuple(values.shape), str(values.dtype).removeprefix("torch.")


def _expected(folder: Path, config: FolderConfig) -> _Described:
    """Shapes and types of the weights of the network that a configuration describes, without making them."""
    import torch

    if config.network.name not in config.networks:
        raise ModelError(
            f"{folder / CONFIG}: network.name: {config.network.name!r} is none of kind {config.kind!r}; "
            f"allowed: {', '.join(config.networks)}"
        )
    try:
        with torch.device("meta"):
            network: Any = make_network(config.network.name, config.network.sizes)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ModelError(f"{folder / CONFIG}: network: {error}") from None
    unlike = config.unlike(network)
    if unlike:
        raise ModelError(f"{folder / CONFIG}: " + "; ".join(unlike))
    return {name: _described(values) for name, values in network.state_dict().items()}


def _check_weights(folder: Path, expected: _Described, found: _Described) -> None:
    problems = [f"{name} is missing" for name in expected.keys() - found.keys()]
    problems += [f"{name} is not of this network" for name in found.keys() - expected.keys()]
    problems += [
        f"{name} is {found[name]}, should be {expected[name]}"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    ]
    if problems:
        raise ModelError(f"{folder / WEIGHTS}: does not fit {CONFIG}: " + "; ".join(sorted(problems)))


def weights_bytes(folder: Path, config: FolderConfig) -> int:
    """Tell how large the weights of a configuration are, without its header in the file."""
    sizes = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8}
    return sum(math.prod(shape) * sizes[str(kind)] for shape, kind in _expected(folder, config).values())


def _check_finite(folder: Path, weights: Mapping[str, Any]) -> None:
    """Refuse weights that hold NaN or infinity, with which every prediction would be NaN."""
    wrong = [name for name, values in weights.items() if not values.isfinite().all()]
    if wrong:
        raise ModelError(f"{folder / WEIGHTS}: is not finite in {', '.join(sorted(wrong))}")
