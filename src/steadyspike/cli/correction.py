"""The work behind ``steadyspike correct``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.cli.errors import UsageError, say
from steadyspike.cli.estimation import INTERPOLATION, estimate, find_artifacts
from steadyspike.cli.notes import Notes, without_compiling
from steadyspike.cli.output import PEAKS, RECORDING, save_lazily, worked_on, write_marker
from steadyspike.cli.reporting import add_report
from steadyspike.core.environment import job_defaults
from steadyspike.core.plain import plain_json

if TYPE_CHECKING:
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

    from steadyspike.core.unfinished import WorkFolder

KEPT = "what was found and written so far"


@dataclass(frozen=True)
class Request:
    """What shall be done with a recording; the words are those of the command line."""

    source: Path | list[Path]
    output: Path
    preset: str
    preprocess: str = "none"
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    save_as: str = "json"
    dtype: str | None = None
    relative_paths: bool = False
    figures: bool = True
    overwrite: bool = False
    artifacts: bool = False
    job_kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Correction:
    """What was done; `chosen` is what the estimator chose by itself."""

    output: Path
    files: list[str]
    num_peaks: int
    displacement_um: float
    median_explained: float | None
    verdict: str
    reason: str
    followed: bool
    follows: bool
    run_times: dict[str, float]
    chosen: dict[str, Any] = field(default_factory=dict)


def check_preset(preset: str) -> None:
    """Raise unless `preset` is a motion preset of SpikeInterface or steadyspike, or a good file of one."""
    import spikeinterface.full as si

    import steadyspike
    from steadyspike.library.presets.files import UnknownPresetError

    if preset in si.get_motion_presets():
        return
    try:
        loaded = steadyspike.load_preset(preset)
    except UnknownPresetError:
        names = ", ".join(si.get_motion_presets())
        raise UsageError(f"no motion preset {preset!r}; allowed: {names}, or a TOML file") from None
    except FileNotFoundError as error:
        raise UsageError(str(error)) from None
    if loaded.kind != "motion":
        raise UsageError(f"{preset} is a preset for preprocessing; give it to --preprocess")


def tell_shanks(recording: BaseRecording) -> None:
    """Say so where a recording has several shanks."""
    groups = recording.get_channel_groups()
    if groups is not None and np.unique(groups).size > 1:
        say("[yellow]several shanks[/yellow]: they are corrected together, along one depth axis")


def run(recording: BaseRecording, request: Request, notes: Notes | None = None) -> Correction:
    """Correct a recording and write the output folder.

    The recording has a probe, and is filtered. `notes` are those of the steps before.
    """
    notes = Notes() if notes is None else notes
    with worked_on(request.output, request.overwrite, finished, KEPT) as (work, folder):
        done = correct_into(folder, recording, request, work, notes)
        content = {"command": "correct", "request": asdict(request), "result": asdict(done), **notes.facts()}
        write_marker(folder, content)
        if request.figures:
            done.files.extend(add_report(folder, request.output, recording))
            write_marker(folder, {**content, "result": asdict(done)})
    return done


def finished(work: Path) -> bool:
    """Whether a work folder holds something of a correction that need not be done again."""
    from steadyspike.cli.reading import BAD_CHANNELS
    from steadyspike.core.saving import seconds_noted
    from steadyspike.peaks.on_disk import finished_blocks

    found = finished_blocks(work / PEAKS) or seconds_noted(work, 1.0)
    return bool(found) or (work / BAD_CHANNELS).exists()


def correct_into(
    folder: Path, recording: BaseRecording, request: Request, work: WorkFolder, notes: Notes
) -> Correction:
    """Correct a recording and write what comes of it into a folder; see `output.worked_on`."""
    from steadyspike.motion.info import save_motion_info

    with job_defaults(**request.job_kwargs):
        periods = find_artifacts(recording, request.job_kwargs) if request.artifacts else None
        info, extra = estimate(
            recording,
            work.path / PEAKS,
            preset=request.preset,
            overrides=request.overrides,
            periods=periods,
            job_kwargs=request.job_kwargs,
        )
        explained, verdict = extra.get("explained"), extra["motion_trust"]
        save_motion_info(info, extra, folder / "motion_info")
        with notes.timed("write"):
            corrected = _interpolate(recording, info["motion"], request)
            files = ["motion_info/", *_save_recording(corrected, folder, work, request)]
        if request.figures:
            from steadyspike.evaluation.figures import save_figures

            with notes.timed("figures"):
                whole = {**info, "run_times": without_compiling(notes.run_times(info["run_times"]))}
                save_figures(whole, recording, folder / "figures", explained=explained, verdict=verdict)
            files.append("figures/")
    estimation = info["parameters"]["estimate_motion_kwargs"]
    return Correction(
        output=request.output,
        files=sorted(files),
        num_peaks=len(info["peaks"]),
        displacement_um=verdict.displacement_um,
        median_explained=None if explained is None else float(np.median(explained)),
        verdict=verdict.verdict,
        reason=verdict.reason,
        followed=extra.get("estimate", info["motion"]) is not info["motion"],
        follows=estimation["method"] == "steady_auto" and estimation.get("follow_verdict", True),
        run_times=notes.run_times(info["run_times"]),
        chosen=plain_json(extra.get("chosen", {})),
    )


def _interpolate(recording: BaseRecording, motion: Motion, request: Request) -> BaseRecording:
    """Apply the motion as the preset says, with our node whatever the preset: it can be saved as JSON."""
    import spikeinterface.full as si

    import steadyspike

    parameters = dict(si.get_motion_parameters_preset(request.preset)[INTERPOLATION])
    parameters.update(request.overrides.get(INTERPOLATION, {}))
    parameters.pop("method", None)
    if request.dtype is not None:
        parameters["dtype"] = request.dtype
    return steadyspike.interpolate_motion(recording, motion, **parameters)


def _save_recording(corrected: BaseRecording, folder: Path, work: WorkFolder, request: Request) -> list[str]:
    from steadyspike.core.saving import save_recording

    files = save_lazily(corrected, folder, work, request.save_as, request.relative_paths)
    name = {"binary": RECORDING, "zarr": f"{RECORDING}.zarr"}.get(request.save_as)
    if name is not None:
        # the motion may be another one, of the same peaks
        save_recording(corrected, folder / name, work, anew=True, job_name="correct", **request.job_kwargs)
        files.append(f"{name}/")
    return files
