"""Keras models of DeepInterpolation as the network of a recording: by our own network, or by TensorFlow."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from steadyspike.core.probe_layout import ProbeLayout, layout_of
from steadyspike.library.models.keras.graph import KerasFileError, Layer, input_shape, read_graph, unet_graph
from steadyspike.library.models.keras.weights import read_keras_unet

if TYPE_CHECKING:
    from torch import Tensor

ORDER_OF_ARRANGEMENTS = ("interleaved", "packed", "lattice")
FRAMES_AT_ONCE = 64


class KerasModel(BaseModel):
    """How to use a Keras file on a recording: what the file itself does not tell.

    Parameters
    ----------
    file : str
        A model as a ``.h5`` or ``.keras`` file.
    pre : int or None, default: None
        Samples before the gap; None: half of the input's channels.
    omission : int, default: 1
        Hidden samples on each side of the predicted one.
    arrangement : {"interleaved", "packed", "lattice"} or None, default: None
        Of the contacts in the image (`steadyspike.core.probe_layout.layout_of`). None: the first that gives images
        of the shape which the model takes; "interleaved" is the paper's, "packed" that of SpikeInterface.
    normalization : {"global", "channel", "none"}, default: "global"
        As `steadyspike.core.normalization.measure_normalization` takes it; "global" is the paper's.
    sampling_frequency : float or None, default: None
        In Hz, of the recordings trained on; None: any recording is accepted.
    backend : {"auto", "torch", "tensorflow"}, default: "auto"
        "torch" runs the paper's network for electrophysiology from a ``.h5`` file without TensorFlow; "tensorflow",
        which ``pip install "steadyspike[tensorflow]"`` brings, any model with one input and one output. "auto":
        "torch" where it can.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    pre: int | None = Field(default=None, ge=0)
    omission: int = Field(default=1, ge=0)
    arrangement: Literal["interleaved", "packed", "lattice"] | None = None
    normalization: Literal["global", "channel", "none"] = "global"
    sampling_frequency: float | None = Field(default=None, gt=0)
    backend: Literal["auto", "torch", "tensorflow"] = "auto"

    def resolved(self) -> Self:
        """Return a copy with an absolute path and the backend that "auto" stands for.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        KerasFileError
            If the file cannot be used, or not by this backend.
        """
        path = Path(self.file).expanduser().absolute()
        graph = read_graph(path)
        ours = path.suffix.lower() != ".keras" and (graph is None or _is_paper_unet(graph))
        backend = self.backend
        if backend == "auto":
            backend = "torch" if ours else "tensorflow"
        if backend == "torch" and not ours:
            raise KerasFileError(
                f"{path}: backend='torch' runs .h5 files of unet_single_ephys_1024 only; allowed: 'tensorflow'"
            )
        if backend == "tensorflow" and graph is None:
            raise KerasFileError(f"{path}: holds weights alone; allowed with TensorFlow: a whole model")
        if graph is not None and self.pre is not None and self.pre > input_shape(graph)[2]:
            raise KerasFileError(
                f"{path}: pre={self.pre}; allowed: 0 to {input_shape(graph)[2]}, its input's frames"
            )
        return self.model_copy(update={"file": str(path), "backend": backend})

    def layout(self, recording: Any, dead: Any = None) -> ProbeLayout:
        """Lay out a recording as the model takes it.

        Raises
        ------
        KerasFileError
            If no arrangement gives images of the shape that the model takes.
        """
        graph = read_graph(self.file)
        rows, columns = input_shape(graph)[:2] if graph is not None else (None, None)
        choices = (self.arrangement,) if self.arrangement else ORDER_OF_ARRANGEMENTS
        shapes = {}
        for arrangement in choices:
            layout = layout_of(recording, dead=dead, arrangement=arrangement)
            shapes[arrangement] = layout.shape[1:]
            if rows in (None, layout.shape[1]) and columns in (None, layout.shape[2]):
                return layout
        raise KerasFileError(
            f"{self.file}: takes images of {rows} rows and {columns} columns; those of the recording are {shapes}"
        )

    def network(self, device: str) -> Any:
        """Load it: a `torch.nn.Module` on the device, or a `TensorflowNetwork`."""
        if self.resolved().backend == "tensorflow":
            return TensorflowNetwork(self)
        return read_keras_unet(self.file, self.omission, self.pre, self.arrangement or "interleaved").to(
            device
        )


class TensorflowNetwork:
    """A Keras model that TensorFlow runs, called like those of `steadyspike.networks`.

    TensorFlow decides about threads and GPUs.
    """

    def __init__(self, model: KerasModel) -> None:
        if importlib.util.find_spec("tensorflow") is None:
            raise ImportError(
                f'{model.file} needs TensorFlow, which is not installed; pip install "steadyspike[tensorflow]"'
            )
        graph = read_graph(model.file)  # refuses layers that run code, which Keras would run in .h5 files
        if graph is None:
            raise KerasFileError(f"{model.file}: holds weights alone; allowed with TensorFlow: a whole model")
        import tensorflow as tf

        self.keras = tf.keras.models.load_model(model.file, compile=False)
        self.frames = input_shape(graph)[2]
        self.pre = self.frames // 2 if model.pre is None else model.pre
        self.omission = model.omission
        self.context = (self.pre + self.omission, self.frames - self.pre + self.omission)

    def __call__(self, image: Tensor, mask: Tensor | None = None) -> Tensor:
        """Predict all samples of a chunk but its context; the mask is not used."""
        import numpy as np
        import torch

        images = image.cpu().numpy()
        before, after = self.context
        time = images.shape[1] - before - after
        starts = np.r_[: self.pre, before + self.omission + 1 : before + after + 1]
        predicted = np.empty((len(images), time, *images.shape[2:]), "float32")
        for number, one in enumerate(images):
            for start in range(0, time, FRAMES_AT_ONCE):
                frames = np.arange(start, min(start + FRAMES_AT_ONCE, time))
                windows = one[frames[:, None] + starts].transpose(0, 2, 3, 1)
                predicted[number, frames] = np.asarray(self.keras(windows, training=False))[..., 0]
        return torch.from_numpy(predicted).to(image.device)

    def bytes_needed(self, rows: int, columns: int, images: int = 1) -> tuple[float, float]:
        """Estimate memory as `steadyspike.networks.cost.bytes_needed` does; a pass has a fixed size here."""
        sizes = [1] + [int(weights.shape[-1]) for weights in self.keras.weights]
        fixed = 4.0 * FRAMES_AT_ONCE * rows * columns * (2 * max(sizes) + self.frames)
        return fixed, 8.0 * rows * columns * images


def _is_paper_unet(graph: Layer) -> bool:
    rows, columns, frames = input_shape(graph)
    first = next((layer for layer in graph.walk() if layer.kind == "Conv2D"), None)
    return first is not None and graph == unet_graph(rows, columns, frames, dict(first.settings)["filters"])
