"""``python -m steadyspike_benchmarks kilosort``: the preset ``kilosort4`` beside a run of Kilosort4."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steadyspike.cli.errors import Debug, clear_errors

EXAMPLES = """
[bold]Example[/bold]

  python -m steadyspike_benchmarks kilosort-input for_kilosort

  python -m steadyspike_benchmarks kilosort results for_kilosort

  where results is from Kilosort4 with what lies in for_kilosort, nblocks=0 and save_preprocessed_copy=True. It may be
  stopped when it looks for spikes: temp_wh.dat is there then.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the benchmarks'."""
    app.command(epilog=EXAMPLES)(kilosort)
    app.command("kilosort-input", epilog=EXAMPLES)(kilosort_input)


def kilosort_input(
    folder: Annotated[Path, typer.Argument(help="Where to write it.")],
    debug: Debug = False,
) -> None:
    """Write a small simulated recording for Kilosort4."""
    with clear_errors(debug):
        from steadyspike_benchmarks.kilosort_preprocessing import make_input

        typer.echo(make_input(folder))


def kilosort(
    results: Annotated[Path, typer.Argument(help="Results folder of the run, with temp_wh.dat.")],
    recording: Annotated[Path, typer.Argument(help="What the run was given; si.load reads it.")],
    debug: Debug = False,
) -> None:
    """Compare traces that Kilosort4 whitened with those of the preset kilosort4, channel by channel."""
    with clear_errors(debug):
        from steadyspike.core.loading import load_recording
        from steadyspike_benchmarks.kilosort_preprocessing import compare_with_run, format_comparison

        typer.echo(format_comparison(compare_with_run(results, load_recording(recording))))
