"""Training of the waveform denoiser on a recording's own templates and noise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from steadyspike.core.aside import locking, refuse_existing
from steadyspike.core.environment import versions
from steadyspike.core.setting_groups import GroupedSettings, group
from steadyspike.core.settings import parameter, parameter_of, takes
from steadyspike.kernels.spikes.contact_features import neighbour_lists
from steadyspike.library.models.config import NetworkConfig, is_model_folder
from steadyspike.library.models.find import own_folder
from steadyspike.library.models.spikes import WaveformDenoiserConfig, WaveformDenoiserModel
from steadyspike.networks import make_network
from steadyspike.training.cards import denoiser_card
from steadyspike.training.known_spikes import KnownSpikes, as_lists, known_spikes
from steadyspike.training.loop import StepLoss, own_random_numbers
from steadyspike.training.own_units import group_large_spikes
from steadyspike.training.settings import DATA_LICENSE, LICENSE_NAME, DataLicense, License, StepSettings
from steadyspike.training.tasks import Draws, Surroundings

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

LEAST_SPIKES, LEAST_DEPTH = 5, 2.5
HELD_OUT_EACH = 10
"""Every tenth unit is held out."""
SHRINK, GROW = 0.5, 1.3
"""Templates are scaled by a factor between these, evenly on a log scale."""
DETECTION_UM, DETECTION_SAMPLES = 45.0, 2
"""A detector finds the trough on a contact and at a sample this near to the template's."""
LEAST_TROUGH, LARGEST_NOISE = 3.0, 6.0
FOCUS = 0.02
HELD_OUT_SPIKES = 2048


class Spikes(NamedTuple):
    """Spikes with and without noise, in noise levels, shape (spikes, contacts, samples), and their main channels."""

    noisy: Tensor
    clean: Tensor
    channels: np.ndarray


class DenoiserSteps(StepSettings):
    """As of other networks of spikes, with defaults of its own."""

    steps: int = parameter_of(StepSettings, "steps", 3000)
    batch_size: int = parameter_of(StepSettings, "batch_size", 512)


class WaveformDenoiserTraining(GroupedSettings):
    """What `train_waveform_denoiser` takes."""

    part = "train_waveform_denoiser"

    optimizer: DenoiserSteps = group(DenoiserSteps, "How the network is fitted")
    radius_um: float = parameter(70.0, "The network sees contacts this near to the spike's", unit="um", gt=0)
    energy: float = parameter(0.95, "Part of the templates' energy in the window", gt=0, lt=1)
    license_name: License = LICENSE_NAME
    data_license: DataLicense = DATA_LICENSE


