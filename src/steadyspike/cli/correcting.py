"""The options that ``steadyspike correct`` and ``steadyspike sessions`` share, and one run with them."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from steadyspike.cli import reading
from steadyspike.cli.engines import Engine, Scheduler, workers
from steadyspike.cli.errors import UsageError, say, tell
from steadyspike.cli.options import (
    ChunkDuration,
    Jobs,
    Overwrite,
    ProgressBar,
    RelativePaths,
    job_kwargs,
    parse_settings,
    takes_options,
    writing,
)
from steadyspike.cli.output import PEAKS, begin_anew, work_folder, writing_to

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

    from steadyspike.cli.correction import Correction

correcting = functools.partial(typer.Option, rich_help_panel="Correcting")

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "save_as": (
        Annotated[
            Literal["json", "binary", "zarr"],
            writing("--format", "-f", help="Save the traces too, besides the lazy JSON."),
        ],
        "json",
    ),
    "dtype": (
        Annotated[
            str | None,
            writing(
                "--dtype",
                help="Type of the corrected traces: int16, in the recording's own units, as Kilosort reads it. "
                "Default: float32.",
            ),
        ],
        None,
    ),
    "no_figures": (Annotated[bool, writing("--no-figures", help="Draw no figures and no report.")], False),
    "relative_paths": (RelativePaths, False),
    "overwrite": (Overwrite, False),
    "restart": (
        Annotated[bool, writing("--restart", help="Begin anew instead of resuming an interrupted run.")],
        False,
    ),
    "preset": (
        Annotated[
            str,
            correcting(
                "--preset",
                "-p",
                help="A motion preset of steadyspike or SpikeInterface, a TOML file, or hf:owner/name.",
            ),
        ],
        "steady_auto",
    ),
    "preprocess": (
        Annotated[
            str,
            correcting(
                "--preprocess",
                help="A preprocessing preset, a TOML file, [bold]none[/bold], or [bold]auto[/bold]: none if the "
                "recording is filtered, what fits its Neuropixels probe, or bandpass and common reference.",
            ),
        ],
        "auto",
    ),
    "leave_out_artifacts": (
        Annotated[
            bool,
            correcting(
                "--leave-out-artifacts",
                help="Find artifacts with SpikeInterface's detector, and bridge the motion there.",
            ),
        ],
        False,
    ),
    "rigid": (
        Annotated[
            bool | None,
            correcting("--rigid/--nonrigid", help="Default: as in the preset.", show_default=False),
        ],
        None,
    ),
    "setting": (
        Annotated[
            list[str] | None,
            correcting(
                "--set", metavar="STEP.KEY=VALUE", help="Change the preset, as by estimate_motion.bin_s=2."
            ),
        ],
        None,
    ),
    "engine": (Engine, "local"),
    "scheduler": (Scheduler, None),
    "n_jobs": (Jobs, None),
    "chunk_duration": (ChunkDuration, "1s"),
    "progress_bar": (ProgressBar, None),
}

takes_correcting = takes_options(
    "asked",
    [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _OPTIONS.items()
    ],
)
"""Gives a command the options of a correction, whose values its argument `asked` holds."""

SHORTEST_S = 0.05
"""Steps that took less are not printed."""


def checked(asked: dict[str, Any]) -> dict[str, Any]:
    """Look at all that can be known to fail before a recording is opened; give the arguments of `run_one`."""
    from steadyspike.cli import correction, estimation
    from steadyspike.core.stores import check_zarr

    if asked["save_as"] == "zarr":
        check_zarr()
    jobs = job_kwargs(asked["n_jobs"], asked["chunk_duration"], asked["progress_bar"])
    overrides = _overrides(parse_settings(asked["setting"] or [], "--set"), asked["rigid"])
    preset = reading.pin_preset(asked["preset"])
    correction.check_preset(preset)
    estimation.check_overrides(preset, overrides)
    return {**asked, "jobs": jobs, "overrides": overrides, "preset": preset}


def check_dtype(recording: BaseRecording, dtype: str | None) -> None:
    """Refuse an integer type for a recording that is none: in its own units it may hold nothing."""
    import numpy as np

    if dtype is None:
        return
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        raise UsageError(f"--dtype {dtype} is no type; allowed: int16, int32 or float32") from None
    if wanted.kind in "iu" and recording.get_dtype().kind not in "iu":
        raise UsageError(
            f"--dtype {dtype} would round traces of {recording.get_dtype()} in their own units; allowed: float32"
        )


def run_one(
    opened: BaseRecording, source: Path | list[Path], output: Path, asked: dict[str, Any]
) -> Correction:
    """Correct one recording and write its folder, telling what is done; `asked` is that of `checked`."""
    from steadyspike.cli import correction, estimation
    from steadyspike.cli.notes import Notes
    from steadyspike.core.environment import job_defaults

    jobs, preset, overrides = asked["jobs"], asked["preset"], asked["overrides"]
    sources = source if isinstance(source, list) else [source]
    with writing_to(output, asked["overwrite"]), reading.accelerated_parts(), Notes().taken() as notes:
        estimation.check_segments(opened, preset, overrides)
        check_dtype(opened, asked["dtype"])
        reading.check_place(sources, output)
        correction.tell_shanks(opened)
        say(f"[bold]recording[/bold]   {reading.describe(opened)}")
        work = begin_anew(output) if asked["restart"] else work_folder(output)
        with job_defaults(**jobs), notes.timed("preprocess"):
            preprocessed, chosen = reading.preprocess(opened, asked["preprocess"], work)
        say(f"[bold]preprocess[/bold]  {chosen}")
        say(f"[bold]motion[/bold]      {preset}")
        with job_defaults(**jobs), notes.timed("forecast"):
            expected = estimation.forecast(preprocessed, work.path / PEAKS, preset, overrides, jobs)
        say(f"[bold]forecast[/bold]    {expected}")
        request = correction.Request(
            source=sources[0] if len(sources) == 1 else sources,
            output=output,
            preset=preset,
            preprocess=chosen,
            overrides=overrides,
            save_as=asked["save_as"],
            dtype=asked["dtype"],
            relative_paths=asked["relative_paths"],
            figures=not asked["no_figures"],
            overwrite=asked["overwrite"],
            artifacts=asked["leave_out_artifacts"],
            job_kwargs=jobs,
        )
        with workers(asked["engine"], asked["scheduler"], jobs["n_jobs"]):
            return correction.run(preprocessed, request, notes)


def _overrides(settings: dict[str, Any], rigid: bool | None) -> dict[str, dict[str, Any]]:
    """Sort settings such as ``estimate_motion.bin_s`` into the arguments of `correct_motion`."""
    from steadyspike.library.presets.presets import TABLES

    steps = {table.removesuffix("_kwargs"): table for table in TABLES}
    overrides: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        step, _, key = name.partition(".")
        if step not in steps or not key:
            raise UsageError(f"--set {name} names no step and key; steps: {', '.join(steps)}")
        overrides.setdefault(steps[step], {})[key] = value
    if rigid is not None:
        overrides.setdefault("estimate_motion_kwargs", {})["rigid"] = rigid
    return overrides


def tell_correction(done: Correction) -> None:
    """Print what was estimated, the verdict, and what was done about it."""
    shown = [(step, seconds) for step, seconds in done.run_times.items() if seconds >= SHORTEST_S]
    steps = ", ".join(f"{step.replace('_', ' ')} {seconds:.1f} s" for step, seconds in shown)
    tell(f"{done.num_peaks} peaks; {steps}")
    if done.chosen:
        tell(f"chosen: {', '.join(f'{name}={value}' for name, value in done.chosen.items())}")
    explained = "" if done.median_explained is None else f", median pseudo-R2 {done.median_explained:.2f}"
    tell(f"displacement over the recording: {done.displacement_um:.1f} um{explained}")
    color = "green" if done.verdict == "correct" else "yellow"
    tell(f"[bold {color}]{done.verdict}[/bold {color}]: {done.reason}")
    if done.verdict != "correct":
        tell(what_was_done(done))


def what_was_done(done: Correction) -> str:
    """Say whether the verdict was followed: it never is without a word."""
    if done.followed:
        done_instead = "a rigid motion" if done.verdict == "correct rigidly" else "nothing"
        return (
            f"The verdict was followed: {done_instead} was corrected. --set estimate_motion.follow_verdict=false "
            "corrects what was estimated."
        )
    if not done.follows:
        return "The motion was corrected all the same; only the preset steady_auto does as the verdict says."
    if done.verdict == "correct rigidly":
        return "The motion that was corrected is rigid."
    return (
        "The motion was corrected, because the spikes rather speak for it: nothing is corrected only where they do "
        "not. Look at report.html before you sort."
    )


def tell_result(done: Correction) -> None:
    """Print what came of a run, and what was written."""
    tell_correction(done)
    tell(f"wrote {done.output}: {', '.join(done.files)}")
