"""The report that a command leaves in its output folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from steadyspike.cli.errors import say

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

FILE = "report.html"


def add_report(folder: Path, output: Path, recording: BaseRecording | None = None) -> list[str]:
    """Write report.html into a folder that is complete but for it, and return the names of what was written.

    `folder` holds what the command wrote, its marker too, and becomes `output`. `recording` is the one in which the
    peaks were found, where the folder doesn't lead to it.
    """
    from steadyspike.reports.run import run_of
    from steadyspike.reports.write import write_report

    with said_failures():
        run = run_of(folder, name=output.absolute().name, recording=recording)
        run.folder = output
        write_report([run], folder / FILE)
        return [FILE]
    return []


@contextmanager
def said_failures() -> Iterator[None]:
    """Say that there is no report, and why: a report that fails, or can't be drawn here, spoils no result."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        say(f"[yellow]note[/yellow]: no {FILE}: {kind}{error}")
