"""Peaks over time and depth, before and after the correction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

MAX_PEAKS = 60_000
NUM_LINES_RIGID = 5
MARGIN_UM = 20.0


def plot_raster(motion_info: dict[str, Any], recording: BaseRecording, *, segment_index: int = 0) -> Figure:
    """Draw the depth of every peak over time, before and after the correction, in two panels.

    Darker peaks are larger. Over the peaks as seen lie lines that follow the estimated displacement; after
    the correction these would be straight.

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
    with style.settings():
        figure = style.new_figure(11, 4.6)
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        draw_raster(left, times, before, amplitudes, depth_limits(recording))
        draw_displacement_lines(left, motion_info["motion"], segment_index)
        left.set_title("Peaks as recorded, with the estimated motion")
        draw_raster(right, times, after, amplitudes, depth_limits(recording))
        right.set_title("Peaks after the correction")
        style.quiet_second_axis(right)
    return figure


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
) -> None:
    """Scatter peaks over time (s) and depth (um), at most `MAX_PEAKS`, evenly picked; darker is larger."""
    inside = (depths_um >= depth_limits_um[0]) & (depths_um <= depth_limits_um[1])
    times_s, depths_um, sizes = times_s[inside], depths_um[inside], np.abs(amplitudes[inside])
    if sizes.size > MAX_PEAKS:
        picked = np.linspace(0, sizes.size - 1, MAX_PEAKS).astype(int)
        times_s, depths_um, sizes = times_s[picked], depths_um[picked], sizes[picked]
    if sizes.size:
        # ranks rather than amplitudes, so that a few giant units do not bleach all others
        shade = 0.15 + 0.85 * np.argsort(np.argsort(sizes)) / sizes.size
        order = np.argsort(sizes)
        axes.scatter(
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
    axes.plot(times, displacement[:, inside] + depths[inside], color=style.STEADY, linewidth=1.8)


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
