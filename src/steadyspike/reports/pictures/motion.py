"""The motion with its standard deviation, the evidence for it, and the numbers that decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures.trust import FULL_NATS
from steadyspike.motion.trust import CLEAR_ERRORS, percent
from steadyspike.reports.pictures.rasters import colours_of_depths
from steadyspike.reports.pictures.spec import (
    EVIDENCE,
    FOR_OR_AGAINST,
    SIGNED,
    Picture,
    axis,
    coarse,
    colour_bar,
    heading,
)

if TYPE_CHECKING:
    from spikeinterface.core.motion import Motion

    from steadyspike.motion.trust import MotionTrust
    from steadyspike.reports.spikes import Timeline

MOST_COLUMNS = 900
MOST_DEPTHS = 5
SMALLEST_RANGE_UM = 2.0
LEAST_GAIN, LEAST_PERCENT = 0.02, 1.0
"""Half width of the axis of gains (nats per spike), and width of that of losses (%), at least."""


def motion_picture(motion: Motion, deviation_um: np.ndarray | None, timeline: Timeline) -> Picture:
    """Draw the displacement over time at a few depths with twice its standard deviation, and as a map."""
    depths = motion.spatial_bins_um
    shown = np.unique(np.linspace(0, depths.size - 1, min(depths.size, MOST_DEPTHS)).astype(int))
    times, moved = laid_out(motion, timeline, np.concatenate(motion.displacement))
    moved = moved - np.nanmedian(moved, axis=0)
    deviation = None if deviation_um is None else laid_out(motion, timeline, deviation_um)[1]
    data: list[dict[str, Any]] = []
    for colour, index in zip(colours_of_depths(shown.size), shown, strict=True):
        sd = None if deviation is None else deviation[:, index]
        name = "whole probe" if depths.size == 1 else f"{depths[index]:.0f} µm"
        data += _line(times, moved[:, index], sd, colour, name)
    limit = max(SMALLEST_RANGE_UM, float(np.nanpercentile(np.abs(moved), 99.5)))
    layout: dict[str, Any] = dict(
        xaxis=axis(timeline.label, range=list(timeline.limits_s)),
        yaxis=axis("displacement (µm)", zeroline=True),
        legend=dict(orientation="h", x=0, y=1.0, yanchor="bottom"),
        hovermode="closest",
    )
    band = "The band is ± 2 standard deviations. " if deviation is not None else "No deviation is kept here. "
    bins = f"{sum(map(len, motion.temporal_bins_s)):,} time bins"
    caption = (
        f"Displacement relative to its median, at {shown.size} of {depths.size} depths; {bins}. {band}"
        "Positive is towards larger depths."
    )
    height = 340
    if depths.size > 1 and np.nanmax(np.abs(moved)) > 0:
        data.append(
            _map(times, depths, moved, SIGNED, (-limit, limit), "µm", dict(len=0.46, y=0.0, yanchor="bottom"))
        )
        layout |= dict(
            xaxis=axis(range=list(timeline.limits_s), anchor="y", showticklabels=False),
            xaxis2=axis(timeline.label, matches="x", anchor="y2"),
            yaxis=axis("displacement (µm)", domain=[0.56, 1.0], zeroline=True),
            yaxis2=axis("depth (µm)", domain=[0.0, 0.48], anchor="x2"),
        )
        caption += " Below, over all depths."
        height = 560
    return Picture("motion", "Motion", caption, data, layout, height=height)


def evidence_picture(
    motion: Motion, trust: MotionTrust | None, explained: np.ndarray | None, timeline: Timeline
) -> Picture | None:
    """Draw where the spikes speak for the motion: held-out ones if there is a verdict."""
    nats = trust.evidence if trust is not None else []
    values = np.concatenate(nats) if nats else explained
    if values is None or len(values) != sum(map(len, motion.temporal_bins_s)) or values.ndim != 2:
        return None
    times, values = laid_out(motion, timeline, values)
    depths = motion.spatial_bins_um
    if values.shape[1] != depths.size:
        return None
    if nats:
        limit = max(float(np.nanpercentile(np.abs(values), 95)), FULL_NATS)
        drawn = _map(times, depths, values, FOR_OR_AGAINST, (-limit, limit), "nats", {})
        title = "Where held-out spikes speak for the motion"
        caption = (
            "What the held-out spikes of each time bin and window say for the motion (green) or against it (orange), "
            "in nats of likelihood; where there is no colour, they say nothing."
        )
    else:
        drawn = _map(times, depths, values, EVIDENCE, (0.0, 1.0), "pseudo-R²", {})
        title = "Spikes that support it"
        caption = (
            "How much of the places of the spikes the motion explains, in each time bin and window (generalized R²). "
            "Blue: spikes support the motion there. Orange: hardly; there it is carried by its neighbours."
        )
    drawn |= dict(xaxis="x", yaxis="y")
    layout = dict(
        xaxis=axis(timeline.label, range=list(timeline.limits_s)),
        yaxis=axis("depth (µm)" if depths.size > 1 else "whole probe", showticklabels=depths.size > 1),
    )
    height = 300 if depths.size > 1 else 200
    return Picture("evidence", title, caption, [drawn], layout, height=height)


def gain_picture(trust: MotionTrust) -> Picture:
    """Draw what held-out spikes gain and what waveforms lose, with and without the correction."""
    names = ["the motion", "its mean over depth"]
    gains = np.array([trust.gain, trust.rigid_gain])
    errors = CLEAR_ERRORS * np.array([trust.gain_error, trust.rigid_gain_error])
    losses = np.array([trust.loss_without, trust.loss_with, trust.rigid_loss_with])
    known = np.where(np.isfinite(losses), 100.0 * losses, 0.0)
    data = [
        dict(
            type="bar",
            orientation="h",
            x=[float(gain) for gain in np.where(np.isfinite(gains), gains, 0.0)],
            y=names,
            error_x=dict(array=[float(e) if np.isfinite(e) else 0.0 for e in errors], color="@ink"),
            marker=dict(color=["@accent", "@quiet"]),
            hovertemplate="%{x:.4f} nats per spike<extra></extra>",
        ),
        dict(
            type="bar",
            orientation="h",
            x=[float(loss) for loss in known],
            y=["left as it is", "corrected", "corrected rigidly"],
            text=[percent(share) for share in losses],
            textposition="auto",
            marker=dict(color=["@high", "@accent", "@quiet"]),
            xaxis="x2",
            yaxis="y2",
            hovertemplate="%{x:.3g} %<extra></extra>",
        ),
    ]
    # what is next to nothing shall look so
    reach = float(np.nanmax(np.abs([gains + errors, gains - errors]), initial=0.0))
    gained = dict(range=[-LEAST_GAIN, LEAST_GAIN]) if reach < LEAST_GAIN else {}
    most = max(1.1 * float(known.max()), LEAST_PERCENT)
    titles = ("Gain of held-out spikes", "Waveform energy lost")
    layout = dict(
        xaxis=axis(
            f"nats per spike, ± {CLEAR_ERRORS:g} standard errors", domain=[0.0, 0.42], zeroline=True, **gained
        ),
        yaxis=axis(autorange="reversed", automargin=True),
        xaxis2=axis("% of a spike's energy", domain=[0.62, 1.0], anchor="y2", range=[0.0, most]),
        yaxis2=axis(autorange="reversed", anchor="x2", automargin=True),
        annotations=[heading(titles[0], 0.0, 1.02), heading(titles[1], 0.62, 1.02)],
        showlegend=False,
    )
    narrow = dict(
        xaxis=axis(f"nats per spike, ± {CLEAR_ERRORS:g} s.e.", domain=[0.0, 1.0], anchor="y", zeroline=True),
        yaxis=axis(autorange="reversed", automargin=True, domain=[0.66, 1.0]),
        xaxis2=axis("% of a spike's energy", domain=[0.0, 1.0], anchor="y2"),
        yaxis2=axis(autorange="reversed", anchor="x2", automargin=True, domain=[0.0, 0.38]),
        annotations=[heading(titles[0], 0.0, 1.02), heading(titles[1], 0.0, 0.39)],
    )
    caption = (
        "Gain: how much likelier spikes become that were left out when the densities were made, once the motion is "
        "taken out; clear of zero means that the motion is real. Energy: the share of a spike's energy that drift "
        "blurs, and what a correction leaves of it, predicted from the contacts."
    )
    picture = Picture(
        "gain", "What the motion explains, and what drift costs", caption, data, layout, height=230
    )
    picture.narrow, picture.narrow_height = narrow, 400
    return picture


def laid_out(motion: Motion, timeline: Timeline, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put values (num_times, num_windows) on the time axis: averaged where they are many, a gap between segments."""
    each = max(1, MOST_COLUMNS // motion.num_segments)
    times, rows, first = [], [], 0
    for index, own in enumerate(motion.temporal_bins_s):
        part = np.asarray(values[first : first + own.size], dtype="float64")
        first += own.size
        starts = np.unique(np.linspace(0, own.size, min(own.size, each) + 1).astype("int64"))[:-1]
        number: np.ndarray = np.diff(np.append(starts, own.size))
        times.append(np.add.reduceat(own, starts) / number + timeline.offsets_s[index])
        rows.append(np.add.reduceat(part, starts, axis=0) / number[:, np.newaxis])
        if index + 1 < motion.num_segments:
            times.append([timeline.ends_s[index]])
            rows.append(np.full((1, part.shape[1]), np.nan))
    return np.concatenate(times), np.concatenate(rows)


def _line(
    times: np.ndarray, moved: np.ndarray, deviation: np.ndarray | None, colour: str, name: str
) -> list[dict[str, Any]]:
    line = dict(
        type="scatter",
        mode="lines",
        x=coarse(times),
        y=coarse(moved),
        line=dict(color=colour, width=1.6),
        name=name,
        legendgroup=name,
        hovertemplate=f"%{{x:.1f}} s: %{{y:.2f}} µm<extra>{name}</extra>",
    )
    if deviation is None or not np.isfinite(deviation).any():
        return [line]
    known = np.isfinite(deviation) & np.isfinite(moved)
    where, band = times[known], 2 * deviation[known]
    outline = np.concatenate([moved[known] + band, (moved[known] - band)[::-1]])
    filled = dict(
        type="scatter",
        mode="lines",
        x=coarse(np.concatenate([where, where[::-1]])),
        y=coarse(outline),
        fill="toself",
        fillcolor=colour,
        opacity=0.22,
        line=dict(width=0),
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
    )
    return [filled, line]


def _map(
    times: np.ndarray,
    depths: np.ndarray,
    values: np.ndarray,
    colours: Any,
    limits: tuple[float, float],
    unit: str,
    bar: dict[str, Any],
) -> dict[str, Any]:
    return dict(
        type="heatmap",
        x=coarse(times),
        y=coarse(depths),
        z=coarse(values.T),
        zmin=limits[0],
        zmax=limits[1],
        colorscale=colours,
        colorbar=colour_bar(unit, **bar),
        xaxis="x2",
        yaxis="y2",
        hovertemplate=f"%{{x:.1f}} s, %{{y:.0f}} µm: %{{z:.2f}} {unit}<extra></extra>",
    )
