import numpy as np
import pytest
from probeinterface import generate_linear_probe
from scipy.interpolate import CubicSpline
from simulated_peaks import estimate_motion
from spikeinterface import NumpyRecording
from threadpoolctl import threadpool_limits

from steadyspike.motion import lfp

METHOD = "steady_decentralized_lfp"
RATE_HZ = 250.0
PITCH_UM = 20.0
SCALE_UM = 60.0


def pulsation(times_s):
    """A heartbeat and a slow drift."""
    return 5 * np.sin(2 * np.pi * 1.3 * times_s) + 15 * np.sin(2 * np.pi * times_s / 20)


def simulated_lfp(
    motion_of=pulsation, durations_s=(8.0,), num_rows=32, offsets_um=(0.0,), stretch=0.0, noise=0.05, seed=0
):
    """Slow waves of a few sources at rest in the tissue, seen by contacts that move against it."""
    rng = np.random.default_rng(seed)
    depths_um = PITCH_UM * np.arange(num_rows)
    grid_um = np.arange(-400, depths_um[-1] + 400, 10.0)
    smooth = np.exp(-0.5 * ((grid_um[:, None] - grid_um) / SCALE_UM) ** 2)
    places = CubicSpline(grid_um, smooth @ rng.standard_normal((grid_um.size, 6)))
    traces, truths = [], []
    for duration_s, offset_um in zip(durations_s, offsets_um, strict=True):
        times_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
        shape = (rng.uniform(0.3, 3, (6, 5, 1)), rng.uniform(0, 2 * np.pi, (6, 5, 1)))
        waves = np.sin(2 * np.pi * shape[0] * times_s + shape[1]).sum(axis=1) / 2.0 ** np.arange(6)[:, None]
        truth = offset_um + motion_of(times_s)[:, None] * (1 + stretch * (depths_um / depths_um[-1] - 0.5))
        values = np.einsum("jt,tnj->tn", waves, places(depths_um - truth))
        values /= values.std()
        traces.append((values + noise * rng.standard_normal(values.shape)).astype("float32"))
        truths.append(truth)
    recording = NumpyRecording(traces, RATE_HZ)
    probe = generate_linear_probe(num_rows, ypitch=PITCH_UM)
    probe.set_device_channel_indices(np.arange(num_rows))
    recording.set_probe(probe)
    return recording, truths


def mean_error(motion, truths):
    """Mean of |estimate - truth| after removing one offset for each depth."""
    depths_um = PITCH_UM * np.arange(truths[0].shape[1])
    differences = [
        motion.get_displacement_at_time_and_depth(times, depths_um, segment_index=segment, grid=True).T
        - truth
        for segment, (times, truth) in enumerate(zip(motion.temporal_bins_s, truths, strict=True))
    ]
    difference = np.concatenate(differences)
    return np.abs(difference - np.median(difference, axis=0)).mean()


def test_pulsation_and_drift_are_found():
    recording, truths = simulated_lfp()
    motion, extra = estimate_motion(recording, method=METHOD, rigid=True, extra_outputs=True)
    assert motion.displacement[0].shape == (2000, 1)
    np.testing.assert_allclose(motion.temporal_bins_s[0], recording.get_times())
    assert mean_error(motion, truths) < 2.0
    pairs = estimate_motion(recording, method=METHOD, rigid=True, refine_iterations=0)
    assert mean_error(motion, truths) < 0.5 * mean_error(pairs, truths)
    assert extra["explained"].shape == extra["displacement_sd_um"].shape == (2000, 1)
    assert np.all((extra["explained"] >= 0) & (extra["explained"] <= 1))
    noisy, _ = simulated_lfp(noise=1.0)
    _, less = estimate_motion(noisy, method=METHOD, rigid=True, extra_outputs=True)
    assert np.median(less["explained"]) < 0.5 * np.median(extra["explained"])
    assert np.median(extra["displacement_sd_um"]) < 5.0


def test_error_is_no_larger_than_that_of_dredge_lfp():
    recording, truths = simulated_lfp(durations_s=(4.0,))
    ours = estimate_motion(recording, method=METHOD, rigid=True)
    with threadpool_limits(1):
        theirs = estimate_motion(recording, method="dredge_lfp", rigid=True, max_disp_um=100, chunk_len_s=1.0)
    assert mean_error(ours, truths) < mean_error(theirs, truths)


