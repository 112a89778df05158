"""Two sortings of one recording: which units agree, which are gained and lost, and how large and where these are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.settings import Settings, parameter, takes
from steadyspike.sorting.kilosort.output import KilosortOutput

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface import BaseSorting

SNR_BORDERS = (0.0, 5.0, 10.0, 20.0, np.inf)
DEPTH_BINS = 5


@dataclass(frozen=True)
class SortingComparison:
    """Agreement of two sortings.

    Attributes
    ----------
    matched : pandas.DataFrame
        Pairs of units that match each other best: `first`, `second` (their ids), `agreement` (spikes in common over
        spikes of either), `snr` and `depth_um` of the second's.
    lost : pandas.DataFrame
        Units of the first that match none of the second: `unit`, `num_spikes`, `snr`, `depth_um`, and `best`, the
        largest agreement with any.
    gained : pandas.DataFrame
        Units of the second that match none of the first, likewise.
    agreement : pandas.DataFrame
        Of each unit of the first (rows) with each of the second (columns).
    names : tuple of str
        What the two are called.
    """

    matched: pd.DataFrame = field(repr=False)
    lost: pd.DataFrame = field(repr=False)
    gained: pd.DataFrame = field(repr=False)
    agreement: pd.DataFrame = field(repr=False)
    names: tuple[str, str]

    def __repr__(self) -> str:
        mean = f", mean agreement {self.matched['agreement'].mean():.2f}" if len(self.matched) else ""
        first, second = self.names
        return (
            f"SortingComparison: {len(self.matched)} units of {first} and {second} match{mean}; "
            f"{len(self.lost)} of {first} are lost, {len(self.gained)} of {second} are gained"
        )

    def by_snr(self) -> pd.DataFrame:
        """Count units that match, are lost and are gained by their size in noise levels."""
        return self._counted("snr", np.array(SNR_BORDERS))

    def by_depth(self) -> pd.DataFrame:
        """Count units that match, are lost and are gained by depth, in five bins over the depths of all."""
        depths = np.concatenate([one["depth_um"] for one in (self.matched, self.lost, self.gained)])
        known = depths[np.isfinite(depths)]
        low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
        # the deepest and the highest unit are in a bin too
        return self._counted("depth_um", np.linspace(low, np.nextafter(high, np.inf), DEPTH_BINS + 1))

    def _counted(self, column: str, borders: np.ndarray) -> pd.DataFrame:
        import pandas as pd

        table = {}
        for name in ("matched", "lost", "gained"):
            bins = pd.cut(getattr(self, name)[column], borders, right=False)
            table[name] = bins.value_counts(sort=False, dropna=False)
        counts = pd.DataFrame(table).fillna(0).astype("int64")
        counts.index = pd.Index(
            ["unknown" if pd.isna(one) else str(one) for one in counts.index], name=column
        )
        return counts


class AgreementSettings(Settings):
    """Parameters of `compare_sortings`."""

    part = "compare_sortings"

    match_score: float = parameter(0.5, "Agreement from which two units match", gt=0, le=1)
    delta_time: float = parameter(0.4, "Spikes this near in time are one", unit="ms", gt=0)
    names: tuple[str, str] = parameter(("first", "second"), "What to call the two sortings")


@takes(AgreementSettings)
def compare_sortings(first: Any, second: Any, *, settings: AgreementSettings) -> SortingComparison:
    """Compare two sortings of one recording, such as before and after a correction.

    SpikeInterface's `compare_two_sorters` matches the units.

    Parameters
    ----------
    first, second : BaseSorting, SortingAnalyzer or KilosortOutput
        Depths and sizes come from Kilosort's table, from an analyzer's `unit_locations` and templates, or from the
        properties `y` (or `depth_um`) and `snr` of a sorting; where there are none they are NaN.
    {settings}

    Returns
    -------
    comparison : SortingComparison
    """
    import pandas as pd
    from spikeinterface.comparison import compare_two_sorters

    (sorting, facts), (other, other_facts) = _sorting_and_facts(first), _sorting_and_facts(second)
    agreement = pd.DataFrame(index=sorting.unit_ids, columns=other.unit_ids, dtype="float64")
    pairs = []
    # SpikeInterface's comparison needs units on both sides
    if agreement.size:
        found = compare_two_sorters(
            sorting, other, match_score=settings.match_score, delta_time=settings.delta_time
        )
        agreement, matches = found.agreement_scores, found.hungarian_match_12.items()
        pairs = [(unit, match) for unit, match in matches if match in agreement.columns]
    matched = pd.DataFrame(
        {
            "first": [pair[0] for pair in pairs],
            "second": [pair[1] for pair in pairs],
            "agreement": np.array([agreement.at[pair] for pair in pairs], dtype="float64"),
            **{
                name: other_facts[name].reindex([pair[1] for pair in pairs]).to_numpy()
                for name in ("snr", "depth_um")
            },
        }
    )
    lost = _unmatched(facts, set(matched["first"]), agreement)
    gained = _unmatched(other_facts, set(matched["second"]), agreement.T)
    return SortingComparison(matched, lost, gained, agreement, settings.names)


def _unmatched(facts: pd.DataFrame, matched: set[Any], agreement: pd.DataFrame) -> pd.DataFrame:
    alone = facts.loc[np.array([unit not in matched for unit in facts.index], dtype=bool)]
    best = agreement.max(axis=1) if agreement.shape[1] else 0.0 * facts["num_spikes"]
    return alone.assign(best=best.reindex(alone.index)).rename_axis("unit").reset_index()


def _sorting_and_facts(given: Any) -> tuple[BaseSorting, pd.DataFrame]:
    """Give a sorting, and number of spikes, size and depth of each of its units."""
    import pandas as pd
    from spikeinterface.core import BaseSorting, SortingAnalyzer

    if isinstance(given, KilosortOutput):
        units = given.units
        facts = pd.DataFrame(
            {"num_spikes": units["num_spikes"], "snr": units["snr"], "depth_um": units["y"].astype("float64")}
        )
        return given.to_sorting(), facts
    analyzer = given if isinstance(given, SortingAnalyzer) else None
    sorting = given if analyzer is None else analyzer.sorting
    if not isinstance(sorting, BaseSorting):
        raise ValueError(
            f"compare_sortings: a {type(given).__name__} is no sorting; allowed: a BaseSorting, a SortingAnalyzer, or "
            "what steadyspike.kilosort.read_output gives"
        )
    counts = sorting.count_num_spikes_per_unit()
    facts = pd.DataFrame({"num_spikes": pd.Series(counts).reindex(sorting.unit_ids)})
    facts["snr"], facts["depth_um"] = _property(sorting, "snr"), _property(sorting, "depth_um", "y")
    if analyzer is not None:
        if analyzer.has_extension("unit_locations"):
            facts["depth_um"] = analyzer.get_extension("unit_locations").get_data()[:, 1]
        if analyzer.has_extension("templates") and analyzer.has_extension("noise_levels"):
            from spikeinterface.metrics.quality import compute_snrs

            facts["snr"] = pd.Series(compute_snrs(analyzer)).reindex(facts.index)
    return sorting, facts


def _property(sorting: BaseSorting, *names: str) -> np.ndarray:
    for name in names:
        values = sorting.get_property(name)
        if values is not None:
            return np.asarray(values, dtype="float64")
    return np.full(sorting.get_num_units(), np.nan)
