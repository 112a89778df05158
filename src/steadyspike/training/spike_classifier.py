"""`train_spike_classifier`: a classifier of spikes and noise from labelled waveforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator

from steadyspike.core.setting_groups import Group, GroupedSettings, group, takes_groups
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

if TYPE_CHECKING:
    from steadyspike.library.models.waveforms import SpikeClassifier

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


@takes_groups(SpikeClassifierTraining)
def train_spike_classifier(
    waveforms: Any,
    labels: Any,
    *,
    validation: tuple[Any, Any] | None = None,
    settings: SpikeClassifierTraining,
) -> SpikeClassifier:
    """Train a classifier of waveforms: spike or noise.

    Waveforms are standardized with their mean and standard deviation. Everything that is chosen is chosen on the
    validation waveforms: the sizes of the network or the epoch to stop at and the threshold of `predict` (by the macro
    F1 score), and the temperature and bias that calibrate probabilities (by their likelihood). Validation waveforms of
    other channels than those trained on tell how well units are recognized that the network has not seen.

    Parameters
    ----------
    waveforms : ndarray, shape (num_waveforms, num_samples) or (num_waveforms, num_samples, num_channels)
        Aligned to their peak; in any units, which later waveforms must share.
    labels : ndarray, shape (num_waveforms,)
        Two different values; the larger one (1, True, "spike" after "noise") means spike.
    validation : tuple of ndarray or None, default: None
        Waveforms and labels. None: a fifth of the others, drawn at random from both classes, is held out.
    {settings}
    **parameters
        Those of `network` and `optimizer` one by one, as ``network="cnn", max_epochs=5``.

    Returns
    -------
    model : SpikeClassifier
        With `predict`, `predict_proba`, `classes_`, and `save` for a model folder. Scores on the validation waveforms
        are in ``model.config.extra["scores"]``.

    Raises
    ------
    ValueError
        If a parameter cannot work, waveforms and labels do not fit each other, or there are not two classes.
    """
    from steadyspike.training import labelled_waveforms as data
    from steadyspike.training.spike_classifier_run import ClassifierRun

    training, held_out = data.split(data.take(waveforms, labels), validation, settings.optimizer.seed)
    nbefore = data.usual_peak(training) if settings.nbefore is None else settings.nbefore
    last = training.waveforms.shape[1] - 1
    if nbefore > last:
        settings.refuse("nbefore", f"0 to {last}, a sample of the waveforms")
    run = ClassifierRun(training, held_out, NETWORKS[settings.network.name], settings)
    return run.carry_out(nbefore, "given" if validation is not None else "a fifth of the training waveforms")
