"""Figure of the speed benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_accelerated_calls(rows: list[dict[str, Any]]) -> Figure:
    """Draw how many times faster each call is under acceleration, for each number of channels.

    Parameters
    ----------
    rows : list of dict
        With "part", "num_channels", "dtype" and "cpu_ratio", as the speed benchmark gives them.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    names = list(dict.fromkeys(row["part"] for row in rows))[::-1]
    channels = sorted({row["num_channels"] for row in rows})
    with style.settings():
        figure = style.new_figure(8, 1.2 + 0.28 * len(names))
        axes = figure.subplots()
        for number, num_channels in enumerate(channels):
            for dtype, marker in (("float32", "o"), ("int16", "x")):
                found = [
                    (row["cpu_ratio"], names.index(row["part"]))
                    for row in rows
                    if row["num_channels"] == num_channels and row["dtype"] == dtype
                ]
                if found:
                    ratios, places = np.array(found).T
                    colour = style.MOTIONS[number % len(style.MOTIONS)]
                    label = f"{num_channels} channels, {dtype}"
                    axes.plot(ratios, places, marker, color=colour, ms=5, label=label)
        axes.axvline(1, color=style.QUIET, lw=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("times faster under acceleration (processor time, one thread)")
        axes.set_yticks(range(len(names)), names)
        axes.grid(axis="x", color=style.QUIET, alpha=0.3)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    return figure
