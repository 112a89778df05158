"""Drift metrics on units whose amplitude or rate leaks the displacement, or doesn't."""

import numpy as np
import pytest
from scipy.stats import wilcoxon
from spikeinterface.core.motion import Motion

from steadyspike.evaluation import compare_drift_metrics, drift_metrics, drift_metrics_from_spikes
from steadyspike.evaluation.binned_units import bin_units, starts_of_kept, trend_blocks

NUM_UNITS = 8
NUM_BINS = 300
WINDOWS = np.array([0.0, 1000.0])
DEPTHS = np.linspace(0, 1000, NUM_UNITS)
FEW = dict(num_permutations=199, bin_s=1.0)


def simulate(amplitude_leak=0.0, rate_leak=0.0, seed=0, cuts=()):
    """Draw spikes of units of which the odd ones follow the displacement; half as much at the top."""
    rng = np.random.default_rng(seed)
    wander = np.convolve(rng.normal(size=NUM_BINS), np.hanning(20), mode="same")
    wander *= 20 / wander.std()
    times = np.arange(NUM_BINS) + 0.5
    displacement = np.outer(wander, [1.0, 0.5])
    second = np.searchsorted(cuts, times)
    motion = Motion(
        [displacement[second == k] for k in range(len(cuts) + 1)],
        [times[second == k] for k in range(len(cuts) + 1)],
        WINDOWS,
    )
    spikes = []
    for unit in range(NUM_UNITS):
        moved = wander * (1 - 0.5 * DEPTHS[unit] / 1000)
        odd = unit % 2
        count = rng.poisson(12 * np.exp(odd * rate_leak * moved / 20))
        bins = np.repeat(np.arange(NUM_BINS), count)
        size = -80 * (1 - odd * amplitude_leak * (moved[bins] / 40) ** 2) * rng.normal(1, 0.1, bins.size)
        spikes.append(
            (bins + rng.random(bins.size), np.full(bins.size, unit), size, np.searchsorted(cuts, bins + 0.5))
        )
    times, units, amplitudes, segments = (np.concatenate(part) for part in zip(*spikes, strict=True))
    return dict(
        spike_times_s=times,
        spike_unit_ids=units,
        motion=motion,
        amplitudes=amplitudes,
        segment_index=segments,
        unit_depths_um=DEPTHS,
    )


@pytest.fixture(scope="module")
def leaky():
    return drift_metrics_from_spikes(**simulate(0.8, 0.7), **FEW)


@pytest.fixture(scope="module")
def steady():
    return drift_metrics_from_spikes(**simulate(), **FEW)


ODD = np.arange(NUM_UNITS) % 2 == 1


@pytest.mark.parametrize("column", ["amplitude_xi", "amplitude_codec", "rate_xi", "rate_codec"])
def test_units_that_follow_the_displacement_are_found(leaky, column):
    found = (leaky.units[f"{column}_qvalue"] <= 0.05).to_numpy()
    assert found[ODD].all()
    assert found[~ODD].sum() <= 1
    assert leaky.units[column][ODD].median() > leaky.units[column][~ODD].median() + 0.1


def test_given_time_finds_what_a_trend_does_not_explain(leaky):
    assert (leaky.units["amplitude_codec_given_time_pvalue"][ODD] <= 0.05).sum() >= 3


def test_population_follows_the_displacement(leaky, steady):
    population = leaky.recording.set_index(["signal", "measure"]).loc["population"]
    assert population.loc["xi", "pvalue"] <= 0.05
    assert population.loc["codec", "value"] > 0.3
    assert np.corrcoef(leaky.series["population"], leaky.series["displacement_um"])[0, 1] > 0.7
    other = steady.recording.set_index(["signal", "measure"]).loc["population"]
    assert other.loc["xi", "value"] < 0.2


def test_units_that_do_not_are_not(steady):
    rows = steady.recording[steady.recording["signal"] != "population"]
    assert (rows["value"].abs() < 0.1).all()
    assert rows["num_significant"].sum() <= 2
    assert rows["num_units"].tolist() == [NUM_UNITS] * 6


def test_tables_are_those_that_are_promised(leaky):
    columns = ["depth_um", "num_spikes", "rate_hz", "displacement_range_um"]
    for signal in ("amplitude", "rate"):
        columns.append(f"{signal}_num_bins")
        for measure in ("xi", "codec", "codec_given_time"):
            columns += [f"{signal}_{measure}{end}" for end in ("", "_pvalue", "_qvalue")]
    assert set(leaky.units.columns) == set(columns)
    assert leaky.units.index.name == "unit_id"
    ranges = leaky.units["displacement_range_um"].to_numpy()
    assert ranges[-1] == pytest.approx(ranges[0] / 2)
    amplitude = leaky.recording.iloc[0]
    assert amplitude["num_significant"] == (leaky.units["amplitude_xi_qvalue"] <= 0.05).sum()
    assert amplitude["value"] == pytest.approx(leaky.units["amplitude_xi"].median())
    assert f"{amplitude['num_significant']} of 8 units significant" in repr(leaky)
    assert leaky.parameters["trend_s"] == 30.0


