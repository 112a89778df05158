"""The table of units of a Kilosort folder: where they are, how large, how clean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from steadyspike.sorting.refractory import correlogram, refractory_test

if TYPE_CHECKING:
    import pandas as pd

MIN_SPIKES = 11
"""Kilosort4 writes a contamination of 0 for units with fewer spikes, which it has not looked at."""


def unit_table(
    spikes: pd.DataFrame,
    templates: pd.DataFrame,
    tables: Mapping[str, Mapping[int, str]],
    sampling_frequency: float,
    duration_s: float,
    thresholds: tuple[float, float],
) -> pd.DataFrame:
    """Make the table; see `KilosortOutput.units`. `templates` has what is known of each template by its number."""
    import pandas as pd

    groups = spikes.groupby("unit", sort=True)
    counts = groups.size()
    table = pd.DataFrame(index=counts.index.rename("unit"))
    # a unit that phy merged has no template of its own: the one of most of its spikes stands for it
    main = spikes.groupby(["unit", "template"]).size().groupby("unit").idxmax().map(lambda pair: pair[1])
    for name in ("channel", "shank", "x", "y"):
        table[name] = templates[name].reindex(main).to_numpy()
    table[["channel", "shank"]] = table[["channel", "shank"]].astype("Int64")
    for axis in ("x", "y"):
        if axis in spikes:
            table[axis] = groups[axis].median()
    table["num_spikes"] = counts
    table["firing_rate"] = counts / duration_s
    table["amplitude"] = groups["amplitude"].median() if "amplitude" in spikes else np.nan
    for name in ("amplitude_uV", "snr"):
        table[name] = templates[name].reindex(main).to_numpy()
    contamination = pd.to_numeric(_column(tables, "ContamPct", table.index), errors="coerce") / 100.0
    table["contamination"] = contamination.where(counts >= MIN_SPIKES)
    kilosort, curated = (_column(tables, name, table.index) for name in ("KSLabel", "group"))
    table["label"] = curated.fillna(kilosort)
    table["kilosort_label"] = kilosort
    tests = [
        refractory_test(correlogram(frames.to_numpy(), sampling_frequency), thresholds)
        for _unit, frames in groups["sample_index"]
    ]
    table["q"] = [test.q for test in tests]
    table["r"] = [test.r for test in tests]
    table["refractory"] = [test.refractory for test in tests]
    return table


def _column(tables: Mapping[str, Mapping[int, str]], name: str, units: pd.Index) -> pd.Series:
    import pandas as pd

    return pd.Series(tables.get(name, {}), dtype="object").reindex(units)


def template_table(
    templates: np.ndarray | None,
    pc_channels: np.ndarray | None,
    positions: np.ndarray,
    shanks: np.ndarray,
) -> pd.DataFrame:
    """Say where each template is.

    The channel is the one of the largest peak-to-peak amplitude; without templates, the nearest one for the PC
    features. The position is the centre of its energy on the contacts.
    """
    import pandas as pd

    columns = dict.fromkeys(("channel", "shank", "x", "y", "amplitude_uV", "snr"), np.nan)
    source = pc_channels if templates is None else templates
    table = pd.DataFrame(columns, index=range(0 if source is None else len(source)))
    if templates is not None:
        table["channel"] = np.ptp(templates, axis=1).argmax(axis=1)
        weights = (templates**2).sum(axis=1)
        with np.errstate(invalid="ignore"):
            table[["x", "y"]] = (weights @ positions[:, :2]) / weights.sum(axis=1, keepdims=True)
    elif pc_channels is not None:
        table["channel"] = pc_channels[:, 0].astype("int64")
        table[["x", "y"]] = positions[table["channel"], :2]
    known = table["channel"].notna()
    table.loc[known, "shank"] = shanks[table.loc[known, "channel"].astype("int64")]
    return table


def template_sizes(
    templates: np.ndarray, whitening: np.ndarray | None, gains_uV: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Size of each of Kilosort4's templates in noise levels and in uV (NaN without whitening or gains).

    In noise levels it is the largest absolute value of the whitened template, whose noise has a standard deviation of
    1; in uV, peak to peak on the largest channel of the template before whitening.
    """
    volts = np.full(len(templates), np.nan)
    if whitening is not None and gains_uV is not None:
        before = templates @ np.linalg.pinv(whitening.astype("float64")).T
        volts = np.ptp(before * gains_uV, axis=1).max(axis=1)
    return np.abs(templates).max(axis=(1, 2)), volts


def on_all_channels(templates: np.ndarray, channels: np.ndarray | None, num_channels: int) -> np.ndarray:
    """Put templates that are kept on a few channels each (phy's sparse form) onto all."""
    if channels is None or (
        templates.shape[2] == num_channels and (channels == np.arange(num_channels)).all()
    ):
        return templates
    full = np.zeros((*templates.shape[:2], num_channels), templates.dtype)
    for number, own in enumerate(channels.astype("int64")):
        inside = (own >= 0) & (own < num_channels)
        full[number][:, own[inside]] = templates[number][:, inside]
    return full
