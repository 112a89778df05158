import json
from types import SimpleNamespace

import numpy as np
import pytest
from spikeinterface.core.motion import Motion
from spikeinterface.core.node_pipeline import base_peak_dtype
from spikeinterface.generation import NoiseGeneratorRecording

from steadyspike.motion import held_out_evidence
from steadyspike.motion.trust import VERDICTS, motion_trust
from steadyspike.simulation.drift import build_probe

DURATION_S, SEGMENT_S = 120.0, 60.0
RATE_HZ = 30_000.0
WINDOWS = np.array([100.0, 400.0, 700.0])
TIMES = np.arange(0.5, DURATION_S)


def make_recording(durations=(DURATION_S,), num_channels=96):
    recording = NoiseGeneratorRecording(num_channels, RATE_HZ, list(durations), strategy="on_the_fly", seed=0)
    recording.set_probe(build_probe("np1", num_channels))
    return recording


def make_peaks(moved, num_spikes=12_000, num_units=60, seed=0):
    """Peaks of units at rest, moved by `moved(times_s, depths_um)`, with the recording that they belong to."""
    rng = np.random.default_rng(seed)
    rest, sizes = rng.uniform(0, 940, num_units), np.exp(rng.uniform(3.5, 6, num_units))
    times = np.sort(rng.uniform(0, DURATION_S, num_spikes))
    unit = rng.integers(num_units, size=num_spikes)
    peaks = np.zeros(num_spikes, dtype=base_peak_dtype)
    peaks["sample_index"] = np.minimum(times * RATE_HZ, DURATION_S * RATE_HZ - 1)
    peaks["amplitude"] = -sizes[unit] * rng.normal(1, 0.1, num_spikes)
    locations = np.zeros(num_spikes, dtype=[("x", "f8"), ("y", "f8")])
    locations["y"] = rest[unit] + moved(times, rest[unit]) + 5.0 * rng.standard_normal(num_spikes)
    return SimpleNamespace(recording=make_recording(), peaks=peaks, locations=locations)


def rigid(times_s, depths_um):
    return 8.0 * np.sin(2 * np.pi * times_s / 70.0) + 0.0 * depths_um


def non_rigid(times_s, depths_um):
    return rigid(times_s, depths_um) * (1.5 - depths_um / 470.0)


def motion_of(moved, scale=1.0):
    return Motion([scale * moved(TIMES[:, None], WINDOWS)], [TIMES], WINDOWS)


def judge(simulated, motion, **kwargs):
    return motion_trust(simulated.recording, motion, simulated.peaks, simulated.locations, **kwargs)


@pytest.fixture(scope="module")
def drifting():
    return make_peaks(non_rigid)


@pytest.fixture(scope="module")
def still():
    return make_peaks(lambda times, depths: 0.0 * times)


@pytest.fixture(scope="module")
def right(drifting):
    return judge(drifting, motion_of(non_rigid))


def test_real_drift_is_to_be_corrected(right):
    assert right.verdict == "correct"
    assert right.gain > 5 * right.gain_error > 0
    assert right.scale == pytest.approx(1.0, abs=0.1)
    assert right.loss_with < 0.7 * right.loss_without
    # a sine of 24 um, peak to peak, at the lowest window, and one of 0.1 um at the highest
    assert 15 < right.displacement_um < 24


@pytest.mark.parametrize(("up_um", "away_um"), [(0.0, 40.0), (40.0, 0.0), (40.0, 40.0)])
def test_time_bins_away_from_those_around_are_seen_unless_their_spikes_are_there(drifting, up_um, away_um):
    locations, motion = drifting.locations.copy(), motion_of(non_rigid)
    seconds = drifting.peaks["sample_index"] // int(RATE_HZ)
    locations["y"][np.isin(seconds, (30, 70))] += up_um
    motion.displacement[0][[30, 70]] += away_um
    found = motion_trust(drifting.recording, motion, drifting.peaks, locations)
    wild = away_um > up_um
    assert found.verdict == ("do not correct" if wild else "correct")
    assert found.wild_bins == (2 if wild else 0)
    assert ("2 of 120 time bins stand up to 4" in found.reason) == wild


def test_trust_is_high_where_the_motion_is_right_and_low_where_it_is_not(drifting, right):
    assert right.trust[0].shape == (TIMES.size, WINDOWS.size)
    assert (right.trust[0] >= 0).all()
    assert (right.trust[0] <= 1).all()
    motion = motion_of(non_rigid)
    motion.displacement[0][50:60] += 60.0
    wrong = judge(drifting, motion).trust[0]
    assert wrong[50:60].mean() < 0.5 * right.trust[0][50:60].mean()
    assert wrong[70:].mean() > 0.9 * right.trust[0][70:].mean()


