import numpy as np
import pytest

from steadyspike.simulation.artifacts import ArtifactRecording
from steadyspike.simulation.drift import SCENARIOS, build_probe, simulate_drifting_recording
from steadyspike.simulation.noise import CorrelatedNoiseRecording
from steadyspike.simulation.probes import PROBES
from steadyspike.simulation.scenarios import displacement_curve
from steadyspike.simulation.spike_trains import draw_spike_trains
from steadyspike.simulation.truth import error_summary, motion_error, true_displacement, true_motion

SMALL = dict(num_channels=16, duration_s=6.0, num_units=6)


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_every_scenario_moves_as_it_says(scenario):
    simulated = simulate_drifting_recording(scenario, **SMALL, seed=2)
    span = np.ptp(simulated.displacement_vector)
    amplitude = SCENARIOS[scenario].amplitude_um
    assert amplitude / 3 <= span <= amplitude + 1e-6
    assert (span == 0) == (scenario in ("still", "rate_changes", "artifacts"))
    assert simulated.recording.dtype == np.float32
    assert simulated.recording.get_num_samples() == 180_000
    assert simulated.unit_displacements.shape == (30, 6, 2)


def test_same_seed_same_samples_other_seed_other_samples():
    traces = [
        simulate_drifting_recording("rigid_zigzag", **SMALL, seed=seed).recording.get_traces(end_frame=500)
        for seed in (3, 3, 4)
    ]
    assert np.array_equal(traces[0], traces[1])
    assert not np.array_equal(traces[0], traces[2])


def test_truth_is_the_displacement_of_the_units():
    simulated = simulate_drifting_recording("nonrigid_gradient", **SMALL, seed=1)
    for step in (0, 11, 29):
        seen = simulated.unit_locations[:, 1] + simulated.unit_displacements[step, :, 1]
        time = (step + 0.5) / simulated.displacement_sampling_frequency
        truth = true_displacement(simulated, np.array([time]), seen)[0]
        np.testing.assert_allclose(truth, simulated.unit_displacements[step, :, 1], atol=1e-4)


def test_error_on_given_times_is_not_kind_to_long_bins_and_forgives_depths_where_told():
    simulated = simulate_drifting_recording("random_walk", **SMALL, seed=1)
    motion = true_motion(simulated, np.array([1.5, 4.5]), np.array([0.0, 140.0]))
    motion.displacement[0] += np.array([0.0, 8.0])
    times = np.arange(0.25, 6.0, 0.5)
    shared = np.abs(motion_error(simulated.truth, motion, times_s=times)).mean()
    assert np.abs(motion_error(simulated.truth, motion, offset_per_depth=True)).max() < 1e-6
    assert shared > np.abs(motion_error(simulated.truth, motion)).mean()
    per_depth = motion_error(simulated.truth, motion, times_s=times, offset_per_depth=True)
    assert 0.1 < np.abs(per_depth).mean() < shared
    summary = error_summary(simulated.truth, motion)
    assert summary["mean_error_um"] == pytest.approx(shared)
    assert summary["mean_error_offset_per_depth_um"] == pytest.approx(np.abs(per_depth).mean())
    assert 10.0 < summary["true_span_um"] <= np.ptp(simulated.displacement_vector)


def test_error_ignores_one_offset_and_sees_the_rest():
    simulated = simulate_drifting_recording("nonrigid_gradient", **SMALL, seed=1)
    motion = true_motion(simulated, np.arange(0.5, 6.0), np.array([0.0, 70.0, 140.0]))
    motion.displacement[0] += 12.0
    assert np.abs(motion_error(simulated, motion)).max() < 0.5
    still = true_motion(simulated, np.arange(0.5, 6.0), np.array([70.0]))
    still.displacement[0][:] = 0.0
    assert np.abs(motion_error(simulated, still)).mean() > 3.0


@pytest.mark.parametrize(
    ("probe", "length_um"),
    [
        ("np1", 180.0),
        ("np2", 135.0),
        ("np2_4shank", 30.0),
        ("linear16", 950.0),
        ("ultra", 12.0),
        ("nhp", 180.0),
    ],
)
def test_probe_is_a_slice_of_the_real_layout(probe, length_um):
    built = build_probe(probe, 20)
    assert built.get_contact_count() == 20
    assert built.device_channel_indices.tolist() == list(range(20))
    assert np.ptp(built.contact_positions[:, 1]) == length_um
    assert build_probe(probe).get_contact_count() == PROBES[probe].num_channels


def test_units_and_contacts_are_spread_over_the_shanks():
    simulated = simulate_drifting_recording(
        "still", probe="np2_4shank", num_channels=32, duration_s=2.0, num_units=8
    )
    contacts = simulated.recording.get_channel_locations()
    nearest = np.argmin(np.abs(simulated.unit_locations[:, :1] - contacts[np.newaxis, :, 0]), axis=1)
    groups = simulated.recording.get_channel_groups()
    assert np.unique(groups, return_counts=True)[1].tolist() == [8] * 4
    assert np.unique(groups[nearest], return_counts=True)[1].tolist() == [2] * 4


