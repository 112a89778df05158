"""What a DeepInterpolation training is going to do: arguments completed before any data is read."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from steadyspike.core.probe_layout import LayoutType, layout_of
from steadyspike.core.stretches import Stretch, TimeRange, limited, split_time
from steadyspike.library.hub.cache import reference_of
from steadyspike.library.models.config import ModelError
from steadyspike.library.models.deepinterpolation import DeepInterpolationModel, ModelConfig
from steadyspike.library.models.find import find_model
from steadyspike.networks import network_class
from steadyspike.networks.blindspot import BlindSpot
from steadyspike.training.loop import LoopSettings, own_random_numbers
from steadyspike.training.settings import DataSettings, DeepInterpolationTraining
from steadyspike.training.windows import Source, Windows

PART = DeepInterpolationTraining.part
TRAINED_NETWORKS = tuple(name for name in ModelConfig.networks if name not in ("ridge", "seeing"))
LAST_LAYERS = r"(out|linear|centre\.out)\."


@dataclass(frozen=True)
class NetworkDefaults:
    """What suits a network: predicted frames of a window, held-out windows, the highest learning rate, focus."""

    chunk_frames: int
    test_windows: int
    learning_rate: float
    focus: float


# one pass predicts a window of the blind-spot network, but a single frame of the paper's
DEFAULTS = {
    "blindspot": NetworkDefaults(256, 32, 5e-3, 1.0),
    "unet_single_ephys_1024": NetworkDefaults(32, 16, 1e-3, 0.0),
}
FINE_TUNING_SLOWDOWN = 0.3
CLIP_NORM = 1.0
RATE_TOLERANCE = 0.1
DECIDED_BY_MODEL = (
    *("network", "size", "network_kwargs", "normalization"),
    *("pre_frame", "post_frame", "pre_post_omission"),
)
"""What `init_from` decides, by plain keyword."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A checked run: a network with its first weights, and what it is trained on."""

    network: nn.Module
    layout_type: LayoutType
    normalization: str
    recordings: list[Any]
    test_recordings: list[Any]
    train: list[Stretch]
    test: list[Stretch]
    chunk_frames: int
    test_windows: int
    batch_size: int
    seed: int
    loss: str
    focus: float
    trained_before: Sequence[Any] = ()
    """Stretches that the model it starts from was trained on."""

    def __post_init__(self) -> None:
        for test, name in ((False, "train"), (True, "test")):
            try:
                self.windows([], test=test)
            except ValueError as error:
                raise ValueError(
                    f"{PART}: {name}_start_s, {name}_end_s, {name}_duration_s and gap_s leave nothing to {name} on: "
                    f"{error}"
                ) from None

    def windows(self, sources: Sequence[Source], test: bool = False) -> Windows:
        """Make the windows that are trained on, or those that are held out."""
        context: tuple[int, int] = self.network.context  # type: ignore[assignment]
        stretches = self.test if test else self.train
        return Windows(sources, stretches, context, self.chunk_frames, self.batch_size, self.seed)

    def measured(self, test: bool = False) -> list[Source]:
        """Read a little of each recording to measure its channels."""
        arrangement = self.layout_type.arrangement
        recordings = self.test_recordings if test and self.test_recordings else self.recordings
        return [Source.of(recording, arrangement, self.normalization) for recording in recordings]


def as_recordings(recordings: Any, name: str) -> list[Any]:
    """Return a list of recordings with probes."""
    from spikeinterface.core import BaseRecording

    listed = [recordings] if isinstance(recordings, BaseRecording) else list(recordings or [])
    if not listed:
        raise ValueError(f"{PART}: {name}={recordings!r}; allowed: one recording or more")
    for index, recording in enumerate(listed):
        if not isinstance(recording, BaseRecording):
            raise ValueError(f"{PART}: {name}[{index}]={recording!r}; allowed: a recording")
        if not recording.has_probe():
            raise ValueError(
                f"{PART}: {name}[{index}] has no probe; allowed: one with a probe (set_probe), which tells the layout"
            )
        rate, first = recording.sampling_frequency, listed[0].sampling_frequency
        if abs(rate - first) > 1e-3 * first:
            raise ValueError(
                f"{PART}: {name}[{index}] has a sampling frequency of {rate:g} Hz, {name}[0] {first:g} Hz; "
                "allowed: the same, to 0.1 %"
            )
    return listed


