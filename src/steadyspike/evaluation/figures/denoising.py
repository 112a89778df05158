"""How well models denoise: what is lost and gained unit by unit, and traces and templates to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CHANNELS, MOST_TRACES = 16, 6
LINE = {"clean": 2.6}


def method_colours(methods: Any) -> dict[str, str]:
    """Give a colour to each method; "raw" and "center" are quiet, "clean" is the truth."""
    fixed = {"raw": style.QUIET, "center": "#d3d9df", "clean": style.TRUTH, "linear": style.MOTIONS[1]}
    others = [colour for colour in style.MOTIONS if colour not in (style.MOTIONS[1], style.QUIET)]
    models = [name for name in methods if name not in fixed]
    return fixed | {name: others[number % len(others)] for number, name in enumerate(models)}


def plot_denoising_evaluation(evaluation: Any) -> Figure:
    """Draw the measures of an evaluation: losses, errors and noise as bars, units as dots.

    Parameters
    ----------
    evaluation : DenoisingEvaluation
        Of `evaluate_deepinterpolation`.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    bars = [
        ("mse", "Held-out loss", "mean squared (noise² = 1)"),
        ("rms_error", "Error against clean traces", "rms (noise = 1)"),
        ("rms_error_in_spikes", "Error within spikes", "rms (noise = 1)"),
        ("noise_reduction", "Noise reduction", "raw / denoised, between spikes"),
    ]
    bars = [bar for bar in bars if np.isfinite(evaluation.summary[bar[0]]).any()] or bars[:1]
    dots = evaluation.units["size"].notna().any()
    colours = method_colours(evaluation.summary["method"])
    names = len(evaluation.summary)
    with style.settings():
        low = 1.2 + 0.27 * names
        figure = style.new_figure(3.4 * max(len(bars), 3 if dots else 1), low + (4.1 if dots else 0))
        parts = figure.subfigures(2 if dots else 1, 1, height_ratios=[low, 4.1] if dots else [1])
        above = parts[0] if dots else parts
        all_axes = above.subplots(1, len(bars), sharey=True, squeeze=False)[0]
        for axes, bar in zip(all_axes, bars, strict=True):
            _draw_bars(axes, evaluation, *bar, colours)
        for axes in all_axes[1:]:
            style.quiet_second_axis(axes)
        if dots:
            bias, shape, separation = parts[1].subplots(1, 3)
            _draw_units(bias, evaluation, "amplitude_bias", "Amplitude bias", colours, percent=True)
            _draw_units(shape, evaluation, "shape_bias", "Shape bias (1 - cosine)", colours)
            _draw_separation(separation, evaluation, colours)
            handles, labels = bias.get_legend_handles_labels()
            parts[1].legend(handles, labels, loc="outside lower center", ncols=4, handletextpad=0.2)
    return figure


def _draw_bars(
    axes: Axes, evaluation: Any, column: str, title: str, label: str, colours: dict[str, str]
) -> None:
    table = evaluation.summary[::-1]
    values = table[column].to_numpy(dtype=float)
    known = np.isfinite(values)
    places = np.arange(len(table))
    axes.barh(
        places, np.where(known, values, 0), height=0.65, color=[colours[name] for name in table["method"]]
    )
    axes.set_yticks(places, table["method"])
    for place, value in zip(places[known], values[known], strict=True):
        axes.annotate(f" {value:.3g}", (value, place), va="center", fontsize=9)
    axes.set_xlim(0, 1.25 * max([1e-9, *values[known]]))
    axes.set_title(title)
    axes.set_xlabel(label)
    axes.tick_params(axis="y", length=0)


def _denoised_units(evaluation: Any) -> Any:
    """Name and rows of each method that changes traces."""
    measured = evaluation.units[evaluation.units["size"].notna()]
    for name in dict.fromkeys(measured["method"]):
        if name != "raw":
            yield name, measured[measured["method"] == name]


