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


def _tell(found: dict[str, Any]) -> None:
    typer.echo(json.dumps(found, indent=1))
