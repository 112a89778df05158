"""``steadyspike demo``: the main job on a simulated recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steadyspike.cli.errors import Debug, clear_errors
from steadyspike.cli.options import Jobs, ProgressBar

EXAMPLES = """
[bold]Example[/bold]

  steadyspike demo --output steadyspike-demo
"""


def demo(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for figures and numbers; an earlier demo is replaced."),
    ] = Path("steadyspike-demo"),
    duration: Annotated[
        float, typer.Option("--duration", min=20, help="Length of the recording in s.")
    ] = 60.0,
    channels: Annotated[int, typer.Option("--channels", min=16, max=384, help="Number of channels.")] = 96,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, another recording.")] = 3,
    n_jobs: Jobs = None,
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Simulate a drifting recording, correct it, and compare with the truth and with SpikeInterface.

    Takes under three minutes on two cores and needs no internet. Writes the figures by which a correction is
    judged, and demo.png with the most of it in one picture.
    """
    with clear_errors(debug):
        from steadyspike.cli.demo_run import run_demo
        from steadyspike.cli.options import job_kwargs
        from steadyspike.cli.output import new_folder, write_marker

        jobs = job_kwargs(n_jobs, "1s", progress_bar)
        with new_folder(output, overwrite=True) as folder:
            results = run_demo(folder, duration_s=duration, num_channels=channels, seed=seed, job_kwargs=jobs)
            write_marker(folder, {"command": "demo"})
        typer.echo(f"figures and numbers are in {output}: demo.png first, all numbers in results.json")
        typer.echo(f"look at {output / 'report.html'} in a browser; then, with a recording of yours:")
        typer.echo("  steadyspike correct /data/my_run_g0 --output corrected")
        typer.echo(f"the whole demo took {results['total_s']:.0f} s")
