"""Colours, sizes and small drawing steps that every figure shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2933"
"""Text and axes."""
QUIET = "#9aa5b1"
"""What is beside the point: other methods, contacts, grid lines."""
STEADY = "#0d8a82"
"""Whatever steadyspike estimated or took."""
TRUTH = "#e0457b"
"""Whatever is known to be true."""
WARNING = "#c2571a"
"""What speaks against a correction."""
FAINT = "#cfd6dd"
"""Bars that are there for comparison."""
STEPS = {
    "noise_and_weights": "#c3cbd4",
    "detect_peaks": "#3aa79f",
    "select_peaks": "#7fc4be",
    "localize_peaks": "#0d8a82",
    "detect_and_localize": "#0d8a82",
    "estimate_motion": "#e8a33d",
    "read_corrected": "#5b7db1",
}
"""The steps of a correction, under SpikeInterface's names for them."""
OTHER_STEPS = ("#8e6bb0", "#b0746b", "#6b8eb0", "#9aa5b1")

MOTIONS = (STEADY, "#e8a33d", "#8e6bb0", "#5b7db1", "#b0746b", QUIET)
"""Motions, or presets, beside each other."""

RASTER_MAP = "Greys"
MOTION_MAP = "RdBu_r"
TIME_MAP = "viridis"
EVIDENCE = ((0.0, "#e08a3c"), (0.03, "#e08a3c"), (0.09, "#efe9dc"), (0.6, "#5f93c9"), (1.0, "#16508f"))
"""Evidence (pseudo-R2) and its colour: orange where spikes say nothing of the motion, blue where they support it."""

_SETTINGS: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def settings() -> Any:
    """Give a context manager under which axes are made in this style; the caller's own settings are kept."""
    import matplotlib

    return matplotlib.rc_context(_SETTINGS)


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of `width` by `height` inches that belongs to no window and no backend."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def evidence_map() -> Any:
    """Make the colour map of `EVIDENCE`, for values from 0 to 1."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("evidence", EVIDENCE)


def quiet_second_axis(axes: Axes) -> None:
    """Take the labels off an axis that shares its scale with the one to its left."""
    axes.tick_params(labelleft=False)
    axes.set_ylabel("")
