"""What `train_spike_classifier` takes."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import field_validator

from steadyspike.core.setting_groups import Group, GroupedSettings, group
from steadyspike.core.settings import parameter
from steadyspike.training.settings import (
    DATA_LICENSE,
    LICENSE_NAME,
    SAMPLING_FREQUENCY,
    UNIT,
    DataLicense,
    EpochSettings,
    License,
)

NETWORKS = {"discriminant": "waveform_discriminant", "cnn": "waveform_cnn", "gru": "waveform_gru"}


class ClassifierNetwork(Group):
    """Which network tells spikes from noise: `network` of `train_spike_classifier`.

    Parameters
    ----------
    {settings}
    """

    part = "ClassifierNetwork"
    plain: ClassVar = {"network": "name", "network_kwargs": "kwargs"}

    name: Literal["discriminant", "cnn", "gru"] = parameter(
        "discriminant",
        "A regularized Gaussian discriminant (`steadyspike.networks.classifier.WaveformDiscriminant`), fitted in "
        "closed form; or the two networks of the older zebra finch work, trained by AdamW",
    )
    kwargs: dict[str, Any] | None = parameter(
        None,
        "Sizes that are not to be chosen: ``components`` and ``shrinkage`` of the discriminant, ``features`` and "
        "``hidden`` of the others",
        type_doc="dict or None",
        allowed="a dict of sizes",
    )


class SpikeClassifierTraining(GroupedSettings):
    """What `train_spike_classifier` takes."""

    part = "train_spike_classifier"

    network: ClassifierNetwork = group(ClassifierNetwork, "Which network is trained")
    optimizer: EpochSettings = group(
        EpochSettings, 'How "cnn" and "gru" are fitted; the discriminant takes nothing but the seed'
    )
    class_weight: Literal["balanced"] | None = parameter(
        "balanced", "Whether both classes weigh as much in the loss, however many there are of each"
    )
    noise: float = parameter(
        0.5,
        "Training waveforms get noise added: another waveform of the noise class, less the mean of those, times a "
        "random factor up to this one",
        ge=0,
    )
    amplitude_jitter: float = parameter(
        0.0,
        "Training waveforms are scaled at random, by factors with this standard deviation of their logarithm",
        ge=0,
    )
    spike_fractions: tuple[float, float] | None = parameter(
        (0.01, 0.5),
        "Lowest and highest share of spikes on channels that the classifier will see. The threshold is the best on "
        "average between them; None: for the share in the validation waveforms",
        type_doc="tuple of float or None",
        allowed="0 < lowest <= highest < 1, or None",
    )
    decide_on: Literal["validation", "all"] = parameter(
        "validation",
        "By which waveforms calibration and threshold are chosen. Where validation is a channel with one unit or two, "
        '"all", which adds those trained on, suits other channels better '
        "(`python -m steadyspike_benchmarks classifier --rotate`)",
    )
    sampling_frequency: float | None = SAMPLING_FREQUENCY
    nbefore: int | None = parameter(
        None, "Which sample is the peak; None: where most spikes have their largest absolute value", ge=0
    )
    unit: Literal["uV"] | None = UNIT
    license_name: License = LICENSE_NAME
    data_license: DataLicense = DATA_LICENSE

    @field_validator("spike_fractions")
    @classmethod
    def _in_order(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] <= value[1] < 1:
            raise ValueError("out of order")
        return value
