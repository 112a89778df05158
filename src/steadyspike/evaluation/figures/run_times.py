"""How long each step of each run took."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING

from steadyspike.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_run_times(times_s: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw one bar per run, divided into its steps.

    Parameters
    ----------
    times_s : mapping of str to mapping of str to float
        For each run, such as a preset, the seconds of each step.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    with style.settings():
        steps = len({step for run in times_s.values() for step in run})
        # the legend below has four columns
        figure = style.new_figure(9, 1.5 + 0.6 * len(times_s) + 0.22 * -(-steps // 4))
        axes = figure.subplots()
        draw_run_times(axes, times_s)
        axes.set_title("Run times")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def draw_run_times(axes: Axes, times_s: Mapping[str, Mapping[str, float]]) -> None:
    """Draw the bars of `plot_run_times` on given axes; the first run is on top."""
    runs = list(times_s)[::-1]
    steps = list(dict.fromkeys(step for run in times_s.values() for step in run))
    starts = [0.0] * len(runs)
    other_colours = cycle(style.OTHER_STEPS)
    for step in steps:
        seconds = [times_s[run].get(step, 0.0) for run in runs]
        colour = style.STEPS.get(step) or next(other_colours)
        axes.barh(runs, seconds, left=starts, color=colour, label=step.replace("_", " "), height=0.62)
        starts = [start + value for start, value in zip(starts, seconds, strict=True)]
    for row, total in enumerate(starts):
        axes.text(total, row, f"  {total:.1f} s", va="center", ha="left", fontweight="bold")
    axes.set_ylim(-0.7, len(runs) - 0.3)
    axes.set_xlim(0, max([*starts, 1e-3]) * 1.18)
    axes.set_xlabel("seconds")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
