"""Maps of the estimated displacement, of what it explains and of its error, over time and depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure, SubFigure
    from spikeinterface.core.motion import Motion


def plot_motion_map(motion: Motion, *, truth: Motion | None = None, segment_index: int = 0) -> Figure:
    """Draw the displacement over time and depth; beside it, where known, truth and difference, which has its own scale.

    Parameters
    ----------
    motion : Motion
        The estimate.
    truth : Motion or None, default: None
        The true motion on the same bins.
    segment_index : int, default: 0
        Which segment to draw.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    panels = {"Estimated motion": motion.displacement[segment_index]}
    if truth is not None:
        difference = motion.displacement[segment_index] - truth.displacement[segment_index]
        # a displacement is defined up to a constant, so the two are first laid over each other
        offset = np.median(difference)
        panels = {
            "Estimated motion": motion.displacement[segment_index] - offset,
            "True motion": truth.displacement[segment_index],
            "Estimate - truth": difference - offset,
        }
    with style.settings():
        figure = style.new_figure(3.4 + 2.9 * len(panels), 3.6)
        if truth is None:
            draw_panels(figure, motion, panels, _largest(panels), segment_index)
        else:
            # the difference is small where the estimate is good: on their scale nothing would be seen of it
            rest = {"Estimate - truth": panels.pop("Estimate - truth")}
            both, apart = figure.subfigures(1, 2, width_ratios=[2.0, 1.25])
            draw_panels(both, motion, panels, _largest(panels), segment_index)
            draw_panels(apart, motion, rest, _largest(rest), segment_index, label="difference (µm)")
    return figure


def _largest(panels: dict[str, np.ndarray]) -> float:
    return max(1e-3, max(float(np.abs(panel).max(initial=0.0)) for panel in panels.values()))


def draw_panels(
    figure: Figure | SubFigure,
    motion: Motion,
    panels: dict[str, np.ndarray],
    limit: float,
    segment_index: int = 0,
    label: str = "displacement (µm)",
) -> None:
    """Draw displacements on the bins of a motion side by side, on one scale from minus `limit` on."""
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, displacement) in zip(all_axes, panels.items(), strict=True):
        image = draw_map(axes, motion, displacement, limit, segment_index)
        axes.set_title(title)
    for axes in all_axes[1:]:
        style.quiet_second_axis(axes)
    figure.colorbar(image, ax=all_axes, label=label, pad=0.02)


def plot_explained_map(motion: Motion, explained: np.ndarray, *, segment_index: int = 0) -> Figure:
    """Draw how much of the spikes each estimate explains, over time and depth.

    Parameters
    ----------
    motion : Motion
        The estimate; gives the bins.
    explained : ndarray, shape (num_times, num_windows)
        ``extra["explained"]`` of an estimator: the generalized coefficient of determination (pseudo-R2) of the bin's
        spikes, 0 to 1.
    segment_index : int, default: 0
        Which segment to draw.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    with style.settings():
        figure = style.new_figure(6.3, 3.6)
        axes = figure.subplots()
        image = draw_map(
            axes, motion, explained, 1.0, segment_index, colours=style.evidence_map(), lowest=0.0
        )
        axes.set_title("Evidence: how far the motion explains the spikes")
        figure.colorbar(image, ax=axes, label="explained (pseudo-R²)", pad=0.02)
    return figure


def draw_map(
    axes: Axes,
    motion: Motion,
    values: np.ndarray,
    limit: float,
    segment_index: int = 0,
    *,
    colours: Any = style.MOTION_MAP,
    lowest: float | None = None,
) -> ScalarMappable:
    """Draw values (num_times, num_windows) on the bins of a motion, from `lowest` (None: minus `limit`) to `limit`."""
    times, depths = motion.temporal_bins_s[segment_index], motion.spatial_bins_um
    image = axes.pcolormesh(
        _edges(times),
        _edges(depths),
        np.asarray(values).T,
        cmap=colours,
        vmin=-limit if lowest is None else lowest,
        vmax=limit,
        rasterized=True,
    )
    axes.set_xlabel("time (s)")
    axes.set_ylabel("depth (µm)")
    if depths.size == 1:
        axes.set_yticks([])
        axes.set_ylabel("whole probe")
    return image


def _edges(centres: np.ndarray) -> np.ndarray:
    """Give the edges of bins from their centres; one bin gets a width of 1."""
    if centres.size == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
