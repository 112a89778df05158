"""What trainings take: parameters declared once, in groups."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, field_validator, model_validator

from steadyspike.core.setting_groups import Group, GroupedSettings, group
from steadyspike.core.settings import parameter
from steadyspike.library.hub.cards import LICENSE_ALLOWED, check_license

LOSS_ALIASES = {"mean_absolute_error": "mae", "mean_squared_error": "mse"}

SEED = parameter(0, "Of the first weights and of all that is drawn", ge=0)


License = Annotated[str, AfterValidator(check_license)]
DataLicense = Annotated[
    str | None, AfterValidator(lambda name: None if name is None else check_license(name))
]
LICENSE_NAME = parameter("unknown", "Licence of the weights, for the model card", allowed=LICENSE_ALLOWED)
DATA_LICENSE = parameter(
    None,
    'Licence of what is trained on, such as "cc-by-4.0", for the model card and ``model.config.extra``; None: not told',
    allowed=LICENSE_ALLOWED,
)


class NetworkSettings(Group):
    """Which DeepInterpolation network is trained: `network` of `train_deepinterpolation`.

    Parameters
    ----------
    {settings}
    """

    part = "NetworkSettings"
    plain: ClassVar = {"network": "name", "network_kwargs": "kwargs"}

    name: Literal["blindspot", "unet_single_ephys_1024"] | None = parameter(
        None, 'Name of the network (`steadyspike.networks`); None: "blindspot"'
    )
    size: Literal["tiny", "small", "base"] | None = parameter(None, 'Size of "blindspot"; None: "small"')
    kwargs: dict[str, Any] | None = parameter(
        None,
        'Other arguments of the class of the network, such as ``{"centre": 1}`` or ``{"width": 16}``',
        type_doc="dict or None",
        allowed="a dict of arguments of the network's class",
    )

    @model_validator(mode="after")
    def _size_is_of_blindspot(self) -> NetworkSettings:
        if self.size is not None and self.name not in (None, "blindspot"):
            raise ValueError(
                f"size={self.size!r}; allowed: None, as only 'blindspot' has sizes (see network_kwargs)"
            )
        return self


class OptimizerSettings(Group):
    """How DeepInterpolation networks are fitted: `optimizer` of `train_deepinterpolation`.

    Parameters
    ----------
    {settings}
    """

    part = "OptimizerSettings"

    max_steps: int | None = parameter(
        None, "Steps in all; None: 5000, or 1000 with `init_from`, unless there is `max_time_s`", ge=1
    )
    max_time_s: float | None = parameter(
        None, "Wall-clock budget in s of the training, evaluations included; None: none", unit="s", gt=0
    )
    batch_size: int = parameter(4, "Windows in a step, on each device", ge=1)
    learning_rate: float | None = parameter(
        None,
        "The highest, after a warm-up; it then falls like a cosine to a hundredth. "
        'None: 5e-3 for "blindspot", 1e-3 for the paper\'s network; 0.3 times that with `init_from`',
        gt=0,
    )
    weight_decay: float = parameter(1e-4, "Of AdamW", ge=0)
    loss: Literal["mse", "mae", "charbonnier"] = parameter(
        "mse",
        "Squared, absolute, or smoothed absolute error in units of each channel's noise; "
        '"mean_squared_error" and "mean_absolute_error" mean the first two',
    )
    focus: float | None = parameter(
        None,
        "How much more spikes weigh in training: each error counts ``1 + focus * min(|prediction|, 5)`` times. "
        "What is best to predict stays the same, but rare spikes are learnt sooner; the held-out loss has no weights. "
        'None: 1 for "blindspot", 0 for the paper\'s network',
        ge=0,
    )
    train_layers: Literal["all", "last"] | list[str] = parameter(
        "all",
        "What trains: all, what makes the output, or the parameters whose names start with a match of one of these "
        "regular expressions",
        type_doc='"all", "last" or list of str',
        allowed="'all', 'last' or a list of patterns",
    )
    evaluate_every: int | None = parameter(
        None,
        "Steps between evaluations and checkpoints; a checkpoint is also written each minute. "
        "None: a twentieth of `max_steps`, 200 at most",
        ge=1,
    )
    patience: int | None = parameter(
        10, "Evaluations without a lower held-out loss after which training stops; None: never", ge=1
    )
    seed: int = SEED

    @field_validator("loss", mode="before")
    @classmethod
    def _keras_names(cls, value: Any) -> Any:
        return LOSS_ALIASES.get(value, value) if isinstance(value, str) else value


class DataSettings(Group):
    """What of recordings a DeepInterpolation network sees: `data` of `train_deepinterpolation`.

    Times are on the time line of all segments of all recordings one after another.

    Parameters
    ----------
    {settings}
    """

    part = "DataSettings"

    train_start_s: float | None = parameter(
        None,
        "What is trained on: start, end and duration in s on the time line of all segments of all recordings one after "
        "another. None: all but what is held out",
        unit="s",
        ge=0,
    )
    train_end_s: float | None = parameter(None, "As `train_start_s`", unit="s", ge=0)
    train_duration_s: float | None = parameter(None, "As `train_start_s`", unit="s", ge=0)
    test_start_s: float | None = parameter(
        None,
        "What is held out, in s likewise. None: the last tenth of each stretch of training, 30 s at most, or all of "
        "`test_recordings`",
        unit="s",
        ge=0,
    )
    test_end_s: float | None = parameter(None, "As `test_start_s`", unit="s", ge=0)
    test_duration_s: float | None = parameter(None, "As `test_start_s`", unit="s", ge=0)
    gap_s: float = parameter(1.0, "Before and after what is held out, used for nothing", unit="s", ge=0)
    pre_ms: float = parameter(1.0, "Context before the hidden samples", unit="ms", gt=0)
    post_ms: float = parameter(
        1.0,
        'Context after them, in ms; "blindspot" sees as much on both sides, at least the larger of them',
        unit="ms",
        gt=0,
    )
    pre_frame: int | None = parameter(None, "`pre_ms` in samples; None: as `pre_ms` says", ge=1)
    post_frame: int | None = parameter(None, "`post_ms` in samples; None: as `post_ms` says", ge=1)
    pre_post_omission: int | None = parameter(
        None, "Hidden samples on each side of the predicted one; None: 1", ge=0
    )
    normalization: Literal["channel", "global", "none"] | None = parameter(
        None, '`steadyspike.core.normalization.measure_normalization`; None: "channel"'
    )
    chunk_frames: int | None = parameter(
        None,
        "Predicted samples in a window; fewer where recordings are shorter. None: 256, or 32 for the paper's network",
        ge=1,
    )
    test_windows: int | None = parameter(
        None,
        "Held-out windows, spread evenly and kept in memory. None: 32, or 16 for the paper's network",
        ge=1,
    )


class DeepInterpolationTraining(GroupedSettings):
    """What `train_deepinterpolation` takes."""

    part = "train_deepinterpolation"

    network: NetworkSettings = group(NetworkSettings, "Which network is trained")
    optimizer: OptimizerSettings = group(OptimizerSettings, "How it is fitted")
    data: DataSettings = group(DataSettings, "What it sees of recordings, and which part of them is held out")
    device: str = parameter("auto", '"cpu", "cuda", "cuda:1", "mps"; "auto": cuda, else mps, else cpu')
    devices: int = parameter(
        1,
        "Above 1: Lightning Fabric, as many processes (``pip install steadyspike[train]``). A script then needs "
        '``if __name__ == "__main__":``',
        ge=1,
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = parameter(
        "auto", 'Of the arithmetic; "auto": a half precision on cuda, float32 elsewhere'
    )
    num_readers: int = parameter(1, "Threads that read recordings", ge=1)
    license_name: License = LICENSE_NAME
    data_license: DataLicense = DATA_LICENSE


class StepSettings(Group):
    """How networks of spikes are fitted: a number of steps, at a learning rate that falls like a cosine.

    Parameters
    ----------
    {settings}
    """

    part = "StepSettings"

    steps: int = parameter(4000, "Steps; some 40 ms each on one core", ge=1)
    batch_size: int = parameter(1024, "Candidates or spikes in a step", ge=4)
    learning_rate: float = parameter(3e-3, "The highest", gt=0)
    seed: int = SEED


class EpochSettings(Group):
    """How networks of waveforms are fitted: epochs, until the held-out waveforms are no longer classified better.

    Parameters
    ----------
    {settings}
    """

    part = "EpochSettings"

    max_epochs: int = parameter(30, "Passes over the waveforms", ge=1)
    patience: int = parameter(6, "Epochs without gain after which training stops", ge=1)
    batch_size: int = parameter(256, "Waveforms in a step", ge=2)
    learning_rate: float = parameter(2e-3, "The highest", gt=0)
    seed: int = SEED


SAMPLING_FREQUENCY = parameter(
    None, "Of the waveforms, in Hz; for the record, and checked where peaks are classified", gt=0
)
UNIT = parameter(
    None,
    '"uV": the waveforms are in microvolts, to which traces are then scaled; None: they are taken as they are',
)
