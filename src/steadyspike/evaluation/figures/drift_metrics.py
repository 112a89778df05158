"""How a sorting depends on the displacement, unit by unit and as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from steadyspike.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from steadyspike.evaluation import DriftMetrics

MEASURE_NAMES = {"xi": "Chatterjee's ξ", "codec": "codec T", "codec_given_time": "codec T, given time"}


def plot_drift_metrics(metrics: DriftMetrics | Mapping[str, DriftMetrics], *, measure: str = "xi") -> Figure:
    """Draw the dependence of each unit on the displacement, and of the population over time.

    Above, one dot per unit at its depth, filled where the unit depends on the displacement significantly; below,
    for each sorting the first principal component of the population beside the displacement.

    Parameters
    ----------
    metrics : DriftMetrics or mapping of str to DriftMetrics
        Of one sorting, or of several under the names to show, such as "before" and "after".
    measure : {"xi", "codec", "codec_given_time"}, default: "xi"
        Which measure to draw.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If `measure` is none of the three, or there is nothing to draw.
    """
    if measure not in MEASURE_NAMES:
        raise ValueError(f"measure={measure!r} is not possible here; allowed: {', '.join(MEASURE_NAMES)}")
    sets = metrics if isinstance(metrics, Mapping) else {"": metrics}
    if not sets:
        raise ValueError("metrics is empty; allowed: at least one DriftMetrics")
    signals = [
        signal
        for signal in ("amplitude", "rate")
        if any(f"{signal}_{measure}" in each.units for each in sets.values())
    ]
    # the last one is what was reached, those before it what it is compared with
    others = ([style.QUIET, *style.OTHER_STEPS] * len(sets))[: len(sets) - 1]
    colours = dict(zip(sets, [*others, style.STEADY], strict=True))
    with style.settings():
        figure = style.new_figure(10.5, 3.6 + 1.7 * len(sets))
        above, below = figure.subfigures(2, 1, height_ratios=[3.4, 1.7 * len(sets)], hspace=0.03)
        all_axes = above.subplots(1, len(signals), sharey=True, squeeze=False)[0]
        for axes, signal in zip(all_axes, signals, strict=True):
            _draw_units(axes, sets, signal, measure, colours)
            axes.set_title(f"{'Amplitude' if signal == 'amplitude' else 'Firing rate'} and displacement")
        for axes in all_axes[1:]:
            style.quiet_second_axis(axes)
        _draw_population(
            below.subplots(len(sets), 1, sharex=True, squeeze=False)[:, 0], sets, measure, colours
        )
    return figure


def _draw_units(
    axes: Axes, sets: Mapping[str, DriftMetrics], signal: str, measure: str, colours: dict[str, str]
) -> None:
    column = f"{signal}_{measure}"
    for name, each in sets.items():
        if column not in each.units:
            continue
        values, depths = (each.units[one].to_numpy(dtype=float) for one in (column, "depth_um"))
        if np.isnan(depths).all():
            depths = np.arange(depths.size, dtype=float)
            axes.set_ylabel("unit")
        significant = each.units[f"{column}_qvalue"].to_numpy(dtype=float) <= each.parameters["fdr"]
        known = np.isfinite(values)
        label = f"{significant.sum()} of {known.sum()} units significant"
        faces = np.where(significant[known], colours[name], "white")
        axes.scatter(
            values[known], depths[known], s=26, c=faces, edgecolors=colours[name], linewidths=1.1, alpha=0.9
        )
        axes.scatter([], [], s=26, c=colours[name], label=f"{name}: {label}" if name else label)
    axes.axvline(0, color=style.INK, linewidth=0.8, zorder=0)
    axes.set_xlabel(MEASURE_NAMES[measure])
    if not axes.get_ylabel():
        axes.set_ylabel("depth (µm)")
    axes.margins(x=0.08)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.1), borderaxespad=0, fontsize=9, handletextpad=0.2)


def _draw_population(
    all_axes: np.ndarray, sets: Mapping[str, DriftMetrics], measure: str, colours: dict[str, str]
) -> None:
    for axes, (name, each) in zip(all_axes, sets.items(), strict=True):
        value, p = each.recording.set_index(["signal", "measure"])[["value", "pvalue"]].loc[
            ("population", measure)
        ]
        segment, bin_s = each.series["segment_index"].to_numpy(), each.parameters["bin_s"]
        several = segment.size > 0 and segment[-1] > 0
        times = (np.arange(segment.size) + 0.5) * bin_s if several else each.series["time_s"].to_numpy()
        for border in np.flatnonzero(np.diff(segment)):
            axes.axvline((border + 1) * bin_s, color=style.INK, linewidth=0.8, linestyle=":")
        moved, population = (
            each.series[one].to_numpy(dtype=float) for one in ("displacement_um", "population")
        )
        axes.plot(
            times, _standardized(moved), color=style.MOTIONS[1], linewidth=3, alpha=0.6, label="displacement"
        )
        axes.plot(times, _standardized(population), color=colours[name], linewidth=1.1, label="population")
        title = f"{name}: population" if name else "Population"
        judged = "does not change" if np.isnan(value) else f"{value:.2f}, p = {p:.2g}"
        axes.set_title(f"{title} and displacement, {MEASURE_NAMES[measure]} {judged}")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.margins(x=0)
    all_axes[-1].set_xlabel("time, one segment after the other (s)" if several else "time (s)")
    all_axes[0].legend(loc="upper right", ncols=2, fontsize=9, bbox_to_anchor=(1, 1.35))


def _standardized(series: np.ndarray) -> np.ndarray:
    spread = np.nanstd(series) if np.isfinite(series).any() else 0.0
    return (series - np.nanmean(series)) / spread if spread > 0 else np.zeros(series.size)
