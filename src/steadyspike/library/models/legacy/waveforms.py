"""Networks of older works, from their checkpoints of torch; nothing in a file is ever run.

`convert_legacy` knows the YASS networks (`steadyspike.library.models.legacy.yass`), and the classifiers and the
autoencoder published with github.com/henryxcham/spike_detection_classification (Apache-2.0): a CNN and a GRU that
tell spikes from noise in waveforms of zebra finches, and an autoencoder with three latent numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.library.models.config import ModelError, NetworkConfig
from steadyspike.library.models.folder import SavedModel
from steadyspike.library.models.legacy.yass import (
    convert_yass_denoiser,
    convert_yass_detector,
    network_of,
    published_card,
    read_weights,
)
from steadyspike.library.models.waveforms import SpikeClassifier, WaveformAutoencoderModel, WaveformConfig

if TYPE_CHECKING:
    from steadyspike.library.models.legacy.convert import ImportOptions

ZEBRA_FINCH_MEAN, ZEBRA_FINCH_SCALE = -20.694596502510173, 126.48388428383342
"""Mean and standard deviation of the waveforms of channels 9, 16 and 33, which the checkpoints don't hold."""
ZEBRA_FINCH_SAMPLES, ZEBRA_FINCH_PEAK = 42, 14
"""Samples of a waveform, and which one is the trough of most spikes of those channels."""
ZEBRA_FINCH_SOURCE = "github.com/henryxcham/spike_detection_classification"
ZEBRA_FINCH_ORIGIN = (
    "apache-2.0",
    f"{ZEBRA_FINCH_SOURCE} (Apache-2.0). Waveforms of 42 samples on one channel, "
    "standardized by the mean and standard deviation of its training channels 9, 16 and 33; channel 11 was for "
    "validation, channel 40 for the test.",
)

# a weight that only networks of this kind have
MARKS = {
    "zebra_finch_cnn": "conv1.weight",
    "zebra_finch_gru": "gru1.weight_ih_l0",
    "zebra_finch_autoencoder": "encoder.0.weight",
    "yass_detector": "temporal_filter1.0.weight",
    "yass_denoiser": "conv1.0.weight",
}


def convert_legacy(path: str | Path, kind: str | None = None) -> SavedModel:
    """Convert a checkpoint of torch into a model.

    Parameters
    ----------
    path : str or Path
        A `.pt` or `.pth` file with a dictionary of weights. It is read with ``weights_only=True``.
    kind : str or None, default: None
        "zebra_finch_cnn", "zebra_finch_gru", "zebra_finch_autoencoder", "yass_detector" or "yass_denoiser"; None: as
        the names of its weights tell.

    Returns
    -------
    model : SavedModel
        To use, or to save with ``model.save(folder)``.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ModelError
        If it holds no weights of such a network.
    ValueError
        If the kind is not known.
    """
    if kind is not None and kind not in MARKS:
        raise ValueError(f"kind={kind!r} is not known; allowed: {', '.join(MARKS)}")
    weights = read_weights(path)
    if kind is None:
        kind = next((name for name, mark in MARKS.items() if mark in weights), None)
    if kind is None or MARKS[kind] not in weights:
        raise ModelError(
            f"{path}: holds the weights of no {kind or 'known network'}; known: {', '.join(MARKS)}. "
            f"It has {', '.join(map(str, list(weights)[:5]))}"
        )
    return _CONVERTERS[kind](path, weights)


def from_torch(file: Path, options: ImportOptions) -> SavedModel:
    """Convert as `convert_legacy` does, for `legacy.convert`; the sampling frequency is taken over."""
    model = convert_legacy(file)
    if options.sampling_frequency is None or not isinstance(model.config, WaveformConfig):
        return model
    return replace(
        model, config=model.config.model_copy(update={"sampling_frequency": options.sampling_frequency})
    )


def _cnn(path: str | Path, weights: Mapping[str, Any]) -> SavedModel:
    convolution, hidden = weights["conv1.weight"], weights.get("fc1.bias", ())
    sizes = dict(num_channels=convolution.shape[1], features=convolution.shape[0], hidden=len(hidden))
    return _classifier("waveform_cnn", sizes, path, weights)


def _gru(path: str | Path, weights: Mapping[str, Any]) -> SavedModel:
    inputs, hidden = weights["gru1.weight_ih_l0"], weights.get("fc1.bias", ())
    sizes = dict(num_channels=inputs.shape[1], features=inputs.shape[0] // 3, hidden=len(hidden))
    return _classifier("waveform_gru", sizes, path, weights)


def _classifier(name: str, sizes: dict[str, Any], path: str | Path, weights: Mapping[str, Any]) -> SavedModel:
    sizes = dict(num_samples=ZEBRA_FINCH_SAMPLES, **sizes)
    return _converted(SpikeClassifier, "classifier of spikes and noise", name, sizes, path, weights)


def _autoencoder(path: str | Path, weights: Mapping[str, Any]) -> SavedModel:
    hidden, inputs = weights["encoder.0.weight"].shape
    sizes = dict(num_samples=inputs, hidden=hidden, latent=len(weights.get("encoder.2.bias", ())))
    what, name = "autoencoder of waveforms", "waveform_autoencoder"
    return _converted(WaveformAutoencoderModel, what, name, sizes, path, weights)


def _converted(
    model: type[SavedModel],
    what: str,
    name: str,
    sizes: dict[str, Any],
    path: str | Path,
    weights: Mapping[str, Any],
) -> SavedModel:
    network = network_of(path, name, sizes, weights)
    described: dict[str, Any] = dict(
        num_samples=network.sizes["num_samples"],
        num_channels=network.sizes["num_channels"],
        mean=ZEBRA_FINCH_MEAN,
        scale=ZEBRA_FINCH_SCALE,
        nbefore=ZEBRA_FINCH_PEAK if network.sizes["num_samples"] == ZEBRA_FINCH_SAMPLES else None,
        extra={"converted_from": Path(path).name},
    )
    config = model.config_class(network=NetworkConfig(name=name, sizes=network.sizes), **described)
    return model(network, config, published_card(f"zebra finch {what}", path, *ZEBRA_FINCH_ORIGIN))


_CONVERTERS: dict[str, Callable[[str | Path, Mapping[str, Any]], SavedModel]] = {
    "zebra_finch_cnn": _cnn,
    "zebra_finch_gru": _gru,
    "zebra_finch_autoencoder": _autoencoder,
    "yass_detector": lambda path, _: convert_yass_detector(path),
    "yass_denoiser": lambda path, _: convert_yass_denoiser(path),
}
