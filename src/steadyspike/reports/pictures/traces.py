"""Traces, power and noise, before and after each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.reports.pictures.rasters import colours_of_depths
from steadyspike.reports.pictures.spec import SEQUENTIAL, Picture, axis, coarse, colour_bar, heading, single

if TYPE_CHECKING:
    from steadyspike.reports.measures import Excerpt, Noise, Spectrum
    from steadyspike.reports.spikes import Timeline

MOST_PANELS = 4
APART = 8.0
"""Distance of traces in the picture, in units of their median deviation."""
SMALLEST = 1e-12


def traces_picture(excerpts: list[Excerpt], start_s: float, unit: str) -> Picture:
    """Draw a few ms of neighbouring channels, one panel for each step."""
    shown = excerpts if len(excerpts) <= MOST_PANELS else [excerpts[0], *excerpts[1 - MOST_PANELS :]]
    number = len(shown)
    width = (1.0 - 0.03 * (number - 1)) / number
    layout: dict[str, Any] = dict(showlegend=False, annotations=[], hovermode=False)
    narrow: dict[str, Any] = dict(annotations=[])
    data = []
    for index, excerpt in enumerate(shown):
        axes = "" if index == 0 else str(index + 1)
        left = index * (width + 0.03)
        x, y, bar = _lines(excerpt)
        data.append(
            dict(
                type="scatter",
                mode="lines",
                x=coarse(x),
                y=coarse(y),
                line=dict(color="@accent" if index == number - 1 and number > 1 else "@ink", width=0.8),
                xaxis=f"x{axes}",
                yaxis=f"y{axes}",
            )
        )
        of_unit = " µV" if unit == "µV" else ""
        text = f"{excerpt.label}<br><i>apart: {bar:.3g}{of_unit}</i>"
        wide = axis("ms", domain=[left, min(left + width, 1.0)], anchor=f"y{axes}")
        tall = dict(domain=[0.0, 1.0], showticklabels=False, anchor=f"x{axes}", showgrid=False)
        layout |= {f"xaxis{axes}": wide, f"yaxis{axes}": tall}
        layout["annotations"].append(heading(text, left, 1.01, font=dict(size=11)))
        bottom = 1.0 - (index + 1) / number
        narrow |= {
            f"xaxis{axes}": axis("ms" if index == number - 1 else "", domain=[0.0, 1.0], anchor=f"y{axes}"),
            f"yaxis{axes}": {**tall, "domain": [bottom + 0.02, bottom + 1 / number - 0.045]},
        }
        narrow["annotations"].append(heading(text, 0.0, bottom + 1 / number - 0.045, font=dict(size=11)))
    channels = shown[0].traces.shape[1]
    caption = (
        f"{channels} neighbouring channels around {start_s:.3f} s, ordered by depth, after each step. Traces are "
        "drawn apart by the distance that is named above them, so that panels with other scales can be compared."
    )
    picture = Picture("traces", "Traces, step by step", caption, data, layout, height=520)
    picture.narrow, picture.narrow_height = narrow, 360 * number
    return picture


def _lines(excerpt: Excerpt) -> tuple[np.ndarray, np.ndarray, float]:
    """Lay all traces into one line with gaps; give also how far apart they are."""
    traces = excerpt.traces - np.median(excerpt.traces, axis=0)
    apart = max(APART * float(np.median(np.abs(traces))) * 1.4826, SMALLEST)
    size, number = traces.shape
    times = 1000 * np.arange(size) / excerpt.rate_hz
    y = np.full((size + 1, number), np.nan)
    y[:-1] = traces / apart + np.arange(number)
    x = np.tile(np.append(times, np.nan)[:, np.newaxis], number)
    return x.T.ravel(), y.T.ravel(), apart


def spectra_picture(spectra: list[Spectrum], unit: str) -> Picture:
    """Draw the power of each step over frequency, both on logarithmic axes."""
    data = [
        dict(
            type="scatter",
            mode="lines",
            x=single(one.frequencies_hz),
            y=single(np.maximum(one.power, SMALLEST)),
            name=one.label,
            line=dict(color=colour, width=1.8, dash="dot" if index == 0 and len(spectra) > 1 else "solid"),
            hovertemplate=f"%{{x:.3g}} Hz: %{{y:.3g}}<extra>{one.label}</extra>",
        )
        for index, (colour, one) in enumerate(zip(colours_of_depths(len(spectra)), spectra, strict=True))
    ]
    power = f"power ({'µV²' if unit == 'µV' else 'units²'} / Hz)"
    top = max(float(one.power.max()) for one in spectra)
    bottom = max(min(float(one.power.min()) for one in spectra), top * 1e-7, SMALLEST)
    layout = dict(
        xaxis=axis("frequency (Hz)", type="log"),
        yaxis=axis(power, type="log", range=[np.log10(bottom), np.log10(max(top, bottom * 10) * 2)]),
        legend=dict(orientation="h", x=0, y=1.0, yanchor="bottom"),
    )
    caption = (
        "Power of each step: median over channels, mean over pieces of 1 s across the recording (Welch)."
    )
    return Picture("spectra", "Power", caption, data, layout, height=340)


def noise_picture(noise: Noise, timeline: Timeline) -> Picture:
    """Draw the noise level along the probe, before and after the last step, and over time."""
    order = np.argsort(noise.depths_um, kind="stable")
    depths = noise.depths_um[order]
    data: list[dict[str, Any]] = []
    for levels, label, colour in (
        (noise.before, noise.labels[0], "@ink"),
        (noise.after, noise.labels[1], "@accent"),
    ):
        if levels is not None:
            data.append(
                dict(
                    type="scatter",
                    mode="markers",
                    x=single(np.median(levels, axis=0)[order]),
                    y=single(depths),
                    name=label,
                    marker=dict(size=4, color=colour),
                    hovertemplate="%{y:.0f} µm: %{x:.3g}<extra></extra>",
                )
            )
    usual = np.maximum(np.median(noise.before, axis=0), SMALLEST)
    relative = (noise.before / usual)[:, order].T
    data.append(
        dict(
            type="heatmap",
            x=single(noise.times_s),
            y=single(depths) if np.unique(depths).size == depths.size else list(range(depths.size)),
            z=coarse(relative),
            zmin=0.7,
            zmax=1.3,
            colorscale=SEQUENTIAL,
            colorbar=colour_bar("of the channel's median"),
            xaxis="x2",
            yaxis="y2",
            hovertemplate="%{x:.1f} s: %{z:.2f}<extra></extra>",
        )
    )
    layout: dict[str, Any] = dict(
        xaxis=axis(f"noise ({noise.unit})", domain=[0.0, 0.36], rangemode="tozero"),
        yaxis=axis("depth (µm)"),
        xaxis2=axis(timeline.label, domain=[0.5, 1.0], anchor="y2", range=list(timeline.limits_s)),
        yaxis2=axis(
            "channel, by depth" if np.unique(depths).size < depths.size else "depth (µm)", anchor="x2"
        ),
        annotations=[heading("Along the probe", 0.0, 1.01), heading("Over time", 0.5, 1.01)],
        legend=dict(orientation="h", x=0, y=-0.17, yanchor="top", font=dict(size=11)),
        margin=dict(b=84),
    )
    narrow = dict(
        xaxis=axis(f"noise ({noise.unit})", domain=[0.0, 1.0], rangemode="tozero", anchor="y"),
        yaxis=axis("depth (µm)", domain=[0.6, 1.0]),
        xaxis2=axis(timeline.label, domain=[0.0, 1.0], anchor="y2", range=list(timeline.limits_s)),
        yaxis2=axis(layout["yaxis2"]["title"]["text"], anchor="x2", domain=[0.0, 0.4]),
        annotations=[heading("Along the probe", 0.0, 1.01), heading("Over time", 0.0, 0.415)],
    )
    caption = (
        f"Noise (1.4826 times the median absolute deviation) in {len(noise.times_s)} pieces of the recording. Right: "
        f"each channel's noise ({noise.labels[0]}) over time, in units of its median; stripes from top to bottom are "
        "movements or artifacts, single rows are loose contacts."
    )
    picture = Picture("noise", "Noise", caption, data, layout, height=420)
    picture.narrow, picture.narrow_height = narrow, 640
    return picture
