"""What a denoiser must not do: invent or repeat spikes, shrink, reshape or smear real ones, tie channels together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from steadyspike.evaluation.denoising.units import NoiseSamples

FALSE_LEVELS = 5.0
# a part of a reference template that is smaller, as a share of its extremum, is no place for a spike
OUTSIDE = 0.05
NEAREST = 1.2
LEAST_PAIR_SAMPLES = 100
COLUMNS = ("method", "check", "value", "recorded", "limit", "passed")
LIMITS = {
    "false_samples": 1.0,
    "amplitude_bias_large": 0.02,
    "amplitude_bias_medium": 0.03,
    "amplitude_bias_small": 0.10,
    "shape_bias": 0.02,
    "smearing": 0.02,
    "added_correlation": 0.10,
    "violations": 0.01,
}
"""The most that each check allows; `evaluate_deepinterpolation` defines them."""
OF_RECORDING = ("false_samples", "smearing", "added_correlation", "violations")
"""Checks that count what is more than in the recording itself."""


def smearing(template: np.ndarray, reference: np.ndarray) -> float:
    r"""Share of a template's energy where its reference has none, less the reference's own.

    :math:`\sum_O T^2 / \sum T^2 - \sum_O R^2 / \sum R^2`, over the samples and channels O where :math:`|R|` is below
    5 % of its extremum. NaN where either is 0.
    """
    outside = np.abs(reference) < OUTSIDE * np.abs(reference).max(initial=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [np.sum(one[outside] ** 2) / np.sum(one**2) for one in (template, reference)]
    return float(shares[0] - shares[1])


def false_samples(samples: NoiseSamples, quiet: np.ndarray, noise: np.ndarray, rate: float) -> float:
    """Samples between spikes beyond 5 noise levels of these traces themselves, per second and channel."""
    counted = quiet & np.isfinite(samples.values) & (noise > 0)
    beyond = np.abs(samples.values) > FALSE_LEVELS * noise
    number = np.count_nonzero(counted)
    return float(rate * np.count_nonzero(beyond & counted) / number) if number else np.nan


def neighbour_correlation(samples: NoiseSamples, quiet: np.ndarray, pairs: np.ndarray) -> float:
    """Mean correlation between pairs of channels (num_pairs, 2) between spikes; NaN without any."""
    found = []
    for first, second in pairs:
        both = quiet[:, first] & quiet[:, second]
        values = samples.values[both][:, [first, second]].astype("float64")
        values = values[np.isfinite(values).all(axis=1)]
        if len(values) >= LEAST_PAIR_SAMPLES and (values.std(axis=0) > 0).all():
            found.append(np.corrcoef(values.T)[0, 1])
    return float(np.mean(found)) if found else np.nan


def nearest_pairs(positions: np.ndarray, live: np.ndarray) -> np.ndarray:
    """Pairs of live channels that are nearest to each other, to a fifth, shape (num_pairs, 2)."""
    apart = np.linalg.norm(positions[:, np.newaxis] - positions, axis=2)
    apart[~live] = apart[:, ~live] = np.inf
    np.fill_diagonal(apart, np.inf)
    nearest = apart.min(axis=1, initial=np.inf)
    close = np.isfinite(apart) & (apart <= NEAREST * nearest[:, np.newaxis])
    return np.argwhere(np.triu(close | close.T))


def check_table(
    gathered: Mapping[str, Any],
    units: pd.DataFrame,
    noise: Mapping[str, np.ndarray],
    quiet: np.ndarray | None,
    positions: np.ndarray,
    live: np.ndarray,
    rate: float,
) -> pd.DataFrame:
    """One row for each method but the recording itself, and each check that can be made of it; `COLUMNS`."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    if quiet is not None:
        pairs = nearest_pairs(positions, live)
        found = {
            name: _values(part.noise, units[units["method"] == name], noise[name], quiet, pairs, rate)
            for name, part in gathered.items()
            if part.noise is not None
        }
        raw = found.pop("raw")
        for method, values in found.items():
            for name, limit in LIMITS.items():
                # what the recording does itself is no fault of the method
                value = values[name] - (raw[name] if name in OF_RECORDING else 0.0)
                if not np.isnan(value):
                    own = dict(value=value, recorded=raw[name], limit=limit, passed=value <= limit)
                    rows.append(dict(method=method, check=name, **own))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _values(
    samples: NoiseSamples, units: pd.DataFrame, noise: np.ndarray, quiet: np.ndarray, pairs: Any, rate: float
) -> dict[str, float]:
    def median(rows: pd.DataFrame, name: str) -> float:
        known = rows[name].dropna().to_numpy(dtype="float64")
        return abs(float(np.median(known))) if known.size else np.nan

    repeated = units["violations"].dropna()
    return {
        "violations": float(repeated.mean()) if len(repeated) else np.nan,
        "false_samples": false_samples(samples, quiet, noise, rate),
        "added_correlation": neighbour_correlation(samples, quiet, pairs),
        **{
            f"amplitude_bias_{size}": median(units[units["size"] == size], "amplitude_bias")
            for size in ("small", "medium", "large")
        },
        **{name: median(units, name) for name in ("shape_bias", "smearing")},
    }
