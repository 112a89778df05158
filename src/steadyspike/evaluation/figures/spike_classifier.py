"""Figure of a classifier of waveforms: precision and recall, the confusion matrix, and the times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from steadyspike.evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from steadyspike.evaluation.spike_classification import ClassifierScores


def plot_classifier_scores(scores: Mapping[str, ClassifierScores], *, title: str = "") -> Figure:
    """Draw the scores of classifiers of waveforms beside each other.

    Parameters
    ----------
    scores : mapping of str to ClassifierScores
        As `steadyspike.evaluation.evaluate_spike_classifier` gives them, by name; the first is drawn as ours.
    title : str, default: ""

    Returns
    -------
    figure : matplotlib.figure.Figure
        Precision over recall, with the point at which `predict` decides; accuracy and macro F1; time.
    """
    if not scores:
        raise ValueError("scores is empty; allowed: one classifier or more")
    with style.settings():
        figure = style.new_figure(12, 3.8)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontweight="bold", color=style.INK)
        curves, bars, times = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
        colours = dict(zip(scores, style.MOTIONS * (1 + len(scores) // len(style.MOTIONS)), strict=False))
        _draw_curves(curves, scores, colours)
        _draw_scores(bars, scores, colours)
        names = list(scores)
        times.barh(names, [scores[name].us_per_waveform for name in names], color=[colours[n] for n in names])
        times.invert_yaxis()
        times.set_xscale("log")
        times.set_xlabel("time (us per waveform)")
        times.set_title("Time of predict")
    return figure


def _draw_curves(axes: Axes, scores: Mapping[str, ClassifierScores], colours: Mapping[str, str]) -> None:
    for name, one in scores.items():
        axes.step(
            one.recall,
            one.precision,
            where="post",
            color=colours[name],
            label=f"{name} ({one.average_precision:.3f})",
        )
        axes.plot(one.spike_recall, one.spike_precision, "o", color=colours[name])
    axes.set(xlabel="recall of spikes", ylabel="precision of spikes", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.set_title("Precision and recall (average precision)")
    axes.legend(loc="lower left")


def _draw_scores(axes: Axes, scores: Mapping[str, ClassifierScores], colours: Mapping[str, str]) -> None:
    measures = {
        "accuracy": "accuracy",
        "macro_precision": "macro\nprecision",
        "macro_recall": "macro\nrecall",
        "macro_f1": "macro\nF1",
    }
    width = 0.8 / len(scores)
    for number, (name, one) in enumerate(scores.items()):
        places = [place + (number + 0.5) * width - 0.4 for place in range(len(measures))]
        axes.bar(places, [getattr(one, measure) for measure in measures], width, color=colours[name])
    axes.set_xticks(range(len(measures)), [*measures.values()])
    lowest = min(getattr(one, measure) for one in scores.values() for measure in measures)
    axes.set_ylim(max(0.0, lowest - 0.05), 1.0)
    axes.set_title("Scores")
