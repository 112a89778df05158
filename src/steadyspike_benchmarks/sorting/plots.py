"""Figure of the sorting study: units of every treatment, beside those of the same recordings without drift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from steadyspike.evaluation.figures import style
from steadyspike_benchmarks.sorting.tables import Rows, by_seed, with_interval
from steadyspike_benchmarks.sorting.treatments import OURS, treatments

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_WIDTH, ROW_HEIGHT = 5.2, 0.34


def plot_units(results: Rows) -> Figure | None:
    """Draw good and false units of each treatment, a panel for each group and sorter; None where none was sorted.

    A dot is one recording, a bar the mean; the line is the mean of the static recordings.
    """
    panels = sorted({(row["group"], row["sorter"]) for row in results if "good" in row})
    if not panels:
        return None
    known = treatments()
    names = [name for name in known if any(row["treatment"] == name and "good" in row for row in results)]
    with style.settings():
        height = 0.9 + len(panels) * (0.8 + ROW_HEIGHT * len(names))
        figure = style.new_figure(2 * PANEL_WIDTH, height)
        grid = figure.subplots(len(panels), 2, squeeze=False, width_ratios=[2, 1])
        for (group, sorter), (good, false) in zip(panels, grid, strict=True):
            rows = [row for row in results if row["group"] == group]
            _draw(good, rows, names, sorter, "good")
            _draw(false, rows, names, sorter, "false")
            good.set_title(f"{sorter}: {group}", fontsize=9)
            good.set_xlabel("units of accuracy 0.8 or more")
            false.set_xlabel("false units")
            false.set_yticklabels([])
    return figure


def _draw(axes: Axes, rows: Rows, names: list[str], sorter: str, key: str) -> None:
    static = by_seed(rows, "static", sorter)
    for place, name in enumerate(names):
        found = by_seed(rows, name, sorter)
        values = [row[key] for row in found.values() if key in row]
        if not values:
            continue
        color = style.STEADY if name == OURS else style.TRUTH if name == "static" else style.QUIET
        axes.barh(place, np.mean(values), height=0.62, color=color, alpha=0.45)
        axes.plot(values, np.full(len(values), place), "o", color=color, markersize=4)
        both = sorted(found.keys() & static.keys())
        if key == "good" and both and name != "static":
            less = with_interval([found[seed]["good"] - static[seed]["good"] for seed in both])
            axes.annotate(less, (1.0, place), xycoords=("axes fraction", "data"), fontsize=8, va="center")
    if key == "good" and static:
        axes.axvline(np.mean([row["good"] for row in static.values()]), color=style.TRUTH, linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
