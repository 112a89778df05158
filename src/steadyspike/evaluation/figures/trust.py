"""The verdict on a motion: what held-out spikes gain, what the correction costs, and where it can be trusted."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures import style
from steadyspike.evaluation.figures.motion_maps import draw_map
from steadyspike.motion.trust import CLEAR_ERRORS, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from spikeinterface.core.motion import Motion

    from steadyspike.motion.trust import MotionTrust

VERDICT_COLOURS = {
    "correct": style.STEADY,
    "correct rigidly": style.STEADY,
    "do not correct": style.WARNING,
    "cannot tell": style.QUIET,
}
# Nats of a time bin that get a full colour at least: evidence of less is weak, and looks weak.
FULL_NATS = 5.0


def plot_motion_trust(trust: MotionTrust, motion: Motion | None = None, *, segment_index: int = 0) -> Figure:
    """Draw the verdict on a motion with its reason, where the motion can be trusted, and the numbers that decided.

    Parameters
    ----------
    trust : MotionTrust
        Of `motion_trust`.
    motion : Motion or None, default: None
        The motion that was judged: gives times and depths to the map, and is drawn beside it. None: the map
        has numbers of bins on its axes.
    segment_index : int, default: 0
        Which segment's maps to draw.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    with style.settings():
        figure = style.new_figure(11.5 if motion is not None else 8.6, 5.0)
        reason = trust.reason.replace("+-", "±").replace(" um ", " µm ").replace(" um)", " µm)")
        reason = textwrap.fill(reason, 150 if motion is not None else 110)
        figure.suptitle(
            f"{trust.verdict.capitalize()}",
            x=0.01,
            ha="left",
            fontsize=15,
            fontweight="bold",
            color=VERDICT_COLOURS[trust.verdict],
        )
        top, bottom = figure.subfigures(2, 1, height_ratios=[0.11, 1])
        top.text(0.01, 0.9, reason, va="top", ha="left", color=style.INK)
        maps, bars = bottom.subfigures(
            1, 2, width_ratios=[2.4 if motion is not None else 1.3, 1], wspace=0.03
        )
        _draw_maps(maps, trust, motion, segment_index)
        gain_axes, loss_axes = bars.subplots(2, 1)
        draw_gains(gain_axes, trust)
        draw_losses(loss_axes, trust)
    return figure


def _draw_maps(figure: Any, trust: MotionTrust, motion: Motion | None, segment_index: int) -> None:
    values = trust.evidence[segment_index]
    limit = max(float(np.percentile(np.abs(values), 95)), FULL_NATS)
    colours = _evidence_colours()
    if motion is None:
        axes = figure.subplots()
        image = axes.imshow(values.T, aspect="auto", origin="lower", cmap=colours, vmin=-limit, vmax=limit)
        axes.set(xlabel="time bin", ylabel="window")
    else:
        left, axes = figure.subplots(1, 2, sharey=True)
        moved = motion.displacement[segment_index] - np.median(motion.displacement[segment_index], axis=0)
        farthest = max(float(np.percentile(np.abs(moved), 99.5)), 1.0)
        drawn = draw_map(left, motion, moved, farthest, segment_index)
        left.set_title("Motion")
        figure.colorbar(
            drawn, ax=left, label="displacement (µm)", location="bottom", shrink=0.8, extend="both"
        )
        image = draw_map(axes, motion, values, limit, segment_index, colours=colours)
        style.quiet_second_axis(axes)
    axes.set_title("What held-out spikes say")
    figure.colorbar(
        image, ax=axes, label="against | for the motion (nats)", location="bottom", shrink=0.8, extend="both"
    )


def _evidence_colours() -> Colormap:
    """Colours of the verdicts: against a correction, nothing said, and for it."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("evidence", [style.WARNING, "white", style.STEADY])


def _bar_colours(trust: MotionTrust, verdicts: tuple[str, ...]) -> list[str]:
    """The verdict's colour for what it advises, and a quiet one for the others."""
    return [VERDICT_COLOURS[trust.verdict] if name == trust.verdict else style.FAINT for name in verdicts]


def draw_gains(axes: Axes, trust: MotionTrust) -> None:
    """Draw the held-out gains of the motion and of its mean over depth, with the errors that a clear gain exceeds."""
    gains = np.array([trust.rigid_gain, trust.gain])
    errors = CLEAR_ERRORS * np.array([trust.rigid_gain_error, trust.gain_error])
    finite = np.where(np.isfinite(errors), errors, 0.0)
    axes.barh([0, 1], gains, height=0.55, color=_bar_colours(trust, ("correct rigidly", "correct")))
    axes.errorbar(gains, [0, 1], xerr=finite, fmt="none", ecolor=style.INK, capsize=3, linewidth=1.2)
    axes.axvline(0.0, color=style.INK, linewidth=0.8)
    axes.set_yticks([0, 1], ["its mean\nover depth", "the motion"])
    axes.set_ylim(-0.6, 1.6)
    axes.set_title("Gain of held-out spikes")
    axes.set_xlabel(f"nats per spike, ± {CLEAR_ERRORS:g} standard errors")
    axes.tick_params(axis="y", length=0)


def draw_losses(axes: Axes, trust: MotionTrust) -> None:
    """Draw the shares of waveform energy lost without a correction, with the motion, and with its mean over depth."""
    shares = np.array([trust.rigid_loss_with, trust.loss_with, trust.loss_without])
    losses = np.where(np.isfinite(shares), 100.0 * shares, 0.0)
    advised = ("correct rigidly", "correct", "do not correct")
    axes.barh([0, 1, 2], losses, height=0.6, color=_bar_colours(trust, advised))
    axes.set_yticks([0, 1, 2], ["corrected\nrigidly", "corrected", "as it is"])
    for place, (loss, share) in enumerate(zip(losses, shares, strict=True)):
        axes.annotate(f" {percent(share)}", (loss, place), va="center", color=style.INK, fontsize=9)
    axes.set_xlim(0, 1.3 * max(float(losses.max()), 1e-6))
    axes.set_ylim(-0.6, 2.6)
    axes.set_title("Waveform energy lost")
    axes.set_xlabel("% (predicted from the contacts)")
    axes.tick_params(axis="y", length=0)
