"""What a training run is going to do: arguments checked and completed before any data is read."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from steadyspike.core.normalization import METHODS
from steadyspike.core.probe_layout import LayoutType, layout_of
from steadyspike.core.stretches import Stretch, TimeRange, limited, split_time
from steadyspike.library.hub.cache import reference_of
from steadyspike.library.models.config import ModelError
from steadyspike.library.models.deepinterpolation import DeepInterpolationModel, ModelConfig
from steadyspike.library.models.find import find_model
from steadyspike.networks import network_class
from steadyspike.networks.blindspot import BlindSpot
from steadyspike.training.losses import LOSSES
from steadyspike.training.windows import Source, Windows

LOSS_ALIASES = {"mean_absolute_error": "mae", "mean_squared_error": "mse"}
TRAINED_NETWORKS = tuple(name for name in ModelConfig.networks if name != "ridge")
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
RATE_TOLERANCE = 0.1


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
    trained_before: Sequence[Any] = ()
    """Stretches that the model it starts from was trained on."""

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
        raise ValueError(f"{name} is empty; allowed: one recording or more")
    for index, recording in enumerate(listed):
        if not isinstance(recording, BaseRecording):
            raise ValueError(f"{name}[{index}]={recording!r} is no recording")
        if not recording.has_probe():
            raise ValueError(f"{name}[{index}] has no probe; set one with set_probe, it tells the layout")
        rate, first = recording.sampling_frequency, listed[0].sampling_frequency
        if abs(rate - first) > 1e-3 * first:
            raise ValueError(
                f"{name}[{index}] has a sampling frequency of {rate:g} Hz, {name}[0] {first:g} Hz; "
                "allowed: the same, to 0.1 %"
            )
    return listed


def common_type(recordings: Sequence[Any], arrangement: str, name: str) -> LayoutType:
    """Return the layout type that all recordings have."""
    types = [layout_of(recording, arrangement=arrangement).type for recording in recordings]
    for index, other in enumerate(types):
        problem = types[0].mismatch(other)
        if problem:
            raise ValueError(f"{name}[{index}] has another layout than {name}[0]: {problem}")
    return types[0]


def check_least(value: int, name: str, least: int) -> int:
    """Refuse what is no whole number or too small."""
    if isinstance(value, bool) or int(value) != value or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number, {least} or more")
    return int(value)


def find_loss(loss: str) -> str:
    """Return our name of a loss; Keras names are understood."""
    name = LOSS_ALIASES.get(loss, loss)
    if name not in LOSSES:
        raise ValueError(f"loss={loss!r} is not known; allowed: {', '.join([*LOSSES, *LOSS_ALIASES])}")
    return name


def check_above_zero(**values: float | None) -> None:
    """Refuse what is given and not above 0."""
    for name, value in values.items():
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name}={value!r} must be above 0 and finite")


def one_model(init_from: Any, existing_model_path: Any) -> Any:
    """Return the model to start from; both names mean the same."""
    if init_from is not None and existing_model_path is not None:
        raise ValueError("init_from and existing_model_path mean the same; pass one of them")
    return existing_model_path if init_from is None else init_from


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """Draw torch's random numbers from a state that the caller does not see."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True, eq=False)
class ChosenNetwork:
    """A network with its first weights; `start` names the model that they are from, which saw `trained_before`."""

    network: nn.Module
    layout_type: LayoutType
    normalization: str
    start: str | None = None
    trained_before: Sequence[Any] = ()

    @property
    def name(self) -> str:
        """Name of the network."""
        return str(self.network.name)


def choose_network(
    recordings: Sequence[Any],
    model: Any,
    kind: Mapping[str, Any],
    frames: Mapping[str, int | None],
    sides_ms: tuple[float, float],
    seed: int,
) -> ChosenNetwork:
    """Make a network for recordings, or take that of a model.

    Parameters
    ----------
    recordings : sequence of BaseRecording
    model : str, Path, DeepInterpolationModel or None
        What to start from. If given, nothing in `kind` and `frames` may be.
    kind : mapping
        "network", "size", "network_kwargs", "normalization"; None: the default.
    frames : mapping
        "pre_frame", "post_frame", "pre_post_omission"; None: the default.
    sides_ms : tuple of float
        Before and after, where `frames` does not tell.
    seed : int
        Of fresh weights.
    """
    if model is not None:
        given = [name for name, value in {**kind, **frames}.items() if value is not None]
        if given:
            raise ValueError(f"{', '.join(given)}: decided by the model in init_from; leave them out")
        return _start_from(model, recordings)
    method = kind["normalization"] or "channel"
    if method not in METHODS:
        raise ValueError(f"normalization={method!r} is not known; allowed: {', '.join(METHODS)}")
    rate = recordings[0].sampling_frequency
    sides = tuple(
        _side(frames[f"{name}_frame"], ms, name, rate)
        for name, ms in zip(("pre", "post"), sides_ms, strict=True)
    )
    omission = frames["pre_post_omission"]
    omission = 1 if omission is None else omission
    network, layout_type = _new_network(recordings, kind, (sides[0], sides[1]), omission, seed)
    return ChosenNetwork(network, layout_type, method)


