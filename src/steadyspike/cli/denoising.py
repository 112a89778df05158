"""The work behind ``steadyspike denoise``."""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.cli.errors import UsageError, refusals, say
from steadyspike.cli.output import new_folder, other_settings, work_beside, write_marker
from steadyspike.core.environment import job_defaults

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

    from steadyspike.library.models.references import ModelSource

ARGUMENTS = ("model", "device", "precision", "memory_limit_mb", "dtype")
LEAST_STEPS = 2.0
"""Integers in the noise level that integer traces must have; below, rounding is a noise of its own."""


@dataclass(frozen=True)
class Request:
    """What shall be done with a recording; the words are those of the command line."""

    source: Path
    output: Path
    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    preprocess: str = "none"
    save_as: str = "binary"
    overwrite: bool = False
    restart: bool = False
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
    # it is not preprocessed yet; `compare_filtering` tells later
    with refusals(*ARGUMENTS), warnings.catch_warnings(action="ignore", category=ModelUseWarning):
        steadyspike.deepinterpolate(
            recording, source.saved, center=unmeasured, scale=unmeasured + 1, **settings
        )


def describe_model(source: ModelSource) -> str:
    """Say in one line what a model is."""
    if source.keras is not None:
        return source.name
    config = source.config()
    return f"{source.name}: {config.network.name}, {config.layout.name}, {config.sampling_frequency:g} Hz"


def compare_preprocessing(source: ModelSource, chosen: str, steps: list[dict[str, Any]]) -> bool:
    """Say so where a model was trained on recordings that `steadyspike train` preprocessed otherwise.

    Returns
    -------
    known : bool
        Whether it was trained there, so that there was something to compare.
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


def run(recording: BaseRecording, source: ModelSource, request: Request) -> Denoised:
    """Denoise a recording and write the output folder.

    Parameters
    ----------
    recording : BaseRecording
        With a probe, preprocessed.
    source : ModelSource
        What denoises it.
    request : Request
        What to do.

    Returns
    -------
    done : Denoised
    """
    from steadyspike.core.saving import chunks_written, is_traces_folder

    work_for = work_beside(request.output, is_traces_folder, chunks_written, "traces written so far")
    with work_for as work, new_folder(request.output, request.overwrite) as folder:
        with job_defaults(**request.job_kwargs):
            done = _denoise(recording, source, request, work, folder)
        write_marker(
            folder,
            {
                "command": "denoise",
                "request": asdict(request),
                "model": {"name": source.name, "sha256": source.sha256},
                "result": asdict(done),
            },
        )
    return done


def _denoise(
    recording: BaseRecording, source: ModelSource, request: Request, work: Path, folder: Path
) -> Denoised:
    import steadyspike
    from steadyspike.library.models.provenance import ModelUseWarning

    with warnings.catch_warnings(action="ignore", category=ModelUseWarning):
        denoised = steadyspike.deepinterpolate(
            recording, source.saved, model_sha256=source.sha256, **request.settings
        )
    _check_rounding(denoised, source)
    files = []
    if denoised.check_serializability("json"):
        denoised.dump_to_json(folder / "recording.json")
        files.append("recording.json")
    elif request.save_as == "json":
        raise UsageError("this recording cannot be written as JSON; leave out --format json")
    start, written_s = time.perf_counter(), 0.0
    if request.save_as == "binary":
        written_s = _write(denoised, request, work, folder / "recording")
        files.append("recording/")
    return Denoised(
        output=request.output,
        files=files,
        num_channels=denoised.get_num_channels(),
        written_s=written_s,
        elapsed_s=time.perf_counter() - start,
    )


def _write(denoised: BaseRecording, request: Request, work: Path, folder: Path) -> float:
    """Write the traces, or those that are missing in the work folder; return their seconds."""
    from steadyspike.core.folder_settings import OtherSettingsError
    from steadyspike.core.saving import move_into_folder, seconds_written, write_traces

    there_s = 0.0 if request.restart else seconds_written(work, denoised.sampling_frequency)
    if there_s:
        say(f"[bold]going on[/bold]    with {there_s:.1f} s of traces in {work}")
    try:
        write_traces(denoised, work, restart=request.restart, job_name="denoise", **request.job_kwargs)
    except (OtherSettingsError, FileExistsError) as error:
        raise other_settings(error) from None
    move_into_folder(denoised, work, folder)
    return denoised.get_total_duration() - there_s


def _check_rounding(denoised: BaseRecording, source: ModelSource) -> None:
    """Refuse integers where the noise of the input is hardly one."""
    if denoised.get_dtype().kind == "f" or source.normalization == "none":
        return
    scale = np.array(denoised._kwargs["scale"])
    typical = float(np.median(scale[scale > 0])) if scale.any() else LEAST_STEPS
    if typical < LEAST_STEPS:
        raise UsageError(
            f"--dtype {denoised.get_dtype()} would round away what is there: the noise of this recording is "
            f"{typical:.2g} in its own units; allowed: {LEAST_STEPS:g} or more, or leave --dtype out"
        )
