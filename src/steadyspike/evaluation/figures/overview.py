"""One picture of a correction whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures import style
from steadyspike.evaluation.figures.motion_maps import draw_panels
from steadyspike.evaluation.figures.raster import (
    MARGIN_UM,
    depth_limits,
    depths_before_after,
    draw_displacement_lines,
    draw_raster,
    times_and_amplitudes,
)
from steadyspike.evaluation.figures.run_times import draw_run_times

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion


def plot_overview(
    motion_info: dict[str, Any],
    recording: BaseRecording,
    truth: Motion,
    times_s: Mapping[str, Mapping[str, float]],
    errors_um: Mapping[str, float],
    *,
    title: str = "",
    zoom_um: float | None = None,
) -> Figure:
    """Draw a correction, the motion it found beside the true one, and time and error beside other presets.

    Parameters
    ----------
    motion_info : dict
        As `spikeinterface.full.correct_motion` gives it with ``output_motion_info=True``.
    recording : BaseRecording
        The recording in which the peaks were found; one segment.
    truth : Motion
        The true motion, on bins of any fineness.
    times_s : mapping of str to mapping of str to float
        For each preset the seconds of each step.
    errors_um : mapping of str to float
        For each preset the mean absolute error in um.
    title : str, default: ""
        Above everything.
    zoom_um : float or None, default: None
        Draw the peaks on the lowest `zoom_um` of the probe only, so that their motion can be seen. None: all.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    motion = motion_info["motion"]
    with style.settings():
        figure = style.new_figure(12, 7.6)
        figure.suptitle(title, fontsize=14, fontweight="bold", x=0.01, ha="left", color=style.INK)
        top, bottom = figure.subfigures(2, 1, height_ratios=[1.35, 1], hspace=0.04)
        _draw_rasters(top, motion_info, recording, zoom_um)
        maps, bars = bottom.subfigures(1, 2, width_ratios=[1, 1], wspace=0.03)
        _draw_maps(maps, motion, truth)
        _draw_bars(bars, times_s, errors_um)
    return figure


def _draw_rasters(
    figure: SubFigure, motion_info: dict[str, Any], recording: BaseRecording, zoom_um: float | None
) -> None:
    before, after = depths_before_after(motion_info, recording)
    times, amplitudes = times_and_amplitudes(motion_info, recording, 0)
    low, high = depth_limits(recording)
    limits = (low, high if zoom_um is None else min(high, low + zoom_um))
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    draw_raster(left, times, before, amplitudes, limits, size=3.0)
    draw_displacement_lines(left, motion_info["motion"])
    part = "" if limits[1] == high else f", {limits[0] + MARGIN_UM:.0f} to {limits[1]:.0f} µm"
    left.set_title(f"Spikes as recorded, with the motion found{part}")
    draw_raster(right, times, after, amplitudes, limits, size=3.0)
    right.set_title("Corrected: depth minus displacement")
    style.quiet_second_axis(right)


def _draw_maps(figure: SubFigure, motion: Motion, truth: Motion) -> None:
    from steadyspike.motion import resample_motion

    known = truth.displacement[0]
    bins = dict(temporal_bins_s=truth.temporal_bins_s, spatial_bins_um=truth.spatial_bins_um)
    found = resample_motion(motion, **bins).displacement[0]
    # a displacement is defined up to a constant, so the two are first laid over each other
    found = found - np.median(found - known)
    limit = max(1e-3, float(np.abs(known).max()))
    draw_panels(figure, truth, {"Found, whole probe": found, "True": known}, limit)


def _draw_bars(
    figure: SubFigure, times_s: Mapping[str, Mapping[str, float]], errors_um: Mapping[str, float]
) -> None:
    axes = figure.subplots()
    draw_run_times(axes, times_s)
    names = [f"{run}\nerror {errors_um[run]:.1f} µm" for run in list(times_s)[::-1]]
    axes.set_yticks(range(len(names)), names)
    axes.set_title("Time from raw to corrected")
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        fontsize=9,
        columnspacing=1,
        handlelength=1.3,
    )
