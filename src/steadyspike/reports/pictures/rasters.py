"""Spikes over time and depth: all of them as a picture of a window, and many as dots to zoom into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.windows import moved_by, shown_times
from steadyspike.reports.pictures.spec import LINES, RASTER, Picture, axis, coarse, heading

if TYPE_CHECKING:
    from spikeinterface.core.motion import Motion

    from steadyspike.reports.spikes import Spikes, Timeline

COLUMNS, ROWS = 520, 160
SMOOTH_PIXELS = 0.7
BRIGHTEST_PERCENT, GAMMA = 99.3, 0.6
MOST_DOTS = 50_000
MOST_LINE_TIMES = 700
LINES_IN_WINDOW = 3
WHOLE_SHARE = 0.9
"""Of the probe, from which on a window is taken for all of it."""
BEFORE, AFTER = "As recorded, with the motion that was found", "Corrected: depth minus displacement"
NOT_FOLLOWED, AS_IT_IS = (
    "As recorded, with the estimate that was not followed",
    "As recorded; nothing was corrected",
)


def window_picture(
    key: str, spikes: Spikes, motion: Motion, timeline: Timeline, window_um: tuple[float, float]
) -> Picture:
    """Draw all spikes of a stretch of the probe before and after, with the motion over those as recorded.

    Where nothing was corrected there is one panel, and `motion` the estimate that was not followed.
    """
    if not spikes.were_corrected:
        return _uncorrected_picture(key, spikes, motion, timeline, window_um)
    span = timeline.limits_s
    drawn = [
        _image(spikes, depths, span, window_um, axes)
        for depths, axes in ((spikes.depths_um, ""), (spikes.corrected_um, "2"))
    ]
    low, high = window_um
    drawn += motion_lines(motion, timeline, np.linspace(low, high, LINES_IN_WINDOW + 2)[1:-1])
    side = dict(
        xaxis=axis(timeline.label, domain=[0.0, 0.485], range=list(span)),
        xaxis2=axis(timeline.label, domain=[0.515, 1.0], matches="x", anchor="y2"),
        yaxis=axis("depth (µm)", range=[low, high]),
        yaxis2=axis(matches="y", showticklabels=False, anchor="x2"),
        annotations=[heading(BEFORE, 0.0, 1.01), heading(AFTER, 0.515, 1.01)],
        showlegend=False,
    )
    narrow = dict(
        xaxis=axis(domain=[0.0, 1.0], range=list(span), showticklabels=False),
        xaxis2=axis(timeline.label, domain=[0.0, 1.0], matches="x", anchor="y2"),
        yaxis=axis("depth (µm)", domain=[0.54, 1.0], range=[low, high]),
        yaxis2=axis("depth (µm)", domain=[0.0, 0.46], matches="y", anchor="x2", showticklabels=True),
        annotations=[heading("As recorded, with the motion", 0.0, 1.01), heading("Corrected", 0.0, 0.465)],
    )
    caption = (
        f"{_every_one(spikes, window_um)} Lines: the motion that was found, at three depths. Where the correction is "
        "right, units that wandered as recorded are straight once corrected."
    )
    return Picture(key, _title(window_um), caption, drawn, side, height=400, narrow=narrow, narrow_height=560)


def _uncorrected_picture(
    key: str, spikes: Spikes, motion: Motion, timeline: Timeline, window_um: tuple[float, float]
) -> Picture:
    """Draw all spikes of a stretch of the probe, with an estimate over them if it is one of motion."""
    span, (low, high) = timeline.limits_s, window_um
    drawn = [_image(spikes, spikes.depths_um, span, window_um, "")]
    estimated = any(bool(np.any(part)) for part in motion.displacement)
    caption = _every_one(spikes, window_um)
    if estimated:
        drawn += motion_lines(motion, timeline, np.linspace(low, high, LINES_IN_WINDOW + 2)[1:-1])
        caption += " Lines: the estimate, at three depths; nothing was corrected by it."
    layout = dict(
        xaxis=axis(timeline.label, range=list(span)),
        yaxis=axis("depth (µm)", range=[low, high]),
        annotations=[heading(NOT_FOLLOWED if estimated else AS_IT_IS, 0.0, 1.01)],
        showlegend=False,
    )
    return Picture(key, _title(window_um), caption, drawn, layout, height=400)


def _title(window_um: tuple[float, float]) -> str:
    return f"Spikes at {window_um[0]:.0f} to {window_um[1]:.0f} µm"


def _every_one(spikes: Spikes, window_um: tuple[float, float]) -> str:
    low, high = window_um
    inside = int(np.count_nonzero((spikes.depths_um >= low) & (spikes.depths_um <= high)))
    return (
        f"Every one of {inside:,} spikes between {low:.0f} and {high:.0f} µm, over time and depth; stronger where "
        "there are more, and larger ones."
    )


def motion_lines(motion: Motion, timeline: Timeline, depths_um: np.ndarray) -> list[dict[str, Any]]:
    """Draw the displacement as lines at depths; segments are not joined."""
    lines = []
    for number, depth in enumerate(depths_um):
        times, moved = [], []
        for index in range(motion.num_segments):
            own = shown_times(motion, index, MOST_LINE_TIMES)
            rest = moved_by(motion, np.array([depth]), index, MOST_LINE_TIMES)[:, 0]
            times += [own + timeline.offsets_s[index], [np.nan]]
            moved += [depth + rest, [np.nan]]
        lines.append(
            dict(
                type="scatter",
                mode="lines",
                x=coarse(np.concatenate(times)),
                y=coarse(np.concatenate(moved)),
                line=dict(color="@accent", width=1.4),
                name="motion",
                showlegend=number == 0,
                hovertemplate="%{x:.1f} s, %{y:.1f} µm<extra></extra>",
            )
        )
    return lines


def _image(
    spikes: Spikes,
    depths_um: np.ndarray,
    span_s: tuple[float, float],
    window_um: tuple[float, float],
    axes: str,
) -> dict[str, Any]:
    from scipy.ndimage import gaussian_filter

    edges = (np.linspace(*window_um, ROWS + 1), np.linspace(*span_s, COLUMNS + 1))
    counted, _, _ = np.histogram2d(depths_um, spikes.times_s, edges, weights=0.25 + spikes.rank)
    smooth = gaussian_filter(counted, SMOOTH_PIXELS)
    lit = smooth[smooth > 0]
    full = float(np.percentile(lit, BRIGHTEST_PERCENT)) if lit.size else 1.0
    shade = np.clip(smooth / max(full, 1e-12), 0.0, 1.0) ** GAMMA
    steps = [(edge[1] - edge[0], edge[0]) for edge in edges]
    return dict(
        type="heatmap",
        z=np.rint(255 * shade).astype("uint8"),
        x0=steps[1][1] + steps[1][0] / 2,
        dx=steps[1][0],
        y0=steps[0][1] + steps[0][0] / 2,
        dy=steps[0][0],
        zmin=0,
        zmax=255,
        colorscale=RASTER,
        showscale=False,
        hoverinfo="skip",
        xaxis=f"x{axes}",
        yaxis=f"y{axes}",
    )


def explorer(
    spikes: Spikes,
    motion: Motion,
    timeline: Timeline,
    limits_um: tuple[float, float],
    windows_um: list[tuple[float, float]],
) -> Picture:
    """Draw spikes of the whole probe as dots, before and after, to be zoomed by hand or to one of the windows."""
    chosen = _chosen(len(spikes), MOST_DOTS)
    panels = [(spikes.depths_um, "")] + ([(spikes.corrected_um, "2")] if spikes.were_corrected else [])
    data = [
        dict(
            type="scattergl",
            mode="markers",
            x=coarse(spikes.times_s[chosen]),
            y=coarse(depths[chosen]),
            marker=dict(size=2.2, color=coarse(spikes.rank[chosen]), colorscale=[[0, "@faint"], [1, "@ink"]]),
            xaxis=f"x{axes}",
            yaxis=f"y{axes}",
            hovertemplate="%{x:.2f} s, %{y:.0f} µm<extra></extra>",
            showlegend=False,
        )
        for depths, axes in panels
    ]
    low, high = limits_um
    layout = dict(
        xaxis=axis(timeline.label, range=list(timeline.limits_s)),
        yaxis=axis("depth (µm)", range=[low, high]),
        annotations=[heading("As recorded", 0.0, 1.005)],
        showlegend=False,
        hovermode="closest",
    )
    if len(panels) > 1:
        data += motion_lines(motion, timeline, np.linspace(low, high, 9)[1:-1])
        layout |= dict(
            xaxis=axis(range=list(timeline.limits_s), showticklabels=False, anchor="y"),
            xaxis2=axis(timeline.label, matches="x", anchor="y2"),
            yaxis=axis("depth (µm)", domain=[0.54, 1.0], range=[low, high]),
            yaxis2=axis("depth (µm)", domain=[0.0, 0.46], matches="y", anchor="x2"),
            annotations=[heading("As recorded", 0.0, 1.005), heading("Corrected", 0.0, 0.465)],
        )
    drawn = "All" if chosen.size == spikes.num_found else f"{chosen.size:,}, chosen at random, of"
    together = "; both pictures move together" if len(panels) > 1 else ""
    caption = (
        f"{drawn} {spikes.num_found:,} spikes as dots; stronger ones are larger. Choose a stretch, or drag a rectangle "
        f"to look closer{together}. A double click goes back."
    )
    closer = closer_windows(windows_um, limits_um)
    views = [dict(label="whole probe")] + [
        dict(label=f"{bottom:.0f} to {top:.0f} µm", layout=dict(yaxis=dict(range=[bottom, top])))
        for bottom, top in closer
    ]
    title, height = "Every stretch, to zoom into", 680 if len(panels) > 1 else 400
    return Picture("explorer", title, caption, data, layout, height=height, views=views if closer else [])


def closer_windows(
    windows_um: list[tuple[float, float]], limits_um: tuple[float, float]
) -> list[tuple[float, float]]:
    """Give the windows that show less than the whole probe."""
    whole = limits_um[1] - limits_um[0]
    return [window for window in windows_um if window[1] - window[0] < WHOLE_SHARE * whole]


def _chosen(number: int, most: int) -> np.ndarray:
    """Choose so many of a number of spikes at random, in their order."""
    if number <= most:
        return np.arange(number)
    return np.sort(np.random.default_rng(0).choice(number, most, replace=False))


def colours_of_depths(number: int) -> list[str]:
    """Give a colour for each of a few lines."""
    return [LINES[index % len(LINES)] for index in range(number)]
