"""The few numbers that decide, taken from the tables of the documentation, so that they stand there once.

``python -m steadyspike_benchmarks summary docs`` writes them to the top of the benchmark page and draws its charts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE, UNITS_PAGE = "benchmarks.md", "sorting.md"
BEGIN, END = "<!-- begin: python -m steadyspike_benchmarks summary docs -->", "<!-- end -->"
TREATMENTS = ("static", "steady_auto", "dredge_fast", "uncorrected")
OURS = ("steady_auto",)
PRESETS = ("steady_auto", "dredge_repaired", "dredge_fast", "kilosort_like", "rigid_fast", "uncorrected")
SCRIPTS = ("nonrigid_accurate", "rigid_fast", "kilosort_like")

Table = list[dict[str, str]]


def tables_of(text: str) -> list[Table]:
    """Read the tables of a page: rows, each of the texts of its cells by the names of the columns."""
    found: list[Table] = []
    lines = text.splitlines()
    for number, line in enumerate(lines[:-1]):
        if not (line.startswith("|") and re.fullmatch(r"[|:\- ]+", lines[number + 1])):
            continue
        names, rows = _cells(line), []
        for row in lines[number + 2 :]:
            if not row.startswith("|"):
                break
            rows.append(dict(zip(names, _cells(row), strict=True)))
        found.append(rows)
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("*") for cell in line.strip().strip("|").split("|")]


def find(tables: list[Table], *columns: str, **row: str) -> dict[str, str]:
    """Give the first row, of tables with these columns, whose cells begin with what is given (`_` for a space)."""
    wanted = {name.replace("_", " "): text for name, text in row.items()}
    for table in tables:
        for one in table:
            known = all(name in one for name in (*columns, *wanted))
            if known and all(one[name].startswith(text) for name, text in wanted.items()):
                return one
    raise LookupError(f"no table has the columns {', '.join((*columns, *wanted))} and a row of {wanted}")


def summary(docs: str | Path) -> str:
    """Write the few numbers that decide as Markdown."""
    tables, units = (tables_of((Path(docs) / name).read_text(encoding="utf8")) for name in (PAGE, UNITS_PAGE))
    good = {name: find(units, "good units", treatment=name)["good units"] for name in TREATMENTS}
    errors = find(tables, "steady_auto", "dredge_repaired", scenario="all")
    still = find(tables, "do not correct (%)", **{"": "no drift"})
    moved = find(tables, "correct (%)", **{"": "drift over 5"})
    sharp = {
        name: find(tables, "sharpness", estimator=name)["sharpness"]
        for name in ("as recorded", "steady_decentralized", "dredge_ap_250um")
    }
    script = find(tables, "accelerated (s)", preset=SCRIPTS[0], step="in all")
    day = find(tables, "peak memory (MB)", hours="24")
    beyond = find(tables, "peak memory (MB)", method="dredge_ap", peaks="stopped")
    spikes = find(tables, "denoised", units="small", **{"false positives (1/s/channel)": "0.1"})
    rows = [
        (
            "good units that a sorter finds after 50 µm of drift",
            f"{good['steady_auto']} of {good['static']}",
            f"{good['dredge_fast']} (dredge_fast), {good['uncorrected']} uncorrected",
        ),
        (
            f"error of the motion, mean of {errors['recordings']} simulations",
            f"{errors['steady_auto']} µm",
            f"{errors['dredge_repaired']} µm (DREDge), {errors['uncorrected']} µm uncorrected",
        ),
        (
            "verdicts: still tissue left alone; drift over 5 µm corrected",
            f"{still['do not correct (%)']} % of {still['estimates']}; "
            f"{moved['correct (%)']} % of {moved['estimates']}",
            "gives none",
        ),
        (
            "sharpness of real spikes that drift by 200 µm",
            sharp["steady_decentralized"],
            f"{sharp['dredge_ap_250um']} (DREDge, told 250 µm), {sharp['as recorded']} as recorded",
        ),
        (
            "the same script, 100 s of 128 channels",
            f"{script['accelerated (s)']} s",
            f"{script['SpikeInterface (s)']} s ({SCRIPTS[0]})",
        ),
        (
            "motion of 24 hours, 384 channels",
            f"{float(day['time (s)']):.0f} s, {int(day['peak memory (MB)']) / 1000:.1f} GB",
            f"{beyond['peaks']} at {beyond['hours']} h ({beyond['method']})",
        ),
        (
            "small spikes found at 0.1 false ones per second and channel",
            f"{spikes['denoised']} (denoised)",
            f"{spikes['as recorded']} as recorded",
        ),
    ]
    lines = ["| | steadyspike | without it |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def with_summary(docs: str | Path) -> str:
    """Give the text of the benchmark page with what `summary` says between its marks."""
    text = (Path(docs) / PAGE).read_text(encoding="utf8")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{summary(docs)}\n\n{END}{rest.split(END, 1)[1]}"


def charts(docs: str | Path) -> dict[str, Figure]:
    """Draw units, errors and times of the tables, one chart each, by file name."""
    tables, units = (tables_of((Path(docs) / name).read_text(encoding="utf8")) for name in (PAGE, UNITS_PAGE))
    errors = find(tables, *PRESETS, scenario="all")
    ratios = {name: find(tables, "accelerated (s)", preset=name, step="in all")["ratio"] for name in SCRIPTS}
    found = {name: find(units, "good units", treatment=name)["good units"] for name in TREATMENTS}
    named = {"static": "without drift", **{name: name for name in TREATMENTS[1:]}}
    return {
        "benchmarks_units.png": _bars(
            {named[name]: value for name, value in found.items()}, "units that lupin finds", OURS
        ),
        "benchmarks_errors.png": _bars(
            {name: errors[name] for name in PRESETS}, "mean error of the motion (µm)", OURS
        ),
        "benchmarks_speed.png": _bars(ratios, "times faster, whole script", SCRIPTS),
    }


def _bars(values: Mapping[str, str], title: str, ours: tuple[str, ...]) -> Figure:
    from steadyspike.evaluation.figures import style

    with style.settings():
        figure = style.new_figure(4.2, 0.75 + 0.33 * len(values))
        axes = figure.subplots()
        numbers = [float(value) for value in values.values()]
        colours = [style.STEADY if name in ours else style.QUIET for name in values]
        bars = axes.barh(range(len(values)), numbers, color=colours, height=0.72)
        axes.bar_label(bars, labels=list(values.values()), padding=4)
        axes.set_yticks(range(len(values)), list(values))
        axes.invert_yaxis()
        axes.set_xlim(0, 1.16 * max(numbers))
        axes.xaxis.set_visible(False)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.set_title(title, loc="left")
    return figure


def write_summary(docs: str | Path) -> list[Path]:
    """Bring the page up to date, and draw its charts; the files that were written."""
    page = Path(docs) / PAGE
    page.write_text(with_summary(docs), encoding="utf8")
    files = [page]
    for name, figure in charts(docs).items():
        files.append(page.parent / "_static" / name)
        figure.savefig(files[-1], dpi=150)
    return files
