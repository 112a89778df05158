"""Tables of the sorting study, as Markdown: units found after each treatment, and what became of the traces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from steadyspike_benchmarks.sorting.scores import GOOD_ACCURACY

Result = dict[str, Any]
Rows = list[Result]

CONFIDENCE = 0.95
RESAMPLES = 2000
SNR_EDGES = (0.0, 5.0, 10.0, np.inf)
RATIOS = {"snr": "SNR", "lowest_snr": "SNR where it is seen worst as it moves"}


def format_sorting_tables(results: Rows) -> str:
    """Write all tables of a study: for each group of cases units, units by signal-to-noise ratio, and traces."""
    if not results:
        return "no results"
    parts = []
    for group in sorted({result["group"] for result in results}):
        rows = [result for result in results if result["group"] == group]
        parts.append(f"## {group}, {len({row['seed'] for row in rows})} seeds")
        for sorter in sorted({row["sorter"] for row in rows if "sorter" in row}):
            parts.append(f"### {sorter}\n\n{unit_table(rows, sorter)}")
            parts += [snr_table(rows, sorter, ratio) for ratio in RATIOS]
        traces = trace_table(rows)
        parts.append(traces and f"### Traces\n\n{traces}")
    cells = cell_table(results)
    parts.append(cells and f"## Good units of every kind of recording, false ones in brackets\n\n{cells}")
    differences = difference_table(results)
    parts.append(differences and f"## Good units less those of the static recording\n\n{differences}")
    verdicts = verdict_table(results)
    parts.append(verdicts and f"## What `motion_trust` said\n\n{verdicts}")
    return "\n\n".join(part for part in parts if part)


def unit_table(rows: Rows, sorter: str) -> str:
    """Means over seeds, and the mean of paired differences to the static recording with its confidence interval."""
    lines = _header(
        "treatment", "good units", "good less static", "accuracy", "false", "redundant", "seeds", "s"
    )
    static = by_seed(rows, "static", sorter)
    for treatment in _treatments(rows):
        found = by_seed(rows, treatment, sorter)
        failed = [row["failed"] for row in _all(rows, treatment, sorter) if "failed" in row]
        if not found:
            if failed:
                lines.append(_line(treatment, f"fails: {failed[0]}", *[""] * 6))
            continue
        both = sorted(found.keys() & static.keys())
        difference = [found[seed]["good"] - static[seed]["good"] for seed in both]
        lines.append(
            _line(
                treatment,
                f"{_mean(found, 'good'):.1f}",
                with_interval(difference) if both and treatment != "static" else "",
                f"{np.mean([np.mean(row['accuracy']) for row in found.values()]):.3f}",
                *(f"{_mean(found, key):.1f}" if _has(found, key) else "" for key in ("false", "redundant")),
                f"{len(found)}" + (f", {len(failed)} failed" if failed else ""),
                f"{_mean(found, 'seconds'):.0f}" if _has(found, "seconds") else "",
            )
        )
    return "\n".join(lines)


def cell_table(results: Rows) -> str:
    """Good and, in brackets, false units, a line for each kind of recording and sorter; empty for a single kind.

    Means over the seeds that every treatment of the line was sorted for.
    """
    sorted_rows = [row for row in results if "good" in row]
    kinds = sorted({(row["group"], row["sorter"]) for row in sorted_rows})
    if len(kinds) < 2:
        return ""
    names = _treatments(sorted_rows)
    lines = _header("recording", "sorter", *names, "seeds")
    for group, sorter in kinds:
        rows = [row for row in results if row["group"] == group]
        found = {name: by_seed(rows, name, sorter) for name in names}
        seeds = set.intersection(*(set(of) for of in found.values() if of))
        common = {name: {seed: of[seed] for seed in seeds if seed in of} for name, of in found.items()}
        cells = (_units(of) if of else "" for of in common.values())
        lines.append(_line(group, sorter, *cells, str(len(seeds))))
    return "\n".join(lines)


def difference_table(results: Rows) -> str:
    """Compare treatments with the static recording, a line for each kind of recording, sorter and treatment.

    "small" are the units of an SNR below 5 that are good, of all of them. Only seeds of both; empty for a single kind.
    """
    sorted_rows = [row for row in results if "good" in row]
    kinds = sorted({(row["group"], row["sorter"]) for row in sorted_rows})
    if len(kinds) < 2:
        return ""
    titles = (
        "sorter",
        "treatment",
        "static",
        "good",
        "less static",
        "false, static",
        "false",
        "small, static",
    )
    lines = _header("recording", *titles, "small", "seeds")
    for group, sorter in kinds:
        rows = [row for row in results if row["group"] == group]
        ratios = {row["seed"]: np.array(row["snr"]) for row in rows if row.get("snr") is not None}
        static = by_seed(rows, "static", sorter)
        for name in _treatments(rows):
            found = by_seed(rows, name, sorter)
            seeds = sorted(found.keys() & static.keys())
            if name == "static" or not seeds:
                continue
            pair = [{seed: one[seed] for seed in seeds} for one in (static, found)]
            units = [f"{_mean(one, 'good'):.1f}" for one in pair]
            difference = with_interval([found[seed]["good"] - static[seed]["good"] for seed in seeds])
            false = [f"{_mean(one, 'false'):.1f}" if _has(one, "false") else "" for one in pair]
            small = [_small(one, ratios) for one in pair]
            lines.append(_line(group, sorter, name, *units, difference, *false, *small, str(len(seeds))))
    return "\n".join(lines) if len(lines) > 2 else ""


def _small(found: dict[int, Result], ratios: dict[int, np.ndarray]) -> str:
    """Count the good units among those of the lowest range of the signal-to-noise ratio."""
    if not found.keys() <= ratios.keys():
        return ""
    accuracy = np.concatenate([row["accuracy"] for row in found.values()])
    low = np.concatenate([ratios[seed] for seed in found]) < SNR_EDGES[1]
    return f"{(accuracy[low] >= GOOD_ACCURACY).sum()} of {low.sum()}"


def _units(found: dict[int, Result]) -> str:
    false = f" ({_mean(found, 'false'):.1f})" if _has(found, "false") else ""
    return f"{_mean(found, 'good'):.1f}{false}"


def snr_table(rows: Rows, sorter: str, ratio: str = "snr") -> str:
    """Share of good units in ranges of one of `RATIOS`; empty where it is not known."""
    ratios = {row["seed"]: np.array(row[ratio]) for row in rows if row.get(ratio) is not None}
    if not ratios:
        return ""
    ranges = list(pairwise(SNR_EDGES))
    lines = _header(
        f"share of good units, {RATIOS[ratio]}", *(f"{low:g} to {high:g}" for low, high in ranges)
    )
    for treatment in _treatments(rows):
        found = by_seed(rows, treatment, sorter)
        seeds = sorted(found.keys() & ratios.keys())
        if not seeds:
            continue
        accuracy = np.concatenate([found[seed]["accuracy"] for seed in seeds])
        snr = np.concatenate([ratios[seed] for seed in seeds])
        cells = []
        for low, high in ranges:
            inside = (snr >= low) & (snr < high)
            cells.append(
                f"{(accuracy[inside] >= GOOD_ACCURACY).mean():.2f} of {inside.sum()}" if inside.any() else ""
            )
        lines.append(_line(treatment, *cells))
    return "\n".join(lines)


TRACE_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "spike_error": ("error in spikes", lambda value: f"{100 * value:.1f} %"),
    "noise_over_time": ("noise over time", lambda value: f"{100 * value:.1f} %"),
    "noise_along_probe": ("noise along the probe", lambda value: f"{100 * value:.1f} %"),
    "noise_gain": ("noise gain", lambda value: f"{value:.3f}"),
    "correlation_added": ("correlation added", lambda value: f"{value:.3f}"),
}


def trace_table(rows: Rows) -> str:
    """Means over seeds of what needs no sorter, see `scores`; empty where nothing is known of the traces."""
    lines = _header("treatment", *(title for title, _ in TRACE_COLUMNS.values()))
    for treatment in _treatments(rows):
        found = by_seed(rows, treatment, None)
        if found and any(_has(found, key) for key in TRACE_COLUMNS):
            cells = (
                written(_mean(found, key)) if _has(found, key) else ""
                for key, (_, written) in TRACE_COLUMNS.items()
            )
            lines.append(_line(treatment, *cells))
    return "\n".join(lines) if len(lines) > 2 else ""


def verdict_table(results: Rows) -> str:
    """Verdicts on each kind of recording, beside what then became of traces and units; empty where none was given.

    Losses are shares of the spikes' energy, predicted by `motion_trust` and, in brackets, measured as the square of the
    error in spikes; units are those after the treatment less those uncorrected, for each sorter. Means over seeds.
    """
    judged = [row for row in results if "verdict" in row]
    sorters = sorted({row["sorter"] for row in results if "sorter" in row})
    titles = ("treatment", "verdicts", "drift (um)", "lost as it is", "lost with it")
    lines = _header("recording", *titles, *(f"units, {name}" for name in sorters))
    for group, name in dict.fromkeys((row["group"], row["treatment"]) for row in judged):
        rows = [row for row in results if row["group"] == group]
        found, plain = by_seed(rows, name, None), by_seed(rows, "uncorrected", None)
        verdicts = Counter(row["verdict"] for row in found.values())
        cells = [
            ", ".join(f"{verdict} {number}" for verdict, number in verdicts.items()),
            f"{_mean(found, 'displacement_um'):.1f}",
            f"{_share(found, 'loss_without')} ({_share(plain)})",
            f"{_share(found, 'loss_with')} ({_share(found)})",
        ]
        for sorter in sorters:
            after, before = by_seed(rows, name, sorter), by_seed(rows, "uncorrected", sorter)
            both = [after[seed]["good"] - before[seed]["good"] for seed in after.keys() & before.keys()]
            cells.append(with_interval(both) if both else "")
        lines.append(_line(group, name, *cells))
    return "\n".join(lines) if len(lines) > 2 else ""


def _share(found: dict[int, Result], key: str | None = None) -> str:
    """Mean of a predicted loss, or the mean square of the error in spikes; "?" where it is not known."""
    losses = [row[key] if key else row.get("spike_error", np.nan) ** 2 for row in found.values()]
    known = [loss for loss in losses if loss is not None and np.isfinite(loss)]
    return f"{100 * np.mean(known):.2g} %" if known else "?"


def with_interval(differences: list[float]) -> str:
    """Write the mean of paired differences and, for three or more, its bootstrapped 95 % confidence interval."""
    mean = f"{np.mean(differences):+.1f}"
    if len(differences) < 3 or np.ptp(differences) == 0:
        return mean
    from scipy.stats import bootstrap

    interval = bootstrap(
        (np.asarray(differences, dtype="float64"),),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return f"{mean} ({interval.low:+.1f} to {interval.high:+.1f})"


def _treatments(rows: Rows) -> list[str]:
    """Names in the order of `treatments`, unknown ones of other versions last."""
    from steadyspike_benchmarks.sorting.treatments import treatments

    names = {row["treatment"] for row in rows}
    return [name for name in treatments() if name in names] + sorted(names - set(treatments()))


def _all(rows: Rows, treatment: str, sorter: str | None) -> Rows:
    return [row for row in rows if row["treatment"] == treatment and row.get("sorter") == sorter]


def by_seed(rows: Rows, treatment: str, sorter: str | None) -> dict[int, Result]:
    """Give the results of a treatment that did not fail, of a sorter, or of traces for None."""
    return {row["seed"]: row for row in _all(rows, treatment, sorter) if "failed" not in row}


def _has(found: dict[int, Result], key: str) -> bool:
    return all(key in row for row in found.values())


def _mean(found: dict[int, Result], key: str) -> float:
    return float(np.mean([row[key] for row in found.values()]))


def _header(first: str, *others: str) -> list[str]:
    return [_line(first, *others), _line("---", *["---:"] * len(others))]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
