"""Training of the spike detector on recordings whose spikes are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from steadyspike.core.aside import locking, refuse_existing
from steadyspike.core.environment import versions
from steadyspike.core.setting_groups import GroupedSettings, group
from steadyspike.core.settings import parameter, takes
from steadyspike.kernels.spikes.contact_features import neighbour_lists
from steadyspike.kernels.spikes.event_pairs import near_pairs
from steadyspike.kernels.spikes.spike_candidates import find_candidates
from steadyspike.library.models.config import NetworkConfig, is_model_folder
from steadyspike.library.models.find import own_folder
from steadyspike.library.models.spikes import SpikeDetectorConfig, SpikeDetectorModel
from steadyspike.networks import make_network
from steadyspike.training.cards import detector_card
from steadyspike.training.known_spikes import KnownSpikes, as_lists, known_spikes, thinned
from steadyspike.training.loop import StepLoss, own_random_numbers
from steadyspike.training.settings import DATA_LICENSE, LICENSE_NAME, DataLicense, License, StepSettings
from steadyspike.training.tasks import Draws, Surroundings

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

MATCH_MS, MATCH_UM = 0.33, 50.0
"""A candidate this near to a true spike may be it."""
TINY_SNR = 1.0
"""Smaller spikes cannot be told from noise; their candidates count as noise."""
HELD_OUT = 0.1
WEIGHT_DECAY = 1e-4
SPACINGS = (0.45, 0.65, 0.85, 1.05)
"""Least distances of contacts on the sparser probes that are trained on too, in radii of the network."""
NUM_THINNED = 2
"""So many of them are made of each recording."""
IN_CONFIG = (
    *("radius_um", "candidate_threshold", "candidate_radius_um", "candidate_ms"),
    *("exclude_radius_um", "exclude_ms"),
)
"""What detection must know of the settings."""


@dataclass(frozen=True)
class LabelledCandidates:
    """Candidates of a recording and which are spikes.

    Labels are 1 for a spike, 0 for none, -1 where neither can be said; `num_missed` are spikes large enough to be
    asked for that are near no candidate.
    """

    samples: np.ndarray
    channels: np.ndarray
    labels: np.ndarray
    num_missed: int


class SpikeDetectorTraining(GroupedSettings):
    """What `train_spike_detector` takes."""

    part = "train_spike_detector"

    optimizer: StepSettings = group(StepSettings, "How the network is fitted")
    radius_um: float = parameter(
        70.0, "The network sees contacts this near to the candidate's", unit="um", gt=0
    )
    ms_before: float = parameter(0.5, "It sees this long before the candidate", unit="ms", ge=0)
    ms_after: float = parameter(1.0, "It sees this long after the candidate", unit="ms", ge=0)
    candidate_threshold: float = parameter(
        2.75,
        "Candidates are troughs of so many noise levels that nothing within `candidate_radius_um` and `candidate_ms` "
        "exceeds",
        gt=0,
    )
    candidate_radius_um: float = parameter(35.0, "As `candidate_threshold` says", unit="um", gt=0)
    candidate_ms: float = parameter(0.2, "As `candidate_threshold` says", unit="ms", gt=0)
    exclude_radius_um: float = parameter(
        60.0, "Of two spikes nearer than this, and than `exclude_ms`, the deeper stays", unit="um", gt=0
    )
    exclude_ms: float = parameter(0.4, "As `exclude_radius_um` says", unit="ms", gt=0)
    least_snr: float = parameter(2.5, "Depth in noise levels of the smallest units to be found", ge=0)
    license_name: License = LICENSE_NAME
    data_license: DataLicense = DATA_LICENSE


@locking
@takes(SpikeDetectorTraining)
def train_spike_detector(
    recordings: BaseRecording | list[BaseRecording],
    sortings: BaseSorting | list[BaseSorting],
    folder: str | Path | None = None,
    *,
    settings: SpikeDetectorTraining,
    overwrite: bool = False,
    progress_bar: bool = False,
    extra: dict[str, Any] | None = None,
) -> SpikeDetectorModel:
    """Train the network of `steady_neural` on recordings whose spikes are known.

    Candidates are labelled by the spikes: each spike of a unit that is deep enough takes the nearest candidate. Others
    that the detector would drop as its duplicates are left out, and so are candidates of units too small to ask for.
    The rest are noise. Half of what is trained on is from copies of the recordings of which contacts were left out, so
    that the network also knows spikes that few contacts see, or one. The cross-entropy is minimized with AdamW, at a
    rate that falls like a cosine; the last tenth of each recording is held out and scored.

    Spikes that a sorting has missed teach the network to miss them; simulated recordings know all.

    Parameters
    ----------
    recordings : BaseRecording or list
        Filtered as the recordings to detect on will be; one segment each; held in memory as float32.
    sortings : BaseSorting or list
        The spikes of each.
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
    model : SpikeDetectorModel

    Raises
    ------
    ValueError
        For recordings and sortings that do not fit each other, or a parameter outside its range.
    FileExistsError
        If `folder` exists and may not be replaced.
    """
    recordings, sortings = as_lists(recordings, sortings)
    if folder is not None:
        refuse_existing(own_folder(folder, settings.part), is_model_folder, overwrite, "model folder")
    frequency = float(recordings[0].sampling_frequency)
    before, after = (round(ms * frequency / 1000) for ms in (settings.ms_before, settings.ms_after))
    sizes: dict[str, Any] = dict(samples_before=before, samples_after=after + 1)
    config = SpikeDetectorConfig(
        network=NetworkConfig(name="local_spike_detector", sizes=sizes),
        sampling_frequency=frequency,
        **{name: getattr(settings, name) for name in IN_CONFIG},
    )
    known = [known_spikes(*pair) for pair in zip(recordings, sortings, strict=True)]
    known += _sparser(known, settings.radius_um)
    labelled = [label_candidates(one, config, settings.least_snr) for one in known]
    if not any((one.labels == 1).any() for one in labelled):
        settings.refuse(
            "least_snr", "what some spikes at candidates have at least; those of sortings have less"
        )
    network, scores = _fit(known, labelled, config, settings.optimizer, progress_bar)
    notes = {
        "training": settings.optimizer.values(),
        "num_candidates": int(sum(one.labels.size for one in labelled)),
        "num_spikes": int(sum((one.labels == 1).sum() for one in labelled)),
        "num_missed_by_candidates": int(sum(one.num_missed for one in labelled)),
        "least_snr": settings.least_snr,
        "sparser": dict(
            copies=NUM_THINNED,
            least_um=min(SPACINGS) * settings.radius_um,
            most_um=max(SPACINGS) * settings.radius_um,
        ),
        "held_out": scores,
        "data_license": settings.data_license,
        "versions": versions(),
        **(extra or {}),
    }
    config = config.model_copy(
        update=dict(network=NetworkConfig(name=network.name, sizes=network.sizes), extra=notes)
    )
    model = SpikeDetectorModel(network, config, detector_card(config, settings.license_name))
    if folder is not None:
        model.save(folder, overwrite=overwrite)
    return model


def _sparser(known: list[KnownSpikes], radius_um: float) -> list[KnownSpikes]:
    """Thin each recording, so that the network learns what a spike is where there are few neighbors, or none."""
    return [
        thinned(one, SPACINGS[(number + copy * 2) % len(SPACINGS)] * radius_um, seed=number)
        for number, one in enumerate(known)
        for copy in range(NUM_THINNED)
    ]


def label_candidates(known: KnownSpikes, config: SpikeDetectorConfig, least_snr: float) -> LabelledCandidates:
    """Find the candidates of a recording and tell which are spikes.

    `config` says how candidates are found, and which count as duplicates; units of at least `least_snr` noise levels
    are to be found.
    """
    frequency, locations = known.sampling_frequency, known.locations

    def samples_of(ms: float) -> int:
        return max(round(ms * frequency / 1000), 1)

    sizes: Any = config.network.sizes
    neighbours = neighbour_lists(locations, config.candidate_radius_um)
    sweep, threshold = samples_of(config.candidate_ms or 0.0), config.candidate_threshold
    units = np.ones(known.traces.shape[1])
    samples, channels, _ = find_candidates(known.traces, units, *neighbours, sweep=sweep, threshold=threshold)
    margin = max(sizes["samples_before"], sizes["samples_after"])
    inside = (samples >= margin) & (samples < len(known.traces) - margin)
    samples, channels = samples[inside], channels[inside]
    own = _spike_of_each(known, samples, channels, samples_of(MATCH_MS))
    depths = np.where(own >= 0, known.depths[known.units[own]], 0.0)
    labels = np.where(depths >= least_snr, 1, np.where(depths >= TINY_SNR, -1, 0))
    spikes = np.flatnonzero(labels == 1)
    near = (samples_of(config.exclude_ms), config.exclude_radius_um)
    _, duplicates = near_pairs(samples[spikes], channels[spikes], samples, channels, locations, *near)
    duplicates = duplicates[labels[duplicates] == 0]
    labels[duplicates] = -1
    num_asked = int((known.depths[known.units] >= least_snr).sum())
    return LabelledCandidates(samples, channels, labels, num_asked - int((labels == 1).sum()))


def _spike_of_each(
    known: KnownSpikes, samples: np.ndarray, channels: np.ndarray, max_samples: int
) -> np.ndarray:
    """Spike of each candidate, or -1: deeper spikes choose first, each the nearest candidate that is left."""
    spike, candidate = near_pairs(
        known.samples, known.channels[known.units], samples, channels, known.locations, max_samples, MATCH_UM
    )
    main = known.channels[known.units[spike]]
    distance = np.linalg.norm(known.locations[main] - known.locations[channels[candidate]], axis=1)
    cost = np.abs(known.samples[spike] - samples[candidate]) / max_samples + distance / MATCH_UM
    own = np.full(samples.size, -1)
    settled = np.zeros(known.samples.size, dtype=bool)
    for pair in np.lexsort((cost, -known.depths[known.units[spike]])):
        if own[candidate[pair]] < 0 and not settled[spike[pair]]:
            own[candidate[pair]] = spike[pair]
            settled[spike[pair]] = True
    return own


def _fit(
    known: list[KnownSpikes],
    labelled: list[LabelledCandidates],
    config: SpikeDetectorConfig,
    settings: StepSettings,
    progress_bar: bool,
) -> tuple[Any, dict[str, float]]:
    with own_random_numbers(settings.seed):
        network: Any = make_network(config.network.name, config.network.sizes)
    sources = [_Source(*pair, config) for pair in zip(known, labelled, strict=True)]
    # of each recording as it is as many candidates as of its sparser copies
    whole = sources[: len(sources) // (1 + NUM_THINNED)]
    _Detection(network, whole * (NUM_THINNED - 1) + sources, settings).fit(WEIGHT_DECAY, progress_bar)
    with torch.no_grad():
        held_out = [
            (source.logits(network, part), source.labels(part))
            for source in sources
            if source.train.size
            for part in np.array_split(source.held_out, max(source.held_out.size // 4096, 1))
            if part.size
        ]
    if not held_out:
        return network, {}
    return network, _scores(*(torch.cat(parts).numpy() for parts in zip(*held_out, strict=True)))


class _Source:
    """The candidates of one recording, of which batches are made."""

    def __init__(self, known: KnownSpikes, labelled: LabelledCandidates, config: SpikeDetectorConfig) -> None:
        self.known, self.labelled = known, labelled
        sizes: Any = config.network.sizes
        self.window = np.arange(-sizes["samples_before"], sizes["samples_after"])
        self.around = Surroundings(known.locations, config.radius_um)
        known_labels = np.flatnonzero(labelled.labels >= 0)
        border = len(known.traces) * (1 - HELD_OUT)
        early = labelled.samples[known_labels] < border
        self.train, self.held_out = known_labels[early], known_labels[~early]

    def draw(self, number: int, rng: np.random.Generator) -> np.ndarray:
        return self.train[rng.integers(self.train.size, size=number)]

    def logits(self, network: Any, index: np.ndarray) -> Tensor:
        """Return the log odds that candidates are spikes."""
        samples, channels = self.labelled.samples[index], self.labelled.channels[index]
        contacts = np.maximum(self.around.neighbours[channels], 0)
        waveforms = self.known.traces[
            samples[:, np.newaxis, np.newaxis] + self.window, contacts[:, :, np.newaxis]
        ]
        return network(torch.from_numpy(waveforms), self.around.weights(network, channels))

    def labels(self, index: np.ndarray) -> Tensor:
        return torch.from_numpy(self.labelled.labels[index].astype("float32"))


class _Detection(Draws):
    """Tell spikes from noise."""

    label = "train spike detector"

    def loss(self, network: Any, batch: list[tuple[_Source, np.ndarray]]) -> StepLoss:
        """Measure the cross-entropy."""
        logits = torch.cat([source.logits(network, index) for source, index in batch])
        labels = torch.cat([source.labels(index) for source, index in batch])
        return StepLoss(functional.binary_cross_entropy_with_logits(logits, labels))


def _scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Precision and recall of held-out candidates at a probability of 0.5, and their cross-entropy."""
    said, true = logits >= 0, labels > 0.5
    both = int((said & true).sum())
    entropy = np.logaddexp(0.0, np.where(true, -logits, logits)).mean()
    return dict(
        precision=both / max(int(said.sum()), 1),
        recall=both / max(int(true.sum()), 1),
        cross_entropy=float(entropy),
        num_candidates=int(true.size),
    )
