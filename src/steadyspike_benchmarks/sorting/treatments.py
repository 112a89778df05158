"""What is done to a drifting recording before it is sorted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from steadyspike_benchmarks.sorting.bound import BestLinearRecording
from steadyspike_benchmarks.study_presets import REFERENCE

if TYPE_CHECKING:
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

OURS = "steady_auto"
DENOISING: dict[str, dict[str, Any]] = {
    "prediction": dict(output="prediction"),
    "posterior": dict(output="posterior"),
    "posterior, half recorded": dict(output="posterior", recorded_share=0.5),
    "prediction, half recorded": dict(output="prediction", recorded_share=0.5),
    "prediction, quarter recorded": dict(output="prediction", recorded_share=0.25),
}
"""What denoising hands over, and the arguments of `deepinterpolate` for it."""
DENOISERS = ("steady-np1", "steady-np2", "steady-np1-seeing", "steady-np2-seeing")


@dataclass(frozen=True)
class Treatment:
    """A way to correct a recording.

    Parameters
    ----------
    name : str
        As tables name it.
    preset : str or None
        Motion preset that estimates, and interpolates where `interpolation` is None; None: no correction.
    interpolation : dict or None
        Arguments of `interpolate_motion` in the place of the preset's.
    estimation : dict or None
        Arguments of the preset's estimator in the place of its own.
    model : str or None
        A DeepInterpolation model that denoises first.
    static : bool
        Sort the recording in which nothing moves.
    denoising : dict or None
        Further arguments of `deepinterpolate`.
    switches : str or None
        Filter and reference first, and sort with these `SWITCHES`; None: neither, and by the sorter's defaults.
    knows_truth : bool
        Correct with weights that are fitted to the recording without drift: a bound, see `best_linear`.
    true_motion : bool
        Correct as the preset does, by the true motion instead of an estimate.
    """

    name: str
    preset: str | None = None
    interpolation: dict[str, Any] | None = field(default=None, hash=False)
    estimation: dict[str, Any] | None = field(default=None, hash=False)
    model: str | None = None
    static: bool = False
    denoising: dict[str, Any] | None = field(default=None, hash=False)
    switches: str | None = None
    knows_truth: bool = False
    true_motion: bool = False

    def prepared(self, recording: BaseRecording) -> BaseRecording:
        """Give the recording as the motion is estimated in it."""
        if self.switches is not None:
            from steadyspike import bandpass_filter, common_reference

            recording = common_reference(bandpass_filter(recording))
        if self.model is None:
            return recording
        from steadyspike import deepinterpolate

        return deepinterpolate(recording, self.model, **(self.denoising or {}))

    def estimated(self, recording: BaseRecording) -> tuple[Motion, dict[str, Any]]:
        """Motion of a recording, and SpikeInterface's `motion_info`."""
        from spikeinterface.preprocessing import compute_motion

        arguments = dict(output_motion_info=True, progress_bar=False)
        if self.estimation:
            arguments["estimate_motion_kwargs"] = self.estimation
        return compute_motion(recording, preset=self.preset, **arguments)

    def interpolated(
        self, recording: BaseRecording, motion: Motion | None, like: BaseRecording | None = None
    ) -> BaseRecording:
        """Correct traces by a motion, as the preset or `interpolation` says, with what was fitted to `like`."""
        if isinstance(like, BestLinearRecording):
            return like.of(recording)
        if self.preset is None:
            return recording
        from spikeinterface.preprocessing.motion import motion_options_preset
        from spikeinterface.sortingcomponents.motion import interpolate_motion

        arguments = dict(
            self.interpolation or motion_options_preset[self.preset]["interpolate_motion_kwargs"]
        )
        if like is not None and like._kwargs.get("covariance") is not None:
            arguments["covariance"] = like._kwargs["covariance"]
        return interpolate_motion(recording, motion, **arguments)


def _once(sorter: str, recording: BaseRecording) -> dict[str, Any]:
    """What `steadyspike.sorting.parameters` advises."""
    from steadyspike.sorting import parameters

    return dict(parameters(sorter, recording))


def _filter_twice(sorter: str, recording: BaseRecording) -> dict[str, Any]:
    """The sorter filters and references too, as it does by default."""
    left = dict(_once(sorter, recording), apply_preprocessing=True)
    left.pop("preprocessing_dict", None)
    return left


def _motion_again(sorter: str, recording: BaseRecording) -> dict[str, Any]:
    """The sorter corrects the motion, whether the recording is corrected or not."""
    return dict(_once(sorter, recording), apply_motion_correction=True)


def _all_twice(sorter: str, recording: BaseRecording) -> dict[str, Any]:
    return {**_filter_twice(sorter, recording), **dict(apply_motion_correction=True)}


SWITCHES: dict[str, Callable[[str, BaseRecording], dict[str, Any]]] = {
    "once": _once,
    "filter twice": _filter_twice,
    "motion twice": _motion_again,
    "both twice": _all_twice,
    "motion in the sorter": _motion_again,
}
"""Arguments for SpikeInterface's own sorters: what is advised, and what does something of the chain again."""


def kriging(p: float, sigma_um: float) -> dict[str, Any]:
    """SpikeInterface's kriging with a length, which our node computes too."""
    return dict(
        method="steady_interpolate_motion",
        border_mode="force_extrapolate",
        spatial_interpolation_method="kriging",
        sigma_um=sigma_um,
        p=p,
    )


def treatments() -> dict[str, Treatment]:
    """List all treatments, in the order of the tables."""
    from spikeinterface.preprocessing.motion import motion_options_preset

    from steadyspike.library.presets.presets import list_presets

    ours = [name for name in list_presets("motion") if name in motion_options_preset]
    theirs = [name for name in motion_options_preset if name and name not in ours and name != REFERENCE]
    listed = [
        Treatment("static", static=True),
        Treatment("uncorrected"),
        *(Treatment(name, name) for name in ours),
        Treatment(f"{OURS}, whatever the verdict", OURS, estimation=dict(follow_verdict=False)),
        Treatment(f"{OURS}, true motion", OURS, true_motion=True),
        Treatment("weights that know the truth", knows_truth=True),
        *(Treatment(name, name) for name in (REFERENCE, *theirs)),
        *(
            Treatment(f"{OURS}, kriging p={p} of {sigma:g} um", OURS, kriging(p, sigma))
            for p, sigma in ((1, 20.0), (2, 20.0), (2, 32.0), (2, 40.0))
        ),
        *(
            Treatment(f"{model} {words}, {after}", preset, model=model, static=preset is None, denoising=how)
            for model in DENOISERS
            for words, how in DENOISING.items()
            if how["output"] == "prediction" or "seeing" not in model
            for after, preset in (("static", None), (OURS, OURS))
        ),
        *(
            Treatment(f"filtered, {OURS}, {name}", OURS, switches=name)
            for name in SWITCHES
            if name != "motion in the sorter"
        ),
        Treatment("filtered, motion in the sorter", switches="motion in the sorter"),
    ]
    return {treatment.name: treatment for treatment in listed}


def choose_treatments(names: list[str] | None) -> list[Treatment]:
    """Give the treatments of these names, for None all but those with switches; `ValueError` for others."""
    known = treatments()
    wrong = [name for name in names or () if name not in known]
    if wrong:
        raise ValueError(f"treatments={', '.join(wrong)} cannot work; allowed: {'; '.join(known)}")
    return [known[name] for name in names or [name for name in known if known[name].switches is None]]
