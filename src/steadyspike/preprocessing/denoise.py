"""The recipe: which bundled model denoises a recording, and what is handed over to whatever sorts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steadyspike.core.arguments import refuse
from steadyspike.preprocessing.deepinterpolation import check_sampling_frequency, layout_for
from steadyspike.preprocessing.deepinterpolation import deepinterpolate as _deepinterpolate

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

PART = "denoise"
RECIPE: dict[str, Any] = {"output": "prediction", "recorded_share": 0.5}
"""Arguments of `deepinterpolate` for a recording that is to be sorted; presets and commands take them from here."""
RECOMMENDED = ("steady-np1-seeing", "steady-np2-seeing")
"""Bundled models, of which the first that was trained for a recording's pattern of contacts is taken."""


def denoise(recording: BaseRecording, model: Any = None, **parameters: Any) -> BaseRecording:
    """Denoise a recording for sorting, by the recipe of this version (`RECIPE`).

    Parameters
    ----------
    recording : BaseRecording
        With a probe; highpassed, referenced, and not lowpassed.
    model : str, Path or model or None, default: None
        As `deepinterpolate` takes it. None: the bundled one that fits the probe.
    **parameters
        Others of `deepinterpolate`; they go before the recipe's, `steadyspike.preprocessing.denoise.RECIPE`.

    Returns
    -------
    recording : SteadyDeepInterpolateRecording
        Lazy. A chain that is saved holds the model and all parameters, and does not follow a later recipe.

    Raises
    ------
    ValueError
        If no bundled model fits the probe or the sampling frequency, and as `deepinterpolate`.
    """
    model = recommended_model(recording) if model is None else model
    return _deepinterpolate(recording, model, **{**RECIPE, **parameters})


def recommended_model(recording: BaseRecording) -> str:
    """Name the bundled model for a recording's probe; `ValueError` if there is none."""
    import numpy as np

    from steadyspike.library.models.references import find_source

    nothing_dead = np.zeros(recording.get_num_channels(), bool)
    problems = []
    for name in RECOMMENDED:
        source = find_source(name)
        try:
            check_sampling_frequency(source, recording)
            layout_for(source, recording, nothing_dead)
        except ValueError as error:
            problems.append(f"{name}: {error}")
            continue
        return name
    refuse("model", None, f"one for this probe, as no bundled model is ({'; '.join(problems)})", PART)
