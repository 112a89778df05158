"""How good a classifier of waveforms is, and how fast."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from steadyspike.training.decisions import classification_scores
from steadyspike.training.labelled_waveforms import take

CALIBRATION_BINS = 10


@dataclass(frozen=True, eq=False)
class ClassifierScores:
    """Scores of a classifier on labelled waveforms.

    Parameters
    ----------
    accuracy, macro_precision, macro_recall, macro_f1 : float
        Macro: the mean of both classes.
    spike_precision, spike_recall, spike_f1 : float
        Of the second class.
    average_precision : float
        Area under the precision-recall curve, as a sum of steps.
    calibration_error : float
        Mean absolute difference between probabilities and frequencies of spikes in 10 bins with as many waveforms.
    confusion : ndarray of int, shape (2, 2)
        True class (row) and label (column).
    precision, recall : ndarray, shape (num_thresholds + 1,)
        The precision-recall curve.
    us_per_waveform : float
        Wall-clock time of `predict` in microseconds, the median of several runs.
    num_waveforms : int
    """

    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    spike_precision: float
    spike_recall: float
    spike_f1: float
    average_precision: float
    calibration_error: float
    confusion: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    us_per_waveform: float
    num_waveforms: int


def evaluate_spike_classifier(
    model: Any, waveforms: Any, labels: Any, *, repeats: int = 3
) -> ClassifierScores:
    """Measure a classifier of waveforms on ones it was not trained on.

    Parameters
    ----------
    model : SpikeClassifier or classifier of scikit-learn
        With `predict`, `predict_proba` and two `classes_`.
    waveforms : ndarray, shape (num_waveforms, num_samples) or (num_waveforms, num_samples, num_channels)
    labels : ndarray, shape (num_waveforms,)
        Of the model's classes; both must be there.
    repeats : int, default: 3
        Runs that are timed, after one that is not; 1 or more. Threads are those that the caller allows.

    Returns
    -------
    scores : ClassifierScores

    Raises
    ------
    ValueError
        If waveforms and labels do not fit each other or the model.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_curve

    if isinstance(repeats, bool) or int(repeats) != repeats or repeats < 1:
        raise ValueError(f"repeats={repeats!r} must be a whole number, 1 or more")
    classes = model.classes_
    truth = take(waveforms, labels, classes=tuple(classes)).is_spike
    found = model.predict(waveforms) == classes[1]
    probabilities = model.predict_proba(waveforms)[:, 1]
    log_odds = model.decision_function(waveforms) if hasattr(model, "decision_function") else probabilities
    precision, recall, _ = precision_recall_curve(truth, log_odds)
    return ClassifierScores(
        **classification_scores(truth, found, log_odds),
        calibration_error=_calibration_error(truth, probabilities),
        confusion=confusion_matrix(truth, found, labels=[False, True]),
        precision=precision,
        recall=recall,
        us_per_waveform=median(_times(model, waveforms, repeats)) / len(truth) * 1e6,
        num_waveforms=len(truth),
    )


def _times(model: Any, waveforms: Any, repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        model.predict(waveforms)
        times.append(time.perf_counter() - begun)
    return times


def _calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    order = np.argsort(probabilities, kind="stable")
    bins = np.array_split(order, min(CALIBRATION_BINS, len(order)))
    gaps = [abs(truth[members].mean() - probabilities[members].mean()) * len(members) for members in bins]
    return float(sum(gaps) / len(order))
