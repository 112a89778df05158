"""Weights of DeepInterpolation's Keras models: read into our network, and written back.

Files of Keras' legacy format (``.h5``) are read with h5py alone. Their graph is data in JSON, which is compared with
that of the paper's network; no layer of a file is ever built or run here, and nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.aside import written_aside
from steadyspike.library.models.keras.graph import (
    KerasFileError,
    conv_layers,
    graph_of,
    input_shape,
    open_legacy,
    unet_graph,
)

if TYPE_CHECKING:
    import h5py

    from steadyspike.networks.unet import UNetEphys1024

NUM_LAYERS = 10


def read_keras_unet(
    file: str | Path, omission: int = 1, pre: int | None = None, arrangement: str = "interleaved"
) -> UNetEphys1024:
    """Read the paper's network for electrophysiology (`unet_single_ephys_1024`) from a legacy Keras file.

    Parameters
    ----------
    file : str or Path
        A ``.h5`` file of a model or of its weights, of Keras 2 or 3.
    omission : int, default: 1
        Hidden samples on each side of the predicted one, which the file does not tell.
    pre : int or None, default: None
        Samples before the gap; None: half of the input's channels.
    arrangement : {"interleaved", "packed", "lattice"}, default: "interleaved"
        Of the contacts, as `UNetEphys1024` takes it.

    Returns
    -------
    network : UNetEphys1024
        In evaluation mode, on the CPU, as wide as the file says.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    KerasFileError
        If it is no legacy Keras file, or holds another network or weights of other shapes.
    """
    import torch

    from steadyspike.networks.unet import UNetEphys1024

    with open_legacy(file) as stored:
        graph = graph_of(stored, file)
        group = stored.get("model_weights", stored)
        weights = _weights_of_layers(group, file)
        names = conv_layers(graph) if graph else [name for name, own in weights.items() if own]
        if len(names) != NUM_LAYERS or not set(names) <= weights.keys():
            raise KerasFileError(
                f"{file}: has weights for {len(names)} layers, the paper's network has {NUM_LAYERS}"
            )
        first = weights[names[0]]
        if len(first) != 2 or first[0].ndim != 4:
            raise KerasFileError(f"{file}: layer {names[0]!r} is no convolution with kernel and bias")
        frames, width = first[0].shape[2:]
        pre = frames // 2 if pre is None else pre
        if not 0 <= pre <= frames:
            raise KerasFileError(f"{file}: pre={pre}; allowed: 0 to the {frames} frames of the input")
        if graph and graph != unet_graph(*input_shape(graph)[:2], frames, width):
            raise KerasFileError(f"{file}: its graph is not that of unet_single_ephys_1024")
        # shapes are known before anything is as large as a file may claim
        with torch.device("meta"):
            shapes = UNetEphys1024(pre, frames - pre, omission, width, arrangement).state_dict()
        state = {}
        for layer, name in zip(_layer_names(), names, strict=True):
            _check_shapes(file, name, weights[name], shapes, layer)
        network = UNetEphys1024(pre, frames - pre, omission, width, arrangement)
        for layer, name in zip(_layer_names(), names, strict=True):
            kernel, bias = (np.asarray(values[()], dtype="float32") for values in weights[name])
            state[f"{layer}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
            state[f"{layer}.bias"] = torch.from_numpy(bias)
    if not all(values.isfinite().all() for values in state.values()):
        raise KerasFileError(f"{file}: holds weights that are not finite")
    network.load_state_dict(state, strict=True)
    return network.eval()


def write_keras_unet(
    network: UNetEphys1024, file: str | Path, rows: int = 384, columns: int = 2, overwrite: bool = False
) -> None:
    """Write the paper's network to a legacy Keras file, which Keras 2 and 3 load with ``compile=False``.

    Parameters
    ----------
    network : UNetEphys1024
        On any device.
    file : str or Path
        Name that ends in ``.h5``. Written whole or not at all.
    rows, columns : int, default: 384 and 2
        Of the images that the Keras model takes; multiples of 16 and 2.
    overwrite : bool, default: False
        Whether a file that is already there is replaced.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ValueError
        If the name or the shape of the image cannot work.
    """
    import json

    import h5py

    file = Path(file).absolute()
    if file.suffix.lower() not in (".h5", ".hdf5"):
        raise ValueError(f"file={str(file)!r}; allowed: a name that ends in .h5")
    if rows < 16 or rows % 16 or columns < 2 or columns % 2:
        raise ValueError(f"rows={rows}, columns={columns}; allowed: multiples of 16 and of 2")
    if file.exists() and not overwrite:
        raise FileExistsError(f"{file} exists already; overwrite=True replaces it")
    frames, width = network.pre + network.post, network.sizes["width"]
    graph = unet_graph(rows, columns, frames, int(width))  # type: ignore[call-overload]
    with written_aside(file) as aside, h5py.File(aside, "w") as stored:
        stored.attrs["model_config"] = json.dumps(graph.to_config())
        stored.attrs["keras_version"], stored.attrs["backend"] = "2.15.0", "tensorflow"
        _write_weights(stored.create_group("model_weights"), graph.names(), network)


def _layer_names() -> list[str]:
    return [f"conv{number}" for number in (1, 2, 3, 4, 5, 7, 8, 9, 10)] + ["out"]


def _names(attributes: Any, key: str) -> list[str]:
    """Return a list of names; Keras cuts long ones into `key0`, `key1`, ..."""
    parts = [key] if key in attributes else []
    while not parts or (key not in attributes and f"{key}{len(parts)}" in attributes):
        if f"{key}{len(parts)}" not in attributes:
            return []
        parts.append(f"{key}{len(parts)}")
    names = np.concatenate([np.atleast_1d(attributes[part]) for part in parts])
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _weights_of_layers(group: h5py.Group, file: str | Path) -> dict[str, list[h5py.Dataset]]:
    """Return the data sets of each layer, unread, in the order of the file."""
    import h5py

    weights = {}
    for layer in _names(group.attrs, "layer_names"):
        if layer not in group:
            raise KerasFileError(f"{file}: the weights of layer {layer!r} are missing")
        own = []
        for name in _names(group[layer].attrs, "weight_names"):
            values = group[layer].get(name)
            # neither may lead out of the file
            if not isinstance(values, h5py.Dataset) or values.external or values.is_virtual:
                raise KerasFileError(f"{file}: weight {name!r} of layer {layer!r} is missing")
            if values.file.filename != group.file.filename:
                raise KerasFileError(f"{file}: weight {name!r} of layer {layer!r} lies in another file")
            own.append(values)
        weights[layer] = own
    if not weights:
        raise KerasFileError(f"{file}: is no legacy Keras file: it names no layers")
    return weights


def _check_shapes(file: Any, name: str, own: list[Any], shapes: dict[str, Any], layer: str) -> None:
    outputs, inputs, *kernel = shapes[f"{layer}.weight"].shape
    expected = [(*kernel, inputs, outputs), (outputs,)]
    found = [values.shape for values in own]
    if found != expected:
        raise KerasFileError(f"{file}: layer {name!r} has weights of shapes {found}, should be {expected}")
    kinds = {values.dtype.kind for values in own}
    if kinds != {"f"}:
        raise KerasFileError(f"{file}: layer {name!r} has weights that are no floating-point numbers")


def _write_weights(group: h5py.Group, names: list[str], network: UNetEphys1024) -> None:
    group.attrs["layer_names"] = np.array([name.encode() for name in names])
    group.attrs["keras_version"], group.attrs["backend"] = "2.15.0", "tensorflow"
    layers = dict(zip((name for name in names if name.startswith("conv2d")), network.layers(), strict=True))
    for name in names:
        own = group.create_group(name)
        weights = {}
        if name in layers:
            kernel = layers[name].weight.detach().cpu().numpy().transpose(2, 3, 1, 0)
            bias = layers[name].bias
            assert bias is not None
            weights = {f"{name}/kernel:0": kernel, f"{name}/bias:0": bias.detach().cpu().numpy()}
        own.attrs["weight_names"] = np.array([weight.encode() for weight in weights], dtype="S64")
        for weight, values in weights.items():
            own.create_dataset(weight, data=np.ascontiguousarray(values, dtype="float32"))
