"""Table of the benchmark of denoising speed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from steadyspike.evaluation.denoising.tables import markdown_table
from steadyspike_benchmarks.denoising import UNET
from steadyspike_benchmarks.denoising_speed import UPSTREAM


def format_denoising_speed(results: dict[str, Any]) -> str:
    """Write results as Markdown: speeds, and ratios to the paper's network and to the first design."""
    rows: list[dict[str, Any]] = results["rows"]
    parts = []
    for device in dict.fromkeys(row["device"] for row in rows):
        own = [row for row in rows if row["device"] == device]
        paper = _frames([row for row in own if row["network"] == UNET and row["way"] != UPSTREAM])
        upstream = {
            parent: _frames([row for row in own if row["way"] == UPSTREAM and row["parent"] == parent])
            for parent in dict.fromkeys(row["parent"] for row in own)
        }
        lines = [
            [
                f"{row['network']}, {row['way']}",
                row["parent"],
                row["precision"],
                f"{row['multiply_adds'] / 1e6:.1f}",
                f"{_speed(row):,.0f}",
                f"{100 * row['share_of_peak']:.0f} %",
                f"{_speed(row) / row['frames_per_s'] * row['real_time']:.3g}",
                *(
                    f"{_ratio(row, other):.1f}" if other else "-"
                    for other in (paper, upstream[row["parent"]])
                ),
            ]
            for row in own
        ]
        header = ["network", "parent", "precision", "multiply-adds per frame (millions)", "frames/s"]
        header += ["of peak arithmetic", "times real time", "times the paper's network at its best"]
        header += [f"times {UPSTREAM} of the same parent"]
        peaks = [f"{p / 1e9:,.0f} billion ({k})" for k, p in results["peaks"].items() if k.startswith(device)]
        computer = results["machine"]
        where = f"{computer['processor']}, one thread" if device == "cpu" else results["devices"][device]
        by = ", by the processor's time" if device == "cpu" else ""
        parts += [
            markdown_table(header, lines),
            f"{results['settings']['num_channels']} channels, {where}. Medians of {results['settings']['repeats']} "
            f"measurements in turns{by}. Parent: traces in memory, or these after bandpass_filter and "
            f"common_reference, computed as they are read. Real time: 30,000 frames/s. Peak arithmetic: "
            f"multiply-adds per second of a large product of matrices in the same run, {', '.join(peaks)}.",
        ]
    parts.append(", ".join(f"{name} {number}" for name, number in results["versions"].items()) + ".")
    return "\n\n".join(parts) + "\n"


def _speed(row: dict[str, Any]) -> float:
    """Frames per second; by the processor's time where that is known, which is steadier on a shared machine."""
    return row["processor_frames_per_s"] or row["frames_per_s"]


def _frames(rows: Iterable[dict[str, Any]]) -> float | None:
    return max((_speed(row) for row in rows), default=None)


def _ratio(row: dict[str, Any], other: float) -> float:
    return _speed(row) / other
