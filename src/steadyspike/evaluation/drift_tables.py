"""The tables of the drift metrics: one row per unit, and one per signal of the recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from steadyspike.evaluation.binned_units import BinnedUnits, starts_of_kept
from steadyspike.kernels.motion.dependence import codec, draw_shifts, p_value, xi

if TYPE_CHECKING:
    import pandas as pd

SIGNALS = ("amplitude", "rate")
MEASURES = ("xi", "codec", "codec_given_time")
# Units with fewer bins than this get NaN: a shift of so few can not show much.
MIN_BINS = 20


def dependence(
    series: np.ndarray,
    displacement: np.ndarray,
    starts: np.ndarray,
    trends: np.ndarray,
    num_permutations: int,
    seed: list[int],
) -> dict[str, float]:
    """Measure how far a series depends on the displacement; bins without a value are left out."""
    kept = np.isfinite(series)
    series, displacement = series[kept], displacement[kept]
    starts, trends = starts_of_kept(starts, kept), starts_of_kept(trends, kept)
    result: dict[str, float] = {"num_bins": series.size}
    if series.size < MIN_BINS:
        return result | {f"{measure}{end}": np.nan for measure in MEASURES for end in ("", "_pvalue")}
    rng = np.random.default_rng(seed)
    shifts = draw_shifts(starts, num_permutations, rng)
    # so far apart that the nearest neighbour of a bin lies in its own stretch of time
    trend = np.repeat(np.arange(trends.size - 1.0), np.diff(trends)) * (1 + 2 * np.ptp(displacement))
    values = {
        "xi": xi(displacement, series, rng, starts, shifts),
        "codec": codec(series, displacement, rng, None, starts, shifts),
        "codec_given_time": codec(series, displacement, rng, trend, starts, shifts),
    }
    for measure, statistics in values.items():
        result |= {measure: float(statistics[0]), f"{measure}_pvalue": p_value(statistics)}
    return result


def unit_table(
    binned: BinnedUnits,
    ids: np.ndarray,
    num_spikes: np.ndarray,
    depths: np.ndarray | None,
    trends: np.ndarray,
    num_permutations: int,
    seed: int,
) -> pd.DataFrame:
    """Fill one row per unit: what it is, and how its series depend on the displacement."""
    import pandas as pd

    table = pd.DataFrame(
        {
            "depth_um": np.full(ids.size, np.nan) if depths is None else depths,
            "num_spikes": num_spikes,
            "rate_hz": binned.rate_hz.mean(axis=1),
            "displacement_range_um": np.ptp(binned.displacement_um, axis=1),
        },
        index=pd.Index(ids, name="unit_id"),
    )
    for signal, values in zip(SIGNALS, (binned.amplitude, binned.rate_hz), strict=True):
        if values is None:
            continue
        rows = [
            dependence(series, moved, binned.starts, trends, num_permutations, [seed, unit])
            for unit, (series, moved) in enumerate(zip(values, binned.displacement_um, strict=True))
        ]
        columns = ["num_bins", *(f"{measure}{end}" for measure in MEASURES for end in ("", "_pvalue"))]
        part = pd.DataFrame(rows, index=table.index, columns=columns)
        for measure in MEASURES:
            part[f"{measure}_qvalue"] = _false_discovery(part[f"{measure}_pvalue"].to_numpy(dtype="float64"))
        table = table.join(part.add_prefix(f"{signal}_"))
    return table


def _false_discovery(p_values: np.ndarray) -> np.ndarray:
    from scipy.stats import false_discovery_control

    known = np.isfinite(p_values)
    adjusted = np.full(p_values.size, np.nan)
    if known.any():
        adjusted[known] = false_discovery_control(p_values[known])
    return adjusted


def first_component(binned: BinnedUnits) -> np.ndarray:
    """First principal component of the z-scored rates; NaN where no rate changes."""
    from sklearn.decomposition import PCA

    rates, moved = binned.rate_hz, binned.mean_displacement_um
    changing = rates.std(axis=1) > 0 if rates.shape[1] else np.zeros(rates.shape[0], dtype=bool)
    if not changing.any() or rates.shape[1] < 2:
        return np.full(rates.shape[1], np.nan)
    scores = (rates[changing] - rates[changing].mean(axis=1, keepdims=True)) / rates[changing].std(
        axis=1, keepdims=True
    )
    component = PCA(n_components=1, random_state=0).fit_transform(scores.T)[:, 0]
    return component if component @ (moved - moved.mean()) >= 0 else -component


def recording_table(table: pd.DataFrame, population: dict[str, float], fdr: float) -> pd.DataFrame:
    """Sum the units up, one row per signal and measure, and add the population."""
    import pandas as pd

    rows = []
    for signal in SIGNALS:
        for measure in MEASURES:
            if f"{signal}_{measure}" not in table:
                continue
            values = table[f"{signal}_{measure}"].dropna()
            significant = int((table[f"{signal}_{measure}_qvalue"] <= fdr).sum())
            rows.append(
                dict(
                    signal=signal,
                    measure=measure,
                    value=values.median(),
                    pvalue=np.nan,
                    num_units=len(values),
                    num_significant=significant,
                    fraction_significant=significant / len(values) if len(values) else np.nan,
                )
            )
    for measure in MEASURES:
        value, p = population[measure], population[f"{measure}_pvalue"]
        rows.append(dict(signal="population", measure=measure, value=value, pvalue=p))
    return pd.DataFrame(rows).astype({"num_units": "Int64", "num_significant": "Int64"})
