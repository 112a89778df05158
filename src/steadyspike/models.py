"""Model folders: the weights of a network, and what is needed to use it on a recording.

A folder holds `model.safetensors`, `config.json` and `README.md` (the model card). Nothing in it is ever unpickled or
run. A folder is complete or absent: it is written aside and then renamed.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from steadyspike.networks import make_network
from steadyspike.probe_layout import ARRANGEMENTS, LayoutType

if TYPE_CHECKING:
    from torch import nn

SCHEMA = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
MAX_CONFIG_BYTES = 10_000_000

Frames = Annotated[int, Field(ge=0)]
Cells = Annotated[list[Literal[0, 1]], Field(min_length=1)]


class ModelError(ValueError):
    """A model folder that cannot be used; the message names the folder and what is wrong."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetworkConfig(_Strict):
    """Name of a network (`steadyspike.networks.NETWORKS`) and the arguments of its class."""

    name: str
    sizes: dict[str, JsonValue]


class LayoutConfig(_Strict):
    """Fields of `steadyspike.probe_layout.LayoutType`."""

    name: str
    pattern: Literal["aligned", "staggered", "group", "irregular"]
    columns: int = Field(ge=1)
    unit: list[Cells] = Field(min_length=1)
    pitch_um: tuple[float, float]
    arrangement: Literal["lattice", "interleaved", "packed"]

    @classmethod
    def from_type(cls, layout_type: LayoutType) -> Self:
        """Take over a layout type."""
        return cls.model_validate(asdict(layout_type))

    def to_type(self) -> LayoutType:
        """Return the layout type."""
        fields = self.model_dump()
        fields["unit"] = tuple(tuple(row) for row in self.unit)
        return LayoutType(**fields)


class Normalization(_Strict):
    """How traces are made ready: ``(traces - center) / scale``.

    `method` is "channel" (a robust center and scale of each channel), "global" (one mean and standard deviation for
    all, Lecoq et al. 2021) or "none". They are measured on each recording anew; `center` and `scale`, in the units of
    `unit`, are those of the recording trained on.
    """

    method: Literal["channel", "global", "none"] = "channel"
    center: list[float] | None = None
    scale: list[Annotated[float, Field(gt=0)]] | None = None
    unit: str | None = None


class ModelConfig(_Strict):
    """What `config.json` holds.

    `pre`, `post` and `omission` are in frames: samples seen before and after the gap, and hidden on each side of the
    predicted one. `context_ms` is what is read before and after it, gap included. `extra` is for notes of whoever
    made the model; nothing depends on it.
    """

    schema_version: int = Field(default=SCHEMA, ge=1, le=SCHEMA)
    kind: Literal["deepinterpolation"] = "deepinterpolation"
    network: NetworkConfig
    layout: LayoutConfig
    sampling_frequency: float = Field(gt=0)
    pre: Frames
    post: Frames
    omission: Frames
    context_ms: tuple[float, float]
    normalization: Normalization = Normalization()
    extra: dict[str, JsonValue] = {}

    @model_validator(mode="after")
    def _context_is_that_of_the_frames(self) -> Self:
        expected = _context_ms(self.pre, self.post, self.omission, self.sampling_frequency)
        if any(abs(given - ms) > 1e-3 for given, ms in zip(self.context_ms, expected, strict=True)):
            raise ValueError(f"context_ms is {self.context_ms}, but the frames make it {expected}")
        return self


def _context_ms(pre: int, post: int, omission: int, sampling_frequency: float) -> tuple[float, float]:
    before, after = ((side + omission) * 1000 / sampling_frequency for side in (pre, post))
    return round(before, 6), round(after, 6)


