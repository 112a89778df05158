"""The motion presets that are compared: ours, SpikeInterface's, and repaired ones of SpikeInterface's."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

REFERENCE = "dredge_fast"
"""The upstream preset that all others are held against: SpikeInterface's default."""

SAME_NUMBERS = {"monopolar_triangulation": "steady_monopolar", "grid_convolution": "steady_grid_convolution"}
"""Our compiled twins of SpikeInterface's localization methods."""

OTHER_ESTIMATORS = ("steady_point_cloud", "steady_iterative_template")
"""Estimators of ours from peaks that no preset uses: the study runs them with the rest of `steady_nonrigid`."""

OF_OURS = dict(win_step_um=200.0, win_scale_um=300.0, win_margin_um=0.0, max_disp_um=100.0)
"""Windows of `steady_nonrigid`, and a limit that every simulated drift of the study stays within."""
OTHER_DREDGE = {
    "dredge_narrow": OF_OURS,
    "dredge_narrow_strict": {**OF_OURS, "mincorr": 0.5},
    "dredge_narrow_mean": {**OF_OURS, "avg_in_bin": True},
    "dredge_rigid": dict(rigid=True, max_disp_um=100.0),
}
"""Further settings of DREDge beside SpikeInterface's two: as a user might choose who knows the size of the drift."""


@dataclass(frozen=True)
class StudyPreset:
    """A motion preset of the study.

    Parameters
    ----------
    name : str
        As tables name it.
    ours : bool
        Whether it is one of steadyspike's.
    detect_kwargs, localize_peaks_kwargs, estimate_motion_kwargs : dict
        As in SpikeInterface's table of presets.
    """

    name: str
    ours: bool
    detect_kwargs: dict[str, Any]
    localize_peaks_kwargs: dict[str, Any]
    estimate_motion_kwargs: dict[str, Any]

    @property
    def method(self) -> str:
        """Name of the motion estimator."""
        return self.estimate_motion_kwargs["method"]


def study_presets(
    *, medicine_steps: int | None = None, upstream_localization: bool = False
) -> dict[str, StudyPreset]:
    """List all presets of ours and of SpikeInterface, in the order of the tables: ours first.

    Some are added: `steady_nonrigid` with each of `OTHER_ESTIMATORS`, under the estimator's name; ``dredge_repaired``,
    SpikeInterface's `dredge` without the argument that its estimator does not know; that with each of `OTHER_DREDGE`;
    and, where `medicine_steps` is given, `medicine` with that many training steps instead of 10,000.

    Parameters
    ----------
    medicine_steps : int or None, default: None
        Training steps of `medicine`, at least 1; the preset is then called ``medicine_<steps>_steps``. None: 10,000
        under its own name.
    upstream_localization : bool, default: False
        Localize with SpikeInterface's own `monopolar_triangulation` (milliseconds for each peak) and
        `grid_convolution`; otherwise with our compiled twins, which give the same to a stated tolerance and are
        shared with our presets.

    Returns
    -------
    presets : dict of str to StudyPreset
    """
    from spikeinterface.preprocessing.motion import motion_options_preset

    from steadyspike.library.presets.presets import list_presets, load_preset

    if medicine_steps is not None and medicine_steps < 1:
        raise ValueError(f"medicine_steps={medicine_steps} must be at least 1")
    ours = {name: load_preset(name).parameters for name in list_presets("motion")}
    for method in OTHER_ESTIMATORS:
        ours[method] = copy.deepcopy(ours["steady_nonrigid"])
        ours[method]["estimate_motion_kwargs"] |= dict(method=method)
    theirs = {name: table for name, table in dict(motion_options_preset).items() if name and name not in ours}
    if medicine_steps is not None and "medicine" in theirs:
        theirs[f"medicine_{medicine_steps}_steps"] = _with_steps(theirs.pop("medicine"), medicine_steps)
    if "batching_mode" in theirs.get("dredge", {}).get("estimate_motion_kwargs", {}):
        theirs["dredge_repaired"] = copy.deepcopy(theirs["dredge"])
        del theirs["dredge_repaired"]["estimate_motion_kwargs"]["batching_mode"]
    for name, settings in OTHER_DREDGE.items():
        if "dredge_repaired" in theirs:
            theirs[name] = copy.deepcopy(theirs["dredge_repaired"])
            theirs[name]["estimate_motion_kwargs"] |= settings
    presets = {}
    for name, table in {**ours, **theirs}.items():
        localize = dict(table["localize_peaks_kwargs"])
        if not upstream_localization:
            localize["method"] = SAME_NUMBERS.get(localize["method"], localize["method"])
        presets[name] = StudyPreset(
            name, name in ours, dict(table["detect_kwargs"]), localize, dict(table["estimate_motion_kwargs"])
        )
    return presets


def choose_presets(
    names: list[str] | tuple[str, ...] | None, presets: dict[str, StudyPreset]
) -> dict[str, StudyPreset]:
    """Give the presets of these names, all for None; raise `ValueError` for a name that is not among them."""
    if names is None:
        return presets
    wrong = [name for name in names if name not in presets]
    if wrong or not names:
        raise ValueError(f"presets={', '.join(names)} cannot work; allowed: {', '.join(presets)}")
    return {name: presets[name] for name in names}


def _with_steps(table: dict[str, Any], steps: int) -> dict[str, Any]:
    changed = copy.deepcopy(table)
    changed["estimate_motion_kwargs"]["training_steps"] = steps
    return changed
