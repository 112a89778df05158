"""Scenarios for the motion estimators: mean error of the displacement, in um."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from . import peaks as sets
from .scenarios import Scenario

WINDOWS = dict(win_step_um=200.0, win_scale_um=300.0, win_margin_um=0.0)
SEEDS = (0,)
MakePeaks = Callable[[int], sets.PeakSet]


def estimate(peak_set: sets.PeakSet, method: str, **arguments: Any) -> Any:
    """Estimate the motion with SpikeInterface's own call."""
    from spikeinterface.sortingcomponents.motion import estimate_motion

    import steadyspike  # noqa: F401  (enters the estimators into SpikeInterface's table)

    return estimate_motion(
        peak_set.recording,
        peak_set.peaks,
        peak_set.peak_locations,
        method=method,
        progress_bar=False,
        **WINDOWS | arguments,
    )


@cache
def _made(make: MakePeaks, seed: int) -> sets.PeakSet:
    return make(seed)


def mean_error(make: MakePeaks, method: str, from_s: float = 0.0, **arguments: Any) -> float:
    """Mean error in um over a few sets of peaks."""
    errors = []
    for seed in SEEDS:
        peak_set = _made(make, seed)
        errors.append(peak_set.error_um(estimate(peak_set, method, **arguments), from_s))
    return float(np.mean(errors))


def auto_error(make: MakePeaks) -> float:
    """Mean error in um along the probe of `steady_auto`, which chooses windows and time bins."""
    peak_set = _made(make, 0)
    return peak_set.error_on_probe_um(estimate(peak_set, "steady_auto", follow_verdict=False))


def zigzag(seed: int) -> sets.PeakSet:
    """15 um up and down."""
    return sets.make_peaks(sets.zigzag, 100, seed=seed)


def steps(seed: int) -> sets.PeakSet:
    """Sudden jumps, of which one bends the tissue."""
    return sets.make_peaks(sets.steps, 100, seed=seed)


def random_walk(seed: int) -> sets.PeakSet:
    """1.5 um more or less each second."""
    return sets.make_peaks(sets.random_walk(1.5, 100, seed), 100, seed=seed)


def few_units(seed: int) -> sets.PeakSet:
    """12 units on 960 um."""
    return sets.make_peaks(sets.slow, 100, num_units=12, seed=seed)


def sparse_spikes(seed: int) -> sets.PeakSet:
    """Each unit fires every 3 s."""
    return sets.make_peaks(sets.slow, 100, rate_hz=0.33, seed=seed)


def very_sparse(seed: int) -> sets.PeakSet:
    """Each unit fires every 5 s: a short warm-up sees hardly 200 spikes."""
    return sets.make_peaks(sets.slow, 100, rate_hz=0.2, seed=seed)


def zigzag_of_few_spikes(seed: int) -> sets.PeakSet:
    """15 um up and down, each unit fires every 20 s: in a second, a window sees less than one spike."""
    return sets.make_peaks(sets.zigzag, 200, rate_hz=0.05, seed=seed)


def still(seed: int) -> sets.PeakSet:
    """Nothing moves."""
    return sets.make_peaks(sets.still, 100, rate_hz=0.5, seed=seed)


def nonrigid(seed: int) -> sets.PeakSet:
    """Waves along the probe on a stretch."""
    return sets.make_peaks(sets.nonrigid, 100, seed=seed)


def rates_change(seed: int) -> sets.PeakSet:
    """Half of the units fall silent or begin to fire in the middle."""
    return sets.make_peaks(sets.slow, 100, activity=sets.units_change(100), seed=seed)


def bursts(seed: int) -> sets.PeakSet:
    """Artifacts: peaks from anywhere."""
    return sets.make_peaks(sets.slow, 100, bursts_s=[10, 30, 31, 50.5, 77], seed=seed)


def gap(seed: int) -> sets.PeakSet:
    """15 s without spikes."""
    return sets.make_peaks(sets.slow, 100, activity=sets.silent_between(40, 55), seed=seed)