def test_same_seed_same_numbers_and_order_of_spikes_is_nothing():
    arrays = simulate(0.3)
    order = np.random.default_rng(5).permutation(arrays["spike_times_s"].size)
    keys = ("spike_times_s", "spike_unit_ids", "amplitudes", "segment_index")
    mixed = {**arrays, **{key: arrays[key][order] for key in keys}}
    first, second = (drift_metrics_from_spikes(**given, **FEW) for given in (arrays, mixed))
    assert first.units.equals(second.units)
    other = drift_metrics_from_spikes(**arrays, **FEW, seed=1)
    assert not first.units.equals(other.units)


def test_several_segments():
    metrics = drift_metrics_from_spikes(**simulate(0.8, cuts=(110.0,)), **FEW)
    assert metrics.series.groupby("segment_index").size().tolist() == [110, 190]
    assert (metrics.units["amplitude_xi_qvalue"] <= 0.05).to_numpy()[ODD].sum() >= 3


def test_without_amplitudes_and_depths():
    arrays = simulate(0, 0.7)
    arrays.update(amplitudes=None, unit_depths_um=None)
    metrics = drift_metrics_from_spikes(**arrays, **FEW)
    assert not [name for name in metrics.units if name.startswith("amplitude")]
    assert set(metrics.recording["signal"]) == {"rate", "population"}
    assert metrics.units["depth_um"].isna().all()
    assert (metrics.units["rate_xi_qvalue"] <= 0.05).to_numpy()[ODD].sum() >= 3


def test_before_and_after(leaky, steady):
    table = compare_drift_metrics(leaky, steady).set_index(["signal", "measure"])
    row = table.loc[("rate", "xi")]
    assert row["change"] == pytest.approx(row["after"] - row["before"])
    assert row["change"] < 0
    assert row["test"] == "wilcoxon"
    assert row["pvalue"] == wilcoxon(leaky.units["rate_xi"], steady.units["rate_xi"]).pvalue
    assert row["fraction_significant_before"] > row["fraction_significant_after"]
    assert np.isnan(table.loc[("population", "xi"), "pvalue"])
    others = drift_metrics_from_spikes(
        **{**simulate(), "unit_ids": [*range(NUM_UNITS), 99], "unit_depths_um": None}, **FEW
    )
    assert compare_drift_metrics(leaky, others)["test"][0] == "mannwhitneyu"
    same = compare_drift_metrics(steady, steady)
    assert same["change"].eq(0).all()
    assert same["pvalue"].isna().all()


# nasty input


def test_units_with_few_spikes_and_silent_units_are_nan():
    arrays = simulate()
    kept = (arrays["spike_unit_ids"] != 3) | (arrays["spike_times_s"] < 10)
    keys = ("spike_times_s", "spike_unit_ids", "amplitudes", "segment_index")
    arrays.update({key: arrays[key][kept] for key in keys})
    arrays.update(unit_ids=[*range(NUM_UNITS), 42], unit_depths_um=np.append(DEPTHS, 0.0))
    units = drift_metrics_from_spikes(**arrays, **FEW).units
    assert units.loc[3, "amplitude_num_bins"] <= 10
    assert np.isnan(units.loc[3, "amplitude_xi"])
    assert np.isnan(
        units.loc[42, ["amplitude_xi", "amplitude_xi_qvalue", "rate_xi", "rate_codec"]].astype(float)
    ).all()
    assert units.loc[[0, 1, 2], "amplitude_xi"].notna().all()


def test_no_spikes_no_drift_and_few_bins():
    motion = simulate()["motion"]
    empty = drift_metrics_from_spikes(np.zeros(0), np.zeros(0, dtype=int), motion, amplitudes=np.zeros(0))
    assert len(empty.units) == 0
    assert empty.recording["value"].isna().all()
    silent = drift_metrics_from_spikes(np.zeros(0), np.zeros(0, dtype=int), motion, unit_ids=["a", "b"])
    assert silent.units["rate_xi"].isna().all()
    still = Motion(np.zeros((NUM_BINS, 1)), np.arange(NUM_BINS) + 0.5, np.array([0.0]))
    metrics = drift_metrics_from_spikes(**{**simulate(), "motion": still}, **FEW)
    assert metrics.units["amplitude_xi"].isna().all()
    assert metrics.recording["num_significant"].dropna().eq(0).all()
    short = drift_metrics_from_spikes(**simulate(), bin_s=100.0)
    assert short.units["rate_xi"].isna().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(bin_s=0), "bin_s=0"),
        (dict(trend_s=-1), "trend_s=-1"),
        (dict(num_permutations=0), "num_permutations=0"),
        (dict(min_spikes_per_bin=0), "min_spikes_per_bin=0"),
        (dict(fdr=1.0), "fdr=1.0"),
        (dict(seed=-1), "seed=-1"),
        (dict(unit_ids=[0, 1]), "ids that unit_ids holds"),
        (dict(unit_ids="ab"), "unit_ids='ab'; allowed: a list of ids"),
        (dict(unit_ids=[0, 0, 1]), "unit_ids=.*each once"),
        (dict(unit_depths_um=[1.0]), "each of the 8 units"),
        (dict(amplitudes=np.zeros(3)), "amplitudes=.*one value for each"),
        (dict(segment_index=np.full(10**5, 1)), "segment_index="),
        (dict(motion="dredge"), "Motion"),
    ],
)
def test_refusals(change, message):
    arrays = {**simulate(), **change}
    if "segment_index" in change:
        arrays["segment_index"] = np.ones(arrays["spike_times_s"].size, dtype=int)
    with pytest.raises(ValueError, match=f"^drift_metrics: .*{message}"):
        drift_metrics_from_spikes(**arrays)


