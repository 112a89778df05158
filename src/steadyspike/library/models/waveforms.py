"""Models of waveforms: classifiers of spikes and noise, and autoencoders; with the methods that scikit-learn's have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from steadyspike.library.hub.cards import Usage
from steadyspike.library.models.config import FolderConfig
from steadyspike.library.models.folder import SavedModel

BATCH = 4096
Fraction = Annotated[float, Field(gt=0, lt=1)]


class WaveformConfig(FolderConfig):
    """What `config.json` of every model of waveforms holds.

    Waveforms have `num_samples` samples on `num_channels` channels, of which sample `nbefore` is the peak (None: not
    known), at `sampling_frequency` Hz (None: not known). They are standardized with the training set's `mean` and
    `scale` (its standard deviation), in the units of `unit`: "uV", or None for those of the recording as it is.
    """

    num_samples: int = Field(ge=1)
    num_channels: int = Field(ge=1)
    mean: float
    scale: float = Field(gt=0)
    unit: str | None = Field(default=None, pattern="^uV$")
    nbefore: int | None = Field(default=None, ge=0)
    sampling_frequency: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _peak_is_inside(self) -> WaveformConfig:
        if self.nbefore is not None and self.nbefore >= self.num_samples:
            raise ValueError(f"nbefore is {self.nbefore}, but there are {self.num_samples} samples")
        return self

    def unlike(self, network: Any) -> list[str]:
        """Tell what the configuration says of its network that is not so."""
        return [
            f"{name} is {getattr(self, name)}, but its network has {network.sizes[name]}"
            for name in ("num_samples", "num_channels")
            if getattr(self, name) != network.sizes[name]
        ]


class SpikeClassifierConfig(WaveformConfig):
    """Adds how logits become probabilities and labels.

    The probability of the second class is ``sigmoid((logit_1 - logit_0 + bias) / temperature)``, and a waveform is of
    it from `threshold` on. `classes` are the labels trained with; `spike_fraction` is the share of the second class
    in the waveforms by which probabilities were calibrated.
    """

    kind: str = Field(default="spike_classifier", pattern="^spike_classifier$")
    classes: tuple[bool | int | str, bool | int | str] = (0, 1)
    temperature: float = Field(default=1.0, gt=0)
    bias: float = 0.0
    threshold: Fraction = 0.5
    spike_fraction: Fraction | None = None

    networks: ClassVar[tuple[str, ...]] = ("waveform_cnn", "waveform_gru", "waveform_discriminant")


class WaveformAutoencoderConfig(WaveformConfig):
    """Adds nothing: the number of latent dimensions is a size of the network."""

    kind: str = Field(default="waveform_autoencoder", pattern="^waveform_autoencoder$")

    networks: ClassVar[tuple[str, ...]] = ("waveform_autoencoder",)


def as_waveforms(waveforms: Any, name: str = "waveforms") -> np.ndarray:
    """Return waveforms as (num_waveforms, num_samples, num_channels) without copying; two dimensions: one channel.

    Raises `ValueError` if they have another number of dimensions or are no numbers.
    """
    waveforms = np.asarray(waveforms)
    if waveforms.ndim == 2:
        waveforms = waveforms[:, :, np.newaxis]
    if waveforms.ndim != 3 or waveforms.dtype.kind not in "iuf":
        raise ValueError(
            f"{name} has shape {waveforms.shape} and type {waveforms.dtype}; allowed: numbers of shape "
            "(num_waveforms, num_samples) or (num_waveforms, num_samples, num_channels)"
        )
    return waveforms


@dataclass(frozen=True, eq=False)
class _WaveformModel(SavedModel):
    config: Any

    def _batches(self, waveforms: Any) -> Iterator[Any]:
        """Standardize, in blocks that stay small; samples that are not finite count as the mean."""
        import torch

        waveforms = as_waveforms(waveforms)
        shape = (self.config.num_samples, self.config.num_channels)
        if waveforms.shape[1:] != shape:
            raise ValueError(
                f"waveforms have {waveforms.shape[1]} samples and {waveforms.shape[2]} channels; "
                f"allowed: {shape[0]} samples and {shape[1]} channels, as this model was trained"
            )
        device = next(self.network.parameters()).device
        for start in range(0, len(waveforms), BATCH):
            block = standardize(waveforms[start : start + BATCH], self.config.mean, self.config.scale)
            yield torch.from_numpy(block).to(device)

    def _run(self, waveforms: Any, function: Any, width: tuple[int, ...]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            found = [function(block).cpu().numpy() for block in self._batches(waveforms)]
        return np.concatenate(found) if found else np.empty((0, *width), "float32")


def standardize(waveforms: np.ndarray, mean: float, scale: float) -> np.ndarray:
    """Return ``(waveforms - mean) / scale`` in float32, with 0 for what is not finite."""
    if waveforms.dtype == np.float32:
        block = waveforms - np.float32(mean)
        block *= np.float32(1 / scale)
    else:
        block = ((waveforms - mean) * (1 / scale)).astype("float32")
    if not np.isfinite(block.sum()):
        np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return block


@dataclass(frozen=True, eq=False)
class SpikeClassifier(_WaveformModel):
    """Tells spikes from noise by their waveforms, with the methods of scikit-learn's classifiers.

    Parameters
    ----------
    network
        As of `SavedModel`.
    config : SpikeClassifierConfig
        What it was trained on, normalization, calibration and threshold.
    card, folder
        As of `SavedModel`.
    """

    config: SpikeClassifierConfig

    config_class: ClassVar[type[FolderConfig]] = SpikeClassifierConfig
    usage: ClassVar[Usage] = Usage(
        "Classifier of spikes and noise",
        ("import steadyspike", 'labels = steadyspike.pull_from_hub("{ref}").predict(waveforms)'),
    )

    @property
    def classes_(self) -> np.ndarray:
        """Labels of both classes; the second is the spikes."""
        return np.array(self.config.classes)

    def decision_function(self, waveforms: Any) -> np.ndarray:
        """Return calibrated log odds of the second class.

        Parameters
        ----------
        waveforms : ndarray, shape (num_waveforms, num_samples) or (num_waveforms, num_samples, num_channels)
            In the units trained on.

        Returns
        -------
        log_odds : ndarray of float32, shape (num_waveforms,)

        Raises
        ------
        ValueError
            If the waveforms have other sizes than those trained on.
        """
        logits = self._run(waveforms, self.network, (2,))
        return (logits[:, 1] - logits[:, 0] + np.float32(self.config.bias)) / np.float32(
            self.config.temperature
        )

    def predict_proba(self, waveforms: Any) -> np.ndarray:
        """Return the probabilities of both classes.

        Parameters
        ----------
        waveforms : ndarray
            As `decision_function` takes them.

        Returns
        -------
        probabilities : ndarray of float32, shape (num_waveforms, 2)
            In the order of `classes_`.
        """
        spikes = self.probability(self.decision_function(waveforms))
        return np.stack([1 - spikes, spikes], axis=1)

    def predict(self, waveforms: Any) -> np.ndarray:
        """Return a label for each waveform: the second class from the threshold chosen in training on.

        Parameters
        ----------
        waveforms : ndarray
            As `decision_function` takes them.

        Returns
        -------
        labels : ndarray, shape (num_waveforms,)
            Of `classes_`.
        """
        return self.classes_[self.decide(self.decision_function(waveforms)).astype("int64")]

    def probability(self, log_odds: np.ndarray) -> np.ndarray:
        """Return the probabilities of the second class that calibrated log odds stand for."""
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-log_odds))

    def decide(self, log_odds: np.ndarray) -> np.ndarray:
        """Return whether waveforms with these calibrated log odds are of the second class; bool."""
        threshold = self.config.threshold
        # compared as log odds, where probabilities near 1 are still told apart
        return log_odds >= log(threshold / (1 - threshold))


@dataclass(frozen=True, eq=False)
class WaveformAutoencoderModel(_WaveformModel):
    """Embeds waveforms in the middle of an autoencoder.

    Parameters
    ----------
    network
        As of `SavedModel`.
    config : WaveformAutoencoderConfig
        What it was trained on, and its normalization.
    card, folder
        As of `SavedModel`.
    """

    config: WaveformAutoencoderConfig

    config_class: ClassVar[type[FolderConfig]] = WaveformAutoencoderConfig
    usage: ClassVar[Usage] = Usage("Autoencoder of waveforms")

    def transform(self, waveforms: Any) -> np.ndarray:
        """Return the latent numbers of waveforms.

        Parameters
        ----------
        waveforms : ndarray, shape (num_waveforms, num_samples) or (num_waveforms, num_samples, num_channels)
            In the units trained on.

        Returns
        -------
        embedding : ndarray of float32, shape (num_waveforms, num_dimensions)
        """
        network: Any = self.network
        return self._run(waveforms, network.encode, (network.sizes["latent"],))

    def reconstruct(self, waveforms: Any) -> np.ndarray:
        """Return the waveforms as they come out again, in the units that went in.

        Parameters
        ----------
        waveforms : ndarray
            As `transform` takes them.

        Returns
        -------
        reconstructed : ndarray of float32, shape (num_waveforms, num_samples, num_channels)
        """
        shape = (self.config.num_samples, self.config.num_channels)
        return self._run(waveforms, self.network, shape) * self.config.scale + self.config.mean
