"""Graphs of Keras models as plain data: read from their JSON, checked, compared and written, never built."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.library.models.config import looks_like

if TYPE_CHECKING:
    import h5py

MAX_CONFIG_BYTES = 10_000_000
# of the paper's U-Net
NUM_CONVOLUTIONS = 10
# layers that only compute: no code of the file's own, no access to anything outside
KNOWN_LAYERS = (
    "InputLayer", "Conv2D", "Conv2DTranspose", "SeparableConv2D", "DepthwiseConv2D", "Dense", "MaxPooling2D",
    "AveragePooling2D", "UpSampling2D", "ZeroPadding2D", "Cropping2D", "Reshape", "Permute", "Concatenate", "Add",
    "Subtract", "Multiply", "Average", "Maximum", "Activation", "ReLU", "LeakyReLU", "ELU", "PReLU",
    "BatchNormalization", "LayerNormalization", "Dropout", "SpatialDropout2D", "GaussianNoise",
)  # fmt: skip
ACTIVATIONS = (
    "linear", "relu", "elu", "selu", "tanh", "sigmoid", "softplus", "swish", "silu", "gelu", "leaky_relu",
)  # fmt: skip
# what decides about a layer's output, and Keras' defaults where a file leaves it out
DECIDING: dict[str, dict[str, Any]] = {
    "InputLayer": {"batch_shape": None},
    "Conv2D": {
        **{"filters": None, "kernel_size": None, "strides": [1, 1], "padding": "valid"},
        **{"dilation_rate": [1, 1], "groups": 1, "activation": "linear", "use_bias": True},
        "data_format": "channels_last",
    },
    "MaxPooling2D": {
        **{"pool_size": [2, 2], "strides": None, "padding": "valid"},
        "data_format": "channels_last",
    },
    "UpSampling2D": {"size": [2, 2], "interpolation": "nearest", "data_format": "channels_last"},
    "Concatenate": {"axis": -1},
}


class KerasFileError(ValueError):
    """A Keras file that cannot be used; the message names the file and what is wrong."""


@dataclass(frozen=True)
class Layer:
    """A layer and the layers it reads, compared by what they compute, not by their names."""

    kind: str
    settings: tuple[tuple[str, Any], ...]
    inputs: tuple[Layer, ...]
    name: str = field(compare=False)

    def walk(self) -> list[Layer]:
        """Return all layers that lead here, each once and after its inputs."""
        found: dict[str, Layer] = {}

        def visit(layer: Layer) -> None:
            if layer.name not in found:
                for one in layer.inputs:
                    visit(one)
                found[layer.name] = layer

        visit(self)
        return list(found.values())

    def names(self) -> list[str]:
        """Names of all layers, in the order of computation."""
        return [layer.name for layer in self.walk()]

    def to_config(self) -> dict[str, Any]:
        """Return the JSON of Keras 2 for the model that ends here."""
        layers = []
        for layer in self.walk():
            settings = {"name": layer.name, **dict(layer.settings)}
            if layer.kind == "InputLayer":
                shape = settings.pop("batch_shape")
                settings |= {"batch_input_shape": shape, "dtype": "float32", "sparse": False}
            inbound = [[[one.name, 0, 0, {}] for one in layer.inputs]] if layer.inputs else []
            own = {"name": layer.name, "config": settings, "inbound_nodes": inbound}
            layers.append({"class_name": layer.kind, **own})
        ends = {"input_layers": [[self.names()[0], 0, 0]], "output_layers": [[self.name, 0, 0]]}
        return {
            "class_name": "Functional",
            "config": {"name": "unet_single_ephys_1024", "layers": layers, **ends},
        }


def unet_graph(rows: int | None, columns: int | None, frames: int, width: int) -> Layer:
    """Return the graph of `unet_single_ephys_1024` (Lecoq et al. 2021) for images of some shape."""
    numbers = iter(range(NUM_CONVOLUTIONS))

    def layer(kind: str, name: str, *inputs: Layer, **settings: Any) -> Layer:
        return Layer(kind, _settings(kind, settings), inputs, name)

    def conv(kernel: list[int], filters: int, source: Layer, activation: str = "relu") -> Layer:
        number = next(numbers)
        settings: dict[str, Any] = {"filters": filters, "kernel_size": kernel}
        settings |= {"padding": "same", "activation": activation}
        return layer("Conv2D", f"conv2d_{number}" if number else "conv2d", source, **settings)

    hidden = layer("InputLayer", "input_1", batch_shape=[None, rows, columns, frames])
    skipped = []
    for level in range(4):
        hidden = conv([3, 1] if level else [2, 2], width * 2**level, hidden)
        skipped.append(hidden)
        size = [2, 1] if level else [2, 2]
        hidden = layer("MaxPooling2D", f"max_pooling2d_{level}", hidden, pool_size=size, strides=size)
    hidden = conv([3, 1], width * 16, hidden)
    for level in (3, 2, 1, 0):
        up = layer("UpSampling2D", f"up_sampling2d_{level}", hidden, size=[2, 1] if level else [2, 2])
        hidden = layer("Concatenate", f"concatenate_{level}", up, skipped[level])
        hidden = conv([3, 1] if level else [2, 2], width * 2**level, hidden)
    return conv([1, 1], 1, hidden, "linear")


def graph_of(stored: Any, file: str | Path) -> Layer | None:
    """Read the graph of an open legacy file; None if it holds weights alone."""
    config = stored.attrs.get("model_config")
    if config is None:
        return None
    return _graph_from(_parsed(config, file), file)


def read_graph(file: str | Path) -> Layer | None:
    """Read and check the graph of a Keras file (``.h5`` or ``.keras``), without Keras.

    Returns the output layer, or None if the file holds weights alone. Raises `FileNotFoundError`, or `KerasFileError`
    if it is no Keras file, or has layers that are not known to be harmless, such as Lambda.
    """
    if Path(file).suffix.lower() != ".keras":
        with open_legacy(file) as stored:
            return graph_of(stored, file)
    _check_is_there(file)
    try:
        with zipfile.ZipFile(file) as archive:
            known = _member(archive, "metadata.json", file) if "metadata.json" in archive.namelist() else {}
            version = str(known.get("keras_version"))
            if version.startswith("2."):
                raise KerasFileError(
                    f"{file}: was saved by Keras {version}, and Keras 3 reads no .keras file of that; save it there as "
                    "model.save('model.h5'), and use that"
                )
            return _graph_from(_member(archive, "config.json", file), file)
    except zipfile.BadZipFile:
        raise KerasFileError(f"{file}: is no .keras file: it {looks_like(Path(file))}") from None
    except (KeyError, AttributeError) as error:
        raise KerasFileError(f"{file}: is no .keras file: {error}") from None


def input_shape(graph: Layer) -> tuple[int | None, int | None, int]:
    """Rows, columns and frames that a model takes."""
    first = next(layer for layer in graph.walk() if layer.kind == "InputLayer")
    shape = dict(first.settings)["batch_shape"]
    return tuple(shape[1:])


def conv_layers(graph: Layer) -> list[str]:
    """Names of the convolutions in the order of computation."""
    return [layer.name for layer in graph.walk() if layer.kind == "Conv2D"]


def _member(archive: zipfile.ZipFile, name: str, file: str | Path) -> Any:
    # read no further than allowed, whatever the archive says of the size
    with archive.open(name) as member:
        return _parsed(member.read(MAX_CONFIG_BYTES + 1), file)


def _parsed(config: Any, file: str | Path) -> Any:
    if len(config) > MAX_CONFIG_BYTES:
        raise KerasFileError(f"{file}: its configuration is larger than {MAX_CONFIG_BYTES} bytes")
    try:
        return json.loads(config)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KerasFileError(f"{file}: its model_config is not valid JSON: {error}") from None


def _graph_from(content: Any, file: str | Path) -> Layer:
    """Turn a configuration into its output layer, refusing what is not known."""
    try:
        config = content["config"]
        if content["class_name"] not in ("Functional", "Model"):
            raise KerasFileError(f"{file}: is a {content['class_name']!r} model; allowed: Functional")
        described = {one["config"]["name"]: one for one in config["layers"]}
        outputs = list(_references(config["output_layers"]))
        inputs = list(_references(config["input_layers"]))
        if len(outputs) != 1 or len(inputs) != 1:
            raise KerasFileError(
                f"{file}: has {len(inputs)} inputs and {len(outputs)} outputs; allowed: one each"
            )
        for one in described.values():
            _check_harmless(one, file)
        graph = _resolved(outputs[0], described, file)
    except (KeyError, TypeError, AttributeError) as error:
        raise KerasFileError(f"{file}: its model_config cannot be understood: {error!r}") from None
    shape = input_shape(graph)
    if len(shape) != 3 or not isinstance(shape[2], int) or not 1 <= shape[2] <= 100_000:
        raise KerasFileError(f"{file}: takes input of shape {shape}; allowed: rows, columns and frames")
    return graph


def _resolved(output: str, described: dict[str, Any], file: str | Path) -> Layer:
    """Follow the layers of a configuration back from the output, each once."""
    found: dict[str, Layer] = {}

    def layer(name: str, readers: tuple[str, ...]) -> Layer:
        if name in readers or len(readers) > 500:
            raise KerasFileError(f"{file}: layer {name!r} reads itself")
        if name not in found:
            one = described[name]
            if len(one["inbound_nodes"]) > 1:
                raise KerasFileError(f"{file}: layer {name!r} is used more than once")
            inputs = tuple(layer(source, (*readers, name)) for source in _references(one["inbound_nodes"]))
            kind = one["class_name"]
            found[name] = Layer(kind, _settings(kind, one["config"]), inputs, name)
        return found[name]

    return layer(output, ())


def _references(nodes: Any) -> Iterator[str]:
    """Names of the layers that Keras 2 writes as lists [name, 0, 0, ...], and Keras 3 as tensors with a history."""
    if isinstance(nodes, dict):
        if "keras_history" in nodes:
            yield nodes["keras_history"][0]
            return
        for value in nodes.values():
            yield from _references(value)
    elif isinstance(nodes, list):
        if len(nodes) >= 3 and isinstance(nodes[0], str):
            yield nodes[0]
            return
        for value in nodes:
            yield from _references(value)


def _check_harmless(described: dict[str, Any], file: str | Path) -> None:
    kind, name = described["class_name"], described["config"]["name"]
    if kind not in KNOWN_LAYERS:
        raise KerasFileError(
            f"{file}: layer {name!r} is a {kind!r}, which may run code of the file; allowed: {', '.join(KNOWN_LAYERS)}"
        )
    foreign = next(_foreign(described), None)
    if foreign is not None:
        raise KerasFileError(f"{file}: layer {name!r} holds {foreign!r}, which is not one of Keras' own")
    activation = described["config"].get("activation")
    if activation is not None and activation not in ACTIVATIONS:
        raise KerasFileError(
            f"{file}: layer {name!r} has the activation {activation!r}; allowed: {', '.join(ACTIVATIONS)}"
        )


def _foreign(part: Any) -> Iterator[str]:
    """Find objects inside a layer (initializers and so on) that would bring code of their own."""
    if isinstance(part, dict):
        kind, module = part.get("class_name"), part.get("module")
        if part.get("registered_name") not in (None, kind) or kind in ("Lambda", "__lambda__", "function"):
            yield str(part.get("registered_name") or kind)
        if module is not None and str(module).split(".")[0] not in ("keras", "builtins"):
            yield f"{module}.{kind}"
    if isinstance(part, dict | list):
        for value in part.values() if isinstance(part, dict) else part:
            yield from _foreign(value)


def _settings(kind: str, config: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return what decides about a layer's output, in a form that compares."""
    config = dict(config)
    if kind == "InputLayer" and "batch_input_shape" in config:
        config["batch_shape"] = config["batch_input_shape"]
    if kind == "MaxPooling2D" and config.get("strides") is None:
        config["strides"] = config.get("pool_size")
    if kind == "Concatenate" and config.get("axis") == 3:
        config["axis"] = -1
    return tuple((key, _frozen(config.get(key, default))) for key, default in DECIDING.get(kind, {}).items())


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list | tuple) else value


def _check_is_there(file: str | Path) -> None:
    if not Path(file).is_file():
        raise FileNotFoundError(f"there is no Keras file {file}")


def open_legacy(file: str | Path) -> h5py.File:
    """Open a legacy Keras file to read.

    Raises `FileNotFoundError`, or `KerasFileError` if it is no HDF5 file.
    """
    import h5py

    _check_is_there(file)
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise KerasFileError(f"{file}: is no HDF5 file: it {looks_like(Path(file))} ({error})") from None
