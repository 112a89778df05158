import numpy as np
import pytest

from steadyspike.kernels.motion import online_filter, raster
from steadyspike.kernels.motion.online_registration import OnlineRegistration, OnlineSettings
from steadyspike.kernels.motion.registration import RegistrationSettings

KNOTS_UM = np.array([70.0, 270.0, 470.0, 670.0, 870.0])
DEPTHS_UM = np.arange(-40.0, 984.0, 4.0)
WARMUP = 20


def registration(knots_um=KNOTS_UM, num_groups=1, **settings):
    windows = np.exp(-0.5 * np.square((DEPTHS_UM - knots_um[:, None]) / 150.0))
    return OnlineRegistration(
        knots_um, DEPTHS_UM, windows, OnlineSettings(warmup_bins=WARMUP, **settings), num_groups
    )


def drifting_bins(displacement, rate=240, seed=0, num_units=80):
    """Depths and amplitudes of each time bin, of units displaced by so many um in it."""
    rng = np.random.default_rng(seed)
    rest, sizes = rng.uniform(-20, 960, num_units), np.exp(rng.uniform(3.5, 6, num_units))
    bins = []
    for moved in displacement:
        units = rng.integers(0, num_units, rng.poisson(rate))
        depths = rest[units] + moved + 3.0 * rng.standard_normal(units.size)
        bins.append((depths.astype("float32"), -sizes[units] * rng.normal(1, 0.1, units.size)))
    return bins


def run(bins, online=None):
    online = registration() if online is None else online
    found = [online.update(*spikes) for spikes in bins] + [online.flush()]
    return [
        np.concatenate([getattr(part, name) for part in found])
        for name in ("displacement", "deviation_um", "explained")
    ]


def errors(displacement, truth):
    difference = displacement - np.asarray(truth)[:, None]
    return np.abs(difference - np.median(difference[:WARMUP], axis=0)).mean(axis=1)


# -- the filter


@pytest.mark.parametrize("index", [0, 30, 71])
def test_bank_equals_a_kalman_filter_written_out(index):
    rng = np.random.default_rng(1)
    bank = online_filter.ModeBank(2)
    fading, step, noise = bank.fading[index], bank.step_um[index], bank.noise[index]
    state, covariance = np.zeros(2), np.zeros((2, 2))
    step_matrix = np.array([[1.0, fading], [0.0, fading]])
    for _ in range(30):
        measured, variance = rng.normal(0, 0.1, 2), rng.uniform(0.1, 1, 2)
        bank.predict()
        bank.update(measured, variance)
        state = step_matrix @ state
        covariance = step_matrix @ covariance @ step_matrix.T + step**2 * np.ones((2, 2))
        total = covariance[0, 0] + noise * variance[1]
        gain = covariance[:, 0] / total
        state = state + gain * (measured[1] - state[0])
        covariance = covariance - np.outer(gain, covariance[0])
    np.testing.assert_allclose([bank.position[1, index], bank.velocity[1, index]], state, atol=1e-9)
    np.testing.assert_allclose(bank.xx[1, index], covariance[0, 0], rtol=1e-6)


@pytest.mark.parametrize("num_knots", [1, 2, 3, 9])
def test_modes_are_orthogonal_and_the_first_is_common(num_knots):
    modes = online_filter.polynomial_modes(num_knots)
    np.testing.assert_allclose(modes.T @ modes / num_knots, np.eye(modes.shape[1]), atol=1e-12)
    np.testing.assert_allclose(modes[:, 0], 1.0)


def test_filter_learns_whether_motion_wanders_or_keeps_its_course():
    rng = np.random.default_rng(0)
    wandering, steady = np.cumsum(rng.normal(0, 1.0, 150)), 15 * np.sin(np.arange(150) / 10)
    fadings, deviations = [], []
    for truth in (wandering, steady):
        one = online_filter.MotionFilter(3)
        for position in truth:
            one.predict()
            one.update(position + rng.normal(0, 0.3, 3), np.full(3, 1 / 0.09))
        fadings.append(one.bank.learnt()[0][0])
        deviations.append(np.abs(one.position - truth[-1]).max())
    assert fadings[0] < 0.5 < 0.8 < fadings[1]
    assert max(deviations) < 0.8


def test_a_knot_that_says_something_else_loses_its_say():
    one = online_filter.MotionFilter(5)
    for _ in range(30):
        one.predict()
        one.update(np.zeros(5), np.full(5, 4.0))
    one.predict()
    one.update(np.array([0.0, 0.0, 12.0, 0.0, 0.0]), np.full(5, 4.0))
    assert np.abs(one.position).max() < 0.5


# -- registration


def test_slow_drift_is_followed():
    truth = 8 * np.sin(np.arange(90) / 15)
    displacement, deviation, trust = run(drifting_bins(truth))
    assert displacement.shape == deviation.shape == trust.shape == (90, KNOTS_UM.size)
    assert errors(displacement, truth)[WARMUP:].mean() < 0.35
    assert np.all((trust[WARMUP:] > 0.5) & (trust[WARMUP:] <= 1))
    assert 0.05 < np.median(deviation) < 1.0


def test_a_bin_depends_on_the_bins_up_to_it_only():
    truth = 8 * np.sin(np.arange(40) / 15)
    bins, others = drifting_bins(truth), drifting_bins(-truth, seed=3)
    first, second = run(bins), run(bins[:30] + others[30:])
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[:30], other[:30])
    assert np.abs(first[0][30:] - second[0][30:]).max() > 0.01


