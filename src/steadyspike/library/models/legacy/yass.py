"""The published YASS networks, from their `.pt` files.

Lee, Carlson, Shokri, Yao, Goetz, Hagen, Batty, Chichilnisky, Einevoll, Paninski, "YASS: yet another spike sorter",
NeurIPS 2017; the weights as published with Boussard, Varol, Lee, Dethe, Paninski, "Three-dimensional spike localization
and improved motion correction for Neuropixels recordings", NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steadyspike.library.models.config import ModelError, NetworkConfig, looks_like
from steadyspike.library.models.spikes import (
    SpikeDetectorConfig,
    SpikeDetectorModel,
    WaveformDenoiserConfig,
    WaveformDenoiserModel,
)
from steadyspike.networks import make_network

SAMPLING_FREQUENCY = 30_000.0
TROUGH_SAMPLE = 42
RADIUS_UM = 70.0
EXCLUDE_SAMPLES = 5
ORIGIN = "mit", "int-brain-lab/spikes_localization_registration (MIT). Traces are taken in noise levels."
UNUSED_BY_DENOISER = ("conv3.0.weight", "conv3.0.bias")


def convert_yass_detector(path: str | Path) -> SpikeDetectorModel:
    """Convert a published spike detector (``detect_np1.pt``, ``detect_np2.pt``).

    Parameters
    ----------
    path : str or Path
        The file. It is read with ``weights_only=True``: nothing in it is run.

    Returns
    -------
    model : SpikeDetectorModel
        To use, or to save with ``model.save(folder)``.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ModelError
        If its weights are not those of such a network.
    """
    weights = read_weights(path)
    out, filters = weights.get("out.weight"), weights.get("temporal_filter2.0.weight")
    if out is None or filters is None:
        raise ModelError(f"{path}: is no YASS detector: it has {', '.join(map(str, weights))}")
    features = filters.shape[0]
    sizes = dict(neighbours=out.shape[1] // features, filters=filters.shape[1], features=features)
    taps = weights["temporal_filter1.0.weight"].shape[2]
    network = network_of(path, "yass_detector", {**sizes, "taps": taps}, weights)
    config = SpikeDetectorConfig(
        network=NetworkConfig(name="yass_detector", sizes=network.sizes),
        sampling_frequency=SAMPLING_FREQUENCY,
        radius_um=RADIUS_UM,
        probability=0.5,
        exclude_radius_um=RADIUS_UM,
        exclude_ms=EXCLUDE_SAMPLES * 1000 / SAMPLING_FREQUENCY,
        extra={"converted_from": Path(path).name},
    )
    return SpikeDetectorModel(network, config, published_card("YASS spike detector", path, *ORIGIN))


def convert_yass_denoiser(path: str | Path) -> WaveformDenoiserModel:
    """Convert the published waveform denoiser (``denoise.pt``), as `convert_yass_detector` does a detector.

    Its third convolution is not used.

    Parameters
    ----------
    path : str or Path
        The file. It is read with ``weights_only=True``: nothing in it is run.

    Returns
    -------
    model : WaveformDenoiserModel
        To use, or to save with ``model.save(folder)``.

    Raises
    ------
    FileNotFoundError, ModelError
        As `convert_yass_detector`.
    """
    weights = {name: values for name, values in read_weights(path).items() if name not in UNUSED_BY_DENOISER}
    first, second, out = (weights.get(f"{name}.weight") for name in ("conv1.0", "conv2.0", "out"))
    if first is None or second is None or out is None:
        raise ModelError(f"{path}: is no YASS denoiser: it has {', '.join(map(str, weights))}")
    filters, taps = ([one.shape[axis] for one in (first, second)] for axis in (0, 2))
    sizes = dict(num_samples=out.shape[0], filters=filters, taps=taps)
    network = network_of(path, "yass_denoiser", sizes, weights)
    config = WaveformDenoiserConfig(
        network=NetworkConfig(name="yass_denoiser", sizes=network.sizes),
        sampling_frequency=SAMPLING_FREQUENCY,
        samples_before=TROUGH_SAMPLE,
        num_samples=network.num_samples,
        extra={"converted_from": Path(path).name},
    )
    return WaveformDenoiserModel(network, config, published_card("YASS waveform denoiser", path, *ORIGIN))


def read_weights(path: str | Path) -> dict[str, Any]:
    """Read a dictionary of weights from a checkpoint of torch, without running anything in it."""
    import torch

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        # torch raises errors of many kinds for files of other kinds, and advises to run what is in them
        with Path(path).open("rb") as file:
            is_checkpoint = file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04")
        what = "holds more than plain weights, which could run code; save its state_dict()"
        raise ModelError(
            f"{path}: {what if is_checkpoint else f'is no checkpoint of torch: it {looks_like(Path(path))}'}"
        ) from None
    if not isinstance(weights, Mapping) or not all(isinstance(one, torch.Tensor) for one in weights.values()):
        raise ModelError(f"{path}: holds no plain weights, but {type(weights).__name__}")
    return dict(weights)


def network_of(path: str | Path, name: str, sizes: dict[str, Any], weights: Mapping[str, Any]) -> Any:
    """Make a network with the weights of a file, in evaluation mode."""
    try:
        network: Any = make_network(name, sizes)
        network.load_state_dict(weights, strict=True)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: {error}") from None
    return network.eval()


def published_card(what: str, path: str | Path, license_id: str, source: str) -> str:
    """Write the card of published weights: what they are, and where they come from."""
    return (
        f"---\nlicense: {license_id}\nlibrary_name: steadyspike\ntags: [electrophysiology]\n---\n\n"
        f"# The published {what}\n\nConverted from `{Path(path).name}` of {source}\n"
    )
