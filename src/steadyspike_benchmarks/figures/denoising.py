"""Figures of the benchmarks of denoising: errors of networks, and spikes found at equal false positives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from steadyspike.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUALITIES = {
    "rms_error": "error against clean traces\n(noise levels)",
    "median_abs_amplitude_bias": "median absolute amplitude bias",
    "median_d_prime_self": "median d', own template",
}
SIZES = ("small", "medium", "large")


def plot_denoising_quality(values: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]) -> Figure:
    """Draw error, amplitude bias and d' of each network, a dot for each recording.

    Parameters
    ----------
    values : mapping
        For each probe and network, the values under "rms_error", "median_abs_amplitude_bias" and
        "median_d_prime_self".

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    networks = list(dict.fromkeys(name for own in values.values() for name in own))[::-1]
    with style.settings():
        figure = style.new_figure(11, 1.4 + 0.45 * len(networks) * max(1, len(values) ** 0.5))
        all_axes = figure.subplots(1, len(QUALITIES), sharey=True)
        for axes, (column, label) in zip(all_axes, QUALITIES.items(), strict=True):
            for number, (probe, own) in enumerate(values.items()):
                shift = 0.16 * (number - (len(values) - 1) / 2)
                rows = [
                    (networks.index(name) + shift, x)
                    for name, got in own.items()
                    for x in got.get(column, ())
                ]
                places = np.array(rows).reshape(-1, 2)
                colour = style.MOTIONS[number % len(style.MOTIONS)]
                axes.plot(places[:, 1], places[:, 0], "o", color=colour, label=probe)
            axes.set_xlabel(label)
            axes.set_xlim(left=0)
            axes.set_yticks(range(len(networks)), networks)
            axes.grid(axis="x", color=style.QUIET, alpha=0.3)
        handles, labels = all_axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=max(1, len(labels)))
    return figure


def plot_detection(curves: Mapping[str, Mapping[str, Mapping[str, Sequence[Sequence[float]]]]]) -> Figure:
    """Draw the share of true spikes that are found over the rate of false positives.

    Parameters
    ----------
    curves : mapping
        For each noise level (in words), size of units ("small", "medium", "large") and method: rates in 1/s for each
        channel, and shares of 0 to 1.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    with style.settings():
        figure = style.new_figure(10, 1.0 + 2.6 * len(curves))
        grid = figure.subplots(len(curves), len(SIZES), sharex=True, sharey=True, squeeze=False)
        for row, (noise, sizes) in zip(grid, curves.items(), strict=True):
            for axes, size in zip(row, SIZES, strict=True):
                for number, (method, (rates, shares)) in enumerate(sizes.get(size, {}).items()):
                    colour = style.MOTIONS[number % len(style.MOTIONS)]
                    axes.plot(rates, 100 * np.asarray(shares), "o-", ms=3, color=colour, label=method)
                axes.set_xscale("log")
                axes.set_ylim(0, 102)
                axes.set_title(f"{size} units, {noise}")
                axes.grid(color=style.QUIET, alpha=0.3)
            row[0].set_ylabel("true spikes found (%)")
        for axes in grid[-1]:
            axes.set_xlabel("false positives (1/s/channel)")
        grid[0, -1].legend(loc="lower right", fontsize=8)
    return figure