def test_not_a_number_is_refused():
    arrays = simulate()
    arrays["amplitudes"][5] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        drift_metrics_from_spikes(**arrays)
    with pytest.raises(ValueError, match="motion has 2"):
        drift_metrics_from_spikes(**{**simulate(cuts=(50.0,)), "segment_index": None})


# binning


def test_bins_against_a_loop():
    rng = np.random.default_rng(0)
    times, units, segments = rng.uniform(-2, 25, 400), rng.integers(3, size=400), rng.integers(2, size=400)
    amplitudes = -rng.uniform(10, 90, 400)
    motion = Motion(
        [rng.normal(size=(20, 2)), rng.normal(size=(9, 2))],
        [np.arange(20) + 0.5, 4.5 + np.arange(9)],
        WINDOWS,
    )
    binned = bin_units(times, units, segments, amplitudes, np.array([0.0, 500.0, 2000.0]), 3, motion, 3.0, 4)
    assert binned.starts.tolist() == [0, 6, 9]
    lows = [*(3.0 * np.arange(6)), 4.0, 7.0, 10.0]
    for place, low in enumerate(lows):
        for unit in range(3):
            chosen = (segments == (place >= 6)) & (units == unit) & (times >= low) & (times < low + 3)
            assert binned.rate_hz[unit, place] == pytest.approx(chosen.sum() / 3)
            expected = np.median(-amplitudes[chosen]) if chosen.sum() >= 4 else np.nan
            np.testing.assert_allclose(binned.amplitude[unit, place], expected)
        depth_values = motion.get_displacement_at_time_and_depth(
            np.full(3, low + 1.5), np.array([0.0, 500.0, 1000.0]), segment_index=int(place >= 6)
        )
        np.testing.assert_allclose(binned.displacement_um[:, place], depth_values)


def test_blocks():
    assert trend_blocks(np.array([0, 10, 17]), 5).tolist() == [0, 5, 10, 17]
    kept = np.array([True, False, False, True, True])
    assert starts_of_kept(np.array([0, 1, 3, 5]), kept).tolist() == [0, 1, 3]


# SpikeInterface


@pytest.fixture(scope="module")
def analyzer():
    from spikeinterface import create_sorting_analyzer, generate_ground_truth_recording

    recording, sorting = generate_ground_truth_recording(
        durations=[30.0, 20.0], num_channels=8, num_units=4, sampling_frequency=10_000.0, seed=0
    )
    recording.shift_times(100.0)
    analyzer = create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates", "spike_amplitudes", "unit_locations"])
    return analyzer


def motion_of(analyzer):
    times = [100.25 + 0.5 * np.arange(round(2 * seconds)) for seconds in (30, 20)]
    return Motion([np.outer(np.sin(t), [10.0, 5.0]) for t in times], times, np.array([0.0, 200.0]))


def test_analyzer_gives_times_amplitudes_and_depths(analyzer):
    motion = motion_of(analyzer)
    arguments = dict(bin_s=1.0, num_permutations=50, min_spikes_per_bin=1)
    metrics = drift_metrics(analyzer, motion, **arguments)
    spikes = analyzer.sorting.to_spike_vector()
    depths = analyzer.get_extension("unit_locations").get_data()[:, 1]
    expected = drift_metrics_from_spikes(
        100.0 + spikes["sample_index"] / 10_000.0,
        analyzer.unit_ids[spikes["unit_index"]],
        motion,
        amplitudes=analyzer.get_extension("spike_amplitudes").get_data(),
        segment_index=spikes["segment_index"],
        unit_depths_um=depths,
        unit_ids=analyzer.unit_ids,
        **arguments,
    )
    assert metrics.units.equals(expected.units)
    assert metrics.units.index.tolist() == list(analyzer.unit_ids)
    assert metrics.units["num_spikes"].sum() == spikes.size
    assert metrics.series["time_s"].iloc[0] == pytest.approx(100.5)


def test_sortings_give_rates(analyzer):
    motion = motion_of(analyzer)
    metrics = drift_metrics(
        analyzer.sorting, motion, recording=analyzer.recording, bin_s=1.0, num_permutations=50
    )
    assert "amplitude_xi" not in metrics.units
    assert metrics.units["rate_hz"].gt(0).all()
    with pytest.raises(ValueError, match=r"sorting_analyzer\.num_segments=2; allowed: 1, as motion has"):
        drift_metrics(analyzer, simulate()["motion"])
