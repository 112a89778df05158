"""DeepInterpolation models: a network, the layout and the sampling rate that it is for, and its normalization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from steadyspike.core.probe_layout import ARRANGEMENTS, LayoutType
from steadyspike.library.hub.cards import Usage
from steadyspike.library.models.config import FolderConfig, NetworkConfig, StrictModel
from steadyspike.library.models.folder import SavedModel

if TYPE_CHECKING:
    from torch import nn

Frames = Annotated[int, Field(ge=0)]
Cells = Annotated[list[Literal[0, 1]], Field(min_length=1)]


class LayoutConfig(StrictModel):
    """Fields of `steadyspike.core.probe_layout.LayoutType`."""

    name: str
    pattern: Literal["aligned", "staggered", "group", "irregular"]
    columns: int = Field(ge=1)
    unit: list[Cells] = Field(min_length=1)
    pitch_um: tuple[float, float]
    arrangement: Literal["lattice", "interleaved", "packed"]

    def to_type(self) -> LayoutType:
        """Return the layout type."""
        fields = self.model_dump()
        fields["unit"] = tuple(tuple(row) for row in self.unit)
        return LayoutType(**fields)


class Normalization(StrictModel):
    """How traces are made ready: ``(traces - center) / scale``.

    `method` is "channel" (a robust center and scale of each channel), "global" (one mean and standard deviation for
    all, Lecoq et al. 2021) or "none". They are measured on each recording anew; `center` and `scale`, in the units of
    `unit`, are those of the recording trained on.
    """

    method: Literal["channel", "global", "none"] = "channel"
    center: list[float] | None = None
    scale: list[Annotated[float, Field(gt=0)]] | None = None
    unit: str | None = None


class ModelConfig(FolderConfig):
    """What `config.json` holds.

    `pre`, `post` and `omission` are in frames: samples seen before and after the gap, and hidden on each side of the
    predicted one. `context_ms` is what is read before and after it, gap included. `extra` is for the author's
    notes; nothing depends on it.
    """

    kind: Literal["deepinterpolation"] = "deepinterpolation"
    layout: LayoutConfig
    sampling_frequency: float = Field(gt=0)
    pre: Frames
    post: Frames
    omission: Frames
    context_ms: tuple[float, float]
    normalization: Normalization = Normalization()

    networks: ClassVar[tuple[str, ...]] = ("blindspot", "ridge", "seeing", "unet_single_ephys_1024")

    @model_validator(mode="after")
    def _context_is_that_of_the_frames(self) -> Self:
        expected = _context_ms(self.pre, self.post, self.omission, self.sampling_frequency)
        if any(abs(given - ms) > 1e-3 for given, ms in zip(self.context_ms, expected, strict=True)):
            raise ValueError(f"context_ms is {self.context_ms}, but the frames make it {expected}")
        return self

    def unlike(self, network: Any) -> list[str]:
        """Tell what the configuration says of its network that is not so, sentence by sentence."""
        return [
            f"{name} is {stated!r}, but its network has {own!r}"
            for name, stated, own in (
                ("omission", self.omission, network.omission),
                (
                    "pre and post",
                    (self.pre, self.post),
                    tuple(side - network.omission for side in network.context),
                ),
                ("layout.arrangement", self.layout.arrangement, network.arrangement),
            )
            if stated != own
        ]


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

    `layout_type` is that of the recordings, in the arrangement of the network; without `normalization` it is robust,
    for each channel; `extra` is anything that JSON can hold, for the record. Raises `ValueError` if the network wants
    another arrangement, or a value is out of range.
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
        layout=LayoutConfig.model_validate(asdict(layout_type)),
        sampling_frequency=sampling_frequency,
        **{"pre": pre, "post": post, "omission": described.omission},
        context_ms=_context_ms(pre, post, described.omission, sampling_frequency),
        normalization=normalization or Normalization(),
        extra=dict(extra or {}),
    )


@dataclass(frozen=True, eq=False)
class DeepInterpolationModel(SavedModel):
    """A network with its weights, and what is known about it.

    Parameters
    ----------
    network
        As of `SavedModel`.
    config : ModelConfig
        What it was trained for.
    card, folder
        As of `SavedModel`.
    """

    config: ModelConfig

    config_class: ClassVar[type[FolderConfig]] = ModelConfig
    baseline: ClassVar[str | None] = "linear interpolation"
    usage: ClassVar[Usage] = Usage(
        "DeepInterpolation network",
        ("import steadyspike", 'recording_denoised = steadyspike.deepinterpolate(recording, "{ref}")'),
        (
            "Lecoq et al., Removing independent noise in systems neuroscience data using DeepInterpolation. "
            "Nature Methods 18, 1401-1408 (2021), doi:10.1038/s41592-021-01285-2",
        ),
    )

    @property
    def layout_type(self) -> LayoutType:
        """The layout type it was trained for."""
        return self.config.layout.to_type()

    @property
    def context(self) -> tuple[int, int]:
        """Samples read before and after each predicted one."""
        return self.config.pre + self.config.omission, self.config.post + self.config.omission