def common_type(recordings: Sequence[Any], arrangement: str, name: str) -> LayoutType:
    """Return the layout type that all recordings have."""
    types = [layout_of(recording, arrangement=arrangement).type for recording in recordings]
    for index, other in enumerate(types):
        problem = types[0].mismatch(other)
        if problem:
            raise ValueError(f"{PART}: {name}[{index}] has another layout than {name}[0]: {problem}")
    return types[0]


@dataclass(frozen=True, eq=False)
class ChosenNetwork:
    """A network with its first weights; `start` names the model that they are from, which saw `trained_before`."""

    network: nn.Module
    layout_type: LayoutType
    normalization: str
    start: str | None = None
    trained_before: Sequence[Any] = ()

    @property
    def defaults(self) -> NetworkDefaults:
        """What suits it."""
        return DEFAULTS[str(self.network.name)]


def choose_network(
    recordings: Sequence[Any], model: Any, settings: DeepInterpolationTraining
) -> ChosenNetwork:
    """Make a network for recordings, or take that of a model.

    `model` is what to start from: it decides on the network, its context and the normalization, which then may not be
    given.
    """
    if model is not None:
        groups = {word: getattr(settings, name) for word, name in settings.keywords().items()}
        held = {word: getattr(one, one.keywords()[word]) for word, one in groups.items()}
        given = [word for word in DECIDED_BY_MODEL if held[word] is not None]
        if given:
            raise ValueError(
                f"{PART}: {', '.join(given)}; allowed: not with init_from, whose model decides on "
                f"{'them' if given[1:] else 'it'}"
            )
        return _start_from(model, recordings)
    network, layout_type = _new_network(recordings, settings)
    return ChosenNetwork(network, layout_type, settings.data.normalization or "channel")


def _new_network(
    recordings: Sequence[Any], settings: DeepInterpolationTraining
) -> tuple[nn.Module, LayoutType]:
    data, chosen = settings.data, settings.network
    name, kwargs = chosen.name or BlindSpot.name, dict(chosen.kwargs or {})
    rate = recordings[0].sampling_frequency / 1000
    before = data.pre_frame or max(1, round(data.pre_ms * rate))
    after = data.post_frame or max(1, round(data.post_ms * rate))
    omission = 1 if data.pre_post_omission is None else data.pre_post_omission
    with own_random_numbers(settings.optimizer.seed):
        try:
            if name == BlindSpot.name:
                layout_type = common_type(recordings, BlindSpot.arrangement, "recordings")
                kwargs = {"halo": layout_type.halo, **kwargs}
                network: Any = BlindSpot.of_size(
                    chosen.size or "small", layout_type.unit, max(before, after), omission=omission, **kwargs
                )
            else:
                network = network_class(name)(pre=before, post=after, omission=omission, **kwargs)
                layout_type = common_type(recordings, network.arrangement, "recordings")
        except TypeError as error:
            raise ValueError(
                f"{PART}: network_kwargs={kwargs!r}; allowed: arguments of {name}: {error}"
            ) from None
    return network, layout_type


