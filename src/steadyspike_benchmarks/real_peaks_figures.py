"""Figures of the comparison on real peaks: rasters before and after, and the estimates over each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from steadyspike.evaluation.figures import style
from steadyspike.evaluation.figures.raster import draw_displacement_lines, draw_raster
from steadyspike_benchmarks.agreement import corrected_depths, without_offset
from steadyspike_benchmarks.peak_folder import RealPeaks

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from spikeinterface.core.motion import Motion

    Motions = dict[tuple[str, str], Motion]

OURS = "steady_decentralized"
LABELS = {"rigid": "rigid", "nonrigid": "non-rigid"}
DEPTH_QUANTILES = (0.9, 0.5, 0.1)
DOTS_PER_INCH = 90
# a raster of tens of thousands of points is four times smaller as an image of few colours
NUM_COLOURS = 24


def save_real_peaks_figures(peaks: RealPeaks, motions: Motions, folder: str | Path) -> list[Path]:
    """Draw the comparison and write it as PNG files.

    Parameters
    ----------
    peaks : RealPeaks
        The peaks.
    motions : dict
        Motion of each (name, kind).
    folder : str or Path
        Where to write.

    Returns
    -------
    files : list of Path
        raster.png, where our estimate is among the motions; corrected.png; and estimates.png.
    """
    figures = {
        "corrected.png": plot_corrected(peaks, motions),
        "estimates.png": plot_estimates(peaks, motions),
    }
    ours = {kind: motion for (name, kind), motion in motions.items() if name == OURS}
    if ours:
        figures["raster.png"] = plot_before_after(peaks, ours)
    for name, figure in figures.items():
        _save(figure, Path(folder) / name)
    return [Path(folder) / name for name in figures]


def plot_before_after(peaks: RealPeaks, motions: dict[str, Motion]) -> Figure:
    """Draw, for each kind of motion, the peaks as recorded with the displacement over them, and corrected.

    Parameters
    ----------
    peaks : RealPeaks
        The peaks.
    motions : dict
        Motion of "rigid" and "nonrigid", or of one of them.

    Returns
    -------
    figure : matplotlib.figure.Figure
        A row for each kind.
    """
    limits = _limits(peaks)
    with style.settings():
        figure = style.new_figure(12, 5.2 * len(motions))
        rows = figure.subplots(len(motions), 2, sharex=True, sharey=True, squeeze=False)
        for (left, right), (kind, motion) in zip(rows, motions.items(), strict=True):
            draw_raster(left, peaks.times_s, peaks.depths_um, peaks.amplitudes, limits)
            draw_displacement_lines(left, without_offset(motion))
            left.set_title(f"As recorded, with the {LABELS[kind]} estimate")
            draw_raster(right, peaks.times_s, corrected_depths(peaks, motion), peaks.amplitudes, limits)
            right.set_title(f"{LABELS[kind].capitalize()} correction")
            style.quiet_second_axis(right)
    return figure


def plot_corrected(peaks: RealPeaks, motions: Motions) -> Figure:
    """Draw the peaks as recorded and as each estimate corrects them, one panel each.

    Parameters
    ----------
    peaks : RealPeaks
        The peaks.
    motions : dict
        Motion of each (name, kind); the non-rigid ones are drawn where there are any.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    chosen = _of_best_kind(motions)
    panels = {"As recorded": peaks.depths_um}
    panels |= {
        f"{name}, {LABELS[kind]}": corrected_depths(peaks, motion) for (name, kind), motion in chosen.items()
    }
    num_columns = int(np.ceil(np.sqrt(len(panels))))
    num_rows = -(-len(panels) // num_columns)
    with style.settings():
        figure = style.new_figure(4.4 * num_columns, 4.4 * num_rows)
        all_axes = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False).ravel()
        for index, (axes, (title, depths)) in enumerate(zip(all_axes, panels.items(), strict=False)):
            draw_raster(axes, peaks.times_s, depths, peaks.amplitudes, _limits(peaks))
            axes.set_title(title)
            axes.tick_params(labelbottom=True)
            if index % num_columns:
                style.quiet_second_axis(axes)
        for axes in all_axes[len(panels) :]:
            axes.remove()
    return figure


def plot_estimates(peaks: RealPeaks, motions: Motions) -> Figure:
    """Draw the displacements over each other, without their offsets, at three depths where there are many peaks.

    Parameters
    ----------
    peaks : RealPeaks
        Give the depths.
    motions : dict
        Motion of each (name, kind); the non-rigid ones are drawn where there are any.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    chosen = _of_best_kind(motions)
    times = np.arange(0.5, peaks.times_s[-1], 1.0)
    depths = np.quantile(peaks.depths_um, DEPTH_QUANTILES)
    others = iter(style.OTHER_STEPS)
    with style.settings():
        figure = style.new_figure(12, 2.8 * depths.size)
        all_axes = figure.subplots(depths.size, 1, sharex=True)
        for (name, kind), motion in chosen.items():
            curves = without_offset(motion).get_displacement_at_time_and_depth(
                times, depths, segment_index=0, grid=True
            )
            colour = style.STEADY if name == OURS else next(others)
            for axes, curve in zip(all_axes, curves, strict=True):
                axes.plot(times, curve, color=colour, linewidth=1.6, label=f"{name}, {LABELS[kind]}")
        for axes, depth in zip(all_axes, depths, strict=True):
            axes.set_title(f"at {depth:.0f} µm")
            axes.set_ylabel("displacement (µm)")
            axes.margins(x=0)
        all_axes[0].legend(loc="upper left", ncols=2)
        all_axes[-1].set_xlabel("time (s)")
    return figure


def _save(figure: Figure, file: Path) -> None:
    from io import BytesIO

    from PIL import Image

    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS_PER_INCH)
    Image.open(drawn).convert("RGB").quantize(NUM_COLOURS).save(file, "png", optimize=True)


def _of_best_kind(motions: Motions) -> Motions:
    """Give the non-rigid motions, or all where there are none."""
    return {case: motion for case, motion in motions.items() if case[1] == "nonrigid"} or motions


def _limits(peaks: RealPeaks) -> tuple[float, float]:
    low, high = np.quantile(peaks.depths_um, [0.0005, 0.9995])
    return float(low - 40.0), float(high + 40.0)
