"""``python -m steadyspike_benchmarks report`` and ``summary``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steadyspike.cli.errors import Debug, clear_errors
from steadyspike_benchmarks.cli.parsing import positive_numbers


def report(
    hours: Annotated[str, typer.Option("--hours", help="Durations, with commas.")] = "1",
    peaks_per_second: Annotated[
        float, typer.Option("--peaks-per-second", min=1, help="On the whole probe.")
    ] = 1000.0,
    channels: Annotated[
        int, typer.Option("--channels", min=2, max=384, help="Contacts of Neuropixels 1.0.")
    ] = 384,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder in which the reports stay.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Measure how long the report of a long recording takes to make, and its size."""
    with clear_errors(debug):
        from steadyspike_benchmarks.report_size import format_report_table, run_report_benchmark

        results = run_report_benchmark(
            positive_numbers(hours, "--hours"),
            "" if output is None else str(output),
            peaks_per_second=peaks_per_second,
            num_channels=channels,
        )
        typer.echo(format_report_table(results))


def summary(
    docs: Annotated[Path, typer.Argument(help="The folder of the documentation's pages.")] = Path("docs"),
    debug: Debug = False,
) -> None:
    """Bring the numbers and charts at the top of the benchmark page up to date with its tables."""
    with clear_errors(debug):
        from steadyspike_benchmarks.page_summary import write_summary

        for file in write_summary(docs):
            typer.echo(str(file))


def register(app: typer.Typer) -> None:
    """Add the command to ``python -m steadyspike_benchmarks``."""
    app.command()(report)
    app.command()(summary)
