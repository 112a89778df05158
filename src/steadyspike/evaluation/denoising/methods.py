"""What denoising is compared with: the lazy recordings of an evaluation, one for each method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from steadyspike.core.stretches import Stretch
from steadyspike.evaluation.denoising.inputs import Inputs
from steadyspike.library.models.deepinterpolation import DeepInterpolationModel
from steadyspike.library.models.provenance import filter_mismatch, seconds_in_both
from steadyspike.library.models.references import find_source
from steadyspike.preprocessing.deepinterpolation import check_sampling_frequency, layout_for

RAW, LINEAR, CENTER = "raw", "linear", "center"
RESERVED = (RAW, LINEAR, CENTER, "clean")
LINEAR_TAPS, LINEAR_ROWS, LINEAR_WINDOW = 10, 200_000, 256


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Model folder of the ridge interpolator (None: none could be fitted), and what readers of the result must know."""

    folder: Path | None
    note: str = ""


def named_models(model: Any) -> dict[str, Any]:
    """Give each of the models a name.

    One is named "model", those in a list by their folder or file, those in a dict by their key. Raises `ValueError` if
    there is none, or a name is not possible or given twice.
    """
    if isinstance(model, Mapping):
        models = {str(name): one for name, one in model.items()}
    elif isinstance(model, list | tuple):
        names = [_name_of(one, number) for number, one in enumerate(model)]
        if len(set(names)) < len(names):
            raise ValueError(
                f"model holds {', '.join(names)}; allowed: other names for each, as in a dict of names"
            )
        models = dict(zip(names, model, strict=True))
    else:
        models = {"model": model}
    if not models:
        raise ValueError("model is empty; allowed: one model, or a list or dict of some")
    taken = [name for name in models if name in RESERVED or not name]
    if taken:
        raise ValueError(
            f"model has the name {taken[0]!r}, which stands for something else; "
            f"allowed: all but {', '.join(RESERVED)}"
        )
    return models


def _name_of(model: Any, number: int) -> str:
    if isinstance(model, DeepInterpolationModel):
        return model.folder.name if model.folder is not None else f"model {number}"
    return Path(str(getattr(model, "file", model))).name


def check_models(models: Mapping[str, Any], recording: Any, bad: np.ndarray, folder: Path) -> dict[str, Any]:
    """Find the sources of `named_models` and refuse those that do not fit, before any data is read.

    Models that are in memory only go to `folder`.
    """
    sources = {}
    for number, (name, model) in enumerate(models.items()):
        if isinstance(model, DeepInterpolationModel) and model.folder is None:
            model.save(folder / f"model{number}")
            model = replace(model, folder=folder / f"model{number}")
        sources[name] = find_source(model)
        check_sampling_frequency(sources[name], recording)
        layout_for(sources[name], recording, bad)
    return sources


def trained_on(sources: Mapping[str, Any]) -> list[Any]:
    """Return what each model says that it was trained on; a Keras file says nothing."""
    return [one.config().extra.get("trained_on") for one in sources.values() if one.keras is None]


def cautions_of(sources: Mapping[str, Any], inputs: Inputs) -> Iterator[str]:
    """Tell which models were trained on what is evaluated, or on otherwise filtered recordings, as far as they know."""
    rate = float(inputs.recording.sampling_frequency)
    total_s = sum(part.stop - part.start for part in inputs.evaluated) / rate
    for name, source in sources.items():
        if source.keras is not None:
            continue
        extra = source.config().extra
        seen_s = seconds_in_both(extra.get("trained_on"), inputs.recording, inputs.evaluated)
        if seen_s:
            yield (
                f"{name}: was trained on {seen_s:.4g} s of the {total_s:.4g} s that are evaluated, so it looks better "
                "here than on new data; evaluate what was held out"
            )
        unlike = filter_mismatch(extra, inputs.recording)
        if unlike:
            yield f"{name}: {unlike.removeprefix('the model ')}"


def fit_linear(
    recording: Any,
    stretches: Sequence[Stretch],
    omission: int,
    taps: int,
    normalization: tuple[np.ndarray, np.ndarray],
    folder: Path,
    seed: int,
) -> LinearFit:
    """Fit the ridge interpolator on some stretches of a recording, and save it in `folder`.

    It sees `taps` samples, 10 at most, beyond the `omission` hidden ones on each side. `normalization` is center and
    scale of each channel; channels without a scale are dead.
    """
    from steadyspike.core.probe_layout import layout_of
    from steadyspike.library.models.deepinterpolation import config_of
    from steadyspike.training.baseline import fit_ridge
    from steadyspike.training.windows import Source, Windows

    center, scale = normalization
    layout = layout_of(recording, dead=scale <= 0)
    unit = layout.type.unit
    context = (taps + omission, taps + omission)
    if max((part.stop - part.start for part in stretches), default=0) <= sum(context):
        return LinearFit(None, "linear is missing, as there are too few samples to fit it")
    windows = Windows(
        [Source(recording, layout, center, scale)], stretches, context, LINEAR_WINDOW, seed=seed
    )
    units = max(1, layout.mask.size // (len(unit) * len(unit[0])))
    wanted = -(-LINEAR_ROWS // (windows.batch_size * windows.frames * units))
    ridge = fit_ridge(unit, context, omission, windows.stream(0, wanted))
    if ridge is None:
        return LinearFit(None, "linear is missing, as every unit of the probe's pattern has a dead contact")
    config = config_of(ridge, layout.type, recording.get_sampling_frequency())
    DeepInterpolationModel(ridge, config).save(folder / LINEAR)
    return LinearFit(folder / LINEAR)


def sides_of(source: Any) -> tuple[int, int]:
    """Hidden samples, and samples seen, on each side, for the linear interpolator that a model is compared with."""
    if source.keras is not None:
        return 1, LINEAR_TAPS
    config = source.config()
    return config.omission, max(1, min(LINEAR_TAPS, config.pre, config.post))
