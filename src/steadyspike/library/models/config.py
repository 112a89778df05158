"""What `config.json` of a model folder holds, whatever the kind of the model; torch is not needed to read it."""

from __future__ import annotations

import json
import math
import os
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from steadyspike.core.arguments import shown
from steadyspike.library.hub.artifact import CONFIG, WEIGHTS, Form
from steadyspike.networks import make_network

SCHEMA = 1
MAX_CONFIG_BYTES = 10_000_000
MAX_LIST = 1_000
# the header of a safetensors file lists each weight
MAX_HEADER_BYTES = 1_000_000

# what `kind` in config.json stands for: a class of models, with its `config_class`
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

    @field_validator("sizes")
    @classmethod
    def _check_lengths(cls, sizes: dict[str, JsonValue]) -> dict[str, JsonValue]:
        # a layer for each of a hundred thousand would take minutes to make
        if max(map(_longest, sizes.values()), default=0) > MAX_LIST:
            raise ValueError(f"a list has more than {MAX_LIST} values, which no network's has")
        return sizes


def _longest(value: JsonValue) -> int:
    return max(len(value), *map(_longest, value), 0) if isinstance(value, list) else 0


class FolderConfig(StrictModel):
    """What `config.json` of every kind holds.

    Each kind has a subclass, which gives `kind` its one value and adds what the network's user has to know. `extra` is
    for the author's notes; nothing depends on it.
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


def kind_class(kind: str) -> Any:
    """Return the class of the models of a kind."""
    module, _, name = KINDS[kind].partition(":")
    return getattr(import_module(module), name)


def read_config(folder: str | Path) -> FolderConfig:
    """Read and check `config.json` of a model folder; torch is not needed.

    Raises `FileNotFoundError` if there is none, and `ModelError` if it was written by a newer version, or is not
    valid; all problems are named.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"there is no {CONFIG} in the model folder {folder}")
    if os.path.getsize(path) > MAX_CONFIG_BYTES:
        raise ModelError(f"{path}: is larger than {MAX_CONFIG_BYTES} bytes, which no configuration is")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: is not valid JSON: {error}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        raise ModelError(
            f"{path}: has schema_version {shown(version)}, and this steadyspike reads up to {SCHEMA}; "
            "upgrade with: pip install --upgrade steadyspike"
        )
    if version is None:
        raise ModelError(f"{path}: schema_version is missing; this is no steadyspike model")
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ModelError(f"{path}: kind: {shown(kind)} is not known; allowed: {', '.join(KINDS)}")
    try:
        return kind_class(kind).config_class.model_validate_json(json.dumps(content))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'config'}: {one['msg']}" for one in error.errors()]
        raise ModelError(f"{path}: " + "; ".join(problems)) from None


def is_model_folder(folder: Path) -> bool:
    """Whether there is a configuration that we wrote, of whatever version; that of many a program has the same name."""
    try:
        content = json.loads((folder / CONFIG).read_bytes()[: MAX_CONFIG_BYTES + 1])
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and isinstance(content.get("schema_version"), int) and "kind" in content


def looks_like(path: Path) -> str:
    """Say what a file is that cannot be read as what its name says, for messages."""
    with path.open("rb") as file:
        begin = file.read(60)
    if not begin:
        return "is empty"
    if begin.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS and not the file itself; run: git lfs pull"
    if begin.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is a web page and not the file itself; download it anew"
    return f"begins with {begin[:20]!r}"


Described = dict[str, tuple[tuple[int, ...], str | None]]


def described(values: Any) -> tuple[tuple[int, ...], str]:
    """Return the shape and the type of weights."""
    return tuple(values.shape), str(values.dtype).removeprefix("torch.")


def expected_weights(folder: Path, config: FolderConfig) -> Described:
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
        unlike = config.unlike(network)
    except Exception as error:
        # whatever a size is that nobody thought of
        raise ModelError(f"{folder / CONFIG}: network: {str(error)[:MAX_LIST]}") from None
    if unlike:
        raise ModelError(f"{folder / CONFIG}: " + "; ".join(unlike))
    return {name: described(values) for name, values in network.state_dict().items()}


def weights_bytes(folder: Path, config: FolderConfig) -> int:
    """Tell how large the weights of a configuration are, without its header in the file."""
    sizes = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8}
    return sum(
        math.prod(shape) * sizes[str(kind)] for shape, kind in expected_weights(folder, config).values()
    )


MODEL_FORM = Form(
    "model",
    ModelError,
    kind=lambda folder: read_config(folder).kind,
    most_bytes=lambda folder: {WEIGHTS: weights_bytes(folder, read_config(folder)) + MAX_HEADER_BYTES},
)
