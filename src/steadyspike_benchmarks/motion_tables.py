"""Tables of the motion benchmark: errors, comparisons, verdicts, time and memory, as Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from steadyspike.simulation.scenarios import SCENARIOS
from steadyspike_benchmarks.motion import load_results, stale_results
from steadyspike_benchmarks.study_presets import REFERENCE, StudyPreset, study_presets

AUTO = "steady_auto"
SMALL_DRIFT_UM, SMALL_ERROR_UM = 5.0, 1.0
VERDICTS = ("correct", "correct rigidly", "do not correct", "cannot tell")
DRIFT_ROWS: dict[str, Callable[[float], bool]] = {
    "no drift": lambda span: span == 0,
    f"drift up to {SMALL_DRIFT_UM:g} um": lambda span: 0 < span <= SMALL_DRIFT_UM,
    f"drift over {SMALL_DRIFT_UM:g} um": lambda span: span > SMALL_DRIFT_UM,
}

Result = dict[str, Any]
Rows = list[Result]


def format_motion_table(folder: str | Path, presets: dict[str, StudyPreset] | None = None) -> str:
    """Write a study as Markdown.

    Parameters
    ----------
    folder : str or Path
        The study's folder.
    presets : dict of str to StudyPreset or None
        The presets as they are now, by which results that are out of date are seen; None: `study_presets`.

    Returns
    -------
    tables : str
        Mean errors for each scenario and preset, the best of each row in bold; the best of ours against the best of
        theirs; estimates where nothing moves; verdicts; errors for each probe; time and memory; notes.
    """
    results = load_results(folder)
    if not results:
        return f"no results in {folder}"
    parts = [
        _headed("Mean error (um) for each scenario", error_table(results, "scenario")),
        _headed("Best of ours and best of theirs", comparison_table(results)),
        _headed("The same for each probe", comparison_table(results, "probe")),
        _headed("Where theirs is better", behind_table(results)),
        _headed("Where nothing moves", still_table(results)),
        _headed("Mean error (um) for each probe", error_table(results, "probe")),
        _headed(
            "Mean error (um) with an offset of its own at each depth",
            error_table(results, "scenario", "mean_error_offset_per_depth_um"),
        ),
        _headed("Time and memory of the estimation", cost_table(results)),
    ]
    judged = {r["preset"] for r in results if "trust" in r}
    for name in sorted(judged & {AUTO, "steady_nonrigid"}):
        parts.append(
            _headed(f"Verdicts on the estimates of {name}", verdict_table(results, [name], by_probe=True))
        )
        parts.append(_headed(f"Not as aimed at: {name}", wrong_verdicts_table(results, name)))
    if judged:
        ours = [name for name in judged if _is_ours(results, name)]
        parts.append(
            _headed("Verdicts on the estimates of all presets of ours", verdict_table(results, ours))
        )
    parts.append("\n".join(f"- {note}" for note in _notes(Path(folder), results, presets)))
    return "\n\n".join(parts)


def error_table(results: Rows, key: str = "scenario", measure: str = "mean_error_um") -> str:
    """Write mean errors: a row for each value of `key`, a column for each preset; see `mean_errors`."""
    presets = _presets(results)
    lines = _header([key, "recordings", *presets, "uncorrected"], numbers_from=1)
    for value, chosen in [*_groups(results, key), ("all", results)]:
        errors = mean_errors(chosen, measure)
        full = [error for error, complete in errors.values() if complete]
        best = min(full, default=np.nan)
        cells = []
        for preset in presets:
            error, complete = errors.get(preset, (None, False))
            if error is None:
                failed = any(r["preset"] == preset and "failed" in r for r in chosen)
                cells.append("fails" if failed else "")
            else:
                number = f"{error:.2f}" if complete else f"({error:.2f})"
                cells.append(f"**{number}**" if complete and error == best else number)
        uncorrected = _mean_over_cases(chosen, "uncorrected_error_um")
        lines.append(_line([value, len(_cases(chosen)), *cells, f"{uncorrected:.2f}"]))
    return "\n".join(lines)


def mean_errors(results: Rows, measure: str = "mean_error_um") -> dict[str, tuple[float, bool]]:
    """Give each preset's mean error, and whether it was measured on all recordings that any preset was.

    Parameters
    ----------
    results : list of dict
        See `load_results`.
    measure : str, default: "mean_error_um"
        What is averaged; see `error_summary`.

    Returns
    -------
    errors : dict of str to (float, bool)
        Mean of the measure in um over the preset's recordings; presets that always failed are absent.
    """
    number = len(_cases(results))
    errors = {}
    for preset in _presets(results):
        values = [r[measure] for r in results if r["preset"] == preset and measure in r]
        if values:
            errors[preset] = float(np.mean(values)), len(values) == number
    return errors


def comparison_table(results: Rows, key: str = "scenario") -> str:
    """Write, for each value of `key`, the best of our and of their presets, and the ratios that are aimed at.

    Only presets measured on all recordings of the row take part. ``ours / theirs`` is to be at most 1; `steady_auto`
    over our best, at most 1.1; and, over all, `steady_auto` over `dredge_fast` at most 0.7.
    """
    header = [key, "best of ours", "um", "best of theirs", "um", "ours / theirs"]
    header += [f"{AUTO} / our best", f"our best / {REFERENCE}", f"{AUTO} / {REFERENCE}"]
    lines = _header(header, numbers_from=1)
    for value, chosen in [*_groups(results, key), ("all", results)]:
        errors, ours, theirs = _best(chosen)
        cells = [value, ours or "", _um(errors.get(ours)), theirs or "", _um(errors.get(theirs))]
        pairs = [(ours, theirs), (AUTO, ours), (ours, REFERENCE), (AUTO, REFERENCE)]
        lines.append(_line([*cells, *(_ratio(errors.get(a), errors.get(b)) for a, b in pairs)]))
    return "\n".join(lines)


def behind_table(results: Rows) -> str:
    """Write the scenarios and probes in which the best of theirs is better than the best of ours, and by how much."""
    lines = _header(["scenario", "probe", "best of ours", "um", "best of theirs", "um"], numbers_from=2)
    for scenario, chosen in _groups(results, "scenario"):
        for probe, own in _groups(chosen, "probe"):
            errors, ours, theirs = _best(own)
            if ours and theirs and errors[ours] > errors[theirs]:
                cells = [ours, f"{errors[ours]:.3f}", theirs, f"{errors[theirs]:.3f}"]
                lines.append(_line([scenario, probe, *cells]))
    return "\n".join(lines)


def _best(results: Rows) -> tuple[dict[str, float], str | None, str | None]:
    """Give the errors of the presets that saw all recordings, and the best of ours and of theirs."""
    errors = {name: error for name, (error, complete) in mean_errors(results).items() if complete}
    ours, theirs = (
        min((n for n in errors if _is_ours(results, n) == which), key=errors.__getitem__, default=None)
        for which in (True, False)
    )
    return errors, ours, theirs


def still_table(results: Rows) -> str:
    """Write, for each preset, how often and how far it saw motion where nothing moved."""
    still = [r for r in results if r.get("true_span_um") == 0]
    under = f"under {SMALL_ERROR_UM:g} um (%)"
    lines = _header(["preset", "recordings", "mean error (um)", f"mean {under}", f"largest {under}"], 1)
    for preset in _presets(still):
        own = [r for r in still if r["preset"] == preset]
        mean = np.array([r["mean_error_um"] for r in own])
        largest = np.array([r["max_error_um"] for r in own])
        percent = [f"{100 * np.mean(values < SMALL_ERROR_UM):.0f}" for values in (mean, largest)]
        lines.append(_line([preset, len(own), f"{mean.mean():.2f}", *percent]))
    return "\n".join(lines)


def verdict_table(results: Rows, presets: Sequence[str], *, by_probe: bool = False) -> str:
    """Write how many recordings without, with small and with large drift got which verdict, in percent.

    Parameters
    ----------
    results : list of dict
        See `load_results`.
    presets : sequence of str
        Whose estimates count.
    by_probe : bool, default: False
        Add rows for each probe.

    Returns
    -------
    table : str
        A row for each amount of true drift (largest distance between two displacements at one depth), a column for each
        verdict.
    """
    judged = [r for r in results if r["preset"] in presets and "trust" in r and "true_span_um" in r]
    columns = [*VERDICTS, *sorted({_verdict(r) for r in judged} - set(VERDICTS))]
    lines = _header(["", "estimates", *(f"{column} (%)" for column in columns)], numbers_from=1)
    groups = [("", judged)]
    if by_probe:
        groups += [(f", {probe}", own) for probe, own in _groups(judged, "probe")]
    for suffix, own in groups:
        for row, belongs in DRIFT_ROWS.items():
            counts = Counter(_verdict(r) for r in own if belongs(r["true_span_um"]))
            total = counts.total()
            cells = [f"{100 * counts[column] / total:.0f}" if total else "" for column in columns]
            lines.append(_line([row + suffix, total, *cells]))
    return "\n".join(lines)


def wrong_verdicts_table(results: Rows, preset: str) -> str:
    """Write the recordings without drift that are not told "do not correct", and those over 5 um not told "correct"."""
    header = [
        "scenario",
        "probe",
        "seed",
        "drift (um)",
        "error (um)",
        "uncorrected (um)",
        "verdict",
        "reason",
    ]
    lines = _header(header, numbers_from=2)
    for r in results:
        if r["preset"] != preset or "trust" not in r or "true_span_um" not in r:
            continue
        span, verdict = r["true_span_um"], _verdict(r)
        aim = "do not correct" if span == 0 else "correct" if span > SMALL_DRIFT_UM else verdict
        if verdict != aim:
            numbers = [f"{r[key]:.1f}" for key in ("true_span_um", "mean_error_um", "uncorrected_error_um")]
            row = [r["scenario"], r["probe"], r["seed"], *numbers, verdict, r["trust"]["reason"]]
            lines.append(_line(row))
    return "\n".join(lines)


def _verdict(result: Result) -> str:
    return result["trust"]["verdict"] or "error"


def cost_table(results: Rows) -> str:
    """Write, for each preset and probe, the mean time and the largest memory of the estimation."""
    probes = list(dict.fromkeys(r["probe"] for r in results))
    header = [f"{probe} ({unit})" for probe in probes for unit in ("s", "MB")]
    lines = _header(["preset", *header], numbers_from=1)
    for preset in _presets(results):
        cells = []
        for probe in probes:
            own = [r for r in results if (r["preset"], r["probe"]) == (preset, probe) and "estimate_s" in r]
            memory = [r["peak_mb"] for r in own if r["peak_mb"] is not None]
            cells.append(f"{np.mean([r['estimate_s'] for r in own]):.2f}" if own else "")
            cells.append(f"{max(memory):.0f}" if memory else "")
        lines.append(_line([preset, *cells]))
    return "\n".join(lines)


def _notes(folder: Path, results: Rows, presets: dict[str, StudyPreset] | None) -> list[str]:
    durations = sorted({f"{r['duration_s']:g}" for r in results})
    sizes = sorted({f"{r['probe']} {r['num_channels']}" for r in results})
    seeds = len({r["seed"] for r in results})
    notes = [
        "Mean absolute error in um after removing one offset, on one grid of 0.5 s and 50 depths for all; "
        f"simulated recordings of {', '.join(durations)} s; probes and contacts: {', '.join(sizes)}; "
        f"{seeds} seed{'s' if seeds > 1 else ''}.",
    ]
    if any(
        not complete
        for _, chosen in _groups(results, "scenario")
        for _, complete in mean_errors(chosen).values()
    ):
        notes.append(
            "In parentheses: measured on some of the recordings of the row only; no candidate for the best."
        )
    for preset in _presets(results):
        failed = [r["failed"] for r in results if r["preset"] == preset and "failed" in r]
        if failed:
            notes.append(f"{preset} fails on {len(failed)} recordings: {failed[0]}")
    notes += [
        f"{preset}: trained for that many steps instead of medicine's 10,000."
        for preset in _presets(results)
        if preset.startswith("medicine_")
    ]
    left_out = folder / "left_out.json"
    if left_out.is_file():
        waiting = json.loads(left_out.read_text(encoding="utf8"))
        notes += [
            f"{name} was left out: {why}." for name, why in waiting.items() if name not in _presets(results)
        ]
    stale = stale_results(results, study_presets() if presets is None else presets)
    if stale:
        notes.append(f"OUT OF DATE, measured with other code or parameters than these: {', '.join(stale)}.")
    return notes


def _presets(results: Rows) -> list[str]:
    """Give the presets of the results: ours first, `steady_auto` before all, then theirs, the reference first."""
    names = {r["preset"]: r.get("ours", False) for r in results}
    return sorted(names, key=lambda name: (not names[name], name not in (AUTO, REFERENCE), name))


def _is_ours(results: Rows, preset: str) -> bool:
    return any(r["preset"] == preset and r.get("ours", False) for r in results)


def _groups(results: Rows, key: str) -> list[tuple[str, Rows]]:
    found = list(dict.fromkeys(r[key] for r in results))
    order = {name: index for index, name in enumerate(SCENARIOS)}
    found.sort(key=lambda value: order.get(value, len(order)))
    return [(value, [r for r in results if r[key] == value]) for value in found]


def _cases(results: Rows) -> set[tuple[Any, ...]]:
    return {_case(r) for r in results}


def _case(result: Result) -> tuple[Any, ...]:
    return tuple(result[key] for key in ("scenario", "probe", "seed", "num_channels", "duration_s"))


def _mean_over_cases(results: Rows, key: str) -> float:
    """Mean of something that is the same for all presets of one recording."""
    values = {_case(r): r[key] for r in results if key in r}
    return float(np.mean(list(values.values()))) if values else np.nan


def _ratio(value: float | None, to: float | None) -> str:
    return f"{value / to:.2f}" if value is not None and to else ""


def _um(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _headed(title: str, table: str) -> str:
    return f"### {title}\n\n{table}"


def _header(cells: Sequence[str], numbers_from: int) -> list[str]:
    rule = ["---" if index < numbers_from else "---:" for index in range(len(cells))]
    return [_line(cells), f"|{'|'.join(rule)}|"]


def _line(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"
