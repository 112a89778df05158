"""`train_waveform_autoencoder`: an autoencoder of waveforms, whose middle embeds them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from steadyspike.core.environment import versions
from steadyspike.core.setting_groups import GroupedSettings, group
from steadyspike.core.settings import parameter, parameter_of, takes
from steadyspike.library.models.config import NetworkConfig
from steadyspike.library.models.inference import torch_threads
from steadyspike.library.models.waveforms import (
    WaveformAutoencoderConfig,
    WaveformAutoencoderModel,
    as_waveforms,
    standardize,
)
from steadyspike.networks.autoencoder import WaveformAutoencoder
from steadyspike.training.cards import autoencoder_card
from steadyspike.training.loop import StepLoss, own_random_numbers
from steadyspike.training.settings import (
    DATA_LICENSE,
    LICENSE_NAME,
    SAMPLING_FREQUENCY,
    UNIT,
    DataLicense,
    EpochSettings,
    License,
)
from steadyspike.training.tasks import Epochs

HELD_OUT = 0.1
LEAST_WAVEFORMS = 20
LARGEST_HIDDEN = 256
WEIGHT_DECAY = 1e-4


class AutoencoderEpochs(EpochSettings):
    """As of other networks of waveforms, with defaults of its own; the learning rate falls to nothing by a cosine."""

    max_epochs: int = parameter_of(EpochSettings, "max_epochs", 60)
    patience: int = parameter_of(EpochSettings, "patience", 8)
    learning_rate: float = parameter_of(EpochSettings, "learning_rate", 3e-3)


class WaveformAutoencoderTraining(GroupedSettings):
    """What `train_waveform_autoencoder` takes."""

    part = "train_waveform_autoencoder"

    num_dimensions: int = parameter(3, "Numbers in the middle", ge=1)
    hidden: int | None = parameter(
        None,
        "Width of the layer on each side of it; None: half as many as a waveform has values, 256 at most",
        ge=1,
    )
    optimizer: AutoencoderEpochs = group(
        AutoencoderEpochs, "How it is fitted; the learning rate falls to nothing by a cosine"
    )
    sampling_frequency: float | None = SAMPLING_FREQUENCY
    nbefore: int | None = parameter(None, "Which sample is the peak, for the record", ge=0)
    unit: Literal["uV"] | None = UNIT
    license_name: License = LICENSE_NAME
    data_license: DataLicense = DATA_LICENSE


@takes(WaveformAutoencoderTraining)
def train_waveform_autoencoder(
    waveforms: Any, *, settings: WaveformAutoencoderTraining
) -> WaveformAutoencoderModel:
    """Train an autoencoder: it learns to give waveforms back that it has squeezed through a few numbers.

    AdamW on the mean squared error of standardized waveforms; the epoch with the smallest error on a tenth of the
    waveforms, held out, is kept.

    Parameters
    ----------
    waveforms : ndarray, shape (num_waveforms, num_samples) or (num_waveforms, num_samples, num_channels)
        At least 20, aligned to their peak.
    {settings}
    **parameters
        Those of `optimizer` one by one, as ``max_epochs=20``.

    Returns
    -------
    model : WaveformAutoencoderModel
        With `transform`, `reconstruct`, and `save` for a model folder.

    Raises
    ------
    ValueError
        If a parameter cannot work.
    """
    waveforms = as_waveforms(waveforms)
    if len(waveforms) < LEAST_WAVEFORMS:
        raise ValueError(f"waveforms has {len(waveforms)} waveforms; allowed: {LEAST_WAVEFORMS} or more")
    mean, scale = float(np.nanmean(waveforms, dtype="float64")), float(np.nanstd(waveforms, dtype="float64"))
    if not 0 < scale < np.inf:
        raise ValueError("waveforms are all alike, or not finite; allowed: finite ones that vary")
    num_samples, num_channels = waveforms.shape[1:]
    hidden = settings.hidden
    if hidden is None:
        hidden = min(max(settings.num_dimensions, num_samples * num_channels // 2), LARGEST_HIDDEN)
    seed = settings.optimizer.seed
    rng = np.random.default_rng([seed, 2])
    values = torch.from_numpy(standardize(waveforms, mean, scale))
    order = torch.from_numpy(rng.permutation(len(values)))
    held_out = max(1, round(HELD_OUT * len(values)))
    test, train = values[order[:held_out]], values[order[held_out:]]
    # a network this small is slower on several threads
    with own_random_numbers(seed), torch_threads(1):
        network = WaveformAutoencoder(num_samples, num_channels, hidden, settings.num_dimensions)
        task = _Reconstruction(network, train, test, settings.optimizer, rng)
        error, epochs = task.fit(WEIGHT_DECAY, least_rate=0.0)
    variance = float((test - train.mean(dim=0)).square().mean())
    extra: dict[str, Any] = {
        "training": {**epochs, "seed": seed, "waveforms": len(values), "held_out": held_out},
        "scores": {"unexplained": error / max(variance, 1e-12)},
        "data_license": settings.data_license,
        "versions": versions(),
    }
    config = WaveformAutoencoderConfig(
        network=NetworkConfig(name=network.name, sizes=network.sizes),
        num_samples=num_samples,
        num_channels=num_channels,
        mean=mean,
        scale=scale,
        unit=settings.unit,
        nbefore=settings.nbefore,
        sampling_frequency=settings.sampling_frequency,
        extra=extra,
    )
    return WaveformAutoencoderModel(network, config, autoencoder_card(config, settings.license_name))


class _Reconstruction(Epochs):
    """Give standardized waveforms back."""

    def __init__(
        self, network: Any, train: Tensor, test: Tensor, settings: EpochSettings, rng: np.random.Generator
    ) -> None:
        super().__init__(network, len(train), settings, rng)
        self.train, self.test = train, test

    def values(self) -> Tensor:
        return self.train

    def loss(self, network: Any, batch: tuple[Tensor, Tensor]) -> StepLoss:
        """Measure the mean squared error."""
        values = batch[0][batch[1]]
        return StepLoss(functional.mse_loss(network(values), values))

    def held_out_loss(self) -> float:
        """Measure the mean squared error of held-out waveforms."""
        with torch.no_grad():
            return float(functional.mse_loss(self.network(self.test), self.test))