def test_evidence_of_the_bins_sums_to_the_gain_and_turns_against_a_wrong_motion(drifting, right):
    assert right.evidence[0].shape == right.trust[0].shape
    assert right.evidence[0].sum() == pytest.approx(right.gain * right.num_spikes)
    motion = motion_of(non_rigid)
    motion.displacement[0][50:60] += 60.0
    wrong = judge(drifting, motion).evidence[0]
    assert wrong[50:60].sum() < 0 < right.evidence[0][50:60].sum()


def test_the_result_is_the_same_again(drifting, right):
    assert judge(drifting, motion_of(non_rigid)).to_dict() == right.to_dict()
    assert judge(drifting, motion_of(non_rigid), seed=1).gain != right.gain


@pytest.mark.parametrize("scale", [-1.0, 3.0])
def test_a_wrong_motion_of_drifting_tissue_is_refused(drifting, scale):
    trust = judge(drifting, motion_of(non_rigid, scale))
    assert trust.verdict == "do not correct"
    assert "does not fit" in trust.reason


def test_half_the_motion_is_worth_correcting_and_told_to_be_half(drifting):
    trust = judge(drifting, motion_of(non_rigid, 0.5))
    assert trust.verdict == "correct"
    assert trust.scale == pytest.approx(2.0, abs=0.3)
    assert "times as far" in trust.reason


def test_a_made_up_motion_of_still_tissue_is_refused(still):
    trust = judge(still, motion_of(rigid))
    assert trust.verdict == "do not correct"
    assert trust.gain < -3 * trust.gain_error
    assert trust.scale == pytest.approx(0.0, abs=0.15)
    assert trust.loss_without < 0.1 * trust.loss_with


def test_a_noisy_estimate_of_still_tissue_gains_nothing(still):
    # the worst estimate: each bin moved to where its own spikes fit best
    best, best_gain = np.zeros((TIMES.size, 1)), np.full(TIMES.size, -np.inf)
    for shift in np.arange(-3.0, 3.5, 0.5):
        motion = Motion([np.full((TIMES.size, 1), shift)], [TIMES], np.array([400.0]))
        spikes = held_out_evidence.gather_spikes(
            still.recording, motion, still.peaks, still.locations, [], 5, 0
        )
        density = held_out_evidence.held_out.HeldOutDensity(
            spikes.depths_um, spikes.marks, spikes.folds, (-100.0, 1100.0), 4, 5
        )
        gains = np.bincount(spikes.time_bins, weights=density.gains(2.0, (-shift,))[0], minlength=TIMES.size)
        best[gains > best_gain, 0] = shift
        best_gain = np.maximum(best_gain, gains)
    assert np.std(best) > 0.2
    trust = judge(still, Motion([best], [TIMES], np.array([400.0])))
    assert trust.gain < 2 * trust.gain_error
    assert trust.verdict == "do not correct"


def test_a_firing_rate_change_is_no_drift():
    simulated = make_peaks(lambda times, depths: 0.0 * times)
    late = simulated.peaks["sample_index"] > DURATION_S * RATE_HZ / 2
    keep = np.where(late, simulated.locations["y"] < 600, simulated.locations["y"] > 300)
    simulated.peaks, simulated.locations = simulated.peaks[keep], simulated.locations[keep]
    step = Motion([np.where(TIMES < 60, -3.0, 3.0)[:, None]], [TIMES], np.array([400.0]))
    assert judge(simulated, step).verdict == "do not correct"


def test_a_harmful_non_rigid_part_is_told():
    simulated = make_peaks(rigid)
    displacement = rigid(TIMES[:, None], WINDOWS)
    displacement = displacement + 6.0 * np.sin(TIMES / 9.0)[:, None] * np.array([1.0, -2.0, 1.0])
    trust = judge(simulated, Motion([displacement], [TIMES], WINDOWS))
    assert trust.verdict == "correct rigidly"
    assert trust.rigid_gain > trust.gain
    assert judge(simulated, motion_of(rigid)).verdict == "correct"


def test_small_and_constant_motions_need_no_correction(drifting):
    assert judge(drifting, motion_of(non_rigid, 0.05)).verdict == "do not correct"
    constant = judge(drifting, motion_of(lambda times, depths: 9.0 + 0.0 * times * depths))
    assert constant.verdict == "do not correct"
    assert constant.displacement_um == 0.0


