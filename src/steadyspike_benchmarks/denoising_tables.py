"""Tables and figure of the study of denoising quality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from steadyspike.evaluation.denoising.tables import markdown_table
from steadyspike_benchmarks.denoising import RIDGE, UNET, code, load_results

LINEAR_HERE, NOTHING = "ridge, fitted on the judged recording", "nothing (the median of each channel)"
COLUMNS = {
    "rms_error": "error",
    "rms_error_in_spikes": "error in spikes",
    "rms_error_outside": "error outside",
    "noise_reduction": "noise reduction",
    "median_abs_amplitude_bias": "amplitude bias",
    "median_gain": "gain",
    "median_shape_bias": "shape bias",
    "median_d_prime_self": "d', own template",
    "median_d_prime_true": "d', true template",
}
BY_SIZE = {"median_abs_amplitude_bias": "amplitude bias", "median_d_prime_self": "d', own template"}
DOTS_PER_INCH = 150
LEGEND = """\
Error: root mean square of (denoised - clean), in noise levels of each channel; in spikes: where the clean traces are
beyond 2 noise levels. Every interpolation keeps the noise that can be predicted, so no error outside is 0, and a
network that has learnt little can have a low one: compare with what predicting nothing has, and look at the errors in
spikes. Noise reduction: noise between spikes, before over after. Amplitude bias: median over units of
the absolute change of the average spike's largest deflection. Shape bias: 1 - cosine between average spikes. d':
median over units, spikes against random times. Means over the seeds. All networks of a table trained for the same
wall-clock time on the same recordings; each was judged on a recording of another seed."""


def format_denoising_tables(results: list[dict[str, Any]]) -> str:
    """Write the results of a study as Markdown, one table for each probe and set of settings.

    Parameters
    ----------
    results : list of dict
        From `steadyspike_benchmarks.denoising.load_results`.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(_group(result), []).append(result)
    parts = []
    for key, own in groups.items():
        parts += [_title(key, own), _main_table(own), _size_table(own), *_verdicts(own)]
    if results:
        now = code()
        stale = sorted({result["network"] for result in results if result["code"] != now})
        if stale:
            parts.append(f"Measured with other code than there is now: {', '.join(stale)}.")
        parts.append(LEGEND)
    return "\n\n".join(parts) + "\n"


def write_denoising_report(folder: str | Path) -> str:
    """Write `results.md` and `results.png` into the folder of a study; returns the tables."""
    from steadyspike_benchmarks.figures.denoising import plot_denoising_quality

    folder = Path(folder)
    results = load_results(folder)
    tables = format_denoising_tables(results)
    if results:
        (folder / "results.md").write_text(tables, encoding="utf8")
        values = {
            label: _values([one for one in results if _label(one) == label])
            for label in dict.fromkeys(map(_label, results))
        }
        plot_denoising_quality(values).savefig(folder / "results.png", dpi=DOTS_PER_INCH)
    return tables


def _label(result: dict[str, Any]) -> str:
    return f"{result['probe']}, {result['settings'].get('noise', 'coloured')} noise"


def _group(result: dict[str, Any]) -> tuple[Any, ...]:
    settings = result["settings"]
    return (
        result["probe"],
        *(
            settings[name]
            for name in ("num_channels", "budget_s", "train_recordings", "train_s", "test_s", "loss")
        ),
        result["device"],
        settings.get("noise", "coloured"),
    )


def _title(key: tuple[Any, ...], own: list[dict[str, Any]]) -> str:
    probe, channels, budget_s, number, train_s, test_s, loss, device, noise = key
    seeds = sorted({result["seed"] for result in own})
    threads = sorted({result["settings"]["num_threads"] for result in own})
    machine = own[0]["machine"]["processor"]
    where = device if device != "cpu" else f"{machine}, threads: {', '.join(map(str, threads))}"
    return (
        f"### {probe}, {channels} channels, {noise} noise\n\nTrained for {budget_s:g} s on {number} recordings of "
        f"{train_s:g} s (loss: {loss}; {where}), judged on the last three quarters of {test_s:g} s; "
        f"seeds {', '.join(map(str, seeds))}."
    )


def _networks(results: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for result in sorted(results, key=lambda one: (one["network"] in (UNET, RIDGE), one["network"] == RIDGE)):
        found.setdefault(result["network"], []).append(result)
    return found


def _mean(rows: Sequence[dict[str, Any] | None], column: str) -> float | None:
    known = [row[column] for row in rows if row is not None and row.get(column) is not None]
    return fmean(known) if known else None


def _shown(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if column == "median_abs_amplitude_bias" else f"{value:.3f}"


def _main_table(own: list[dict[str, Any]]) -> str:
    networks = _networks(own)
    rows = []
    for name, results in networks.items():
        training = [one["training"] for one in results]
        rates = sorted({one["learning_rate"] for one in training if one.get("learning_rate")})
        steps = _mean(training, "steps")
        rows.append(
            [
                name,
                f"{results[0]['num_parameters']:,}",
                ", ".join(f"{rate:g}" for rate in rates) or "-",
                "-" if steps is None else f"{steps:,.0f}",
                *(_shown(column, _mean([one["summary"] for one in results], column)) for column in COLUMNS),
            ]
        )
    first = next(iter(networks.values()))
    for name, key in ((LINEAR_HERE, "linear"), (NOTHING, "center"), ("raw", "raw")):
        values = [_shown(column, _mean([one[key] for one in first], column)) for column in COLUMNS]
        rows.append([name, "-", "-", "-", *values])
    return markdown_table(["network", "parameters", "learning rate", "steps", *COLUMNS.values()], rows)


def _size_table(own: list[dict[str, Any]]) -> str:
    networks = _networks(own)
    rows = []
    for column, title in BY_SIZE.items():
        for size in ("small", "medium", "large"):
            found = {
                name: [row for one in results for row in one["sizes"] if row["size"] == size]
                for name, results in networks.items()
            }
            values = [_shown(column, _mean(each, column)) for each in found.values()]
            rows.append([f"{title}, {size} units", *values])
    return markdown_table(["", *networks], rows)


def _values(results: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Give for each network the values of each column, one for each result that has it."""
    return {
        name: {
            column: [one["summary"][column] for one in own if one["summary"].get(column) is not None]
            for column in COLUMNS
        }
        for name, own in _networks(results).items()
    }


def _verdicts(own: list[dict[str, Any]]) -> list[str]:
    """Compare each blind-spot network with the paper's network and the ridge, seed by seed."""
    networks = _networks(own)
    lines = []
    for name, results in networks.items():
        if not name.startswith("blindspot"):
            continue
        for other in (UNET, RIDGE):
            pairs = [
                (one["summary"], two["summary"])
                for one in results
                for two in networks.get(other, [])
                if one["seed"] == two["seed"]
            ]
            if not pairs:
                continue
            told = []
            for column in ("rms_error", "median_abs_amplitude_bias"):
                both = [(a[column], b[column]) for a, b in pairs if None not in (a[column], b[column])]
                lower = sum(a < b for a, b in both)
                told.append(f"lower {COLUMNS[column]} on {lower} of {len(both)} recordings")
            lines.append(f"- {name} against {other}: {'; '.join(told)}.")
    return ["\n".join(lines)] if lines else []
