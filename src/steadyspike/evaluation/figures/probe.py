"""Peaks on the probe, before and after the correction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures import style
from steadyspike.evaluation.figures.raster import depth_limits, depths_before_after, times_and_amplitudes

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from spikeinterface import BaseRecording

MAX_PEAKS = 40_000


def plot_peaks_on_probe(
    motion_info: dict[str, Any], recording: BaseRecording, *, segment_index: int = 0
) -> Figure:
    """Draw where each peak lies on the probe, coloured by its time, before and after the correction.

    A unit that drifts is a smear that changes colour along the probe; corrected, its colours lie on top of
    each other.

    Parameters
    ----------
    motion_info : dict
        As `spikeinterface.full.correct_motion` gives it with ``output_motion_info=True``.
    recording : BaseRecording
        The recording in which the peaks were found.
    segment_index : int, default: 0
        Which segment to draw.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    peaks = motion_info["peaks"]
    chosen = peaks["segment_index"] == segment_index
    across = motion_info["peak_locations"]["x"][chosen]
    times, _ = times_and_amplitudes(motion_info, recording, segment_index)
    depths = depths_before_after(motion_info, recording, segment_index)
    # drawn in random order: in order of time, the last peaks would cover all others
    order = np.random.default_rng(0).permutation(times.size)[:MAX_PEAKS]
    contacts = recording.get_channel_locations()
    with style.settings():
        figure = style.new_figure(7.2, 8)
        all_axes = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, depth, title in zip(all_axes, depths, ("As recorded", "Corrected"), strict=True):
            axes.scatter(
                *contacts[:, :2].T, marker="s", s=14, facecolor="none", edgecolor=style.QUIET, linewidth=0.6
            )
            points = axes.scatter(
                across[order],
                depth[order],
                c=times[order],
                s=1.5,
                cmap=style.TIME_MAP,
                linewidths=0,
                rasterized=True,
            )
            axes.set_xlim(contacts[:, 0].min() - 40, contacts[:, 0].max() + 40)
            axes.set_ylim(*depth_limits(recording))
            axes.set_xlabel("across the probe (µm)")
            axes.set_title(title)
        all_axes[0].set_ylabel("depth (µm)")
        style.quiet_second_axis(all_axes[1])
        figure.colorbar(points, ax=all_axes, label="time (s)", pad=0.02)
    return figure