def test_windows_follow_a_stretch():
    recording, truths = simulated_lfp(lambda times_s: 3 * pulsation(times_s), num_rows=64, stretch=1.2)
    windows = dict(win_step_um=400.0, win_scale_um=400.0, win_margin_um=0.0)
    motion = estimate_motion(recording, method=METHOD, **windows)
    assert motion.displacement[0].shape[1] == 4
    stiff = estimate_motion(recording, method=METHOD, rigid=True)
    assert mean_error(motion, truths) < 3.5
    assert mean_error(motion, truths) < 0.7 * mean_error(stiff, truths)


def test_segments_are_joined():
    recording, truths = simulated_lfp(durations_s=(6.0, 8.0), num_rows=48, offsets_um=(0.0, 110.0))
    motion = estimate_motion(recording, method=METHOD, rigid=True)
    assert [part.shape[0] for part in motion.displacement] == [1500, 2000]
    offset = np.median(motion.displacement[1] - truths[1][:, :1]) - np.median(
        motion.displacement[0] - truths[0][:, :1]
    )
    assert abs(offset) < 5.0


def test_periods_are_left_out_and_bridged():
    recording, truths = simulated_lfp(lambda times_s: 3.0 * times_s)
    traces = recording.get_traces().copy()
    traces[750:850] = 300.0 * np.random.default_rng(1).standard_normal(traces[750:850].shape)
    broken = NumpyRecording([traces], RATE_HZ)
    broken.set_probe(recording.get_probe())
    motion, extra = estimate_motion(
        broken, method=METHOD, rigid=True, periods=[(2.99, 3.41)], extra_outputs=True
    )
    assert mean_error(motion, truths) < 2.0
    assert np.all(np.isinf(extra["displacement_sd_um"][755:845]))
    assert extra["explained"][755:845].max() == 0


def test_bins_average_samples_and_times_start_where_the_recording_does():
    recording, truths = simulated_lfp(lambda times_s: 12 * np.sin(times_s))
    recording.shift_times(500.0)
    motion = estimate_motion(recording, method=METHOD, rigid=True, bin_s=0.04)
    assert motion.displacement[0].shape == (200, 1)
    np.testing.assert_allclose(motion.temporal_bins_s[0][:2], [500.018, 500.058])
    truth = truths[0].reshape(200, 10, -1).mean(axis=1)
    assert mean_error(motion, [truth]) < 1.0


def test_columns_at_one_depth_are_averaged_and_odd_samples_are_harmless():
    recording, _ = simulated_lfp(durations_s=(2.0,))
    traces = np.repeat(recording.get_traces(), 2, axis=1)
    noise = np.random.default_rng(0).standard_normal(traces.shape).astype("float32")
    noise[:, 1::2] = -noise[:, ::2]
    probe = generate_linear_probe(64, ypitch=PITCH_UM)
    positions = np.repeat(recording.get_channel_locations(), 2, axis=0)
    positions[1::2, 0] += 30.0
    order = np.random.default_rng(1).permutation(64)
    probe._contact_positions = positions[order]
    probe.set_device_channel_indices(np.arange(64))
    wide = NumpyRecording([(traces + noise)[:, order]], RATE_HZ)
    wide.set_probe(probe)
    ours = estimate_motion(wide, method=METHOD, rigid=True)
    plain = estimate_motion(recording, method=METHOD, rigid=True)
    np.testing.assert_allclose(ours.displacement[0], plain.displacement[0], atol=0.1)
    spoilt = recording.get_traces().copy()
    spoilt[100, 5], spoilt[200, 7] = np.nan, np.inf
    spoilt[:, 9] = 0.0
    broken = NumpyRecording([spoilt], RATE_HZ)
    broken.set_probe(recording.get_probe())
    motion = estimate_motion(broken, method=METHOD, rigid=True)
    np.testing.assert_allclose(motion.displacement[0], plain.displacement[0], atol=2.0)


def test_chunks_do_not_matter(monkeypatch):
    recording, _ = simulated_lfp(durations_s=(2.0,), offsets_um=(0.0,))
    expected = estimate_motion(recording, method=METHOD, rigid=True)
    monkeypatch.setattr(lfp, "CHUNK_VALUES", 32 * 77)
    found = estimate_motion(recording, method=METHOD, rigid=True)
    np.testing.assert_array_equal(found.displacement[0], expected.displacement[0])


