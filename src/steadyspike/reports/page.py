"""The page: one HTML file that needs nothing else."""

from __future__ import annotations

import re
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steadyspike.reports.contents import Contents

GENERATOR = "steadyspike report"
"""By which a file is known to be ours, near its beginning."""
TEMPLATES = Path(__file__).parent / "templates"


def check_extra() -> None:
    """Raise unless what draws a report is installed."""
    from importlib.util import find_spec

    missing = [name for name in ("jinja2", "plotly") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"a report needs {' and '.join(missing)}; install with: pip install 'steadyspike[report]'"
        )


def render(runs: list[Contents]) -> str:
    """Write the page of one run, or of two side by side."""
    from steadyspike.core.environment import own_version

    texts = {name: (TEMPLATES / name).read_text(encoding="utf8") for name in ("report.css", "report.js")}
    keys = dict.fromkeys(key for run in runs for key, _, _ in run.sections)
    page: str = (
        environment()
        .get_template("report.html.j2")
        .render(
            runs=runs,
            sections=[_section(key, runs) for key in keys],
            generator=GENERATOR,
            version=own_version(),
            made=time.strftime("%Y-%m-%d %H:%M"),
            style=texts["report.css"],
            script=texts["report.js"],
            plotly=_plotly(),
            compared=_compared(runs) if len(runs) > 1 else [],
        )
    )
    return page


def _section(key: str, runs: list[Contents]) -> dict[str, Any]:
    """Gather the pictures of a section: for each the one of every run, None where a run has none."""
    held = [{name: (title, pictures) for name, title, pictures in run.sections}.get(key) for run in runs]
    title = next(one[0] for one in held if one is not None)
    by_key = [{} if one is None else {picture.key: picture for picture in one[1]} for one in held]
    names = dict.fromkeys(name for pictures in by_key for name in pictures)
    rows = [[pictures.get(name) for pictures in by_key] for name in names]
    return dict(key=key, title=title, rows=rows)


def _compared(runs: list[Contents]) -> list[tuple[str, list[str], bool]]:
    """Put the numbers and settings of runs side by side: name, values, whether they differ."""
    tables = []
    for run in runs:
        rows = {**dict(run.numbers), **{f"time: {name}": value for name, value in run.times}}
        for title, settings in run.settings:
            rows |= {f"{title.lower()}: {name}": value for name, value in settings}
        tables.append(rows)
    names = dict.fromkeys(name for rows in tables for name in rows)
    compared = []
    for name in names:
        values = [rows.get(name, "-") for rows in tables]
        compared.append((name, values, len(set(values)) > 1))
    return compared


@cache
def environment() -> Any:
    """Give jinja2 with the templates of this room."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["tied"] = _tied
    return environment


def _tied(text: str) -> str:
    """Keep numbers and their units on one line."""
    return re.sub(r"(?<=[\d±]) (?=µm|%|s\b|MB|µV|nats|Hz|±|\d)", "\u00a0", text)


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script
