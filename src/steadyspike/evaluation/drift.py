"""Whether a sorting still depends on how the tissue moved.

Units that a correction has put right don't care where the tissue was: neither their amplitude nor their rate
depends on the displacement. Measured here by Chatterjee's xi and by Azadkia and Chatterjee's T, which see a
dependence of any shape, and judged against series that were turned around in time (see
`steadyspike.kernels.motion.dependence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.core.arguments import refuse
from steadyspike.core.settings import Settings, parameter, takes
from steadyspike.evaluation.binned_units import bin_units, trend_blocks
from steadyspike.evaluation.drift_tables import dependence, first_component, recording_table, unit_table
from steadyspike.motion.grids import checked_motion

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface import BaseRecording, BaseSorting, SortingAnalyzer

TRENDS_PER_RECORDING = 10


@dataclass(frozen=True, repr=False)
class DriftMetrics:
    """How a sorting depends on the displacement.

    Attributes
    ----------
    units : pandas.DataFrame
        One row per unit: `depth_um`, `num_spikes`, `rate_hz`, `displacement_range_um`, and for each of
        "amplitude" and "rate" the number of bins (`amplitude_num_bins`), and for each measure ("xi", "codec",
        "codec_given_time") its value (`amplitude_xi`), the p-value (`amplitude_xi_pvalue`) and the p-value
        after Benjamini and Hochberg over the units (`amplitude_xi_qvalue`). NaN where a unit has too few bins.
    recording : pandas.DataFrame
        One row per signal ("amplitude", "rate", "population") and measure: `value` (the median over units; of
        the population that of its first principal component), `pvalue` (the population's), `num_units`,
        `num_significant` and `fraction_significant` (units whose q-value is at most `fdr`).
    series : pandas.DataFrame
        One row per bin: `segment_index`, `time_s`, `displacement_um` (mean over the windows) and `population`
        (the first principal component; its sign is that of its correlation with the displacement).
    parameters : dict
        What it was computed with.
    """

    units: pd.DataFrame
    recording: pd.DataFrame
    series: pd.DataFrame
    parameters: dict[str, Any]

    def __repr__(self) -> str:
        lines = [f"DriftMetrics of {len(self.units)} units in {len(self.series)} bins"]
        for row in self.recording.itertuples():
            units = f"{row.num_significant} of {row.num_units} units significant"
            judged = f"p = {row.pvalue:.3g}" if row.signal == "population" else units
            lines.append(f"  {row.signal:10} {row.measure:16} {row.value:6.3f}   {judged}")
        return "\n".join(lines)


class DriftSettings(Settings):
    """Parameters of `drift_metrics`."""

    part = "drift_metrics"

    bin_s: float = parameter(
        5.0, "Width of the time bins. A p-value is at least 1 / number of bins", unit="s", gt=0
    )
    min_spikes_per_bin: int = parameter(3, "A bin with fewer spikes of a unit has no amplitude", ge=1)
    trend_s: float | None = parameter(
        None,
        """Length of the stretches that stand for the slow trend; None: a tenth of the recording, and no less than ten
        bins""",
        unit="s",
        gt=0,
    )
    num_permutations: int = parameter(1000, "Number of circular shifts", ge=1)
    fdr: float = parameter(0.05, "Rate of false discoveries among the units called significant", gt=0, lt=1)
    seed: int = parameter(0, "Of the shifts and of the order of ties", ge=0)


_refuse = partial(refuse, part=DriftSettings.part)


@takes(DriftSettings)
def drift_metrics(
    sorting_analyzer: SortingAnalyzer | BaseSorting,
    motion: Motion,
    *,
    recording: BaseRecording | None = None,
    unit_depths_um: np.ndarray | None = None,
    settings: DriftSettings,
) -> DriftMetrics:
    """Measure how amplitudes, rates and population activity of a sorting depend on the displacement.

    For each unit, the median absolute amplitude and the firing rate in each time bin are compared with the
    displacement at the unit's depth; for the recording, the first principal component of all z-scored rates
    with the mean displacement. Chatterjee's xi and Azadkia and Chatterjee's T say how far one is a function
    of the other (0: not at all, 1: wholly); T given time says what the displacement adds to a slow trend, the
    stretch of `trend_s` in which a bin lies. The p-value is the share of circular shifts of the series, within
    each segment, that give as much: ``(1 + count) / (1 + num_permutations)``. Shifts keep each series' own
    slowness, which shuffling would not. What changes steadily over the whole recording, both in the tissue and
    in the units for reasons of their own, still looks dependent by xi and T: there, go by T given time.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer or BaseSorting
        An analyzer with the extensions "spike_amplitudes" and "unit_locations". A sorting, or an analyzer
        without amplitudes, gets rates and population only.
    motion : Motion
        The estimated motion, of the same segments.
    recording : BaseRecording or None, default: None
        Gives the spikes' times. None: the analyzer's own; without one, times start at 0.
    unit_depths_um : ndarray, shape (num_units,), or None, default: None
        Depths of the units in um. None: from "unit_locations"; without these, each unit is taken to move as
        the mean over the windows.
    {settings}

    Returns
    -------
    metrics : DriftMetrics

    Raises
    ------
    ValueError
        If an argument is out of its range, or sorting, recording and motion differ in their segments.

    References
    ----------
    Chatterjee, S. (2021), Journal of the American Statistical Association 116, 2009-2022.
    Azadkia, M., & Chatterjee, S. (2021), Annals of Statistics 49, 3070-3102.
    """
    from spikeinterface import SortingAnalyzer

    motion = checked_motion(settings.part, motion)
    sorting, amplitudes = sorting_analyzer, None
    if isinstance(sorting_analyzer, SortingAnalyzer):
        sorting = sorting_analyzer.sorting
        if sorting_analyzer.has_extension("spike_amplitudes"):
            amplitudes = sorting_analyzer.get_extension("spike_amplitudes").get_data()
        if unit_depths_um is None and sorting_analyzer.has_extension("unit_locations"):
            unit_depths_um = sorting_analyzer.get_extension("unit_locations").get_data()[:, motion.dim]
        if recording is None and (
            sorting_analyzer.has_recording() or sorting_analyzer.has_temporary_recording()
        ):
            recording = sorting_analyzer.recording
    for name, other in [("sorting_analyzer", sorting), ("recording", recording)]:
        if other is not None and other.get_num_segments() != motion.num_segments:
            _refuse(f"{name}.num_segments", other.get_num_segments(), f"{motion.num_segments}, as motion has")
    spikes = sorting.to_spike_vector()
    return drift_metrics_from_spikes(
        _spike_times(spikes, sorting, recording),
        sorting.unit_ids[spikes["unit_index"]],
        motion,
        amplitudes=amplitudes,
        segment_index=spikes["segment_index"],
        unit_ids=sorting.unit_ids,
        unit_depths_um=unit_depths_um,
        **settings.values(),
    )


@takes(DriftSettings)
def drift_metrics_from_spikes(
    spike_times_s: np.ndarray,
    spike_unit_ids: np.ndarray,
    motion: Motion,
    *,
    amplitudes: np.ndarray | None = None,
    segment_index: np.ndarray | None = None,
    unit_ids: Sequence[Any] | np.ndarray | None = None,
    unit_depths_um: np.ndarray | None = None,
    settings: DriftSettings,
) -> DriftMetrics:
    """Compute `drift_metrics` of plain arrays.

    Parameters
    ----------
    spike_times_s : ndarray, shape (num_spikes,)
        In s, on the clock of the motion; in any order. Spikes outside the motion's bins are not used.
    spike_unit_ids : ndarray, shape (num_spikes,)
        Which unit fired.
    motion : Motion
        The estimated motion.
    amplitudes : ndarray, shape (num_spikes,), or None, default: None
        Of any sign and unit. None: rates and population only.
    segment_index : ndarray, shape (num_spikes,), or None, default: None
        Of each spike. None: all in the only segment.
    unit_ids : sequence or None, default: None
        The units, in the order of the table. None: those that fired, sorted.
    unit_depths_um : ndarray, shape (num_units,), or None, default: None
        Depth of each of `unit_ids` in um. None: each moves as the mean over the windows.
    {settings}

    Returns
    -------
    metrics : DriftMetrics
    """
    import pandas as pd

    motion, bin_s, seed = checked_motion(settings.part, motion), settings.bin_s, settings.seed
    times, segments, amplitudes = _checked_spikes(
        spike_times_s, spike_unit_ids, segment_index, amplitudes, motion
    )
    ids = np.unique(spike_unit_ids) if unit_ids is None else np.asarray(unit_ids)
    if ids.ndim != 1 or ids.size != np.unique(ids).size:
        refuse("unit_ids", unit_ids, "a list of ids of units, each once", DriftSettings.part)
    units = pd.Index(ids).get_indexer(np.asarray(spike_unit_ids))
    if (units < 0).any():
        _refuse("spike_unit_ids", np.asarray(spike_unit_ids)[units < 0][0], "ids that unit_ids holds")
    depths = None if unit_depths_um is None else np.asarray(unit_depths_um, dtype="float64")
    if depths is not None and (depths.shape != ids.shape or not np.isfinite(depths).all()):
        allowed = f"one finite depth in um for each of the {ids.size} units"
        _refuse("unit_depths_um", unit_depths_um, allowed)

    binned = bin_units(
        times, units, segments, amplitudes, depths, ids.size, motion, bin_s, settings.min_spikes_per_bin
    )
    num_bins = int(binned.starts[-1])
    trend_bins = (
        max(10, num_bins // TRENDS_PER_RECORDING)
        if settings.trend_s is None
        else max(2, round(settings.trend_s / bin_s))
    )
    trends = trend_blocks(binned.starts, trend_bins)
    table = unit_table(
        binned, ids, np.bincount(units, minlength=ids.size), depths, trends, settings.num_permutations, seed
    )
    population = first_component(binned)
    judged = dependence(
        population,
        binned.mean_displacement_um,
        binned.starts,
        trends,
        settings.num_permutations,
        [seed, ids.size],
    )
    return DriftMetrics(
        units=table,
        recording=recording_table(table, judged, settings.fdr),
        series=pd.DataFrame(
            {
                "segment_index": np.repeat(np.arange(motion.num_segments), np.diff(binned.starts)),
                "time_s": binned.times_s,
                "displacement_um": binned.mean_displacement_um,
                "population": population,
            }
        ),
        parameters={**settings.values(), "trend_s": trend_bins * bin_s},
    )


def compare_drift_metrics(before: DriftMetrics, after: DriftMetrics) -> pd.DataFrame:
    """Lay the metrics of a sorting before and after a correction side by side.

    Parameters
    ----------
    before, after : DriftMetrics
        Of the same recording, against the same motion. The units need not be the same.

    Returns
    -------
    comparison : pandas.DataFrame
        One row per signal and measure: `before`, `after` and their difference `change` (medians over units; of
        the population the value), `fraction_significant_before` and `_after`, and `pvalue` of the change over
        units: Wilcoxon's signed-rank test if both have the same unit ids, else the Mann-Whitney test; `test`
        names it. NaN for the population.
    """
    keys = ["signal", "measure"]
    columns = [*keys, "value", "fraction_significant"]
    table = before.recording[columns].merge(after.recording[columns], on=keys, suffixes=("_before", "_after"))
    table = table.rename(columns={"value_before": "before", "value_after": "after"})
    table["change"] = table["after"] - table["before"]
    tests = [_test_of_change(before.units, after.units, *row) for row in table[keys].itertuples(index=False)]
    table["pvalue"], table["test"] = [p for p, _ in tests], [name for _, name in tests]
    return table


def _test_of_change(
    before: pd.DataFrame, after: pd.DataFrame, signal: str, measure: str
) -> tuple[float, str]:
    from scipy.stats import mannwhitneyu, wilcoxon

    column = f"{signal}_{measure}"
    if column not in before or column not in after:
        return np.nan, ""
    if before.index.equals(after.index):
        change = (after[column] - before[column]).dropna()
        return float(wilcoxon(change).pvalue) if change.any() else np.nan, "wilcoxon"
    first, second = before[column].dropna(), after[column].dropna()
    return float(mannwhitneyu(first, second).pvalue) if len(first) and len(second) else np.nan, "mannwhitneyu"


def _spike_times(spikes: np.ndarray, sorting: BaseSorting, recording: BaseRecording | None) -> np.ndarray:
    if recording is None:
        return spikes["sample_index"] / sorting.get_sampling_frequency()
    times = np.empty(spikes.size)
    for segment in range(recording.get_num_segments()):
        here = spikes["segment_index"] == segment
        times[here] = recording.sample_index_to_time(spikes["sample_index"][here], segment_index=segment)
    return times


def _checked_spikes(
    times: Any, units: Any, segments: Any, amplitudes: Any, motion: Motion
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    times = np.asarray(times, dtype="float64")
    if segments is None and motion.num_segments > 1:
        _refuse("segment_index", None, f"the segment of each spike, as motion has {motion.num_segments}")
    segments = np.zeros(times.shape, dtype="int64") if segments is None else np.asarray(segments)
    given = {"spike_unit_ids": np.asarray(units), "segment_index": segments}
    if amplitudes is not None:
        amplitudes = given["amplitudes"] = np.asarray(amplitudes, dtype="float64")
    for name, values in given.items():
        if times.ndim != 1 or values.shape != times.shape:
            _refuse(name, values, f"one value for each of the {times.size} spikes")
    if not np.isin(segments, np.arange(motion.num_segments)).all():
        _refuse("segment_index", segments, f"0 to {motion.num_segments - 1}, as motion has them")
    if not np.isfinite(times).all() or (amplitudes is not None and not np.isfinite(amplitudes).all()):
        raise ValueError(
            f"{DriftSettings.part}: spike_times_s or amplitudes hold NaN or infinity; allowed: finite values"
        )
    return times, segments, amplitudes