def _start_from(model: Any, recordings: Sequence[Any]) -> ChosenNetwork:
    name = str(model)
    if isinstance(model, str | Path):
        path = find_model(model)
        if path.is_file():
            raise ModelError(f"init_from={name!r} is a file; allowed: a model folder. Convert it first")
        with own_random_numbers(0):
            model = DeepInterpolationModel.load(path)
    if not isinstance(model, DeepInterpolationModel):
        raise ValueError(
            f"{PART}: init_from={model!r}; allowed: a bundled name, a folder, a reference to the Hub "
            "(hf:owner/name), or a loaded model"
        )
    if model.folder is not None:
        name = str(reference_of(model.folder) or model.folder.name)
    config = model.config
    if config.network.name not in TRAINED_NETWORKS:
        raise ModelError(
            f"init_from has the network {config.network.name!r}; allowed: {', '.join(TRAINED_NETWORKS)}"
        )
    layout_type = common_type(recordings, config.layout.arrangement, "recordings")
    # other distances between contacts are what fine-tuning is for
    problem = model.layout_type.mismatch(layout_type, pitch=False)
    if problem:
        raise ModelError(f"init_from cannot be trained on these recordings: {problem}")
    ratio = recordings[0].sampling_frequency / config.sampling_frequency
    if abs(ratio - 1) > RATE_TOLERANCE:
        warnings.warn(
            f"the model in init_from is for {config.sampling_frequency:g} Hz, the recordings have "
            f"{recordings[0].sampling_frequency:g} Hz: it will see {1 / ratio:.2g} times as many ms as it did",
            stacklevel=5,
        )
    network, before = copy.deepcopy(model.network).cpu(), config.extra.get("trained_on")
    seen = before if isinstance(before, list) else []
    return ChosenNetwork(network, layout_type, config.normalization.method, name, seen)


def choose_layers(network: nn.Module, train_layers: str | Sequence[str]) -> list[str]:
    """Let only some parameters train.

    `train_layers` is "all", "last", which is what makes the output, or regular expressions: a parameter trains if one
    matches the start of its name. Returns the names of those that train.
    """
    patterns = {"all": [""], "last": [LAST_LAYERS]}.get(str(train_layers), list(train_layers))
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise ValueError(f"{PART}: train_layers={train_layers!r}; allowed: valid patterns: {error}") from None
    names = [name for name, _ in network.named_parameters()]
    chosen = [name for name in names if any(pattern.match(name) for pattern in compiled)]
    if not chosen:
        raise ValueError(
            f"{PART}: train_layers={train_layers!r} matches no parameter; allowed: the start of one of "
            f"{', '.join(names)}"
        )
    for name, weights in network.named_parameters():
        weights.requires_grad_(name in chosen)
    return chosen


def split(
    recordings: Sequence[Any], test_recordings: Sequence[Any], data: DataSettings
) -> tuple[list[Stretch], list[Stretch]]:
    """Split by time; `split_time`, or other recordings for the test."""
    train = TimeRange(data.train_start_s, data.train_end_s, data.train_duration_s)
    test = TimeRange(data.test_start_s, data.test_end_s, data.test_duration_s)
    training, held_out = split_time(recordings, train, test, data.gap_s, bool(test_recordings))
    if test_recordings:
        held_out = limited(test_recordings, test, "test")
    return training, held_out


def choose_loop(settings: DeepInterpolationTraining, chosen: ChosenNetwork) -> LoopSettings:
    """Complete how it is fitted by what suits the network."""
    optimizer, slowdown = settings.optimizer, 1.0 if chosen.start is None else FINE_TUNING_SLOWDOWN
    max_steps = optimizer.max_steps
    if max_steps is None and optimizer.max_time_s is None:
        max_steps = 5000 if chosen.start is None else 1000
    return LoopSettings(
        learning_rate=optimizer.learning_rate or chosen.defaults.learning_rate * slowdown,
        weight_decay=optimizer.weight_decay,
        warmup_steps=min(100, (max_steps or 2000) // 20),
        clip_norm=CLIP_NORM,
        max_steps=max_steps,
        max_time_s=optimizer.max_time_s,
        evaluate_every=optimizer.evaluate_every or max(1, min(200, (max_steps or 4000) // 20)),
        patience=optimizer.patience,
    )