@locking
@takes(WaveformDenoiserTraining)
def train_waveform_denoiser(
    recordings: BaseRecording | list[BaseRecording],
    sortings: BaseSorting | list[BaseSorting] | None = None,
    folder: str | Path | None = None,
    *,
    settings: WaveformDenoiserTraining,
    overwrite: bool = False,
    progress_bar: bool = False,
    extra: dict[str, Any] | None = None,
) -> WaveformDenoiserModel:
    """Train a denoiser of waveforms on recordings' own templates and noise.

    Templates, scaled at random, are added to pieces of the recording without large spikes, on the same contacts. Each
    spike is then cut out as a detector finds it: around the deepest sample of the noisy waveforms. The network learns
    the template from this, to the least mean squared error; errors of large spikes weigh less, as their noise
    matters less.

    The window is found in the data: it is the shortest around the trough that holds the part `energy` of the
    templates' energy on their main channels.

    Parameters
    ----------
    recordings : BaseRecording or list
        Filtered as the recordings to denoise will be; one segment each; held in memory as float32.
    sortings : BaseSorting, list or None, default: None
        The spikes of each; None: large spikes are detected and grouped (`training.own_units`).
    folder : str, Path or None, default: None
        Where to save the model; None: nowhere.
    {settings}
    overwrite : bool, default: False
        Whether a model in `folder` is replaced.
    progress_bar : bool, default: False
        Whether to show one.
    extra : dict or None, default: None
        Added to what the model's configuration notes.
    **parameters
        Those of `optimizer` one by one, as ``steps=2000``.

    Returns
    -------
    model : WaveformDenoiserModel

    Raises
    ------
    ValueError
        For recordings and sortings that do not fit each other, too few units, or a parameter outside its range.
    FileExistsError
        If `folder` exists and may not be replaced.
    """
    if folder is not None:
        refuse_existing(own_folder(folder, settings.part), is_model_folder, overwrite, "model folder")
    if sortings is None:
        given = recordings if isinstance(recordings, list | tuple) else [recordings]
        sortings = [group_large_spikes(recording, seed=settings.optimizer.seed) for recording in given]
    recordings, sortings = as_lists(recordings, sortings)
    known = [known_spikes(*pair) for pair in zip(recordings, sortings, strict=True)]
    usable = [(one.num_spikes >= LEAST_SPIKES) & (one.depths >= LEAST_DEPTH) for one in known]
    if sum(units.sum() for units in usable) < 2:
        raise ValueError(
            f"sortings have fewer than 2 units of at least {LEAST_SPIKES} spikes and {LEAST_DEPTH} noise levels"
        )
    before, num_samples = find_window(known, usable, settings.energy)
    sizes = dict(samples_before=before, num_samples=num_samples, hidden=32)
    sources = [
        _Source(one, units, settings.radius_um, before, num_samples)
        for one, units in zip(known, usable, strict=True)
    ]
    network, held_out = _fit(sources, sizes, settings.optimizer, progress_bar)
    notes = {
        "training": settings.optimizer.values(),
        "num_units": int(sum(source.train.size for source in sources)),
        "energy": settings.energy,
        "held_out": held_out,
        "data_license": settings.data_license,
        "versions": versions(),
        **(extra or {}),
    }
    config = WaveformDenoiserConfig(
        network=NetworkConfig(name=network.name, sizes=network.sizes),
        sampling_frequency=float(recordings[0].sampling_frequency),
        samples_before=before,
        num_samples=num_samples,
        radius_um=settings.radius_um,
        extra=notes,
    )
    model = WaveformDenoiserModel(network, config, denoiser_card(config, settings.license_name))
    if folder is not None:
        model.save(folder, overwrite=overwrite)
    return model


def find_window(known: list[KnownSpikes], usable: list[np.ndarray], energy: float) -> tuple[int, int]:
    """Find the shortest window around the trough with a part of the templates' energy.

    `usable` says which units of each recording count; every one as much as another. `energy` is the part, above 0 and
    below 1. Returns the samples before the trough, and in all.
    """
    shares = []
    for one, units in zip(known, usable, strict=True):
        own = np.flatnonzero(units)
        squares = one.templates[own, :, one.channels[own]] ** 2
        shares.append(squares / squares.sum(axis=1, keepdims=True))
    share = np.concatenate(shares).mean(axis=0)
    start = stop = known[0].before
    while share[start : stop + 1].sum() < energy:
        # grow to the side where more is left in the next few samples
        left, right = share[max(start - 5, 0) : start].sum(), share[stop + 1 : stop + 6].sum()
        if (left >= right and start > 0) or stop + 1 >= share.size:
            start -= 1
        else:
            stop += 1
    return known[0].before - start, stop + 1 - start


