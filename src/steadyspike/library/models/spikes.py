"""Models of spikes: detectors, and denoisers of their waveforms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from steadyspike.library.hub.cards import Usage
from steadyspike.library.models.config import FolderConfig, ModelError
from steadyspike.library.models.folder import SavedModel

Positive = Annotated[float, Field(gt=0)]


class SpikeDetectorConfig(FolderConfig):
    """What `config.json` of a spike detector holds.

    Trained at `sampling_frequency` Hz; the network sees contacts within `radius_um` of the candidate's, and a candidate
    that is more probable than `probability` is a spike. Candidates are troughs of at least `candidate_threshold` noise
    levels that nothing within `candidate_radius_um` and `candidate_ms` exceeds; the published detectors look everywhere
    and take no threshold: None. Of two spikes within `exclude_radius_um` and `exclude_ms` the stronger stays.
    """

    kind: Literal["spike_detector"] = "spike_detector"
    sampling_frequency: Positive
    radius_um: Positive
    probability: float = Field(default=0.5, gt=0, lt=1)
    candidate_threshold: Positive | None = None
    candidate_radius_um: Positive | None = None
    candidate_ms: Positive | None = None
    exclude_radius_um: Positive
    exclude_ms: Positive

    networks: ClassVar[tuple[str, ...]] = ("local_spike_detector", "yass_detector")

    def unlike(self, network: Any) -> list[str]:
        """Tell what the configuration says of its network that is not so, sentence by sentence."""
        of_candidates = (self.candidate_threshold, self.candidate_radius_um, self.candidate_ms)
        if self.network.name == "local_spike_detector" and None in of_candidates:
            return ["candidate_threshold, candidate_radius_um and candidate_ms are needed by its network"]
        return []


class WaveformDenoiserConfig(FolderConfig):
    """What `config.json` of a waveform denoiser holds.

    Trained at `sampling_frequency` Hz; `samples_before` are the samples before the spike's trough, of `num_samples` in
    all. The network sees the waveforms of contacts within `radius_um` of the spike's together; None: each contact by
    itself.
    """

    kind: Literal["waveform_denoiser"] = "waveform_denoiser"
    sampling_frequency: Positive
    samples_before: int = Field(ge=0)
    num_samples: int = Field(ge=1)
    radius_um: Positive | None = None

    networks: ClassVar[tuple[str, ...]] = ("local_waveform_denoiser", "yass_denoiser")

    def unlike(self, network: Any) -> list[str]:
        """Tell what the configuration says of its network that is not so, sentence by sentence."""
        problems = []
        if network.num_samples != self.num_samples:
            problems.append(f"num_samples is {self.num_samples}, but its network has {network.num_samples}")
        if self.samples_before >= self.num_samples:
            problems.append(f"samples_before is {self.samples_before}, not below num_samples")
        if (self.network.name == "local_waveform_denoiser") != (self.radius_um is not None):
            problems.append(
                f"radius_um is {self.radius_um}, which does not suit network {self.network.name!r}"
            )
        return problems


@dataclass(frozen=True, eq=False)
class SpikeDetectorModel(SavedModel):
    """A spike detector, with its weights.

    Parameters
    ----------
    network
        As of `SavedModel`.
    config : SpikeDetectorConfig
        What it was trained for.
    card, folder
        As of `SavedModel`.
    """

    config: SpikeDetectorConfig

    config_class: ClassVar[type[FolderConfig]] = SpikeDetectorConfig
    usage: ClassVar[Usage] = Usage(
        "Spike detector",
        (
            "from spikeinterface.sortingcomponents.peak_detection import detect_peaks",
            "import steadyspike",
            'peaks = detect_peaks(recording, method="steady_neural", method_kwargs=dict(model="{ref}"))',
        ),
    )


@dataclass(frozen=True, eq=False)
class WaveformDenoiserModel(SavedModel):
    """A denoiser of waveforms, with its weights.

    Parameters
    ----------
    network
        As of `SavedModel`.
    config : WaveformDenoiserConfig
        What it was trained for.
    card, folder
        As of `SavedModel`.
    """

    config: WaveformDenoiserConfig

    config_class: ClassVar[type[FolderConfig]] = WaveformDenoiserConfig
    usage: ClassVar[Usage] = Usage(
        "Waveform denoiser",
        (
            "from spikeinterface.sortingcomponents.peak_localization import localize_peaks",
            "import steadyspike",
            'localizing = dict(method="steady_denoised_monopolar", method_kwargs=dict(model="{ref}"))',
            "peak_locations = localize_peaks(recording, peaks, **localizing)",
        ),
    )


def spike_model(model: Any, cls: type[SavedModel]) -> Any:
    """Return a model of one class, loaded if it is a reference.

    `model` is the name of a bundled one, a model folder, a reference to the Hugging Face Hub, or loaded. Raises
    `ModelError` if it is of another kind, or none.
    """
    if isinstance(model, str | Path):
        return cls.load(model)
    if not isinstance(model, cls):
        raise ModelError(
            f"model={model!r} is no {cls.__name__}; allowed: a bundled name, a model folder, a reference to the Hub "
            "(hf:owner/name), or a loaded model"
        )
    return model