@pytest.mark.parametrize("seed", range(5))
def test_curves_have_the_shape_of_their_name(seed):
    def curve(name):
        return displacement_curve(SCENARIOS[name], SCENARIOS[name].amplitude_um, 100.0, seed)

    fastest = {
        name: np.abs(np.diff(curve(name))).max() for name in ("bumps", "small_drift", "steps", "sessions")
    }
    assert fastest["bumps"] < 6.0  # um in 0.2 s; smooth where the steps are not
    assert fastest["small_drift"] < 0.2
    assert fastest["steps"] >= 15.0
    assert 25.0 < fastest["sessions"] < 30.0
    for name in ("bumps", "small_drift", "sessions"):
        assert np.ptp(curve(name)) == pytest.approx(SCENARIOS[name].amplitude_um, rel=0.11)
    jump = np.argmax(np.abs(np.diff(curve("sessions"))))
    assert max(np.ptp(part) for part in np.split(curve("sessions"), [jump + 1])) <= 3.0 + 1e-6


def test_bursts_and_changing_rates_keep_mean_rates_and_break_their_constancy():
    depths = np.linspace(0.0, 1000.0, 40)
    spread = {}
    for firing in ("steady", "bursts", "changing"):
        sorting, factor = draw_spike_trains(firing, depths, 100.0, 30_000.0, (4.0, 6.0), seed=0)
        spikes = sorting.to_spike_vector()
        assert 3.0 < spikes.size / 4000.0 < 7.0
        counts = np.histogram2d(spikes["unit_index"], spikes["sample_index"], [40, 50])[0]
        spread[firing] = np.median(counts.var(axis=1) / np.maximum(counts.mean(axis=1), 1.0))
        if firing == "bursts":
            assert factor.shape == spikes.shape
            assert factor.min() > 0.5
            assert (factor < 0.8).any()
        else:
            assert factor is None
    assert spread["steady"] < 1.5
    assert min(spread["bursts"], spread["changing"]) > 2.5


def test_artifacts_are_common_silence_and_the_same_in_any_chunk():
    simulated = simulate_drifting_recording(
        "artifacts", num_channels=16, duration_s=20.0, num_units=6, seed=3
    )
    recording = simulated.recording
    assert isinstance(recording, ArtifactRecording)
    whole = recording.get_traces()
    pieces = [recording.get_traces(start_frame=a, end_frame=b) for a, b in [(0, 100_001), (100_001, 600_000)]]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-4)
    np.testing.assert_allclose(
        recording.get_traces(channel_ids=recording.channel_ids[[3, 5]]), whole[:, [3, 5]]
    )
    periods = np.array(simulated.info["artifact_periods_s"])
    assert periods.shape[1] == 2
    assert np.all((periods >= 0) & (periods <= 20) & (periods[:, :1] < periods[:, 1:]))
    # every silent sample lies in a period that is said to be bad
    silent = np.flatnonzero(np.all(whole == 0, axis=1)) / 30_000.0
    assert silent.size > 1000
    margin = 1 / 30_000.0
    inside = np.any(
        (silent[:, np.newaxis] >= periods[:, 0] - margin) & (silent[:, np.newaxis] <= periods[:, 1]), axis=1
    )
    assert inside.all()
    median = np.median(whole, axis=1)
    assert np.abs(median).max() > 200.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"scenario": "earthquake"},
        {"probe": "np9"},
        {"num_channels": 1},
        {"duration_s": 0.5},
        {"num_units": 0},
    ],
)
def test_impossible_parameters_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        simulate_drifting_recording(**wrong)


def test_noise_is_the_same_in_any_chunk_and_has_the_covariance_asked_for():
    locations = np.array([[0.0, 0.0], [0.0, 20.0], [0.0, 400.0]])
    noise = CorrelatedNoiseRecording(locations, np.array([5.0, 8.0, 2.0]), 70_000, seed=9)
    whole = noise.get_traces()
    pieces = [
        noise.get_traces(start_frame=a, end_frame=b)
        for a, b in [(0, 29_999), (29_999, 60_001), (60_001, 70_000)]
    ]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-4)
    np.testing.assert_allclose(whole.std(axis=0), [5.0, 8.0, 2.0], rtol=0.03)
    correlation = np.corrcoef(whole.T)
    assert abs(correlation[0, 1] - np.exp(-20 / 25)) < 0.02
    assert abs(correlation[0, 2]) < 0.02
    assert noise.get_traces(start_frame=5, end_frame=5).shape == (0, 3)


def test_units_do_not_all_step_at_once():
    simulated = simulate_drifting_recording("random_walk", num_channels=16, duration_s=20.0, num_units=60)
    indices, spikes = simulated.recording.segments[0].displacement_indices, simulated.recording.spike_vector
    periods = (spikes["sample_index"] / simulated.recording.sampling_frequency * 5.0).astype("int64")
    vector = simulated.displacement_vector
    num_steps = int(np.ceil(np.ptp(vector))) + 1
    seen = np.linspace(vector.min(), vector.max(), num_steps)[indices]
    # on average over units they are where the truth says, between two steps
    mean = np.bincount(periods, seen, vector.size) / np.maximum(
        np.bincount(periods, minlength=vector.size), 1
    )
    off = mean - vector
    assert np.abs(off - np.median(off)).mean() < 0.1


def test_the_truth_stays_put_as_the_tissue_does():
    simulated = simulate_drifting_recording("random_walk", num_channels=16, duration_s=20.0, num_units=4)
    times_s = np.arange(0.0, 20.0, 0.2)
    for share in (0.01, 0.1, 0.19):
        found = true_displacement(simulated, times_s + share, np.array([50.0]))[:, 0]
        np.testing.assert_allclose(found, simulated.displacement_vector, atol=1e-9)
