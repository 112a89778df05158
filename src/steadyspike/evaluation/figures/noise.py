"""Measured noise beside noise drawn from a model: spectra and covariances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from steadyspike.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from steadyspike.evaluation.noise import NoiseSummary

COLOURS = (style.TRUTH, style.STEADY, style.QUIET)
SHOWN_UM, SHOWN_CHANNELS = (0.0, 15.0, 35.0, 60.0, 100.0), 64
FLOOR = 1e-7


def plot_noise(summaries: Mapping[str, NoiseSummary]) -> Figure:
    """Draw spectra, correlations and covariances of noises beside each other.

    Parameters
    ----------
    summaries : mapping of str to NoiseSummary
        Two or three, by name, of the same channels; what is measured first.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    with style.settings():
        figure = style.new_figure(10.5, 6.6)
        grid = figure.add_gridspec(2, 6)
        _draw_spectra(figure.add_subplot(grid[0, :2]), summaries)
        _draw_lags(figure.add_subplot(grid[0, 2:4]), summaries)
        _draw_distances(figure.add_subplot(grid[0, 4:]), summaries)
        width = 6 // len(summaries)
        for number, (name, summary) in enumerate(summaries.items()):
            axes = figure.add_subplot(grid[1, number * width : (number + 1) * width])
            image = axes.imshow(
                summary.covariance[:SHOWN_CHANNELS, :SHOWN_CHANNELS], cmap="RdBu_r", vmin=-1, vmax=1
            )
            axes.set_title(name)
            axes.set_xlabel("channel")
        figure.colorbar(image, ax=axes, label="covariance", shrink=0.8)
    return figure


def _draw_spectra(axes: Axes, summaries: Mapping[str, NoiseSummary]) -> None:
    """Draw the density of a channel, and what channels at some distances share of it."""
    for (name, summary), colour in zip(summaries.items(), COLOURS, strict=False):
        for rank, apart in enumerate(SHOWN_UM[:4:2]):
            row = int(np.abs(summary.distance_um - apart).argmin())
            label = name if rank == 0 else None
            density = np.maximum(summary.spectra[row], FLOOR)
            axes.plot(summary.frequencies / 1000, density, color=colour, alpha=1 - 0.4 * rank, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("frequency (kHz)")
    axes.set_ylabel("density (noise level² / Hz)")
    axes.set_title(f"Spectra (faint: shared at {SHOWN_UM[2]:g} µm)")
    axes.legend()


def _draw_lags(axes: Axes, summaries: Mapping[str, NoiseSummary]) -> None:
    for (_, summary), colour in zip(summaries.items(), COLOURS, strict=False):
        lags = np.arange(summary.lagged.shape[1]) / summary.sampling_frequency * 1000
        for rank, apart in enumerate(SHOWN_UM[:3]):
            row = int(np.abs(summary.distance_um - apart).argmin())
            axes.plot(lags, summary.lagged[row], color=colour, alpha=1 - 0.3 * rank)
    axes.axhline(0, color=style.FAINT, zorder=0)
    axes.set_xlabel("lag (ms)")
    axes.set_ylabel("covariance")
    axes.set_title(f"In time at {', '.join(f'{apart:g}' for apart in SHOWN_UM[:3])} µm")


def _draw_distances(axes: Axes, summaries: Mapping[str, NoiseSummary]) -> None:
    for (_, summary), colour in zip(summaries.items(), COLOURS, strict=False):
        for lag, marker in ((0, "-"), (3, "--")):
            axes.plot(summary.distance_um, summary.lagged[:, lag], marker, color=colour)
    axes.axhline(0, color=style.FAINT, zorder=0)
    axes.set_xlabel("distance (µm)")
    axes.set_ylabel("covariance")
    axes.set_title("By distance (dashed: lag 3)")
