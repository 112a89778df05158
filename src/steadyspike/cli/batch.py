"""``steadyspike batch``: one command for many recordings, here or on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from steadyspike.cli.errors import FAILED, Debug, UsageError, clear_errors, say, tell
from steadyspike.cli.options import writing

EXAMPLES = """
[bold]Examples[/bold]

A table with a column recording, and a column for each option that differs:

  recording,stream,preset

  /data/monday_g0,imec0.ap,steady_rigid

  /data/tuesday_g0,,

  steadyspike batch sessions.csv --do correct -o results

All options of the command that is done stand after those of the batch:

  steadyspike batch sessions.csv --do sort -o sorted --sorter kilosort4 --no-figures

As an array job of SLURM, with an option of sbatch:

  steadyspike batch sessions.csv --do correct -o results --engine slurm --slurm partition=gpu

[bold]What is written[/bold]

[bold]results/[/bold]: for each recording, probe and shank a folder, as the command writes it.

[bold]index.html[/bold], [bold]table.csv[/bold]: verdicts, pictures, failures, links to the reports.

[bold]tasks/[/bold]: for each its arguments, its state, and all that the command said: log.txt.

The same command goes on after an interrupt or a crash, does what was added to the table, and otherwise nothing. What
failed is tried again with --retry-failed, or with other options. Exit code 1: something failed, or is not done yet.
"""

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Settings of the command: options that it does not know are those of what is done."""


def batch(
    context: typer.Context,
    sessions: Annotated[Path, typer.Argument(metavar="SESSIONS", help="A CSV or TOML file; see below.")],
    do: Annotated[
        Literal["correct", "denoise", "sort"], typer.Option("--do", help="The command that each is given to.")
    ],
    output: Annotated[Path, writing("--output", "-o", help="Folder for all that is written.")],
    engine: Annotated[
        Literal["local", "slurm", "dask"],
        typer.Option("--engine", help="Here, as an array job of SLURM, or on the workers of Dask."),
    ] = "local",
    at_most: Annotated[
        int | None,
        typer.Option(
            "--at-most", min=1, help="Recordings at a time. Default: 1; slurm and dask: as they can."
        ),
    ] = None,
    shanks: Annotated[
        Literal["apart", "together"],
        typer.Option("--shanks", help="Whether each shank of a probe is a recording of its own."),
    ] = "apart",
    n_jobs: Annotated[
        int | None,
        typer.Option(
            "--n-jobs", "-j", help="Worker processes of each. Default: one per core up to 8; slurm: 4."
        ),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed.")] = False,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Of Dask: tcp://host:8786. Default: one started here.")
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option("--slurm", metavar="KEY=VALUE", help="An option of sbatch, such as time=120, mem=8G."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Correct, denoise or sort many recordings."""
    with clear_errors(debug):
        from steadyspike.cli import batching

        if str(sessions).startswith("-"):
            raise UsageError("the table of sessions comes first, before the options")
        request = batching.Request(
            sessions=sessions,
            command=do,
            options=tuple(context.args),
            output=output,
            engine=engine,
            at_most=at_most,
            shanks_apart=shanks == "apart",
            n_jobs=n_jobs,
            retry_failed=retry_failed,
            scheduler=scheduler,
            slurm=tuple(slurm or ()),
        )
        outcomes = batching.run(request)
        tell(
            "",
            batching.table(outcomes),
            f"wrote {output}: {', '.join(batching.write_tables(request, outcomes))}",
        )
        states = [one.state for one in outcomes]
        if states.count("done") < len(states):
            counted = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
            say(f"[bold red]error[/bold red]: not all are done: {counted}")
            raise typer.Exit(FAILED)
