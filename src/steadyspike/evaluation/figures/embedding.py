"""Figures of embedded waveforms and their clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 20_000


def plot_embedding(
    points: Any,
    labels: Any = None,
    *,
    waveforms: Any = None,
    dimensions: tuple[int, ...] = (0, 1),
    title: str = "",
    seed: int = 0,
) -> Figure:
    """Draw embedded waveforms as a cloud in two or three dimensions, coloured by cluster.

    Parameters
    ----------
    points : ndarray, shape (num_waveforms, num_dimensions)
        As `steadyspike.peaks.embed_waveforms` gives them.
    labels : ndarray of int or None, shape (num_waveforms,), default: None
        Clusters or units; -1, in grey: none.
    waveforms : ndarray or None, default: None
        Shape (num_waveforms, num_samples) or (num_waveforms, num_samples, num_channels): the mean of each cluster is
        drawn beside, channels one after the other.
    dimensions : tuple of int, default: (0, 1)
        Which of the dimensions; two or three.
    title : str, default: ""
    seed : int, default: 0
        Of the choice of points; at most 20,000 are drawn.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    points = np.asarray(points)
    labels = np.full(len(points), -1) if labels is None else np.asarray(labels)
    if points.ndim != 2 or labels.shape != points.shape[:1]:
        raise ValueError(f"points and labels have shapes {points.shape} and {labels.shape}; they must fit")
    if len(dimensions) not in (2, 3) or not all(0 <= one < points.shape[1] for one in dimensions):
        raise ValueError(
            f"dimensions={dimensions} cannot be; allowed: two or three of 0 to {points.shape[1] - 1}"
        )
    with style.settings():
        figure = style.new_figure(6 if waveforms is None else 11, 5)
        places: Any = (1, 1, 1) if waveforms is None else (1, 2, 1)
        axes: Any = figure.add_subplot(*places, projection="3d" if len(dimensions) == 3 else None)
        _draw_points(axes, points, labels, dimensions, np.random.default_rng(seed))
        axes.set_title(title)
        if waveforms is not None:
            _draw_means(figure.add_subplot(1, 2, 2), np.asarray(waveforms), labels)
    return figure


def _draw_points(axes: Any, points: Any, labels: Any, dimensions: tuple[int, ...], rng: Any) -> None:
    shown = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(shown) > MOST_POINTS:
        shown = rng.choice(shown, MOST_POINTS, replace=False)
    for label in np.unique(labels[shown]):
        chosen = points[shown[labels[shown] == label]][:, list(dimensions)]
        axes.scatter(*chosen.T, s=3, linewidths=0, color=_colour(label), label=_name(label))
    for axis, dimension in zip("xyz", dimensions, strict=False):
        getattr(axes, f"set_{axis}label")(f"dimension {dimension + 1}")
    axes.legend(markerscale=4, fontsize=8)


def _draw_means(axes: Any, waveforms: Any, labels: Any) -> None:
    for label in np.unique(labels[labels >= 0]) if (labels >= 0).any() else np.unique(labels):
        mean = np.nanmean(waveforms[labels == label], axis=0)
        flat = (
            mean if mean.ndim == 1 else np.append(mean, np.full((1, mean.shape[1]), np.nan), axis=0).T.ravel()
        )
        axes.plot(flat, color=_colour(label), label=f"{_name(label)} ({np.sum(labels == label)})")
    axes.set(title="Mean waveforms", xlabel="sample; channels one after the other", ylabel="amplitude")
    axes.legend(fontsize=8)


def _colour(label: int) -> Any:
    from matplotlib import colormaps

    return style.QUIET if label < 0 else colormaps["tab20"](int(label) % 20)


def _name(label: int) -> str:
    return "none" if label < 0 else str(label)
