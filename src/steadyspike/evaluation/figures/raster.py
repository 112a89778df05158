"""Peaks over time and depth, before and after the correction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures import style
from steadyspike.evaluation.windows import find_windows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

MAX_PEAKS = 60_000
NUM_LINES_RIGID = 5
MARGIN_UM = 20.0
ZOOM_FROM_UM, NUM_ZOOMS = 1000.0, 2
"""Length of a probe from which on its motion is drawn zoomed too, and how often."""


def plot_raster(motion_info: dict[str, Any], recording: BaseRecording, *, segment_index: int = 0) -> Figure:
    """Draw the depth of every peak over time, before and after the correction.

    Darker peaks are larger. Over the peaks as seen lie lines that follow the estimated displacement; corrected depths
    are depths minus displacement, where these lines would be straight. On a probe so long that its motion could not be
    seen, rows below show the two stretches with most motion and spikes.

    Parameters
    ----------
    motion_info : dict
        As `spikeinterface.full.correct_motion` gives it with ``output_motion_info=True``.
    recording : BaseRecording
        The recording in which the peaks were found; gives times and contact depths.
    segment_index : int, default: 0
        Which segment to draw.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    before, after = depths_before_after(motion_info, recording, segment_index)
    times, amplitudes = times_and_amplitudes(motion_info, recording, segment_index)
    limits = depth_limits(recording)
    rows = [limits, *_zooms(before, motion_info["motion"], limits)]
    with style.settings():
        figure = style.new_figure(11, 4.6 + 3.4 * (len(rows) - 1))
        all_axes = figure.subplots(len(rows), 2, sharex=True, sharey="row", squeeze=False)
        for (left, right), shown in zip(all_axes, rows, strict=True):
            size = 1.3 if shown == limits else 2.2
            draw_raster(left, times, before, amplitudes, shown, size)
            draw_displacement_lines(left, motion_info["motion"], segment_index)
            shades = draw_raster(right, times, after, amplitudes, shown, size)
            style.quiet_second_axis(right)
            if shown != limits:
                left.set_title(f"Zoomed: {shown[0]:.0f} to {shown[1]:.0f} µm")
        all_axes[0, 0].set_title("Peaks as recorded")
        all_axes[0, 1].set_title("Corrected: depth minus displacement")
        all_axes[0, 0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2, fontsize=9)
        if shades is not None:
            bar = figure.colorbar(shades, ax=all_axes, pad=0.01, shrink=0.6, aspect=30)
            bar.set_label("amplitude, from the smallest peak to the largest")
            bar.set_ticks([])
    return figure


def _zooms(
    depths_um: np.ndarray, motion: Motion, limits_um: tuple[float, float]
) -> list[tuple[float, float]]:
    """Give stretches to look at more closely; none on a short probe, without peaks, or where nothing moves."""
    moves = any(np.ptp(displacement) > 0 for displacement in motion.displacement)
    if not depths_um.size or not moves or limits_um[1] - limits_um[0] < ZOOM_FROM_UM:
        return []
    return find_windows(depths_um, motion, limits_um, NUM_ZOOMS)


def depths_before_after(
    motion_info: dict[str, Any], recording: BaseRecording, segment_index: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Give the depths of one segment's peaks, in um, as seen and with the motion taken out."""
    from spikeinterface.sortingcomponents.motion import correct_motion_on_peaks

    peaks, locations, motion = (motion_info[key] for key in ("peaks", "peak_locations", "motion"))
    chosen = peaks["segment_index"] == segment_index
    if not chosen.any():
        return np.zeros(0), np.zeros(0)
    corrected = correct_motion_on_peaks(peaks, locations, motion, recording)
    return locations[motion.direction][chosen], corrected[motion.direction][chosen]


def draw_raster(
    axes: Axes,
    times_s: np.ndarray,
    depths_um: np.ndarray,
    amplitudes: np.ndarray,
    depth_limits_um: tuple[float, float],
    size: float = 1.3,
) -> Any:
    """Scatter peaks over time (s) and depth (um), at most `MAX_PEAKS`, evenly picked; darker is larger.

    Returns the points, None without any.
    """
    points = None
    inside = (depths_um >= depth_limits_um[0]) & (depths_um <= depth_limits_um[1])
    times_s, depths_um, sizes = times_s[inside], depths_um[inside], np.abs(amplitudes[inside])
    if sizes.size > MAX_PEAKS:
        picked = np.linspace(0, sizes.size - 1, MAX_PEAKS).astype(int)
        times_s, depths_um, sizes = times_s[picked], depths_um[picked], sizes[picked]
    if sizes.size:
        # ranks rather than amplitudes, so that a few giant units do not bleach all others
        shade = 0.15 + 0.85 * np.argsort(np.argsort(sizes)) / sizes.size
        order = np.argsort(sizes)
        points = axes.scatter(
            times_s[order],
            depths_um[order],
            c=shade[order],
            s=size,
            cmap=style.RASTER_MAP,
            vmin=0,
            vmax=1,
            linewidths=0,
            rasterized=True,
        )
    axes.set_ylim(*depth_limits_um)
    axes.margins(x=0)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("depth (µm)")
    return points


def draw_displacement_lines(axes: Axes, motion: Motion, segment_index: int = 0) -> None:
    """Draw one line per spatial window, at the window's depth plus its displacement, on a raster.

    The raster's depth limits say where to draw the lines of a rigid motion.
    """
    displacement = motion.displacement[segment_index]
    depths = motion.spatial_bins_um
    if depths.size == 1:
        depths = np.linspace(*axes.get_ylim(), NUM_LINES_RIGID + 2)[1:-1]
        displacement = np.repeat(displacement, NUM_LINES_RIGID, axis=1)
    low, high = axes.get_ylim()
    inside = (depths > low) & (depths < high)
    times = motion.temporal_bins_s[segment_index]
    lines = axes.plot(times, displacement[:, inside] + depths[inside], color=style.STEADY, linewidth=0.9)
    if lines:
        lines[0].set_label("estimated motion")


def times_and_amplitudes(
    motion_info: dict[str, Any], recording: BaseRecording, segment_index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Give the times in s and the amplitudes of one segment's peaks."""
    peaks = motion_info["peaks"]
    peaks = peaks[peaks["segment_index"] == segment_index]
    times = recording.sample_index_to_time(peaks["sample_index"], segment_index=segment_index)
    return np.asarray(times), peaks["amplitude"]


def depth_limits(recording: BaseRecording) -> tuple[float, float]:
    """Give the range of the contacts' depths, in um, with a margin."""
    depths = recording.get_channel_locations()[:, 1]
    return float(depths.min() - MARGIN_UM), float(depths.max() + MARGIN_UM)