@pytest.mark.parametrize("samples", [1, 2, 5])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_next_to_nothing_gives_no_motion(samples, value):
    recording = NumpyRecording([np.full((samples, 8), value, dtype="float32")], RATE_HZ)
    probe = generate_linear_probe(8, ypitch=PITCH_UM)
    probe.set_device_channel_indices(np.arange(8))
    recording.set_probe(probe)
    motion, extra = estimate_motion(recording, method=METHOD, rigid=True, extra_outputs=True)
    np.testing.assert_array_equal(motion.displacement[0], np.zeros((samples, 1)))
    assert not extra["explained"].any()


def test_still_tissue_moves_little():
    recording, truths = simulated_lfp(lambda times_s: 0.0 * times_s, durations_s=(6.0,))
    motion = estimate_motion(recording, method=METHOD, rigid=True)
    assert mean_error(motion, truths) < 2.0
    nothing = estimate_motion(recording, method=METHOD, rigid=True, negligible_um=50.0)
    assert not nothing.displacement[0].any()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(bin_s=0), "bin_s=0; allowed: a number > 0 s"),
        (dict(bin_um=-1.0), "bin_um=-1.0"),
        (dict(hist_margin_um=-1), "hist_margin_um=-1"),
        (dict(max_displacement_um=0), "max_displacement_um=0"),
        (dict(time_horizon_s=0), "time_horizon_s=0"),
        (dict(corr_threshold=1.0), "corr_threshold=1.0"),
        (dict(residual_rounds=-1), "residual_rounds=-1"),
        (dict(refine_iterations=-1), "refine_iterations=-1"),
        (
            dict(reference_displacement="mode"),
            "reference_displacement='mode'; allowed: 'midrange', 'mean' or 'median'",
        ),
        (dict(negligible_um=-1), "negligible_um=-1"),
        (dict(periods=[(1, 0.0, 1.0)]), "periods=.*segment 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, text):
    recording, _ = simulated_lfp(durations_s=(1.0,), num_rows=8)
    with pytest.raises(ValueError, match=f"^{METHOD}: {text}"):
        estimate_motion(recording, method=METHOD, rigid=True, **arguments)


def test_every_argument_reaches_the_estimate():
    recording, _ = simulated_lfp(durations_s=(2.0, 2.0), offsets_um=(0.0, 60.0), num_rows=24)

    def estimate(**arguments):
        motion = estimate_motion(
            recording, method=METHOD, **{"refine_iterations": 0, "rigid": True, **arguments}
        )
        return np.concatenate(motion.displacement)

    default = estimate()
    for argument in (
        dict(bin_um=20.0),
        dict(max_displacement_um=10.0),
        dict(time_horizon_s=0.02),
        dict(corr_threshold=0.95),
        dict(residual_rounds=0),
        dict(refine_iterations=4),
        dict(max_segment_displacement_um=20.0),
        dict(negligible_um=1000.0),
    ):
        assert np.abs(estimate(**argument) - default).max() > 1e-6, argument
    # of one window, the median over time is always zero
    windows = dict(rigid=False, win_step_um=250.0, win_scale_um=250.0, win_margin_um=0.0)
    references = [estimate(reference_displacement=name, **windows) for name in ("midrange", "mean")]
    assert np.abs(references[1] - references[0]).max() > 1e-6


def test_only_noisy_contacts_are_toned_down():
    scale = np.array([1.0, 1.2, 0.1, 1.0, 30.0, 1.1, 0.9])
    np.testing.assert_allclose(lfp.contact_gains(scale)[[0, 1, 2, 3, 5, 6]], 1.0)
    assert lfp.contact_gains(scale)[4] > 20
    assert np.all(lfp.contact_gains(np.zeros(4)) > 0)


@pytest.mark.parametrize("gains", [-0.5, np.resize([0.5, -0.5, 2.0, 1.0], 32)], ids=["turned over", "mixed"])
def test_voltages_count_and_not_counts(gains):
    recording, _ = simulated_lfp(durations_s=(3.0,))
    counts = NumpyRecording([recording.get_traces() / np.float32(gains)], RATE_HZ)
    counts.set_probe(recording.get_probe())
    counts.set_channel_gains(gains)
    counts.set_channel_offsets(0.0)
    expected, found = (estimate_motion(one, method=METHOD, rigid=True) for one in (recording, counts))
    np.testing.assert_allclose(found.displacement[0], expected.displacement[0], atol=1e-2)
