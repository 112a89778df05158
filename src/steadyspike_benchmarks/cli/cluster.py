"""``python -m steadyspike_benchmarks cluster``: batches and Dask, with what is killed on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from steadyspike.cli.errors import Debug, UsageError, clear_errors

app = typer.Typer(help="Batches and Dask, with what is killed on the way.", no_args_is_help=True)

DATA = "data"
"""What a study simulates in its folder, and another one may take."""

Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of the study; new, or with earlier data.")
]
Sessions = Annotated[int, typer.Option("--sessions", min=4, help="How many are simulated.")]
Duration = Annotated[float, typer.Option("--duration", min=2, help="Seconds of each recording.")]


def register(benchmarks: typer.Typer) -> None:
    """Add the commands to the benchmarks'."""
    benchmarks.add_typer(app, name="cluster")


@app.command()
def slurm(
    output: Output,
    sessions: Sessions = 12,
    duration: Duration = 8.0,
    seed: Annotated[int, typer.Option("--seed", help="Of what is killed, and when.")] = 0,
    debug: Debug = False,
) -> None:
    """Kill a fifth of the tasks of an array job of a SLURM that is started here, and compare what comes of it."""
    with clear_errors(debug):
        from steadyspike_benchmarks.cluster import batches, slurm_here

        if missing := slurm_here.missing():
            raise UsageError(f"{', '.join(missing)} are not here; apt-get install slurm-wlm munge")
        _tell(batches.slurm_study(_new(output), sessions, duration, seed, _say))


@app.command()
def local(
    output: Output,
    sessions: Sessions = 50,
    duration: Duration = 8.0,
    at_most: Annotated[int, typer.Option("--at-most", min=1, help="Recordings at a time.")] = 1,
    debug: Debug = False,
) -> None:
    """Run a batch here with three corrupt sessions, and once more."""
    with clear_errors(debug):
        from steadyspike_benchmarks.cluster import batches

        _tell(batches.local_study(_new(output), sessions, duration, at_most, _say))


@app.command()
def long(
    output: Output,
    hours: Annotated[float, typer.Option("--hours", min=0.001, help="Of the recording.")] = 6.0,
    workers: Annotated[list[int] | None, typer.Option("--workers", help="Default: 1, then 2.")] = None,
    channels: Annotated[int, typer.Option("--channels", min=2, max=384, help="Contacts.")] = 384,
    engine: Annotated[str, typer.Option("--engine", help="local, or dask.")] = "local",
    preset: Annotated[str, typer.Option("--preset", help="Of the motion.")] = "steady_auto",
    debug: Debug = False,
) -> None:
    """Measure time and memory from raw to motion on a long recording that is made when it is read."""
    with clear_errors(debug):
        from steadyspike_benchmarks.cluster.long_recording import long_study

        options = ("--engine", engine, "--preset", preset)
        _tell(
            long_study(
                _new(output), hours, workers or [1, 2], num_channels=channels, options=options, told=_say
            )
        )


@app.command()
def sizing(
    duration: Annotated[float, typer.Option("--duration", min=2, help="Seconds of the recording.")] = 10.0,
    motion_hours: Annotated[float, typer.Option("--motion-hours", help="Of the peaks.")] = 1.0,
    debug: Debug = False,
) -> None:
    """Measure what a channel-hour takes, part by part, and say what that makes of large recordings."""
    with clear_errors(debug):
        from steadyspike_benchmarks.cluster.sizing import format_sizing, run_sizing

        typer.echo(format_sizing(run_sizing(duration, motion_hours, told=_say)))


@app.command()
def dask(
    output: Output,
    duration: Annotated[float, typer.Option("--duration", min=10, help="Seconds of the recording.")] = 90.0,
    debug: Debug = False,
) -> None:
    """Kill workers and schedulers of Dask during detection, saving and inference, and compare what comes of it."""
    with clear_errors(debug):
        from steadyspike_benchmarks.cluster import dask_study

        _tell(dask_study.dask_study(_new(output), duration, _say))


def _new(output: Path) -> Path:
    if output.exists() and any(one.name != DATA for one in output.iterdir()):
        raise UsageError(
            f"--output {output} holds something; choose a new one, or delete all but its {DATA}/"
        )
    return output.absolute()


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _tell(found: Any) -> None:
    typer.echo(json.dumps(found, indent=1))