@pytest.mark.parametrize("jump_um", [7.0, -12.0, 80.0])
def test_a_jump_is_followed_within_two_bins(jump_um):
    truth = np.where(np.arange(60) < 40, 0.0, jump_um)
    wrong = errors(run(drifting_bins(truth))[0], truth)
    assert wrong[41:].max() < 1.5
    assert np.delete(wrong, 40).mean() < 0.4


@pytest.mark.parametrize("wild_um", [7.0, 25.0, -90.0])
def test_one_wild_bin_is_not_a_jump(wild_um):
    truth = np.zeros(60)
    bins = drifting_bins(truth)
    bins[40] = (bins[40][0] + np.float32(wild_um), bins[40][1])
    assert errors(run(bins)[0], truth).max() < 1.0


def test_without_spikes_the_state_is_kept_and_grows_unsure():
    truth = np.zeros(70)
    bins = drifting_bins(truth)
    for time in range(40, 55):
        bins[time] = (np.zeros(0, "float32"), np.zeros(0, "float32"))
    displacement, deviation, trust = run(bins)
    assert errors(displacement, truth).max() < 1.0
    assert np.all(np.diff(deviation[40:55], axis=0) > 0)
    assert np.all(deviation[56] < deviation[54])
    assert not trust[40:55].any()


def test_other_units_that_fire_are_not_motion():
    truth = np.zeros(90)
    bins = drifting_bins(truth, num_units=40, seed=0)
    more = drifting_bins(truth, num_units=60, seed=9)
    few = [tuple(values[: values.size // 6] for values in spikes) for spikes in bins]
    changed = bins[:50] + [
        tuple(np.concatenate(parts) for parts in zip(*pair, strict=True))
        for pair in zip(few[50:], more[50:], strict=True)
    ]
    assert errors(run(changed)[0], truth)[50:].mean() < 1.0


def test_an_earlier_spike_counts_half_after_the_half_life():
    online = registration(half_life_bins=5.0)
    for spikes in drifting_bins(np.zeros(WARMUP)):
        online.update(*spikes)
    before = online.template.sum()
    for spikes in drifting_bins(np.zeros(5), rate=1):
        # one bin without spikes does not let the template fade
        online.update(np.zeros(0, "float32"), np.zeros(0, "float32"))
        online.update(np.append(spikes[0], 100.0), np.append(spikes[1], -50.0))
    assert before / 2 < online.template.sum() < before / 2 + 20


@pytest.mark.parametrize("stop", [0, 7, WARMUP, 33])
def test_a_restored_state_goes_on_to_the_last_bit(stop):
    bins = drifting_bins(5 * np.sin(np.arange(45) / 8))
    whole, first = registration(), registration()
    expected = run(bins, whole)[0]
    found = [first.update(*spikes).displacement for spikes in bins[:stop]]
    second = registration()
    second.restore({name: values.copy() for name, values in first.state().items()})
    found += [second.update(*spikes).displacement for spikes in bins[stop:]]
    np.testing.assert_array_equal(np.concatenate(found), expected)
    for name, values in whole.state().items():
        np.testing.assert_array_equal(values, second.state()[name], err_msg=name)


@pytest.mark.parametrize("rate", [0, 0.05, 1])
@pytest.mark.parametrize("num_knots", [1, 5])
def test_hardly_any_spike(rate, num_knots):
    # warm-up goes on for up to ten times its length
    num_bins = 10 * WARMUP + 15
    displacement, deviation, trust = run(
        drifting_bins(np.zeros(num_bins), rate=rate), registration(KNOTS_UM[:num_knots])
    )
    assert displacement.shape == (num_bins, num_knots)
    assert np.isfinite(displacement).all()
    assert np.abs(displacement).max() < 20.0
    assert np.all((trust >= 0) & (trust <= 1))
    assert not np.isnan(deviation).any()


def test_spikes_that_are_all_alike_do_no_harm():
    spikes = (np.full(20, 300.0, "float32"), np.full(20, np.nan))
    displacement, _, trust = run([spikes] * 30)
    assert np.abs(displacement).max() < 0.5
    assert np.isfinite(trust).all()


@pytest.mark.parametrize("offset_um", [0.0, 150.0, -230.0])
def test_another_segment_is_placed_against_the_template(offset_um):
    truth = np.concatenate([np.zeros(30), np.full(30, offset_um)])
    bins = drifting_bins(truth)
    online = registration()
    found = [online.update(*spikes).displacement for spikes in bins[:30]]
    online.begin_segment()
    waiting = [online.update(*spikes).displacement for spikes in bins[30:]]
    assert all(part.shape[0] == 0 for part in waiting[: WARMUP - 1])
    displacement = np.concatenate(found + waiting)
    assert errors(displacement, truth).max() < 2.0
    assert errors(displacement, truth)[30:].mean() < 0.8


def test_groups_are_never_taken_for_each_other():
    online = registration(num_groups=2)
    for depths, amplitudes in drifting_bins(np.zeros(WARMUP)):
        online.update(depths, amplitudes, np.zeros(depths.size, "int32"))
    num_marks = RegistrationSettings().num_marks
    assert online.template[:num_marks].sum() > 1000
    assert not online.template[num_marks:].any()


def test_marks_of_later_spikes_are_those_of_the_limits():
    amplitudes = np.exp(np.random.default_rng(0).uniform(2, 6, 500))
    limits = raster.amplitude_limits(amplitudes)
    expected = raster.amplitude_marks(amplitudes, 4)
    for part in (slice(0, 3), slice(3, 3), slice(3, None)):
        np.testing.assert_array_equal(raster.amplitude_marks(amplitudes[part], 4, limits), expected[part])
    assert raster.amplitude_limits(np.array([0.0, np.nan])) == (0.0, 0.0)
