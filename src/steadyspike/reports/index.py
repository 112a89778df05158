"""The page of a batch: one line for each recording, with its verdict, a picture, and its report."""

from __future__ import annotations

import base64
import io
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from steadyspike.core.aside import written_aside
from steadyspike.core.unfinished import FINISHED
from steadyspike.reports.page import GENERATOR, TEMPLATES, environment

DONE, FAILED = "done", "failed"
REPORT, FIGURES = "report.html", "figures"
PICTURES = ("motion_map", "raster", "verdict")
"""Figures that stand for a recording, the best first."""
PICTURE_WIDTH, PICTURE_QUALITY = 220, 70
SIGNS = {"correct": "good", "correct rigidly": "good", "do not correct": "still"}
"""Kinds of a headline, by verdict."""


@dataclass(frozen=True)
class Entry:
    """What came of one recording.

    `state` is "done", "failed" or another word, `error` why it failed; links are relative to the page. What is not
    known is None, or empty. Displacement is in um, `seconds` and `memory_mb` are of the command.
    """

    name: str
    recording: str
    state: str
    error: str = ""
    verdict: str = ""
    displacement_um: float | None = None
    num_peaks: int | None = None
    num_units: int | None = None
    seconds: float | None = None
    memory_mb: float | None = None
    result: str = ""
    log: str = ""
    traceback: str = ""
    links: dict[str, str] = field(default_factory=dict)
    picture: str = ""

    @property
    def kind(self) -> str:
        """Sign of the line; see report.css."""
        if self.state == FAILED:
            return "failed"
        if self.state != DONE:
            return "plain"
        return SIGNS.get(self.verdict, "careful" if self.verdict else "good")


COLUMNS = (
    *("name", "recording", "state", "verdict", "displacement_um", "num_peaks", "num_units", "seconds"),
    *("memory_mb", "error", "result", "log"),
)
"""Of the table that is written beside the page."""


def with_result(entry: Entry, folder: Path, page: Path) -> Entry:
    """Add what a command wrote of itself into its folder, with links from a page and a small picture."""
    facts = _facts(folder)
    result = facts.get("result", {})
    correction = result if "verdict" in result else (result.get("correction") or {})
    report = folder / REPORT
    return replace(
        entry,
        verdict=str(correction.get("verdict", "")),
        displacement_um=correction.get("displacement_um"),
        num_peaks=correction.get("num_peaks"),
        num_units=result.get("num_units"),
        memory_mb=facts.get("memory_mb"),
        result=str(folder),
        links={"report": link(report, page)} if report.is_file() else {},
        picture=_picture(folder / FIGURES),
    )


def link(file: Path, page: Path) -> str:
    """Give the address of a file from a page."""
    return quote(os.path.relpath(file, page.parent).replace(os.sep, "/"))


def write_index(entries: list[Entry], file: Path, title: str) -> Path:
    """Write the page; needs jinja2."""
    page = (
        environment()
        .get_template("index.html.j2")
        .render(
            entries=entries,
            title=title,
            counts=_counts(entries),
            generator=GENERATOR,
            made=time.strftime("%Y-%m-%d %H:%M"),
            style=(TEMPLATES / "report.css").read_text(encoding="utf8"),
            script=(TEMPLATES / "index.js").read_text(encoding="utf8"),
        )
    )
    with written_aside(file) as aside:
        aside.write_text(page, encoding="utf8")
    return file


def _counts(entries: list[Entry]) -> dict[str, int]:
    """Count the states, the failures first."""
    states = [entry.state for entry in entries]
    return {state: states.count(state) for state in sorted(set(states), key=lambda one: (one != FAILED, one))}


def _facts(folder: Path) -> Mapping[str, Any]:
    try:
        return dict(json.loads((folder / FINISHED).read_text(encoding="utf8")))
    except (OSError, ValueError):
        return {}


def _picture(figures: Path) -> str:
    """Make a small picture that lies within the page."""
    from PIL import Image

    files = [figures / f"{name}{suffix}.png" for name in PICTURES for suffix in ("", "_segment0")]
    file = next((one for one in files if one.is_file()), None)
    if file is None:
        return ""
    stream = io.BytesIO()
    with Image.open(file) as whole:
        small = whole.convert("RGB")
        small.thumbnail((PICTURE_WIDTH, 2 * PICTURE_WIDTH))
        small.save(stream, "JPEG", quality=PICTURE_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
