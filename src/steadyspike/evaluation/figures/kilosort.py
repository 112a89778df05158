"""What Kilosort found: spikes over time and depth, units on the probe, correlograms, drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures import style
from steadyspike.evaluation.figures.raster import draw_raster

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from spikeinterface.core.motion import Motion

    from steadyspike.sorting.kilosort import KilosortOutput

MAX_SPIKES = 100_000
MARGIN_UM = 20.0
COLOURS = {"good": style.STEADY, "mua": style.OTHER_STEPS[1], "noise": style.QUIET}
SHOWN_MS = 50
MAX_CORRELOGRAMS = 8
# spikes that a unit needs in a time bin to have a position there
MIN_SPIKES_IN_BIN = 10
NUM_TRACKS = 30


def plot_kilosort_raster(output: KilosortOutput) -> Figure:
    """Draw the depth of Kilosort's spikes over time, coloured by amplitude.

    Depths are those of the spikes after Kilosort's correction, as it wrote them. Large spikes lie over small ones; of
    more than 100,000 spikes as many are drawn, evenly picked.

    Parameters
    ----------
    output : KilosortOutput
        With positions of spikes.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    _need_positions(output)
    spikes = output.spikes
    if len(spikes) > MAX_SPIKES:
        spikes = spikes.iloc[np.linspace(0, len(spikes) - 1, MAX_SPIKES).astype(int)]
    if "amplitude" in spikes:
        spikes = spikes.sort_values("amplitude")
    with style.settings():
        figure = style.new_figure(11, 5.5)
        axes = figure.subplots()
        colour = spikes["amplitude"] if "amplitude" in spikes else np.zeros(len(spikes))
        limits = np.percentile(colour, [2, 98]) if len(spikes) else (0, 1)
        drawn = axes.scatter(
            spikes["time_s"], spikes["y"], c=colour, s=1.2, cmap=style.TIME_MAP, vmin=limits[0], vmax=limits[1],
            linewidths=0, rasterized=True,
        )  # fmt: skip
        if "amplitude" in spikes:
            bar = figure.colorbar(drawn, ax=axes, pad=0.01, aspect=40)
            bar.set_label("amplitude (Kilosort's)")
            bar.outline.set_visible(False)
        axes.set_ylim(*_depth_limits(output))
        axes.margins(x=0)
        axes.set_xlabel("time (s)")
        axes.set_ylabel("depth (µm)")
        axes.set_title(f"{len(output.spikes):,} spikes of {len(output.units)} units")
    return figure


def plot_kilosort_positions(output: KilosortOutput) -> Figure:
    """Draw the units where they are on the probe, coloured by label and larger the more they fire.

    Shanks stand beside each other at their own distance, drawn with x stretched so that columns of contacts can be told
    apart.

    Parameters
    ----------
    output : KilosortOutput

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    contacts, units = output.channel_positions, output.units
    with style.settings():
        figure = style.new_figure(3.4 + 1.3 * len(np.unique(output.shanks)), 8)
        axes = figure.subplots()
        axes.scatter(contacts[:, 0], contacts[:, 1], s=7, marker="s", c="#dde2e7", linewidths=0)
        labels = units["label"].fillna("no label")
        for name in sorted(labels.unique(), key=lambda one: (one != "good", one)):
            chosen = units[labels == name]
            axes.scatter(
                chosen["x"], chosen["y"], s=6 + 5 * np.sqrt(chosen["firing_rate"]), alpha=0.7, linewidths=0,
                c=COLOURS.get(name, style.MOTIONS[3]), label=f"{len(chosen)} {name}",
            )  # fmt: skip
        axes.set_ylim(*_depth_limits(output))
        axes.margins(x=0.15)
        axes.set_xlabel("x (µm)")
        axes.set_ylabel("depth (µm)")
        figure.legend(loc="outside upper left", ncols=3, fontsize=9, handletextpad=0.1, columnspacing=1)
    return figure


def plot_correlograms(output: KilosortOutput, units: Sequence[int]) -> Figure:
    """Draw auto- and cross-correlograms of a few units, with their refractory tests.

    Parameters
    ----------
    output : KilosortOutput
    units : sequence of int
        At most 8, from ``output.units.index``. A row and a column for each: its autocorrelogram where they meet.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    if not 1 <= len(units) <= MAX_CORRELOGRAMS:
        raise ValueError(f"units has {len(units)} numbers; allowed: 1 to {MAX_CORRELOGRAMS}")
    size = len(units)
    with style.settings():
        figure = style.new_figure(1.2 + 2.1 * size, 1.0 + 1.7 * size)
        grid = figure.subplots(size, size, squeeze=False, sharex=True)
        for row, column in np.ndindex(size, size):
            axes = grid[row, column]
            if column < row:
                axes.set_axis_off()
            else:
                _draw_correlogram(axes, output, units[row], units[column])
        for position in range(size):
            grid[position, position].set_xlabel("lag (ms)")
            grid[position, position].tick_params(labelbottom=True)
    return figure


