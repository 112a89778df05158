"""Tables and figure of the study of detection with and without denoising."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steadyspike.evaluation.denoising.tables import markdown_table
from steadyspike.simulation.noisy import NOISE_LEVELS_UV, SIZES
from steadyspike_benchmarks.denoising_detection import BANDPASS, DENOISED, RAW

DOTS_PER_INCH = 150
TABLE_RATES = (0.01, 0.1, 1.0)
"""False positives per second and channel in the table; the figure has all."""


def format_detection_tables(results: list[dict[str, Any]]) -> str:
    """Write the share of true spikes found at equal rates of false positives, and where denoising does not help."""
    if not results:
        return "No results.\n"
    rates, methods = results[0]["rates"], list(results[0]["methods"])
    rows, worse = [], []
    for noise, own in _by_noise(results).items():
        for size, (low, high) in SIZES.items():
            shares = {method: _shares(own, method, size) for method in methods}
            spikes = sum(one["num_spikes"][size] for one in own)
            if not spikes:
                continue
            limits = f"SNR {low:g} to {high:g}" if high < float("inf") else f"SNR from {low:g}"
            not_better = []
            for number, rate in enumerate(rates):
                values = {method: got[number] for method, got in shares.items()}
                if rate in TABLE_RATES or len(rates) == 1:
                    shown = (_percent(values[method]) for method in methods)
                    rows.append([noise, f"{size} ({limits}; {spikes:,} spikes)", f"{rate:g}", *shown])
                best = max(values[RAW], values[BANDPASS])
                if values[DENOISED] <= best:
                    not_better.append(f"{rate:g} ({_percent(values[DENOISED])} instead of {_percent(best)})")
            if not_better:
                worse.append(f"- noise of {noise}, {size} units: at {', '.join(not_better)}")
    header = ["noise", "units", "false positives (1/s/channel)", *methods]
    first = results[0]
    seeds = ", ".join(str(seed) for seed in sorted({one["seed"] for one in results}))
    about = (
        f"Model {Path(first['model']).name} on {first['probe']}, {first['num_channels']} channels, recordings of "
        f"{first['duration_s']:g} s, seeds {seeds}: true spikes that locally_exclusive finds, at thresholds where each "
        "method has the stated rate of false positives (or fewer, where its lowest threshold of 2.5 noise levels has)."
    )
    none = "Nowhere did it find fewer true spikes than without denoising."
    parts = [
        about,
        markdown_table(header, rows),
        "Where denoising does not help, by false positives (no more spikes than the better of the first two methods):",
        "\n".join(worse) or none,
    ]
    return "\n\n".join([*parts, _repeats(results, methods)]) + "\n"


def write_detection_report(folder: str | Path, results: list[dict[str, Any]]) -> str:
    """Write `detection.md` and `detection.png` into the folder of a study; returns the tables."""
    from steadyspike_benchmarks.figures.denoising import plot_detection

    folder = Path(folder)
    text = format_detection_tables(results)
    (folder / "detection.md").write_text(text, encoding="utf8")
    rates = results[0]["rates"]
    curves: dict[str, Any] = {
        noise: {
            size: {
                method: (rates, shares)
                for method in results[0]["methods"]
                if (shares := _shares(own, method, size))
            }
            for size in SIZES
        }
        for noise, own in _by_noise(results).items()
    }
    plot_detection(curves).savefig(folder / "detection.png", dpi=DOTS_PER_INCH)
    return text


def _by_noise(results: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Group results by their noise, in words."""
    found: dict[str, list[dict[str, Any]]] = {}
    for factor in sorted({one["noise_factor"] for one in results}):
        low, high = (factor * level for level in NOISE_LEVELS_UV)
        found[f"{low:g} to {high:g} uV"] = [one for one in results if one["noise_factor"] == factor]
    return found


def _shares(results: list[dict[str, Any]], method: str, size: str) -> list[float]:
    """Give the share of spikes found at each rate, over all recordings; empty where there are no spikes."""
    spikes = sum(one["num_spikes"][size] for one in results)
    if not spikes:
        return []
    numbers = zip(*(one["methods"][method]["found"][size] for one in results), strict=True)
    return [sum(found) / spikes for found in numbers]


def _repeats(results: list[dict[str, Any]], methods: list[str]) -> str:
    told = []
    for method in methods:
        repeated = sum(one["methods"][method]["repeated"] for one in results)
        found = sum(max(found) for one in results for found in one["methods"][method]["found"].values())
        told.append(f"{method} {repeated / max(found, 1):.2f}")
    return "Further peaks for each spike found, at the lowest threshold: " + ", ".join(told) + "."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
