"""Networks: tensors in, tensors out. Importing this package alone does not load torch.

Every network here is a `torch.nn.Module` with

- ``name`` and ``sizes``: what `make_network` needs to make it again.

Those that denoise traces are called with the same arguments, and have

- ``forward(image, mask=None)``: images (batch, before + time + after, rows, columns) to (batch, time, rows, columns);
- ``context``: the samples (before, after) that it reads around each predicted one;
- ``omission``: the samples hidden on each side of the predicted one;
- ``forward_folded(folded, mask)`` and ``folding``, where they fold images into repeating units: what is between;
- ``arrangement``: how it wants the contacts laid out (`steadyspike.core.probe_layout.layout_of`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

NETWORKS = {
    "blindspot": "steadyspike.networks.blindspot:BlindSpot",
    "local_spike_detector": "steadyspike.networks.detector:LocalSpikeDetector",
    "local_waveform_denoiser": "steadyspike.networks.denoiser:LocalWaveformDenoiser",
    "ridge": "steadyspike.networks.linear:RidgeInterpolator",
    "seeing": "steadyspike.networks.seeing:Seeing",
    "unet_single_ephys_1024": "steadyspike.networks.unet:UNetEphys1024",
    "waveform_autoencoder": "steadyspike.networks.autoencoder:WaveformAutoencoder",
    "waveform_cnn": "steadyspike.networks.classifier:WaveformCNN",
    "waveform_discriminant": "steadyspike.networks.classifier:WaveformDiscriminant",
    "waveform_gru": "steadyspike.networks.classifier:WaveformGRU",
    "yass_denoiser": "steadyspike.networks.denoiser:YassDenoiser",
    "yass_detector": "steadyspike.networks.detector:YassDetector",
}


def network_class(name: str) -> "type[nn.Module]":
    """Return the class that a network name stands for.

    Raises `ValueError` if no network has this name.
    """
    if name not in NETWORKS:
        raise ValueError(f"network {name!r} is not known; allowed: {', '.join(NETWORKS)}")
    module, _, attribute = NETWORKS[name].partition(":")
    found: type[nn.Module] = getattr(import_module(module), attribute)
    return found


def make_network(name: str, sizes: dict[str, Any]) -> "nn.Module":
    """Make a network with fresh weights.

    `sizes` are the arguments of its class. Raises `ValueError` if the name is not known, or the network does not take
    them.
    """
    try:
        return network_class(name)(**sizes)
    except TypeError as error:
        raise ValueError(f"network {name!r} cannot have the sizes {sizes}: {error}") from None