@pytest.mark.parametrize("count", [0, 1, 7, 250])
def test_few_spikes_cannot_tell(drifting, count):
    chosen = slice(None, None, drifting.peaks.size // count) if count else slice(0)
    peaks, locations = drifting.peaks[chosen][:count], drifting.locations[chosen][:count]
    trust = motion_trust(drifting.recording, motion_of(non_rigid), peaks, locations)
    assert trust.verdict == "cannot tell"
    assert trust.num_spikes == count
    json.dumps(trust.to_dict(), allow_nan=False)


def test_few_time_bins_cannot_tell(drifting):
    motion = Motion([np.array([[0.0], [9.0]])], [np.array([30.0, 90.0])], np.array([400.0]))
    assert judge(drifting, motion).verdict == "cannot tell"
    one = Motion.__new__(Motion)  # its own constructor refuses one bin in some versions
    vars(one).update(vars(motion))
    one.displacement, one.temporal_bins_s = [np.array([[3.0]])], [np.array([60.0])]
    assert judge(drifting, one).verdict == "cannot tell"


def test_contacts_at_one_depth_are_not_corrected(drifting):
    recording = make_recording(num_channels=4)
    recording.set_dummy_probe_from_locations(np.array([[0.0, 0], [50, 0], [100, 0], [150, 0]]))
    trust = motion_trust(recording, motion_of(non_rigid), drifting.peaks, drifting.locations)
    assert trust.verdict == "do not correct"
    assert "one depth" in trust.reason


def test_distant_contacts_are_not_corrected(drifting):
    recording = make_recording(num_channels=6)
    recording.set_dummy_probe_from_locations(np.stack([np.zeros(6), 400.0 * np.arange(6)], axis=1))
    trust = motion_trust(recording, motion_of(non_rigid), drifting.peaks, drifting.locations)
    assert trust.verdict == "do not correct"
    assert "too far apart" in trust.reason


def test_periods_are_left_out(still):
    motion = motion_of(lambda times, depths: np.where((times > 40) & (times < 60), 15.0, 0.0) + 0.0 * depths)
    assert "does not fit" in judge(still, motion).reason
    without = judge(still, motion, periods=[(0, 39.0, 61.0)])
    assert without.displacement_um == 0.0
    assert without.num_spikes < still.peaks.size
    assert not without.trust[0][41:59].any()


def test_several_segments_are_judged_together(drifting, right):
    recording = make_recording((SEGMENT_S, DURATION_S - SEGMENT_S))
    peaks = drifting.peaks.copy()
    late = peaks["sample_index"] >= SEGMENT_S * RATE_HZ
    peaks["segment_index"][late] = 1
    peaks["sample_index"][late] -= int(SEGMENT_S * RATE_HZ)
    whole = motion_of(non_rigid)
    first = TIMES < SEGMENT_S
    # the second segment has bins of its own
    coarse = TIMES[~first][::2] - SEGMENT_S
    motion = Motion(
        [whole.displacement[0][first], whole.displacement[0][~first][::2]], [TIMES[first], coarse], WINDOWS
    )
    trust = motion_trust(recording, motion, peaks, drifting.locations)
    assert trust.verdict == "correct"
    assert [part.shape for part in trust.trust] == [(60, 3), (30, 3)]
    assert trust.gain == pytest.approx(right.gain, rel=0.1)


def test_locations_that_are_not_finite_are_left_out(drifting):
    locations = drifting.locations.copy()
    locations["y"][:100] = np.nan
    locations["y"][100:150] = np.inf
    trust = motion_trust(drifting.recording, motion_of(non_rigid), drifting.peaks, locations)
    assert trust.num_spikes == drifting.peaks.size - 150
    assert trust.verdict == "correct"


def test_a_random_choice_of_many_spikes_is_enough(drifting, right, monkeypatch):
    monkeypatch.setattr(held_out_evidence, "MAX_SPIKES", 6000)
    trust = judge(drifting, motion_of(non_rigid))
    assert (trust.num_spikes, trust.num_spikes_used) == (drifting.peaks.size, 6000)
    assert trust.verdict == "correct"
    assert trust.trust[0].mean() == pytest.approx(right.trust[0].mean(), abs=0.05)


def test_numbers_are_plain_and_the_text_readable(right):
    numbers = right.to_dict()
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert right.verdict in VERDICTS
    assert right.reason.endswith(".")
    assert right.reason in repr(right)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(direction="x"), "direction='x'"),
        (dict(num_folds=1), "num_folds=1"),
        (dict(seed=-1), "seed=-1"),
        (dict(periods=[(0, 5.0, 1.0)]), "periods=.*do not end before they start"),
        (dict(periods=[(1, 0.0, 1.0)]), "periods=.*segment 1"),
    ],
)
def test_arguments_that_cannot_work_are_refused(drifting, arguments, message):
    with pytest.raises(ValueError, match=f"^motion_trust: {message}") as caught:
        judge(drifting, motion_of(non_rigid), **arguments)
    assert "; allowed: " in str(caught.value)


def test_inputs_that_do_not_belong_together_are_refused(drifting):
    motion = motion_of(non_rigid)
    with pytest.raises(ValueError, match="segments"):
        motion_trust(make_recording((SEGMENT_S, SEGMENT_S)), motion, drifting.peaks, drifting.locations)
    with pytest.raises(ValueError, match="peak_locations"):
        motion_trust(drifting.recording, motion, drifting.peaks, drifting.locations[:5])
    with pytest.raises(ValueError, match="field 'y'"):
        motion_trust(drifting.recording, motion, drifting.peaks, drifting.locations[["x"]])
    motion.displacement[0][3, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        judge(drifting, motion)