class _Source:
    """Templates and noise of one recording, of which batches are made."""

    def __init__(
        self, known: KnownSpikes, usable: np.ndarray, radius_um: float, before: int, num_samples: int
    ):
        self.known = known
        units = np.flatnonzero(usable)
        held_out = np.arange(units.size) % HELD_OUT_EACH == HELD_OUT_EACH - 1
        self.train, self.held_out = units[~held_out], units[held_out]
        self.window = np.arange(-before, num_samples - before)
        locations = known.locations
        self.around = Surroundings(locations, radius_um)
        # where a detector may find the spike of a unit on a contact
        self.detected_on, _ = neighbour_lists(locations, DETECTION_UM)

    def draw(self, number: int, rng: np.random.Generator) -> Spikes | None:
        return self.drawn(self.train, number, rng)

    def drawn(self, units: np.ndarray, number: int, rng: np.random.Generator) -> Spikes | None:
        """Draw spikes; fewer than `number`, as some are too small to be detected or in noise with large spikes."""
        known = self.known
        edge = DETECTION_SAMPLES + self.window.size + known.before
        unit = units[rng.integers(units.size, size=number)]
        time = rng.integers(edge, len(known.traces) - edge, size=number)
        factor = np.exp(rng.uniform(np.log(SHRINK), np.log(GROW), size=number)).astype("float32")
        main, shift, depth = self._detected(unit, time, factor)
        contacts = np.maximum(self.around.neighbours[main], 0)[:, np.newaxis]
        window = (shift[:, np.newaxis] + self.window)[:, :, np.newaxis]
        inside = np.clip(known.before + window, 0, known.templates.shape[1] - 1)
        clean = (
            known.templates[unit[:, np.newaxis, np.newaxis], inside, contacts]
            * factor[:, np.newaxis, np.newaxis]
        )
        noise = known.traces[time[:, np.newaxis, np.newaxis] + window, contacts]
        fit = (depth >= LEAST_TROUGH) & (np.abs(noise).max(axis=(1, 2)) < LARGEST_NOISE)
        if not fit.any():
            return None
        clean, noise = (values[fit].transpose(0, 2, 1).astype("float32") for values in (clean, noise))
        return Spikes(torch.from_numpy(clean + noise), torch.from_numpy(clean), main[fit])

    def _detected(
        self, unit: np.ndarray, time: np.ndarray, factor: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Contact, shift from the template's trough, and depth at which a detector finds spikes in noise."""
        known = self.known
        near = self.detected_on[known.channels[unit]]
        shifts = np.arange(-DETECTION_SAMPLES, DETECTION_SAMPLES + 1)
        contacts = np.maximum(near, 0)[:, np.newaxis]
        values = known.templates[
            unit[:, np.newaxis, np.newaxis], (known.before + shifts)[:, np.newaxis], contacts
        ]
        values = values * factor[:, np.newaxis, np.newaxis]
        values = values + known.traces[(time[:, np.newaxis] + shifts)[:, :, np.newaxis], contacts]
        values = np.where(near[:, np.newaxis] >= 0, values, np.inf).reshape(len(unit), -1)
        deepest = values.argmin(axis=1)
        which = np.arange(len(unit))
        main = near[which, deepest % near.shape[1]]
        return main, shifts[deepest // near.shape[1]], -values[which, deepest]


def _fit(
    sources: list[_Source], sizes: dict[str, Any], settings: StepSettings, progress_bar: bool
) -> tuple[Any, dict[str, float]]:
    with own_random_numbers(settings.seed):
        network: Any = make_network("local_waveform_denoiser", sizes)
    task = _Denoising(network, sources, settings)
    task.fit(0.0, progress_bar)
    return network, _held_out_errors(network, sources, task.rng)


class _Denoising(Draws):
    """Take the noise out of spikes."""

    label = "train waveform denoiser"

    def loss(self, network: Any, batch: list[tuple[_Source, Spikes | None]]) -> StepLoss | None:
        """Measure the mean squared error of each spike, of which that of large spikes counts less."""
        losses = []
        for source, spikes in batch:
            if spikes is not None:
                weights = source.around.weights(network, spikes.channels)
                size = spikes.noisy[:, 0].abs().amax(dim=1)
                errors = _errors(network(spikes.noisy, weights), spikes.clean, weights)
                losses.append(errors / (1 + FOCUS * size**2))
        return StepLoss(torch.cat(losses).mean()) if losses else None


def _errors(waveforms: Tensor, clean: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error of each spike over the contacts that there are."""
    present = (weights.abs().sum(dim=2) > 0).float()
    squared = ((waveforms - clean) ** 2).mean(dim=2)
    return (squared * present).sum(dim=1) / present.sum(dim=1)


def _held_out_errors(network: Any, sources: list[_Source], rng: np.random.Generator) -> dict[str, float]:
    """Mean squared errors of units that were not trained on; of those trained on where none is held out."""
    num_units = sum(source.held_out.size for source in sources)
    noisy, denoised = [], []
    with torch.no_grad():
        for source in sources:
            units = source.held_out if num_units else source.train
            spikes = source.drawn(units, HELD_OUT_SPIKES, rng) if units.size else None
            if spikes is not None:
                weights = source.around.weights(network, spikes.channels)
                noisy.append(_errors(spikes.noisy, spikes.clean, weights))
                denoised.append(_errors(network(spikes.noisy, weights), spikes.clean, weights))
    if not noisy:
        return {}
    return dict(
        noisy=float(torch.cat(noisy).mean()),
        denoised=float(torch.cat(denoised).mean()),
        num_spikes=int(torch.cat(noisy).numel()),
        num_units=int(num_units),
    )