def _draw_correlogram(axes: Axes, output: KilosortOutput, unit: int, other: int) -> None:
    both = () if unit == other else (other,)
    counts, test = output.correlogram(unit, *both), output.refractory(unit, *both)
    middle = counts.size // 2
    lags = np.arange(-SHOWN_MS, SHOWN_MS + 1)
    colour = style.QUIET if both else style.STEADY
    axes.bar(lags, counts[middle - SHOWN_MS : middle + SHOWN_MS + 1], width=1.0, color=colour, linewidth=0)
    mark = ", refractory" if test.refractory else ""
    axes.set_title(
        f"{f'{unit} and {other}' if both else unit}: Q {test.q:.2f}, R {test.r:.2g}{mark}", fontsize=8
    )
    axes.set_xlim(-SHOWN_MS, SHOWN_MS)
    axes.locator_params(axis="y", nbins=3)


def plot_kilosort_drift(output: KilosortOutput) -> Figure:
    """Draw Kilosort's drift over time, and where it leaves the units.

    Above, the drift of each block. Below, the median depth of the units with the most spikes in each time bin, as they
    were seen before Kilosort's correction, each around its median, coloured by depth: where the drift is right, they
    move as it says.

    Parameters
    ----------
    output : KilosortOutput
        With a drift and positions of spikes.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    _need_positions(output)
    if output.motion is None:
        raise ValueError(f"{output.folder} holds no drift; allowed: a run with drift correction")
    times, windows = output.motion.temporal_bins_s[0], output.motion.spatial_bins_um
    drift = output.motion.displacement[0]
    drift = drift - np.median(drift, axis=0)
    norm, colours = Normalize(*_depth_limits(output)), colormaps[style.TIME_MAP]
    tracks = _tracks(output)
    with style.settings():
        figure = style.new_figure(10.5, 6)
        above, below = figure.subplots(2, 1, sharex=True, sharey=True)
        for column, window in enumerate(windows):
            above.plot(times, drift[:, column], color=colours(norm(window)), linewidth=1.8)
        above.set_title(f"Kilosort's drift, {len(windows)} block(s), {np.ptp(drift):.1f} µm")
        for depth, track in tracks:
            below.plot(times, track, color=colours(norm(depth)), linewidth=0.8, alpha=0.7)
        if tracks:
            middle = np.nanmedian([track for _depth, track in tracks], axis=0)
            below.plot(times, middle, color=style.INK, linewidth=1.8, label="median of these units")
            below.legend(loc="upper right", fontsize=9)
            reach = max(np.abs(drift).max(), np.nanpercentile([np.abs(track) for _, track in tracks], 99))
            below.set_ylim(-1.15 * reach - 0.1, 1.15 * reach + 0.1)
        below.set_title(f"Where {len(tracks)} units were seen")
        below.set_xlabel("time (s)")
        below.margins(x=0)
        figure.supylabel("displacement (µm), each around its median", fontsize=10, color=style.INK)
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=[above, below], pad=0.01, aspect=40)
        bar.set_label("depth (µm)")
        bar.outline.set_visible(False)
    return figure


def plot_kilosort_comparison(output: KilosortOutput, motion: Motion) -> Figure:
    """Draw Kilosort's spikes as its drift and another motion leave them, and how far the two are apart.

    Parameters
    ----------
    output : KilosortOutput
        With a drift and positions of spikes.
    motion : Motion
        Of one segment; see `steadyspike.kilosort.compare_motion`, which is behind the numbers.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    from steadyspike.sorting.kilosort import compare_motion, peaks_as_seen

    result = compare_motion(output, motion)
    peaks, locations = peaks_as_seen(output)
    seen, times = locations["y"], np.sort(output.spikes["time_s"].to_numpy())
    pairs = {"Kilosort's drift": (output.motion, result.kilosort), "The motion": (motion, result.motion)}
    with style.settings():
        figure = style.new_figure(15, 5.2)
        left, middle, right = figure.subplots(1, 3, sharex=True, sharey=True)
        for axes, (name, (one, trust)) in zip((left, middle), pairs.items(), strict=True):
            corrected = seen - one.get_displacement_at_time_and_depth(times, seen, segment_index=0)
            draw_raster(axes, times, corrected, peaks["amplitude"], _depth_limits(output))
            axes.set_title(
                f"{name} taken out: {trust.verdict}\ngain {trust.gain:.4f} ± {trust.gain_error:.4f}"
            )
        style.quiet_second_axis(middle)
        _draw_difference(figure, right, result, _depth_limits(output))
    return figure


