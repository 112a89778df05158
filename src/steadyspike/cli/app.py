"""The ``steadyspike`` command and its subcommands."""

from __future__ import annotations

from typing import Annotated

import typer

from steadyspike.cli import (
    batch,
    correct,
    demo,
    denoise,
    evaluate,
    info,
    models,
    presets,
    report,
    run,
    sessions,
    sort,
    train,
    view,
    warmup,
)
from steadyspike.cli.options import paragraphs

EXAMPLES = """
[bold]Examples[/bold]

  steadyspike demo

  steadyspike correct /data/my_run_g0 --output corrected

  steadyspike sort /data/my_run_g0 --sorter kilosort4 --output sorted

  steadyspike presets show steady_nonrigid
"""

app = typer.Typer(
    name="steadyspike",
    help="Filter, denoise, localize and correct motion with SpikeInterface, faster.",
    epilog=paragraphs(EXAMPLES),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo", epilog=paragraphs(demo.EXAMPLES))(demo.demo)
app.command("correct", epilog=paragraphs(correct.EXAMPLES))(correct.correct)
app.command("batch", epilog=paragraphs(batch.EXAMPLES), context_settings=batch.PASSED_ON)(batch.batch)
app.command("sessions", epilog=paragraphs(sessions.EXAMPLES))(sessions.sessions)
app.command("report", epilog=paragraphs(report.EXAMPLES))(report.report)
app.command("sort", epilog=paragraphs(sort.EXAMPLES))(sort.sort)
app.command("view", epilog=paragraphs(view.EXAMPLES))(view.view)
app.command("train", epilog=paragraphs(train.EXAMPLES))(train.train)
app.command("denoise", epilog=paragraphs(denoise.EXAMPLES))(denoise.denoise)
app.command("evaluate", epilog=paragraphs(evaluate.EXAMPLES))(evaluate.evaluate)
app.command("run", epilog=paragraphs(run.EXAMPLES), context_settings={"allow_interspersed_args": False})(
    run.run
)
app.add_typer(presets.app, name="presets")
app.add_typer(models.app, name="models")
app.command("warmup")(warmup.warmup)
app.command("info")(info.info)


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"steadyspike {version('steadyspike')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop."),
    ] = False,
) -> None:
    """Filter, denoise, localize and correct motion with SpikeInterface, faster."""
