"""``steadyspike correct``: from a recording to a motion-corrected recording."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from steadyspike.cli import reading
from steadyspike.cli.errors import Debug, UsageError, clear_errors, say, tell
from steadyspike.cli.options import (
    ChunkDuration,
    Jobs,
    Output,
    Overwrite,
    ProgressBar,
    RelativePaths,
    job_kwargs,
    parse_settings,
    writing,
)
from steadyspike.cli.output import PEAKS, begin_anew, work_folder, writing_to

if TYPE_CHECKING:
    from steadyspike.cli.correction import Correction

EXAMPLES = """
[bold]Examples[/bold]

  A SpikeGLX run, with the filters that fit its probe:

    steadyspike correct /data/my_run_g0 -o corrected

  A stream of an Open Ephys session, your own preset, traces for a sorter:

    steadyspike correct session --stream ProbeB-AP -p lab.toml -o out -f binary

  A raw file and a probe of its own:

    steadyspike correct raw.dat --reader binary --probe probe.json -o out
    --reader-option sampling_frequency=30000
    --reader-option num_channels=64 --reader-option dtype=int16

[bold]What is written[/bold]

  recording.json   the corrected recording, computed when it is read:
                   si.load("out/recording.json")

  motion_info/     peaks, their locations, the motion, how well it explains the
                   peaks (explained.npy) and the verdict:
                   si.load_motion_info("out/motion_info")

  figures/         verdict, rasters, motion map, peaks on the probe, run times

  recording/ or recording.zarr/   the traces, with -f binary or -f zarr

Until all of that is there, the bad channels, the peaks of every 20 s of the
recording and, with -f binary, the traces that are done are kept in a folder
beside it whose name ends in .part: after an interrupt or a crash, the same
command goes on from there.
"""


correcting = functools.partial(typer.Option, rich_help_panel="Correcting")


@reading.takes_reading
def correct(
    recording: reading.RecordingPath,
    output: Output,
    *,
    how: dict[str, Any],
    save_as: Annotated[
        Literal["json", "binary", "zarr"],
        writing("--format", "-f", help="Save the traces too, besides the lazy JSON."),
    ] = "json",
    no_figures: Annotated[bool, writing("--no-figures", help="Draw no figures.")] = False,
    relative_paths: RelativePaths = False,
    overwrite: Overwrite = False,
    restart: Annotated[
        bool, writing("--restart", help="Begin anew instead of resuming an interrupted run.")
    ] = False,
    preset: Annotated[
        str,
        correcting(
            "--preset",
            "-p",
            help="A motion preset of steadyspike or SpikeInterface, a TOML file, or hf:owner/name.",
        ),
    ] = "steady_auto",
    preprocess: Annotated[
        str,
        correcting(
            "--preprocess",
            help="A preprocessing preset, a TOML file, [bold]none[/bold], or [bold]auto[/bold]: none if the "
            "recording is filtered, what fits its Neuropixels probe, or bandpass and common reference.",
        ),
    ] = "auto",
    leave_out_artifacts: Annotated[
        bool,
        correcting(
            "--leave-out-artifacts",
            help="Find artifacts with SpikeInterface's detector, and bridge the motion there.",
        ),
    ] = False,
    rigid: Annotated[
        bool | None, correcting("--rigid/--nonrigid", help="Default: as in the preset.", show_default=False)
    ] = None,
    setting: Annotated[
        list[str] | None,
        correcting(
            "--set", metavar="STEP.KEY=VALUE", help="Change the preset, as by estimate_motion.bin_s=2."
        ),
    ] = None,
    n_jobs: Jobs = None,
    chunk_duration: ChunkDuration = "1s",
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Estimate and correct the motion of a recording."""
    with clear_errors(debug), writing_to(output, overwrite):
        from steadyspike.cli import correction, estimation
        from steadyspike.core.environment import job_defaults

        # everything that can be known to fail is looked at before any data is read
        jobs = job_kwargs(n_jobs, chunk_duration, progress_bar)
        overrides = _overrides(parse_settings(setting or [], "--set"), rigid)
        preset = reading.pin_preset(preset)
        correction.check_preset(preset)
        estimation.check_overrides(preset, overrides)
        opened = reading.open_recording(recording, **how)
        estimation.check_segments(opened, preset, overrides)
        reading.check_place([recording], output)
        correction.tell_shanks(opened)
        say(f"[bold]recording[/bold]   {reading.describe(opened)}")
        work = begin_anew(output) if restart else work_folder(output)
        with job_defaults(**jobs):
            preprocessed, chosen = reading.preprocess(opened, preprocess, work)
        say(f"[bold]preprocess[/bold]  {chosen}")
        say(f"[bold]motion[/bold]      {preset}")
        with job_defaults(**jobs):
            expected = estimation.forecast(preprocessed, work.path / PEAKS, preset, overrides, jobs)
        say(f"[bold]forecast[/bold]    {expected}")
        request = correction.Request(
            source=recording,
            output=output,
            preset=preset,
            preprocess=chosen,
            overrides=overrides,
            save_as=save_as,
            relative_paths=relative_paths,
            figures=not no_figures,
            overwrite=overwrite,
            artifacts=leave_out_artifacts,
            job_kwargs=jobs,
        )
        done = correction.run(preprocessed, request)
        tell_correction(done)
        tell(f"wrote {done.output}: {', '.join(done.files)}")


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
    steps = ", ".join(f"{step.replace('_', ' ')} {seconds:.1f} s" for step, seconds in done.run_times.items())
    tell(f"{done.num_peaks} peaks; {steps}")
    explained = "" if done.median_explained is None else f", median pseudo-R2 {done.median_explained:.2f}"
    tell(f"displacement over the recording: {done.displacement_um:.1f} um{explained}")
    color = "green" if done.verdict == "correct" else "yellow"
    tell(f"[bold {color}]{done.verdict}[/bold {color}]: {done.reason}")
    if done.verdict != "correct":
        tell(_what_was_done(done))


def _what_was_done(done: Correction) -> str:
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
        "not. Look at the figures before you sort."
    )
