"""``steadyspike report``: one HTML file that tells what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steadyspike.cli.errors import Debug, clear_errors, refusals, tell
from steadyspike.cli.options import writing

EXAMPLES = """
[bold]Examples[/bold]

  steadyspike report corrected

Two runs side by side, such as two presets:

  steadyspike report corrected_auto corrected_rigid -o comparison.html
"""


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...",
            help="What steadyspike wrote, or a folder of SpikeInterface's motion info; two are put side by side.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        writing(
            "--output",
            "-o",
            help="HTML file. Default: report.html in the folder; of two, in the working directory.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write one HTML file that tells what happened to a recording, for any browser, offline."""
    with clear_errors(debug), refusals(file="--output", source="FOLDER"):
        from steadyspike.reports.write import report as write

        file = write(folders[0] if len(folders) == 1 else folders, output)
        tell(f"wrote {file}: {file.stat().st_size / 1e6:.1f} MB")
