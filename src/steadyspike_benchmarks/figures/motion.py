"""Figures of the motion benchmark: errors of presets on a log axis, and estimates over the truth."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUR_MARKERS, THEIR_MARKERS = ("o", "s", "D", "^", "v", "P"), ("o", "s", "D", "^", "v", "X", "P", "*", "<")
OUR_COLOURS = (style.STEADY, "#6cc5b0", "#0a5c57", "#3aa79f", "#93d8d0", "#1f7a4d")
THEIR_COLOURS = (
    "#e8a33d",
    "#5b7db1",
    "#8e6bb0",
    "#b0746b",
    "#6b8eb0",
    "#c9a37c",
    "#7d8794",
    "#a58ec2",
    "#b8bfc7",
)
SMALLEST_UM = 0.01
DODGE = 0.13


def plot_motion_errors(errors_um: Mapping[str, Mapping[str, float]], ours: Collection[str] = ()) -> Figure:
    """Draw the error of each preset on each scenario, as dots on a log axis.

    Parameters
    ----------
    errors_um : mapping of str to mapping of str to float
        For each scenario, the mean error of each preset in um; below 0.01 um it is drawn at 0.01.
    ours : collection of str
        Which presets are steadyspike's; they are drawn larger, in one family of colours, and
        above the others.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    scenarios = list(errors_um)[::-1]
    presets = list(dict.fromkeys(name for errors in errors_um.values() for name in errors))
    presets.sort(key=lambda name: name not in ours)
    with style.settings():
        figure = style.new_figure(9, 1.6 + 0.42 * len(scenarios))
        axes = figure.subplots()
        looks = {True: iter(zip(OUR_COLOURS, OUR_MARKERS, strict=True))}
        looks[False] = iter(zip(THEIR_COLOURS, THEIR_MARKERS, strict=True))
        for name in presets:
            known = name in ours
            colour, marker = next(looks[known], (style.QUIET, "."))
            rows = [row for row, scenario in enumerate(scenarios) if name in errors_um[scenario]]
            values = [max(errors_um[scenarios[row]][name], SMALLEST_UM) for row in rows]
            axes.plot(
                values,
                # two rows for each scenario, so that equal presets do not hide each other
                np.array(rows) + (DODGE if known else -DODGE),
                marker,
                color=colour,
                markersize=8 if known else 6,
                markeredgecolor="white",
                markeredgewidth=0.6,
                alpha=1.0 if known else 0.85,
                zorder=3 if known else 2,
                label=name,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_yticks(range(len(scenarios)), [name.replace("_", " ") for name in scenarios])
        axes.set_ylim(-0.6, len(scenarios) - 0.4)
        axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
        axes.grid(axis="x", color="#eef0f2", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(
            f"mean absolute error (µm); {SMALLEST_UM:g} stands for all that is smaller, and for 0"
        )
        axes.set_title("Error against the truth")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


def plot_motion_examples(examples: Mapping[str, Mapping[str, Any]], ours: Collection[str] = ()) -> Figure:
    """Draw estimates over the truth, a panel for each scenario.

    Parameters
    ----------
    examples : mapping of str to mapping
        For each scenario "times_s" and "truth", of shape (num_times,), in s and um, and "estimates", a mapping of
        preset to a curve of that shape.
    ours : collection of str
        Which presets are steadyspike's.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    num_columns = min(3, len(examples))
    num_rows = -(-len(examples) // num_columns)
    with style.settings():
        figure = style.new_figure(4 * num_columns, 2.6 * num_rows + 0.4)
        grid = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
        for axes, (name, example) in zip(grid, examples.items(), strict=False):
            axes.plot(example["times_s"], example["truth"], color=style.TRUTH, linewidth=3.0, label="truth")
            for preset, curve in example["estimates"].items():
                colour = style.STEADY if preset in ours else style.INK
                axes.plot(example["times_s"], curve, color=colour, linewidth=1.1, label=preset)
            axes.set_title(name.replace("_", " "))
            axes.margins(x=0)
            _widen(axes, example)
        for axes in grid[len(examples) :]:
            axes.remove()
        for axes in grid[: len(examples) : num_columns]:
            axes.set_ylabel("displacement (µm)")
        for axes in grid[max(0, len(examples) - num_columns) : len(examples)]:
            axes.set_xlabel("time (s)")
        labels = {}
        for axes in grid[: len(examples)]:
            labels |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=len(labels))
    return figure


def _widen(axes: Any, example: Mapping[str, Any]) -> None:
    """Show at least 10 um, lest nothing look like something."""
    curves = [example["truth"], *example["estimates"].values()]
    low, high = min(map(np.min, curves)), max(map(np.max, curves))
    middle, half = (low + high) / 2, max(5.0, 0.55 * (high - low))
    axes.set_ylim(middle - half, middle + half)
