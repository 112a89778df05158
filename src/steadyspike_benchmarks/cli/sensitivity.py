"""``python -m steadyspike_benchmarks sensitivity`` and ``estimators``: what was tuned, and what estimators are for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from steadyspike.cli.errors import Debug, clear_errors

SENSITIVITY_EXAMPLES = """
[bold]Examples[/bold]

  python -m steadyspike_benchmarks sensitivity --output sensitivity.md

  python -m steadyspike_benchmarks sensitivity --constant motion_prior.OUTLIER,registration.MOTION_COST

  python -m steadyspike_benchmarks sensitivity --record
"""


def register(app: typer.Typer) -> None:
    """Add the commands to ``python -m steadyspike_benchmarks``."""
    app.command(epilog=SENSITIVITY_EXAMPLES)(sensitivity)
    app.command()(estimators)


def sensitivity(
    constant: Annotated[
        str, typer.Option("--constant", help="Constants, with commas: NAME or module.NAME. Default: all.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the tables, Markdown.")
    ] = None,
    record: Annotated[
        bool,
        typer.Option("--record", help="Only measure the scenarios, and record what tests/accuracy holds."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Change every tuned number of estimators, verdict and localizers by 3 and by 1/3, and print what changes.

    The scenarios are small simulations with known truth. A number is noticed if at least one scenario's error grows by
    more than 10 % (and 0.005 of its unit); such a loss fails tests/accuracy.
    """
    with clear_errors(debug):
        from steadyspike_benchmarks import sensitivity as benchmark

        chosen = benchmark.choose([name.strip() for name in constant.split(",") if name.strip()])
        base = benchmark.measure_scenarios(chosen)
        if record:
            benchmark.record_errors(base)
            typer.echo(json.dumps(base, indent=1))
            return
        changes = benchmark.measure_changes(chosen, base, lambda line: typer.echo(line, err=True))
        text = f"{benchmark.format_scenarios(base)}\n\n{benchmark.format_table(changes)}\n"
        if output is not None:
            output.write_text(text, encoding="utf8")
        typer.echo(text)


def estimators(
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Simulations of each scenario.")] = 3,
    debug: Debug = False,
) -> None:
    """Estimate the motion of simulated peaks with each of our estimators, and from the local field potential.

    Prints a table of errors from the same peaks, and one from the potential beside spikes of the same tissue.
    """
    with clear_errors(debug):
        from steadyspike_benchmarks.estimators import run_lfp_study, run_peaks_study

        for study in (run_peaks_study, run_lfp_study):
            typer.echo(study(seeds, lambda line: typer.echo(line, err=True)) + "\n")