def _draw_difference(figure: Figure, axes: Axes, result: Any, limits: tuple[float, float]) -> None:
    times, depths = result.difference.temporal_bins_s[0], result.difference.spatial_bins_um
    values = result.difference.displacement[0]
    if depths.size == 1:
        depths, values = np.array(limits), np.repeat(values, 2, axis=1)
    reach = max(float(np.abs(values).max()), 0.1)
    drawn = axes.pcolormesh(
        times, depths, values.T, cmap=style.MOTION_MAP, vmin=-reach, vmax=reach, shading="nearest",
        rasterized=True,
    )  # fmt: skip
    bar = figure.colorbar(drawn, ax=axes, pad=0.01, aspect=40)
    bar.set_label("motion less Kilosort's drift (µm)")
    bar.outline.set_visible(False)
    axes.set_ylim(*limits)
    axes.set_xlabel("time (s)")
    comparison = result.comparison
    axes.set_title(f"Difference: mean {comparison.mean_um:.1f} µm\ncorrelation {comparison.correlation:.2f}")


def _tracks(output: KilosortOutput) -> list[tuple[float, np.ndarray]]:
    """Depth of each of the busiest units, and its displacement over time as seen, around its median."""
    from steadyspike.sorting.kilosort import peaks_as_seen

    peaks, locations = peaks_as_seen(output)
    # peaks_as_seen puts spikes in the order of time
    units = output.spikes.sort_values("sample_index", kind="stable")["unit"].to_numpy()
    seconds = peaks["sample_index"] / output.sampling_frequency
    times = output.motion.temporal_bins_s[0]
    start = (
        output.spikes["time_s"].iloc[0] - output.spikes["sample_index"].iloc[0] / output.sampling_frequency
    )
    borders = 0.5 * (times[1:] + times[:-1]) - start
    bins = np.searchsorted(borders, seconds)
    found = []
    for unit in output.units["num_spikes"].nlargest(NUM_TRACKS).index:
        own = units == unit
        depths, own_bins = locations["y"][own], bins[own]
        track = np.array([
            np.median(depths[own_bins == one]) if (own_bins == one).sum() >= MIN_SPIKES_IN_BIN else np.nan
            for one in range(times.size)
        ])  # fmt: skip
        if np.isfinite(track).any():
            found.append((float(np.median(depths)), track - np.nanmedian(track)))
    return found


def _need_positions(output: KilosortOutput) -> None:
    if "y" not in output.spikes:
        raise ValueError(f"{output.folder} has no spike_positions.npy; allowed: a folder of Kilosort4")


def _depth_limits(output: KilosortOutput) -> tuple[float, float]:
    depths = output.channel_positions[:, 1]
    return float(depths.min() - MARGIN_UM), float(depths.max() + MARGIN_UM)
