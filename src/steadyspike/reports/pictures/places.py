"""Spikes where they are: on the probe, and in three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.reports.pictures.rasters import closer_windows
from steadyspike.reports.pictures.spec import SEQUENTIAL, Picture, axis, coarse, colour_bar, heading

if TYPE_CHECKING:
    from steadyspike.reports.measures import Probe
    from steadyspike.reports.spikes import Spikes, Timeline

MOST_ON_PROBE, MOST_IN_SPACE = 16_000, 14_000
MARGIN_UM = 30.0


def probe_picture(
    spikes: Spikes,
    probe: Probe,
    timeline: Timeline,
    windows_um: list[tuple[float, float]],
    limits_um: tuple[float, float],
) -> Picture:
    """Draw spikes on the contacts, coloured by time, before and after: corrected, the colours lie on each other."""
    chosen = _of_windows(spikes, windows_um, MOST_ON_PROBE, shuffled=True)
    data: list[dict[str, Any]] = []
    panels = [(spikes.depths_um, "")] + ([(spikes.corrected_um, "2")] if spikes.were_corrected else [])
    for depths, axes in panels:
        data += _contacts(probe, axes)
        data.append(
            dict(
                type="scattergl",
                mode="markers",
                x=coarse(spikes.across_um[chosen]),
                y=coarse(depths[chosen]),
                marker=dict(
                    size=2.6,
                    opacity=0.75,
                    color=coarse(spikes.times_s[chosen]),
                    colorscale=SEQUENTIAL,
                    showscale=not axes,
                    colorbar=colour_bar(timeline.label),
                ),
                xaxis=f"x{axes}",
                yaxis=f"y{axes}",
                showlegend=False,
                hovertemplate="x %{x:.0f}, depth %{y:.0f} µm<extra></extra>",
            )
        )
    left, right = probe.across_um.min() - MARGIN_UM, probe.across_um.max() + MARGIN_UM
    bottom, top = windows_um[0]
    layout = dict(
        xaxis=axis("across the probe (µm)", range=[left, right]),
        yaxis=axis("depth (µm)", range=[bottom, top]),
        annotations=[heading("As recorded", 0.0, 1.005)],
        legend=dict(orientation="h", x=0, y=-0.16, yanchor="top"),
        hovermode="closest",
    )
    caption = (
        f"{chosen.size:,} spikes where they were localized, coloured by their time, in random order. A unit that "
        "drifts is a smear that changes colour along the probe"
    )
    if len(panels) > 1:
        caption += "; corrected, its colours lie on top of each other"
        layout |= dict(
            xaxis=axis("across the probe (µm)", domain=[0.0, 0.48], range=[left, right]),
            xaxis2=axis("across the probe (µm)", domain=[0.52, 1.0], matches="x", anchor="y2"),
            yaxis2=axis(matches="y", showticklabels=False, anchor="x2"),
            annotations=[heading("As recorded", 0.0, 1.005), heading("Corrected", 0.52, 1.005)],
        )
    caption += "."
    views = [
        dict(label=f"{low:.0f} to {high:.0f} µm", layout=dict(yaxis=dict(range=[low, high])))
        for low, high in windows_um
    ]
    if closer_windows(windows_um, limits_um):
        views.append(dict(label="whole probe", layout=dict(yaxis=dict(range=list(limits_um)))))
    shown = views if len(views) > 1 else []
    return Picture("probe", "Spikes on the probe", caption, data, layout, height=560, views=shown)


def _contacts(probe: Probe, axes: str) -> list[dict[str, Any]]:
    kinds = {
        "contacts": (~probe.bad, dict(symbol="square-open", size=7, color="@faint")),
        "bad channels": (probe.bad, dict(symbol="x", size=8, color="@high")),
    }
    return [
        dict(
            type="scatter",
            mode="markers",
            x=coarse(probe.across_um[these]),
            y=coarse(probe.depths_um[these]),
            text=[str(name) for name in probe.channel_ids[these]],
            marker=marker,
            name=name,
            xaxis=f"x{axes}",
            yaxis=f"y{axes}",
            showlegend=not axes,
            hovertemplate="%{text}<extra></extra>",
        )
        for name, (these, marker) in kinds.items()
        if these.any()
    ]


def space_picture(spikes: Spikes, timeline: Timeline, windows_um: list[tuple[float, float]]) -> Picture:
    """Draw localized spikes in a space of place across, depth, and time or amplitude."""
    window = windows_um[0]
    chosen = _of_windows(spikes, [window], MOST_IN_SPACE, shuffled=False)
    across, sizes = spikes.across_um[chosen], spikes.amplitudes[chosen]
    times = spikes.times_s[chosen]
    span = np.percentile(across, [0.5, 99.5]) if chosen.size else np.array([0.0, 1.0])
    largest = float(np.percentile(sizes, 99.5)) if chosen.size else 1.0
    colour = np.log10(np.maximum(sizes, 1e-12))
    shown = dict(cmin=float(np.percentile(colour, 2)), cmax=float(np.percentile(colour, 99.5)))
    kinds = [
        ("corrected, over time", spikes.corrected_um, times, colour, shown),
        ("as recorded, over time", spikes.depths_um, times, colour, shown),
        ("corrected, over amplitude", spikes.corrected_um, sizes, times, {}),
        ("as recorded, over amplitude", spikes.depths_um, sizes, times, {}),
    ]
    seconds = [timeline.label, timeline.label, "amplitude", "amplitude"]
    ranges = [list(timeline.limits_s)] * 2 + [[0.0, largest]] * 2
    if not spikes.were_corrected:
        kinds, seconds, ranges = kinds[1::2], seconds[1::2], ranges[1::2]
    data = [
        dict(
            type="scatter3d",
            mode="markers",
            x=coarse(across),
            y=coarse(second),
            z=coarse(depths[chosen]),
            marker=dict(size=1.7, opacity=0.8, color=coarse(paint), colorscale=SEQUENTIAL, **scale),
            visible=number == 0,
            showlegend=False,
            hovertemplate="x %{x:.0f} µm, depth %{z:.0f} µm<extra></extra>",
        )
        for number, (_, depths, second, paint, scale) in enumerate(kinds)
    ]
    views = [
        dict(
            label=label,
            visible=[other == number for other in range(len(kinds))],
            layout=dict(scene=dict(yaxis=axis(seconds[number], range=ranges[number]))),
        )
        for number, (label, *_) in enumerate(kinds)
    ]
    scene = dict(
        xaxis=axis("across (µm)", range=[float(span[0]), float(span[1])]),
        yaxis=axis(seconds[0], range=ranges[0]),
        zaxis=axis("depth (µm)", range=list(window)),
        aspectmode="manual",
        aspectratio=dict(x=0.7, y=1.5, z=1.0),
        camera=dict(eye=dict(x=1.65, y=-1.45, z=0.75), center=dict(x=0, y=0, z=-0.12)),
    )
    caption = (
        f"{chosen.size:,} spikes between {window[0]:.0f} and {window[1]:.0f} µm. Drag to turn. Over time a unit at "
        "rest is a straight thread, coloured by amplitude; over amplitude it is a cloud, coloured by time."
    )
    layout = dict(scene=scene, margin=dict(l=0, r=0, t=0, b=0))
    return Picture(
        "space", "Spikes in three dimensions", caption, data, layout, height=560, views=views, turns=True
    )


def _of_windows(
    spikes: Spikes, windows_um: list[tuple[float, float]], most: int, *, shuffled: bool
) -> np.ndarray:
    """Choose spikes of some windows first, the others from everywhere."""
    random = np.random.default_rng(0)
    inside: np.ndarray = np.zeros(len(spikes), dtype=bool)
    for low, high in windows_um[:1] if len(windows_um) == 1 else windows_um:
        inside |= (spikes.depths_um >= low) & (spikes.depths_um <= high)
    ours, others = random.permutation(np.flatnonzero(inside)), random.permutation(np.flatnonzero(~inside))
    chosen = ours[:most] if len(windows_um) == 1 else np.concatenate([ours[: most * 3 // 4], others])[:most]
    return random.permutation(chosen) if shuffled else np.sort(chosen)
