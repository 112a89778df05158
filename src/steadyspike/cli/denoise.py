"""``steadyspike denoise``: DeepInterpolation of a whole recording."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steadyspike.cli.errors import Debug, clear_errors, say
from steadyspike.cli.options import (
    ChunkDuration,
    Device,
    Jobs,
    Precision,
    ProgressBar,
    job_kwargs,
    parse_settings,
)
from steadyspike.cli.reading import (
    Preprocess,
    ProbeFile,
    ReaderName,
    ReaderOption,
    RecordingPath,
    Segment,
    Stream,
    TrustPickle,
)

if TYPE_CHECKING:
    from steadyspike.cli.denoising import Denoised

EXAMPLES = """
[bold]Examples[/bold]

  steadyspike denoise /data/my_run_g0 --model my_model -o denoised

  Half precision, and integers of the recording's own units:

    steadyspike denoise /data/my_run_g0 -m my_model -o out --precision half --dtype int16

[bold]What is written[/bold]

  recording/       the traces, for a sorter or steadyspike correct:
                   si.load("out/recording")

  recording.json   the same, computed when it is read (all of it with -f json)

  steadyspike.json how it was made: command, model, its hash, versions

Until all of that is there, the traces are kept in a folder beside it whose
name ends in .part: after an interrupt or a crash, the same command goes on
from there.
"""

WRITING = "Writing"


class Format(StrEnum):
    """How the denoised recording is saved."""

    BINARY = "binary"
    JSON = "json"


def denoise(
    recording: RecordingPath,
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="A bundled name, a model folder, hf:owner/name@revision, or a Keras file."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder; complete or not at all.", rich_help_panel=WRITING),
    ],
    save_as: Annotated[
        Format,
        typer.Option(
            "--format", "-f", help="The traces, or only the lazy recording.", rich_help_panel=WRITING
        ),
    ] = Format.BINARY,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype", help="int16, in the recording's own units. Default: float32.", rich_help_panel=WRITING
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace the folder if steadyspike wrote it.", rich_help_panel=WRITING
        ),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            help="Begin anew instead of going on with an interrupted run.",
            rich_help_panel=WRITING,
        ),
    ] = False,
    device: Device = "auto",
    precision: Precision = "float32",
    memory_limit_mb: Annotated[
        float | None,
        typer.Option("--memory-limit-mb", help="Of the network, in each worker. Default: 256, GPU 2000."),
    ] = None,
    preprocess: Preprocess = "auto",
    stream: Stream = None,
    segment: Segment = None,
    reader: ReaderName = None,
    reader_option: ReaderOption = None,
    probe: ProbeFile = None,
    trust_pickle: TrustPickle = False,
    n_jobs: Jobs = None,
    chunk_duration: ChunkDuration = "1s",
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Denoise a recording with a DeepInterpolation model.

    The recording must be preprocessed as those that the model was trained on; "auto" does the same here as in
    steadyspike train.
    """
    with clear_errors(debug):
        from steadyspike.cli import denoising, reading
        from steadyspike.cli.output import check_output
        from steadyspike.core.environment import job_defaults

        check_output(output, overwrite)
        settings = dict(device=device, precision=precision, memory_limit_mb=memory_limit_mb, dtype=dtype)
        jobs = job_kwargs(denoising.choose_jobs(n_jobs, device), chunk_duration, progress_bar)
        source = denoising.find_model(model)
        opened = reading.open_recording(
            recording,
            reader=reader,
            stream=stream,
            reader_options=parse_settings(reader_option or [], "--reader-option"),
            trust_pickle=trust_pickle,
            probe=probe,
            segment=segment,
            purpose="denoising",
        )
        denoising.check_fit(opened, source, settings)
        reading.check_place([recording], output)
        say(f"[bold]recording[/bold]   {reading.describe(opened)}")
        with job_defaults(**jobs):
            steps, chosen = reading.denoising_steps(opened, preprocess)
            preprocessed = reading.apply_steps(opened, steps)
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
            save_as=save_as.value,
            overwrite=overwrite,
            restart=restart,
            job_kwargs=jobs,
        )
        done = denoising.run(preprocessed, source, request)
        _report(done)


def _report(done: Denoised) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True)
    if done.written_s:
        console.print(
            f"wrote {done.written_s:.1f} s of {done.num_channels} channels in {done.elapsed_s:.1f} s, "
            f"{done.written_s / done.elapsed_s:.2g} times real time"
        )
    console.print(f"wrote {done.output}:", ", ".join(done.files), highlight=False)
