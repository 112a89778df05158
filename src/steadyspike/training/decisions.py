"""From log odds to probabilities that can be believed, and to a threshold for decisions."""

from __future__ import annotations

from typing import Any

import numpy as np

NUM_FRACTIONS = 9


def fit_calibration(log_odds: np.ndarray, is_spike: np.ndarray) -> tuple[float, float]:
    """Fit temperature and bias on held-out waveforms: ``p = sigmoid((log_odds + bias) / temperature)``.

    Maximum likelihood, with targets a little inside of 0 and 1 so that perfectly separated kinds have an answer. The
    log odds are those of spikes, as a network gives them. Returns temperature and bias.

    References
    ----------
    Platt, "Probabilistic outputs for support vector machines", 1999. Guo et al., "On calibration of modern neural
    networks", ICML 2017.
    """
    from scipy.optimize import minimize

    log_odds = np.asarray(log_odds, "float64")
    spread = max(float(log_odds.std()), 1e-12)
    scaled = log_odds / spread
    num_spikes, num_noise = is_spike.sum(), (~is_spike).sum()
    targets = np.where(is_spike, (num_spikes + 1) / (num_spikes + 2), 1 / (num_noise + 2))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, offset = np.exp(parameters[0]), parameters[1]
        logits = slope * scaled + offset
        error = 1 / (1 + np.exp(-np.clip(logits, -500, 500))) - targets
        value = np.mean(np.logaddexp(0, logits) - targets * logits)
        return value, np.array([np.mean(error * scaled) * slope, np.mean(error)])

    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-10, 10), (-1e3, 1e3)])
    slope = np.exp(found.x[0]) / spread
    return float(1 / slope), float(found.x[1] / slope)


def choose_threshold(
    log_odds: np.ndarray, is_spike: np.ndarray, spike_fractions: tuple[float, float] | None
) -> tuple[float, float]:
    r"""Choose the threshold with the largest macro F1 on held-out waveforms.

    A channel has few spikes or many, and the best threshold rises where they are rare. So waveforms are weighted as if
    spikes were a fraction :math:`\pi` of them, and the mean of macro F1 over :math:`\pi` is what counts. The log odds
    are calibrated. :math:`\pi` takes 9 values, spaced evenly on a log scale between the two `spike_fractions`; None: as
    it is. Returns the threshold, half way between the two held-out log odds that it comes between, and its mean macro
    F1.
    """
    order = np.argsort(-log_odds, kind="stable")
    ranked, hits = log_odds[order], np.cumsum(is_spike[order])
    false_alarms = np.arange(1, len(order) + 1) - hits
    # a threshold cannot come between equal values
    last = np.flatnonzero(np.append(np.diff(ranked) < 0, True))
    hits, false_alarms = hits[last], false_alarms[last]
    num_spikes, num_noise = int(is_spike.sum()), int((~is_spike).sum())
    fractions = (
        np.array([num_spikes / len(is_spike)])
        if spike_fractions is None
        else np.geomspace(*spike_fractions, NUM_FRACTIONS)
    )
    weights = (fractions / (1 - fractions) * num_noise / num_spikes)[:, np.newaxis]
    missed = weights * (num_spikes - hits)
    spike_f1 = 2 * weights * hits / (2 * weights * hits + false_alarms + missed)
    noise_f1 = 2 * (num_noise - false_alarms)
    noise_f1 = noise_f1 / np.maximum(noise_f1 + false_alarms + missed, 1e-12)
    macro_f1 = (spike_f1 + noise_f1).mean(axis=0) / 2
    best = int(np.argmax(macro_f1))
    above = ranked[last[best]]
    below = ranked[last[best] + 1] if last[best] + 1 < len(ranked) else above - 1.0
    return float((above + below) / 2), float(macro_f1[best])


def classification_scores(is_spike: np.ndarray, found: np.ndarray, log_odds: np.ndarray) -> dict[str, Any]:
    """Count how far labels are right.

    `is_spike` is the truth, `found` what was decided, bool, and `log_odds` that of spikes, each (num_waveforms,). Gives
    "accuracy"; "macro_precision", "macro_recall" and "macro_f1", the means over both classes; "spike_precision",
    "spike_recall", "spike_f1"; "average_precision", the area under the precision-recall curve.
    """
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support

    each = precision_recall_fscore_support(is_spike, found, labels=[False, True], zero_division=0)[:3]
    names = ("precision", "recall", "f1")
    return {
        "accuracy": float(np.mean(is_spike == found)),
        **{f"macro_{name}": float(values.mean()) for name, values in zip(names, each, strict=True)},
        **{f"spike_{name}": float(values[1]) for name, values in zip(names, each, strict=True)},
        "average_precision": float(average_precision_score(is_spike, log_odds)),
    }
