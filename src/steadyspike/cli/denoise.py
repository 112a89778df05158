"""``steadyspike denoise``: DeepInterpolation of a whole recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from steadyspike.cli import reading
from steadyspike.cli.engines import Engine, Scheduler, workers
from steadyspike.cli.errors import Debug, clear_errors, say, tell
from steadyspike.cli.notes import Notes
from steadyspike.cli.options import (
    ChunkDuration,
    Device,
    Jobs,
    Output,
    Overwrite,
    Precision,
    ProgressBar,
    RelativePaths,
    job_kwargs,
    writing,
)
from steadyspike.cli.output import begin_anew, work_folder, writing_to

if TYPE_CHECKING:
    from steadyspike.cli.denoising import Denoised

EXAMPLES = """
[bold]Examples[/bold]

  steadyspike denoise /data/my_run_g0 -o denoised

  With a model of your own, as it predicts:

    steadyspike denoise /data/my_run_g0 --model my_model --result prediction -o denoised

  Half precision, and integers of the recording's own units:

    steadyspike denoise /data/my_run_g0 -m my_model -o out --precision half --dtype int16

[bold]What is written[/bold]

[bold]recording/[/bold]: the traces, for a sorter or steadyspike correct: si.load("out/recording").

[bold]recording.json[/bold]: the same, computed when it is read (all of it with -f json).

[bold]report.html[/bold]: one file that tells what happened: traces, power and noise before and after.

[bold]steadyspike.json[/bold]: how it was made: command, model, its hash, versions.

Until all of that is there, the bad channels and every chunk of traces that is
done are kept in a folder beside it whose name ends in .part: after an
interrupt or a crash, the same command goes on from there.
"""


@reading.takes_reading
def denoise(
    recording: reading.RecordingPath,
    output: Output,
    *,
    how: dict[str, Any],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A bundled name, a model folder, hf:owner/name@revision, or a Keras file. "
            "Default: the bundled one for the probe, by the recipe for sorting.",
        ),
    ] = None,
    save_as: Annotated[
        Literal["binary", "json"], writing("--format", "-f", help="The traces, or only the lazy recording.")
    ] = "binary",
    result: Annotated[
        Literal["posterior", "prediction"] | None,
        typer.Option(
            "--result",
            help="prediction: of the network alone. posterior: fused with the samples themselves. "
            "Default: the recipe's, and prediction with --model.",
        ),
    ] = None,
    recorded_share: Annotated[
        float | None,
        typer.Option(
            "--recorded-share",
            min=0,
            max=1,
            help="Share of the recorded traces, as a floor of noise. Default: the recipe's, and 0 with --model.",
        ),
    ] = None,
    dtype: Annotated[
        str | None, writing("--dtype", help="int16, in the recording's own units. Default: float32.")
    ] = None,
    no_report: Annotated[bool, writing("--no-report", help="Write no report.html.")] = False,
    relative_paths: RelativePaths = False,
    overwrite: Overwrite = False,
    restart: Annotated[
        bool, writing("--restart", help="Begin anew instead of resuming an interrupted run.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "float32",
    memory_limit_mb: Annotated[
        float | None,
        typer.Option("--memory-limit-mb", help="Of the network, in each worker. Default: 256, GPU 2000."),
    ] = None,
    preprocess: reading.Preprocess = "auto",
    engine: Engine = "local",
    scheduler: Scheduler = None,
    n_jobs: Jobs = None,
    chunk_duration: ChunkDuration = "1s",
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Denoise a recording with a DeepInterpolation model.

    The recording must be preprocessed as those that the model was trained on; "auto" does the same here as in
    steadyspike train.
    """
    with (
        clear_errors(debug),
        writing_to(output, overwrite),
        reading.accelerated_parts(),
        Notes().taken() as notes,
    ):
        from steadyspike.cli import denoising
        from steadyspike.core.environment import job_defaults

        settings = dict(device=device, precision=precision, memory_limit_mb=memory_limit_mb, dtype=dtype)
        settings |= denoising.handed_over(model, result, recorded_share)
        jobs = job_kwargs(denoising.choose_jobs(n_jobs, device), chunk_duration, progress_bar)
        source = None if model is None else denoising.find_model(model)
        opened = reading.open_recording(recording, purpose="denoising", **how)
        source = source or denoising.find_model(denoising.recommended(opened))
        denoising.check_fit(opened, source, settings)
        reading.check_place([recording], output)
        say(f"[bold]recording[/bold]   {reading.describe(opened)}")
        work = begin_anew(output) if restart else work_folder(output)
        with job_defaults(**jobs), notes.timed("preprocess"):
            steps, chosen = reading.denoising_steps(opened, preprocess)
            preprocessed = reading.apply_steps(opened, steps, work)
        say(f"[bold]preprocess[/bold]  {chosen}")
        if not denoising.compare_preprocessing(source, chosen, steps):
            denoising.compare_filtering(source, preprocessed)
        say(f"[bold]model[/bold]       {denoising.describe_model(source)}")
        request = denoising.Request(
            source=recording,
            output=output,
            model=source.name,
            settings=settings,
            preprocess=chosen,
            save_as=save_as,
            relative_paths=relative_paths,
            report=not no_report,
            overwrite=overwrite,
            job_kwargs=jobs,
        )
        with workers(engine, scheduler, jobs["n_jobs"]):
            _report(denoising.run(preprocessed, source, request, notes))


def _report(done: Denoised) -> None:
    if done.written_s:
        tell(
            f"wrote {done.written_s:.1f} s of {done.num_channels} channels in {done.elapsed_s:.1f} s, "
            f"{done.written_s / done.elapsed_s:.2g} times real time"
        )
    tell(f"wrote {done.output}: {', '.join(done.files)}")
