"""The work behind ``steadyspike denoise``."""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.cli.errors import refusals, say
from steadyspike.cli.notes import Notes
from steadyspike.cli.output import RECORDING, refused_work, save_lazily, worked_on, write_marker
from steadyspike.cli.reporting import add_report
from steadyspike.core.environment import job_defaults

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

    from steadyspike.core.unfinished import WorkFolder
    from steadyspike.library.models.references import ModelSource

ARGUMENTS = ("model", "device", "precision", "memory_limit_mb", "dtype")


@dataclass(frozen=True)
class Request:
    """What shall be done with a recording; the words are those of the command line."""

    source: Path
    output: Path
    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    preprocess: str = "none"
    save_as: str = "binary"
    relative_paths: bool = False
    report: bool = True
    overwrite: bool = False
    job_kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Denoised:
    """What was done; `written_s` is what of the recording this run wrote."""

    output: Path
    files: list[str]
    num_channels: int
    written_s: float
    elapsed_s: float


def find_model(model: str) -> ModelSource:
    """Find the files of a model; raises `UsageError`."""
    from steadyspike.library.models.references import find_source

    with refusals(*ARGUMENTS):
        return find_source(model)


def recommended(recording: BaseRecording) -> str:
    """Name the bundled model for a recording; raises `UsageError`."""
    from steadyspike.preprocessing.denoise import recommended_model

    with refusals(*ARGUMENTS):
        return recommended_model(recording)


def handed_over(model: str | None, result: str | None, recorded_share: float | None) -> dict[str, Any]:
    """Give what is handed over: what was asked for, else by the recipe, or with a model of one's own the prediction."""
    from steadyspike.preprocessing.denoise import RECIPE

    asked = {"output": result, "recorded_share": recorded_share}
    given = {name: value for name, value in asked.items() if value is not None}
    plain = {"output": "prediction", "recorded_share": 0.0}
    return {**(RECIPE if model is None else plain), **given}


def choose_jobs(n_jobs: int | None, device: str) -> int | None:
    """Give the number of workers: one where none is asked for and a GPU computes, as all would share it."""
    from steadyspike.library.models.inference import resolve_device

    with refusals(*ARGUMENTS):
        computes = resolve_device(device)
    return 1 if n_jobs is None and computes != "cpu" else n_jobs


def check_fit(recording: BaseRecording, source: ModelSource, settings: dict[str, Any]) -> None:
    """Raise `UsageError` unless a model can denoise a recording with these settings; reads no traces."""
    import steadyspike
    from steadyspike.library.models.provenance import ModelUseWarning

    unmeasured = np.zeros(recording.get_num_channels())
    # it is not preprocessed yet; `compare_filtering` tells later, and the node whether an integer type holds the result
    recording = recording.astype("float32")
    with refusals(*ARGUMENTS), warnings.catch_warnings(action="ignore", category=ModelUseWarning):
        steadyspike.deepinterpolate(
            recording,
            source.saved,
            center=unmeasured,
            scale=unmeasured + 1,
            # to fit a posterior would read traces
            **{**settings, "output": "prediction"},
        )


def describe_model(source: ModelSource) -> str:
    """Say in one line what a model is."""
    if source.keras is not None:
        return source.name
    config = source.config()
    return f"{source.name}: {config.network.name}, {config.layout.name}, {config.sampling_frequency:g} Hz"


def compare_preprocessing(source: ModelSource, chosen: str, steps: list[dict[str, Any]]) -> bool:
    """Say so where a model was trained on recordings that `steadyspike train` preprocessed otherwise.

    Returns whether it was trained there, so that there was something to compare.
    """
    trained: Any = None if source.keras is not None else source.config().extra.get("preprocessing")
    if not isinstance(trained, dict):
        return False
    if trained.get("steps") != steps:
        before = trained.get("chosen")
        say(
            f"[yellow]note[/yellow]: the model was trained after another preprocessing ({before}); here it is {chosen}"
        )
    return True


def compare_filtering(source: ModelSource, recording: BaseRecording) -> None:
    """Say so where a model was trained on filtered recordings and this one is not filtered, or the other way round."""
    from steadyspike.library.models.provenance import filter_mismatch

    unlike = None if source.keras is not None else filter_mismatch(source.config().extra, recording)
    if unlike:
        say(f"[yellow]note[/yellow]: {unlike}")


def run(
    recording: BaseRecording, source: ModelSource, request: Request, notes: Notes | None = None
) -> Denoised:
    """Denoise a recording and write the output folder.

    The recording has a probe, and is preprocessed; `notes` are those of the steps before.
    """
    from steadyspike.cli.reading import BAD_CHANNELS
    from steadyspike.core.saving import seconds_noted

    def finished(work: Path) -> bool:
        return seconds_noted(work, 1.0) > 0 or (work / BAD_CHANNELS).exists()

    notes = Notes() if notes is None else notes
    what = "traces written so far"
    with worked_on(request.output, request.overwrite, finished, what) as (work, folder):
        with job_defaults(**request.job_kwargs), notes.timed("denoise"):
            done = _denoise(recording, source, request, work, folder)
        content = {
            "command": "denoise",
            "request": asdict(request),
            "model": {"name": source.name, "sha256": source.sha256},
            "result": {**asdict(done), "run_times": notes.times_s},
            **notes.facts(),
        }
        write_marker(folder, content)
        if request.report:
            done.files.extend(add_report(folder, request.output, recording))
            write_marker(folder, {**content, "result": {**content["result"], "files": done.files}})
    return done


def _denoise(
    recording: BaseRecording, source: ModelSource, request: Request, work: WorkFolder, folder: Path
) -> Denoised:
    import steadyspike
    from steadyspike.library.models.provenance import ModelUseWarning

    ignored = warnings.catch_warnings(action="ignore", category=ModelUseWarning)
    with refusals(*ARGUMENTS), ignored:
        denoised = steadyspike.deepinterpolate(
            recording, source.saved, model_sha256=source.sha256, **request.settings
        )
    files = save_lazily(denoised, folder, work, request.save_as, request.relative_paths)
    start, written_s = time.perf_counter(), 0.0
    if request.save_as == "binary":
        written_s = _write(denoised, request, work, folder / RECORDING)
        files.append(f"{RECORDING}/")
    return Denoised(
        output=request.output,
        files=files,
        num_channels=denoised.get_num_channels(),
        written_s=written_s,
        elapsed_s=time.perf_counter() - start,
    )


def _write(denoised: BaseRecording, request: Request, work: WorkFolder, folder: Path) -> float:
    """Write the traces, or those that are missing in the work folder; return their seconds."""
    from steadyspike.core.saving import save_recording, seconds_noted

    noted_s = seconds_noted(work.path, denoised.sampling_frequency)
    if noted_s:
        say(f"[bold]going on[/bold]    with {noted_s:.1f} s of traces in {work.path}")
    with refused_work():
        there_s = save_recording(denoised, folder, work, job_name="denoise", **request.job_kwargs)
    return denoised.get_total_duration() - there_s
