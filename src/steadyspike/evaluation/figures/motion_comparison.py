"""Several motions of one recording over each other, and how far they are apart."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, cycle
from typing import TYPE_CHECKING

import numpy as np

from steadyspike.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from spikeinterface.core.motion import Motion

MAX_DEPTHS = 3


def plot_motion_comparison(
    motions: Mapping[str, Motion], *, truth: str | None = None, segment_index: int = 0
) -> Figure:
    """Draw several motions over time at a few depths, and the mean difference of each two.

    A displacement is defined up to a constant, so at each depth every motion is drawn around its own median, and
    differences are those of `compare_motions` with ``offset="per_depth"``, on the finer bins of the two.

    Parameters
    ----------
    motions : mapping of str to Motion
        At least two, under the names to show; of one recording, on any bins.
    truth : str or None, default: None
        The one of them that is known to be true; it is drawn below the others, and apart from them.
    segment_index : int, default: 0
        Which segment to draw.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are fewer than two motions, no such name or segment, or motions that don't fit together.
    """
    from steadyspike.motion import restrict_motion

    if len(motions) < 2:
        raise ValueError(f"motions holds {len(motions)}; allowed: at least two to compare")
    if truth is not None and truth not in motions:
        raise ValueError(f"truth={truth!r} is not possible here; allowed: {', '.join(map(repr, motions))}")
    shown = {name: restrict_motion(motion, segment_index=segment_index) for name, motion in motions.items()}
    depths = _depths_to_show(shown)
    others = cycle(style.MOTIONS)
    colours = {name: style.TRUTH if name == truth else next(others) for name in shown}
    with style.settings():
        figure = style.new_figure(11.5, 1.6 + 1.5 * max(2, depths.size))
        left, right = figure.subfigures(1, 2, width_ratios=[2.1, 1], wspace=0.03)
        all_axes = left.subplots(depths.size, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, depth in zip(all_axes, depths[::-1], strict=True):
            _draw_at_depth(axes, shown, depth, colours, truth)
            axes.set_title("whole probe" if depths.size == 1 else f"at {depth:.0f} µm", fontweight="normal")
        all_axes[-1].set_xlabel("time (s)")
        left.supylabel("displacement (µm), each around its median", fontsize=10, color=style.INK)
        handles, names = all_axes[0].get_legend_handles_labels()
        left.legend(
            handles[::-1], names[::-1], loc="outside upper left", ncols=min(4, len(names)), fontsize=10
        )
        _draw_differences(right.subplots(), shown)
    return figure


def _depths_to_show(motions: Mapping[str, Motion]) -> np.ndarray:
    """Give up to `MAX_DEPTHS` depths over the range that all non-rigid motions cover."""
    windows = [motion.spatial_bins_um for motion in motions.values() if motion.spatial_bins_um.size > 1]
    if not windows:
        return next(iter(motions.values())).spatial_bins_um
    low, high = max(depths[0] for depths in windows), min(depths[-1] for depths in windows)
    return np.linspace(low, high, MAX_DEPTHS) if low < high else np.array([windows[0].mean()])


def _draw_at_depth(
    axes: Axes, motions: Mapping[str, Motion], depth: float, colours: dict[str, str], truth: str | None
) -> None:
    from steadyspike.motion import resample_motion

    # the first ones on top
    for name, motion in list(motions.items())[::-1]:
        values = resample_motion(motion, spatial_bins_um=np.array([depth])).displacement[0][:, 0]
        is_truth = name == truth
        axes.plot(
            motion.temporal_bins_s[0],
            values - np.median(values),
            color=colours[name],
            linewidth=3.5 if is_truth else 1.3,
            alpha=0.45 if is_truth else 0.95,
            zorder=1 if is_truth else 2,
            label=name,
        )
    axes.margins(x=0)


def _draw_differences(axes: Axes, motions: Mapping[str, Motion]) -> None:
    from steadyspike.motion import compare_motions

    names = list(motions)
    table = np.zeros((len(names), len(names)))
    for a, b in combinations(range(len(names)), 2):
        # judged on the finer bins of the two, so that the order of the names does not matter
        coarse, fine = sorted(
            (motions[names[a]], motions[names[b]]), key=lambda each: each.displacement[0].size
        )
        table[a, b] = table[b, a] = compare_motions(fine, coarse).mean_um
    shown = np.where(np.eye(len(names), dtype=bool), np.nan, table)
    axes.imshow(shown, cmap="Blues", vmin=0, vmax=max(1e-6, float(table.max()) * 1.6))
    for row, column in zip(*np.nonzero(~np.eye(len(names), dtype=bool)), strict=True):
        axes.text(column, row, f"{table[row, column]:.1f}", ha="center", va="center")
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("Mean |difference| (µm)")
