import numpy as np
import pytest

from steadyspike.benchmark.noise import CorrelatedNoiseRecording
from steadyspike.benchmark.simulate import SCENARIOS, build_probe, simulate_drifting_recording
from steadyspike.benchmark.truth import motion_error, true_displacement, true_motion

SMALL = dict(num_channels=16, duration_s=6.0, num_units=6)


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_every_scenario_moves_as_it_says(scenario):
    simulated = simulate_drifting_recording(scenario, **SMALL, seed=2)
    span = np.ptp(simulated.displacement_vector)
    assert span <= SCENARIOS[scenario].amplitude_um + 1e-6
    assert (span == 0) if scenario == "still" else (span > 10)
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


def test_error_ignores_one_offset_and_sees_the_rest():
    simulated = simulate_drifting_recording("nonrigid_gradient", **SMALL, seed=1)
    motion = true_motion(simulated, np.arange(0.5, 6.0), np.array([0.0, 70.0, 140.0]))
    motion.displacement[0] += 12.0
    assert np.abs(motion_error(simulated, motion)).max() < 0.5
    still = true_motion(simulated, np.arange(0.5, 6.0), np.array([70.0]))
    still.displacement[0][:] = 0.0
    assert np.abs(motion_error(simulated, still)).mean() > 3.0


@pytest.mark.parametrize("probe", ["np1", "np2"])
def test_probe_is_a_slice_of_the_real_layout(probe):
    built = build_probe(probe, 20)
    assert built.get_contact_count() == 20
    assert built.device_channel_indices.tolist() == list(range(20))
    assert np.ptp(built.contact_positions[:, 1]) == {"np1": 180.0, "np2": 135.0}[probe]


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