def silent_end(seed: int) -> sets.PeakSet:
    """A random walk, and 30 s without spikes at its end: the best guess is where it was last."""
    activity = sets.silent_between(70, 100)
    return sets.make_peaks(sets.random_walk(1.0, 100, seed), 100, activity=activity, seed=seed)


def many_in_segments(seed: int) -> sets.PeakSet:
    """Two sessions 100 um apart, of so many units that only amplitudes tell them apart."""

    def motion_of(segment):
        return lambda times_s, depths_um: 100.0 * segment + 5 * np.sin(times_s / 6) + 0.0 * depths_um

    return sets.make_peaks([motion_of(0), motion_of(1)], [20, 20], num_units=300, seed=seed)


def real_noise(seed: int) -> sets.PeakSet:
    """Depths as real localizations have them: 7 um of scatter, a third anywhere, drawn towards the contacts."""
    return sets.make_peaks(
        sets.nonrigid, 100, jitter_um=7.0, outliers=0.3, lattice_um=0.5, rate_hz=6.0, seed=seed
    )


def more_real_noise(seed: int) -> sets.PeakSet:
    """The same of other units, which a prior that holds back steps makes a wrong estimate of."""
    return real_noise(seed + 2)


def hardly_any(seed: int) -> sets.PeakSet:
    """3 spikes per second on the whole probe, of which the top moves much less than the bottom."""

    def motion(times_s, depths_um):
        return 10 * np.sin(times_s / 40) * (1 - 0.9 * depths_um / 940)

    return sets.make_peaks(motion, 300, num_units=20, rate_hz=0.15, seed=seed)


def hardly_any_in_noise(seed: int) -> sets.PeakSet:
    """2 spikes per second on the whole probe, which moves as one, and half as many peaks of noise."""
    return sets.make_peaks(
        sets.zigzag, 300, num_units=20, rate_hz=0.15, outliers=0.33, jitter_um=8.0, seed=seed
    )


def few_sharp_spikes(seed: int) -> sets.PeakSet:
    """2 spikes per second on 220 um that scatter by 2 um: some lie where other units do."""

    def motion(times_s, depths_um):
        return 12 * np.sin(2 * np.pi * times_s / 900) + 0.0 * depths_um

    sharp = dict(num_units=12, rate_hz=0.155, jitter_um=2.0, num_channels=24)
    return sets.make_peaks(motion, 1800, **sharp, seed=seed)


def jerks(seed: int) -> sets.PeakSet:
    """Single seconds in which all peaks lie 12 um away, as after a shock: no drift that a correction should follow."""
    made = sets.make_peaks(sets.slow, 100, rate_hz=1.0, seed=seed)
    seconds = (made.peaks["sample_index"] / sets.SAMPLING_FREQUENCY).astype("int64")
    made.peak_locations["y"][np.isin(seconds, (15, 33, 52, 71, 88))] += 12.0
    return made


def half_silent(seed: int) -> sets.PeakSet:
    """A bend while only the lower half of the probe sees spikes, which comes back."""

    def activity(times_s, units, rng):
        return (units % 2 == 0) | (times_s < 30) | (times_s > 70)

    return sets.make_peaks(sets.nonrigid, 100, num_units=30, rate_hz=2.0, activity=activity, seed=seed)


def others_fire(seed: int) -> sets.PeakSet:
    """Nothing moves, but in the middle most of the spikes are those of others 25 um above."""
    made = sets.make_peaks(sets.still, 100, num_units=40, seed=seed)
    depths = made.peak_locations["y"]
    late = made.peaks["sample_index"] > 50 * sets.SAMPLING_FREQUENCY
    sizes = np.abs(made.peaks["amplitude"])
    relieved = sizes > np.quantile(sizes, 0.44)
    depths[late & relieved] += 25.0
    return made