def _side(frames: int | None, ms: float, name: str, rate: float) -> int:
    """Return the samples on one side of the gap, given as such or in ms."""
    if frames is not None:
        return check_least(frames, f"{name}_frame", 1)
    if not ms > 0:
        raise ValueError(f"{name}_ms={ms} must be above 0")
    return max(1, round(ms * rate / 1000))


def _new_network(
    recordings: Sequence[Any],
    kind: Mapping[str, Any],
    frames: tuple[int, int],
    omission: int,
    seed: int,
) -> tuple[nn.Module, LayoutType]:
    name, size = kind["network"] or BlindSpot.name, kind["size"] or "small"
    kwargs = dict(kind["network_kwargs"] or {})
    if name not in TRAINED_NETWORKS:
        raise ValueError(f"network={name!r} is not known; allowed: {', '.join(TRAINED_NETWORKS)}")
    if name != BlindSpot.name and kind["size"] is not None:
        raise ValueError(f"size={size!r} is for {BlindSpot.name!r}; see network_kwargs")
    with own_random_numbers(seed):
        try:
            if name == BlindSpot.name:
                layout_type = common_type(recordings, BlindSpot.arrangement, "recordings")
                kwargs = {"halo": layout_type.halo, **kwargs}
                network: Any = BlindSpot.of_size(
                    size, layout_type.unit, max(frames), omission=omission, **kwargs
                )
            else:
                network = network_class(name)(pre=frames[0], post=frames[1], omission=omission, **kwargs)
                layout_type = common_type(recordings, network.arrangement, "recordings")
        except TypeError as error:
            raise ValueError(f"network_kwargs={kwargs!r} cannot be: {error}") from None
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
            f"init_from={model!r} is no model; allowed: a bundled name, a folder, a reference to the Hub "
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
            stacklevel=4,
        )
    network, before = copy.deepcopy(model.network).cpu(), config.extra.get("trained_on")
    seen = before if isinstance(before, list) else []
    return ChosenNetwork(network, layout_type, config.normalization.method, name, seen)


def choose_layers(network: nn.Module, train_layers: str | Sequence[str]) -> list[str]:
    """Let only some parameters train.

    Parameters
    ----------
    network : nn.Module
    train_layers : {"all", "last"} or sequence of str
        "last": what makes the output. Otherwise regular expressions; a parameter trains if one matches the start of
        its name.

    Returns
    -------
    names : list of str
        Of the parameters that train.
    """
    if isinstance(train_layers, str) and train_layers not in ("all", "last"):
        raise ValueError(
            f"train_layers={train_layers!r} is not known; allowed: 'all', 'last' or a list of patterns"
        )
    patterns = {"all": [""], "last": [LAST_LAYERS]}.get(str(train_layers), list(train_layers))
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise ValueError(f"train_layers={train_layers!r} holds an invalid pattern: {error}") from None
    names = [name for name, _ in network.named_parameters()]
    chosen = [name for name in names if any(pattern.match(name) for pattern in compiled)]
    if not chosen:
        raise ValueError(f"train_layers={train_layers!r} matches no parameter; there are: {', '.join(names)}")
    for name, weights in network.named_parameters():
        weights.requires_grad_(name in chosen)
    return chosen


def split(
    recordings: Sequence[Any],
    test_recordings: Sequence[Any],
    train: TimeRange,
    test: TimeRange,
    gap_s: float,
) -> tuple[list[Stretch], list[Stretch]]:
    """Split by time; `split_time`, or other recordings for the test."""
    if not gap_s >= 0:
        raise ValueError(f"gap_s={gap_s} must be 0 or more")
    training, held_out = split_time(recordings, train, test, gap_s, bool(test_recordings))
    if test_recordings:
        held_out = limited(test_recordings, test, "test")
    return training, held_out


def check_windows(plan: Plan) -> None:
    """Refuse stretches that are too short before anything is read."""
    for test, name in ((False, "train"), (True, "test")):
        try:
            plan.windows([], test=test)
        except ValueError as error:
            raise ValueError(
                f"{name}_start_s, {name}_end_s, {name}_duration_s and gap_s leave nothing to {name} on: {error}"
            ) from None
