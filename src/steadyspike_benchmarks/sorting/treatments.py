"""What is done to a drifting recording before it is sorted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
}
"""What denoising hands over, and the arguments of `deepinterpolate` for it."""


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
    model : str or None
        A DeepInterpolation model that denoises first.
    static : bool
        Sort the recording in which nothing moves.
    denoising : dict or None
        Further arguments of `deepinterpolate`.
    """

    name: str
    preset: str | None = None
    interpolation: dict[str, Any] | None = field(default=None, hash=False)
    model: str | None = None
    static: bool = False
    denoising: dict[str, Any] | None = field(default=None, hash=False)

    def denoised(self, recording: BaseRecording) -> BaseRecording:
        """Give the recording as the motion is estimated in it."""
        if self.model is None:
            return recording
        from steadyspike import deepinterpolate

        return deepinterpolate(recording, self.model, **(self.denoising or {}))

    def interpolated(
        self, recording: BaseRecording, motion: Motion | None, like: BaseRecording | None = None
    ) -> BaseRecording:
        """Correct traces by a motion, as the preset or `interpolation` says, with what was fitted to `like`."""
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
        *(Treatment(name, name) for name in (REFERENCE, *theirs)),
        *(
            Treatment(f"{OURS}, kriging p={p} of {sigma:g} um", OURS, kriging(p, sigma))
            for p, sigma in ((1, 20.0), (2, 20.0), (2, 32.0), (2, 40.0))
        ),
        *(
            Treatment(f"{model} {words}, {after}", preset, model=model, static=preset is None, denoising=how)
            for model in ("steady-np1", "steady-np2")
            for words, how in DENOISING.items()
            for after, preset in (("static", None), (OURS, OURS))
        ),
    ]
    return {treatment.name: treatment for treatment in listed}


def choose_treatments(names: list[str] | None) -> list[Treatment]:
    """Give the treatments of these names, all for None; `ValueError` for others."""
    known = treatments()
    wrong = [name for name in names or () if name not in known]
    if wrong:
        raise ValueError(f"treatments={', '.join(wrong)} cannot work; allowed: {'; '.join(known)}")
    return [known[name] for name in names or known]