def hours(seed: int) -> sets.PeakSet:
    """Three hours of slow drift, in which units come and go."""
    duration_s = 3 * 3600.0

    def motion(times_s, depths_um):
        return 25 * np.sin(times_s / 2500) + 0.0 * depths_um

    def activity(times_s, units, rng):
        center = (units * 0.6180339887) % 1.0 * duration_s
        return (np.abs(times_s - center) < 2000) | (units % 20 == 0)

    return sets.make_peaks(motion, duration_s, num_units=100, rate_hz=0.3, activity=activity, seed=seed)


def segments(seed: int) -> sets.PeakSet:
    """Three sessions, 130 and 60 um apart, that also stretch by 40 and 30 um."""

    def motion_of(segment):
        offset, stretch = (0.0, 130.0, -60.0)[segment], (0.0, 40.0, -30.0)[segment]
        return lambda times_s, depths_um: (
            offset + stretch * (depths_um / 940 - 0.5) + 8 * np.sin(times_s / 6 + segment)
        )

    return sets.make_peaks(
        [motion_of(segment) for segment in range(3)], [30, 30, 30], num_units=100, rate_hz=2.0, seed=seed
    )


def few_in_segments(seed: int) -> sets.PeakSet:
    """Two sessions 50 um apart, of 10 units."""

    def motion_of(segment):
        return lambda times_s, depths_um: 50.0 * segment + 5 * np.sin(times_s / 6) + 0.0 * depths_um

    return sets.make_peaks([motion_of(0), motion_of(1)], [40, 40], num_units=10, seed=seed)


def far_drift(seed: int) -> sets.PeakSet:
    """A drift over 300 um, farther than pairs look."""

    def motion(times_s, depths_um):
        return 3.0 * times_s + 5.0 * np.sin(times_s / 3) + 0.0 * depths_um

    return sets.make_peaks(motion, 100, rate_hz=1.0, num_units=80, seed=seed)


def sparse_far_drift(seed: int) -> sets.PeakSet:
    """The same with few spikes: what came long before tells little."""

    def motion(times_s, depths_um):
        return 3.0 * times_s + 0.0 * depths_um

    return sets.make_peaks(motion, 100, rate_hz=0.1, num_units=80, seed=seed)


def calm_then_rough(seed: int) -> sets.PeakSet:
    """200 s without motion, then a random walk of 4 um each second."""
    walk = sets.random_walk(4.0, 100, seed)

    def motion(times_s, depths_um):
        return np.where(times_s < 200, 0.0, walk(np.maximum(times_s - 200, 0.0), depths_um))

    return sets.make_peaks(motion, 240, rate_hz=1.0, seed=seed)


def far_jumps(seed: int) -> sets.PeakSet:
    """Jumps of 60 um that bend the tissue by half, and of 5 um."""

    def motion(times_s, depths_um):
        return 60.0 * (times_s >= 60) * (1.25 - 0.5 * depths_um / 940) + 5.0 * (times_s >= 40)

    return sets.make_peaks(motion, 100, seed=seed)


def trust_error(make: MakePeaks) -> float:
    """How wrong the trust is: what noise is given, and what spikes that fit are not."""
    values = []
    for seed in SEEDS:
        _, extra = estimate(_made(make, seed), "steady_decentralized", extra_outputs=True)
        counts = np.arange(100)
        noise = np.isin(counts, NOISE_S)
        values.append(extra["explained"][noise].mean() + 1.0 - extra["explained"][~noise].mean())
    return float(np.mean(values))


NOISE_S = (20, 21, 40, 41, 60, 61, 80, 81)


