"""Time and error of motion estimators on the peaks of a long recording, against the first of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from steadyspike_benchmarks.memory import Settings, measure

METHODS = ("dredge_ap", "steady_decentralized")


def run_long_benchmark(
    minutes: Iterable[float] = (15, 30),
    methods: Sequence[str] = METHODS,
    *,
    nice: int = 0,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Estimate the motion of simulated peaks with each method, each in a fresh process with compiled code.

    Parameters
    ----------
    minutes : iterable of float, default: (15, 30)
        Durations.
    methods : sequence of str, default: ("dredge_ap", "steady_decentralized")
        Motion estimators.
    nice : int, default: 0
        How far the processes stand back behind others, 0 to 19.
    **settings
        Of `memory.Settings`; 384 channels and 120 peaks per second if not given.

    Returns
    -------
    results : list of dict
        As `memory.measure_here` gives them.
    """
    cases = [
        Settings(hours=duration / 60.0, method=method, win_margin_um=None, **settings)
        for duration in minutes
        for method in methods
    ]
    return [measure(case, nice=nice) for case in cases]


def format_long_table(results: list[dict[str, Any]]) -> str:
    """Write what was measured as Markdown, with the ratio of times to the first method of each duration."""
    lines = [
        "| minutes | method | time (s) | processor time (s) | times faster | peak memory (MB) | error (um) "
        "| error by depth (um) |",
        "|---:|---|" + "---:|" * 6,
    ]
    yardsticks: dict[float, float] = {}
    for result in results:
        yardstick = yardsticks.setdefault(result["hours"], result["cpu_seconds"])
        lines.append(
            f"| {60 * result['hours']:g} | {result['method']} | {result['seconds']:.1f} | "
            f"{result['cpu_seconds']:.1f} | {yardstick / result['cpu_seconds']:.1f} | {result['peak_mb']:.0f} | "
            f"{result['error_um']:.3f} | {result['error_per_depth_um']:.3f} |"
        )
    if results:
        first = results[0]
        lines += [
            "",
            f"{first['num_channels']} channels, {first['peaks_per_second']:g} peaks/s, bin_s=1, "
            f"win_step_um={first['win_step_um']:g}, {first['num_windows']} windows. Times faster: by processor time, "
            "which other work on the machine changes little.",
        ]
    return "\n".join(lines)
