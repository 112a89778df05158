"""`steadyspike.report`: gather, draw, and write one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.core.arguments import refuse
from steadyspike.core.aside import written_aside
from steadyspike.reports.contents import contents_of
from steadyspike.reports.page import GENERATOR, check_extra, render
from steadyspike.reports.run import PART, Run, run_of

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting, SortingAnalyzer

    from steadyspike.reports.contents import Contents

FILE = "report.html"
HEAD_BYTES = 2000
MOST_RUNS = 2


def report(
    source: Any,
    file: str | Path | None = None,
    *,
    recording: BaseRecording | None = None,
    corrected: BaseRecording | None = None,
    sorting: SortingAnalyzer | BaseSorting | None = None,
) -> Path:
    """Write one HTML file that tells what happened to a recording.

    It opens offline in any browser: the verdict in a sentence, what was done, spikes over depth before and after, the
    motion with its standard deviation and the evidence for it, traces, power and noise after each step, the probe,
    localized spikes in three dimensions, parameters, versions and times. What is not known of a run is said.

    Parameters
    ----------
    source : str, Path, dict, Motion, or list or dict of two of these
        A folder that steadyspike wrote; a folder of `spikeinterface.full.save_motion_info`; a motion_info dict, as
        ``si.correct_motion(..., output_motion_info=True)`` gives it; or a `Motion`. Two in a list, or in a dict under
        the names to show, are put side by side.
    file : str, Path or None, default: None
        What to write; an earlier report is replaced. None: report.html, in the folder where `source` is one, else in
        the working directory.
    recording : BaseRecording or None, default: None
        The recording in which the peaks were found; filtered. None: the one that the folder holds, if any.
    corrected : BaseRecording or None, default: None
        The recording as it was corrected. None: the one that the folder holds, else `recording` interpolated here, as
        the run's preset does; "wiener" reads up to 40 s for that.
    sorting : SortingAnalyzer, BaseSorting or None, default: None
        Units, whose rates over time and dependence on the drift are shown.

    Returns
    -------
    file : Path
        What was written.

    Raises
    ------
    ValueError
        If `source` is none of these, or more than two.
    FileNotFoundError
        If there is no such folder.
    FileExistsError
        If `file` is there and no report.
    ImportError
        Without jinja2 and plotly, the extra "report".

    Notes
    -----
    Of the traces only pieces are read (about 10 s of each step at most), and of more than 3,000,000 spikes as many are
    chosen at random.
    """
    check_extra()
    named = _named(source)
    given = dict(recording=recording, corrected=corrected, sorting=sorting)
    for name, one in given.items():
        if len(named) > 1 and one is not None:
            refuse(name, one, "None where two runs are compared", PART)
    place = _place(source, file)
    runs = [run_of(one, name=name, **given) for name, one in named]
    return write_report(runs, place)


def write_report(runs: list[Run], file: Path) -> Path:
    """Draw runs and write the page; an earlier report is replaced, whole."""
    check_extra()
    contents: list[Contents] = []
    for run in runs:
        contents.append(contents_of(run, contents[0] if contents else None))
    page = render(contents)
    with written_aside(file) as aside:
        aside.write_text(page, encoding="utf8")
    return file


def _named(source: Any) -> list[tuple[str | None, Any]]:
    named: list[tuple[str | None, Any]]
    if isinstance(source, Mapping) and "motion" not in source:
        named = [(str(name), one) for name, one in source.items()]
    elif isinstance(source, list | tuple):
        named = [(None, one) for one in source]
    else:
        named = [(None, source)]
    if not 1 <= len(named) <= MOST_RUNS:
        refuse("source", source, f"one run, or {MOST_RUNS} to be put side by side", PART)
    return named


def _place(source: Any, file: str | Path | None) -> Path:
    if file is None:
        place = Path(source) / FILE if isinstance(source, str | Path) else Path(FILE)
    else:
        place = Path(file).expanduser()
    if place.is_dir():
        place = place / FILE
    if place.exists():
        with open(place, "rb") as stream:
            head = stream.read(HEAD_BYTES)
        if GENERATOR.encode() not in head:
            raise FileExistsError(f"{place} is there and is no report of steadyspike; choose another file")
    return place