def config_of(
    network: nn.Module,
    layout_type: LayoutType,
    sampling_frequency: float,
    normalization: Normalization | None = None,
    extra: Mapping[str, Any] | None = None,
) -> ModelConfig:
    """Describe a network and the recordings that it is for.

    Parameters
    ----------
    network : nn.Module
        One of `steadyspike.networks`.
    layout_type : LayoutType
        Of the recordings; in the arrangement of the network.
    sampling_frequency : float
        In Hz.
    normalization : Normalization or None, default: None
        None: robust, for each channel.
    extra : mapping or None, default: None
        Anything that JSON can hold, for the record.

    Raises
    ------
    ValueError
        If the network wants another arrangement, or a value is out of range.
    """
    described: Any = network
    if layout_type.arrangement != described.arrangement:
        raise ValueError(
            f"layout_type has the arrangement {layout_type.arrangement!r}, "
            f"but network {described.name!r} takes {described.arrangement!r}; "
            f"see layout_of(..., arrangement=...), allowed: {', '.join(ARRANGEMENTS)}"
        )
    before, after = described.context
    pre, post = before - described.omission, after - described.omission
    return ModelConfig(
        network=NetworkConfig(name=described.name, sizes=described.sizes),
        layout=LayoutConfig.from_type(layout_type),
        sampling_frequency=sampling_frequency,
        **{"pre": pre, "post": post, "omission": described.omission},
        context_ms=_context_ms(pre, post, described.omission, sampling_frequency),
        normalization=normalization or Normalization(),
        extra=dict(extra or {}),
    )


@dataclass(frozen=True, eq=False)
class DeepInterpolationModel:
    """A network with its weights, and what is known about it.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode.
    config : ModelConfig
        What it was trained for.
    card : str
        The model card, Markdown; empty if there is none.
    folder : Path or None
        Where it was loaded from.
    """

    network: nn.Module
    config: ModelConfig
    card: str = ""
    folder: Path | None = None

    @property
    def layout_type(self) -> LayoutType:
        """The layout type it was trained for."""
        return self.config.layout.to_type()

    @property
    def context(self) -> tuple[int, int]:
        """Samples read before and after each predicted one."""
        return self.config.pre + self.config.omission, self.config.post + self.config.omission

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Save as `save_model` does."""
        save_model(folder, self.network, self.config, self.card, overwrite=overwrite)


def save_model(
    folder: str | Path, network: nn.Module, config: ModelConfig, card: str = "", overwrite: bool = False
) -> None:
    """Save a model folder: whole or not at all.

    Parameters
    ----------
    folder : str or Path
        Where to.
    network : nn.Module
        One of `steadyspike.networks`, on any device.
    config : ModelConfig
        Of `config_of`.
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


def load_model(folder: str | Path, device: str = "cpu") -> DeepInterpolationModel:
    """Load a model folder.

    Parameters
    ----------
    folder : str or Path
        The name of a bundled model, or a folder with `config.json` and `model.safetensors`.
    device : str, default: "cpu"
        For the weights, as torch names it.

    Raises
    ------
    FileNotFoundError
        If the folder or a file is missing.
    ModelError
        If the folder was written by a newer version, or its files do not fit each other. All is checked before
        weights are read.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    from steadyspike.model_files import find_model

    folder = find_model(folder)
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
    network.load_state_dict(weights, strict=True)
    card = folder / CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    return DeepInterpolationModel(network.eval(), config, text, folder)


def read_config(folder: str | Path) -> ModelConfig:
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
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{path}: is not valid JSON: {error}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        raise ModelError(
            f"{path}: has schema_version {version}, and this steadyspike reads up to {SCHEMA}; "
            "upgrade with: pip install --upgrade steadyspike"
        )
    if version is None:
        raise ModelError(f"{path}: schema_version is missing; this is no steadyspike model")
    try:
        return ModelConfig.model_validate_json(json.dumps(content))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'config'}: {one['msg']}" for one in error.errors()]
        raise ModelError(f"{path}: " + "; ".join(problems)) from None


# what the file format calls the types of the weights that networks have
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64"}
_Described = dict[str, tuple[tuple[int, ...], str | None]]


def _described(values: Any) -> tuple[tuple[int, ...], str]:
    return tuple(values.shape), str(values.dtype).removeprefix("torch.")


def _expected(folder: Path, config: ModelConfig) -> _Described:
    """Shapes and types of the weights of the network that a configuration describes, without making them."""
    import torch

    try:
        with torch.device("meta"):
            network: Any = make_network(config.network.name, config.network.sizes)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ModelError(f"{folder / CONFIG}: network: {error}") from None
    unlike = [
        f"{name} is {stated!r}, but its network has {own!r}"
        for name, stated, own in (
            ("omission", config.omission, network.omission),
            (
                "pre and post",
                (config.pre, config.post),
                tuple(side - network.omission for side in network.context),
            ),
            ("layout.arrangement", config.layout.arrangement, network.arrangement),
        )
        if stated != own
    ]
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
