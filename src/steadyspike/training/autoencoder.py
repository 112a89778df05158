"""`train_waveform_autoencoder`: an autoencoder of waveforms, whose middle embeds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from steadyspike.library.models.waveforms import WaveformAutoencoderModel

HELD_OUT = 0.1
LARGEST_HIDDEN = 256
WEIGHT_DECAY = 1e-4


def train_waveform_autoencoder(
    waveforms: Any,
    *,
    num_dimensions: int = 3,
    hidden: int | None = None,
    seed: int = 0,
    max_epochs: int = 60,
    patience: int = 8,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    sampling_frequency: float | None = None,
    nbefore: int | None = None,
    unit: str | None = None,
    license_name: str = "unknown",
    data_license: str | None = None,
) -> WaveformAutoencoderModel:
    """Train an autoencoder: it learns to give waveforms back that it has squeezed through a few numbers.

    AdamW on the mean squared error of standardized waveforms; the epoch with the smallest error on a tenth of the
    waveforms, held out, is kept.

    Parameters
    ----------
    waveforms : ndarray, shape (num_waveforms, num_samples) or (num_waveforms, num_samples, num_channels)
        At least 20, aligned to their peak.
    num_dimensions : int, default: 3
        Numbers in the middle.
    hidden : int or None, default: None
        Width of the layer on each side of it; None: half as many as a waveform has values, 256 at most.
    seed : int, default: 0
        Of the waveforms held out, first weights and the order of training.
    max_epochs, patience, batch_size : int, default: 60, 8, 256
        Training stops after `patience` epochs without gain.
    learning_rate : float, default: 3e-3
        Falls to nothing by a cosine.
    sampling_frequency, nbefore, unit : default: None
        For the record: of the waveforms in Hz, which sample is the peak, and "uV" if they are in microvolts.
    license_name : str, default: "unknown"
        Of the model, for its card.
    data_license : str or None, default: None
        Of the waveforms, such as "cc-by-4.0", for its card and ``model.config.extra``; None: not told.

    Returns
    -------
    model : WaveformAutoencoderModel
        With `transform`, `reconstruct`, and `save` for a model folder.

    Raises
    ------
    ValueError
        If a parameter cannot work.
    """
    import numpy as np
    import torch

    from steadyspike.core.environment import versions
    from steadyspike.library.hub.cards import check_licenses
    from steadyspike.library.models.config import NetworkConfig
    from steadyspike.library.models.inference import torch_threads
    from steadyspike.library.models.waveforms import (
        WaveformAutoencoderConfig,
        WaveformAutoencoderModel,
        as_waveforms,
        standardize,
    )
    from steadyspike.networks.autoencoder import WaveformAutoencoder
    from steadyspike.training.cards import write_autoencoder_card
    from steadyspike.training.labelled_waveforms import check_range
    from steadyspike.training.plan import own_random_numbers

    check_licenses(license_name, data_license)
    waveforms = as_waveforms(waveforms)
    check_range(
        seed=seed, max_epochs=(max_epochs, 1), patience=(patience, 1), batch_size=(batch_size, 2),
        num_dimensions=(num_dimensions, 1), hidden=(1 if hidden is None else hidden, 1),
    )  # fmt: skip
    if not learning_rate > 0:
        raise ValueError(f"learning_rate={learning_rate} must be above 0")
    if len(waveforms) < 20:
        raise ValueError(f"waveforms has {len(waveforms)} waveforms; allowed: 20 or more")
    mean, scale = float(np.nanmean(waveforms, dtype="float64")), float(np.nanstd(waveforms, dtype="float64"))
    if not 0 < scale < np.inf:
        raise ValueError("waveforms are all alike, or not finite; allowed: finite ones that vary")
    num_samples, num_channels = waveforms.shape[1:]
    if hidden is None:
        hidden = min(max(num_dimensions, num_samples * num_channels // 2), LARGEST_HIDDEN)
    rng = np.random.default_rng([seed, 2])
    values = torch.from_numpy(standardize(waveforms, mean, scale))
    order = torch.from_numpy(rng.permutation(len(values)))
    held_out = max(1, round(HELD_OUT * len(values)))
    test, train = values[order[:held_out]], values[order[held_out:]]
    # a network this small is slower on several threads
    with own_random_numbers(seed), torch_threads(1):
        network = WaveformAutoencoder(num_samples, num_channels, hidden, num_dimensions)
        best, error, epochs = _descend(
            network, train, test, rng, max_epochs, patience, learning_rate, batch_size
        )
    variance = float((test - train.mean(dim=0)).square().mean())
    extra: dict[str, Any] = {
        "training": {
            **{**epochs, "seed": seed},
            **{"waveforms": len(values), "held_out": held_out},
        },
        "scores": {"unexplained": error / max(variance, 1e-12)},
        "data_license": data_license,
        "versions": versions(),
    }
    config = WaveformAutoencoderConfig(
        network=NetworkConfig(name=best.name, sizes=best.sizes),
        num_samples=num_samples,
        num_channels=num_channels,
        mean=mean,
        scale=scale,
        unit=unit,
        nbefore=nbefore,
        sampling_frequency=sampling_frequency,
        extra=extra,
    )
    return WaveformAutoencoderModel(best.eval(), config, write_autoencoder_card(config, license_name))


def _descend(
    network: Any,
    train: Tensor,
    test: Tensor,
    rng: np.random.Generator,
    max_epochs: int,
    patience: int,
    learning_rate: float,
    batch_size: int,
) -> tuple[Any, float, dict[str, int]]:
    """Return the network with the smallest held-out error, that error, and how long it took."""
    import copy
    from math import inf

    import torch
    from torch.nn import functional

    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max_epochs)
    best, least, best_epoch = copy.deepcopy(network), inf, 0
    for epoch in range(1, max_epochs + 1):
        for batch in torch.from_numpy(rng.permutation(len(train))).split(batch_size):
            loss = functional.mse_loss(network(train[batch]), train[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            error = float(functional.mse_loss(network(test), test))
        if error < least:
            best, least, best_epoch = copy.deepcopy(network), error, epoch
        elif epoch - best_epoch >= patience:
            break
    return best, least, {"epochs": epoch, "best_epoch": best_epoch}
