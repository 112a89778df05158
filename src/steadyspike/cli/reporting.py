"""The report that a command leaves in its output folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from steadyspike.cli.errors import say

if TYPE_CHECKING:
    from spikeinterface import BaseRecording


def add_report(folder: Path, output: Path, recording: BaseRecording | None = None) -> list[str]:
    """Write report.html into a folder that is complete but for it, and return the names of what was written.

    `folder` holds what the command wrote, its marker too, and becomes `output`. `recording` is the one in which the
    peaks were found, where the folder doesn't lead to it. A report that fails is told, and spoils no result.
    """
    from steadyspike.reports.page import check_extra
    from steadyspike.reports.run import run_of
    from steadyspike.reports.write import FILE, write_report

    try:
        check_extra()
    except ImportError as error:
        say(f"[yellow]note[/yellow]: no {FILE}: {error}")
        return []
    try:
        run = run_of(folder, name=output.absolute().name, recording=recording)
        run.folder = output
        write_report([run], folder / FILE)
    except Exception as error:
        say(f"[yellow]note[/yellow]: no {FILE}: {type(error).__name__}: {error}")
        return []
    return [FILE]