def wrong_pairs() -> float:
    """Error in um of the displacement from pairs of time bins, 40 % of which are wrong, most by the same 40 um."""
    from steadyspike.kernels.motion import pair_least_squares
    from steadyspike.kernels.motion.pairwise_shift import lag_schedule

    rng = np.random.default_rng(0)
    truth = np.cumsum(rng.standard_normal((150, 4)), axis=0)
    lags = lag_schedule(150, 1000)
    shifts = np.zeros((lags.size, 150, 4), dtype="float32")
    for index, lag in enumerate(lags):
        shifts[index, :-lag] = truth[lag:] - truth[:-lag]
    shifts += 2.0 * rng.standard_normal(shifts.shape)
    wrong = rng.uniform(size=shifts.shape) < 0.4
    shifts[wrong] += np.where(
        rng.uniform(size=int(wrong.sum())) < 0.7, 40.0, rng.uniform(-90, 90, int(wrong.sum()))
    )
    weights = np.ones_like(shifts)
    found = pair_least_squares.solve_pairwise(lags, shifts, weights, pair_least_squares.OUTLIER_UM)
    difference = found - truth
    return float(np.abs(difference - np.median(difference, axis=0)).mean())


def noise_bins(seed: int) -> sets.PeakSet:
    """A few seconds with one or two peaks of noise in place of the units'."""
    made = sets.make_peaks(sets.slow, 100, rate_hz=1.0, seed=seed)
    rng = np.random.default_rng(seed)
    seconds = (made.peaks["sample_index"] / sets.SAMPLING_FREQUENCY).astype("int64")
    noise = np.isin(seconds, NOISE_S)
    kept = ~noise | (rng.uniform(size=noise.size) < 0.1)
    depths = made.peak_locations["y"]
    depths[noise] = rng.uniform(-20, 960, int(noise.sum()))
    return sets.PeakSet(
        made.recording, made.peaks[kept], made.peak_locations[kept], made.motions, made.rest_um[kept]
    )


def _scenarios() -> list[Scenario]:
    every = [zigzag, steps, random_walk, few_units, sparse_spikes, still, nonrigid, rates_change]
    every += [bursts, gap, real_noise]
    made = []

    def add(group, makes, method, how="", **arguments):
        for make in makes:
            name = f"{group}: {make.__name__.replace('_', ' ')}" + (f", {how}" if how else "")
            error = partial(mean_error, make, method, **arguments)
            made.append(Scenario(name, group, "um", error, make.__doc__ or ""))

    add("offline", [*every, silent_end, jerks, half_silent, others_fire, far_drift], "steady_decentralized")
    add("offline", [more_real_noise], "steady_decentralized")
    add("offline", [few_sharp_spikes], "steady_decentralized", bin_s=2.0)
    add("offline", [hours], "steady_decentralized", bin_s=60.0)
    add(
        "pairs",
        [zigzag, nonrigid, real_noise, steps, few_units, bursts],
        "steady_decentralized",
        refine_iterations=0,
    )
    add("segments", [segments, few_in_segments], "steady_decentralized")
    add(
        "segments",
        [segments, few_in_segments, many_in_segments],
        "steady_decentralized",
        "before refinement",
        refine_iterations=0,
    )
    online = dict(online=True, online_warmup_s=20.0, from_s=20.0)
    add("online", [*every, far_jumps, calm_then_rough], "steady_decentralized", **online)
    add("online", [very_sparse, zigzag_of_few_spikes], "steady_decentralized", **online)
    add("online", [segments, few_in_segments], "steady_decentralized", online=True, online_warmup_s=10.0)
    add("cloud", [few_units, nonrigid], "steady_point_cloud", refine_iterations=0)
    add(
        "template",
        [steps, nonrigid, sparse_spikes, far_drift],
        "steady_iterative_template",
        refine_iterations=0,
    )
    add("template", [sparse_far_drift], "steady_iterative_template", refine_iterations=0)
    made.append(Scenario("pairs: wrong pairs", "pairs", "um", wrong_pairs, "40 % of the pairs are wrong."))
    made.append(
        Scenario(
            "trust: seconds of noise",
            "trust",
            "1",
            partial(trust_error, noise_bins),
            noise_bins.__doc__ or "",
        )
    )
    for make in (nonrigid, hardly_any, hardly_any_in_noise, few_sharp_spikes):
        error = partial(auto_error, make)
        made.append(
            Scenario(f"auto: {make.__name__.replace('_', ' ')}", "auto", "um", error, make.__doc__ or "")
        )
    return made


SCENARIOS = _scenarios()