def _draw_units(
    axes: Axes, evaluation: Any, column: str, title: str, colours: dict[str, str], percent: bool = False
) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    for name, rows in _denoised_units(evaluation):
        values = rows[column] * (100 if percent else 1)
        axes.scatter(rows["reference_snr"], values, s=20, color=colours[name], alpha=0.75, label=name, lw=0)
    for limit in evaluation.settings["snr_classes"]:
        axes.axvline(limit, color=style.QUIET, linewidth=0.8, linestyle=":", zorder=0)
    axes.axhline(0, color=style.INK, linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title(title)
    axes.set_xlabel("SNR of the unit before denoising")
    axes.set_ylabel("%" if percent else "")


def _draw_separation(axes: Axes, evaluation: Any, colours: dict[str, str]) -> None:
    raw = evaluation.units[evaluation.units["method"] == "raw"].set_index("unit_id")["d_prime_self"]
    highest = float(np.nanmax(raw, initial=1.0))
    for name, rows in _denoised_units(evaluation):
        before, after = raw.loc[rows["unit_id"]].to_numpy(), rows["d_prime_self"].to_numpy()
        axes.scatter(before, after, s=20, color=colours[name], alpha=0.75, lw=0)
        highest = float(np.nanmax(after, initial=highest))
    axes.plot([0, highest], [0, highest], color=style.INK, linewidth=0.8, zorder=0)
    axes.set_title("Separation from noise, d'")
    axes.set_xlabel("before denoising, own template")
    axes.set_ylabel("after denoising, own template")


def plot_denoised_templates(evaluation: Any, num_units: int = 6) -> Figure:
    """Draw templates of some units on their extremum channels, small to large.

    Parameters
    ----------
    evaluation : DenoisingEvaluation
        With units.
    num_units : int, default: 6
        How many, at most; spread evenly over the ranks of their SNR.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no unit was measured.
    """
    rows = evaluation.units[evaluation.units["method"] == "raw"].reset_index(drop=True)
    rows = rows[rows["size"].notna()].sort_values("reference_snr")
    if not len(rows):
        raise ValueError("evaluation has no unit that was measured; allowed: at least one")
    ranks = np.linspace(0, len(rows) - 1, min(num_units, len(rows))).round().astype(int)
    colours = method_colours(evaluation.templates)
    settings = evaluation.settings
    with style.settings():
        figure = style.new_figure(max(2.0 * len(ranks), 4.2), 2.9)
        all_axes = figure.subplots(1, len(ranks), squeeze=False)[0]
        for axes, (index, row) in zip(all_axes, rows.iloc[ranks].iterrows(), strict=True):
            for name, templates in evaluation.templates.items():
                before = settings["sampling_frequency"] * settings["ms_before"] / 1000
                times = (np.arange(templates.shape[1]) - before) * 1000 / settings["sampling_frequency"]
                axes.plot(
                    times, templates[index], color=colours[name], linewidth=LINE.get(name, 1.3), label=name
                )
            axes.set_title(f"unit {row['unit_id']}, SNR {row['reference_snr']:.1f}", fontsize=10)
            axes.set_xlabel("ms")
        all_axes[0].set_ylabel("in the recording's units")
        handles, labels = all_axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def plot_denoised_traces(evaluation: Any) -> Figure:
    """Draw a few ms of traces of some neighbouring channels, in units of their noise, one column for each method.

    Parameters
    ----------
    evaluation : DenoisingEvaluation
        Of `evaluate_deepinterpolation`.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    excerpt = evaluation.excerpt
    channels = _shown_channels(excerpt.noise, excerpt.channel)
    names = [name for name in ("raw", *excerpt.traces) if name in excerpt.traces]
    names = list(dict.fromkeys(names))[:MOST_TRACES]
    if "clean" in names:
        names = [*(name for name in names if name != "clean"), "clean"]
    colours = method_colours(names) | {"raw": style.INK}
    traces = {name: excerpt.traces[name][:, channels] / excerpt.noise[channels] for name in names}
    apart = 6.0
    highest = [np.abs(values[np.isfinite(values)]).max(initial=0) for values in traces.values()]
    apart = max(apart, 0.5 * float(max(highest, default=0)))
    with style.settings():
        figure = style.new_figure(2.6 * len(names) + 0.6, 1.2 + 0.32 * len(channels) + 0.6)
        all_axes = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
        for axes, name in zip(all_axes, names, strict=True):
            values = traces[name]
            times = 1000 * np.arange(len(values)) / excerpt.sampling_frequency
            axes.plot(times, values + apart * np.arange(len(channels)), color=colours[name], linewidth=0.7)
            axes.set_title(name)
            axes.set_xlabel("ms")
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            axes.margins(x=0)
        all_axes[0].plot([-0.4, -0.4], [0, 10], color=style.INK, linewidth=2.5, clip_on=False)
        all_axes[0].set_ylabel(f"{len(channels)} neighbouring channels (bar: 10 times the noise)")
        where = f"segment {excerpt.segment_index}, from {excerpt.start_s:.3f} s"
        figure.suptitle(where, x=0.01, ha="left", fontsize=9, color=style.QUIET)
    return figure


def _shown_channels(noise: np.ndarray, channel: int | None) -> np.ndarray:
    """Channels that follow each other around one, those without a signal left out."""
    live = np.flatnonzero(noise > 0)
    middle = len(live) // 2 if channel is None else int(np.searchsorted(live, channel))
    first = max(0, min(middle - MOST_CHANNELS // 2, len(live) - MOST_CHANNELS))
    return live[first : first + MOST_CHANNELS]
