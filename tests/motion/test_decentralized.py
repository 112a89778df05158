import numpy as np
import pytest
from simulated_peaks import RATE_HZ, drifting_peaks, empty_recording, estimate_motion, gradient, jump, rigid


def mean_error(motion, motion_of, depths_um):
    times = motion.temporal_bins_s[0]
    estimate = motion.get_displacement_at_time_and_depth(times, depths_um, grid=True)
    truth = np.stack([motion_of(times, depth) for depth in depths_um])
    difference = estimate - truth
    return np.abs(difference - np.median(difference)).mean()


@pytest.mark.parametrize("motion_of", [rigid, gradient, jump])
def test_known_motion_is_found(motion_of):
    peaks, locations = drifting_peaks(motion_of)
    motion = estimate_motion(
        empty_recording(60.0), peaks, locations, method="steady_decentralized", win_margin_um=0.0
    )
    assert mean_error(motion, motion_of, np.linspace(0, 940, 20)) < 0.35


def test_rigid_estimate_has_one_window():
    peaks, locations = drifting_peaks(rigid)
    motion = estimate_motion(
        empty_recording(60.0), peaks, locations, method="steady_decentralized", rigid=True
    )
    assert motion.displacement[0].shape == (60, 1)
    assert mean_error(motion, rigid, np.array([400.0])) < 0.2


def test_estimate_is_no_worse_than_decentralized(monkeypatch):
    # SpikeInterface collects garbage after each step, for most of a minute in a process as large as this
    monkeypatch.setattr("gc.collect", lambda *generation: 0)
    peaks, locations = drifting_peaks(gradient, duration_s=15.0, num_units=60)
    recording = empty_recording(15.0)
    depths = np.linspace(0, 940, 20)
    ours = estimate_motion(recording, peaks, locations, method="steady_decentralized")
    theirs = estimate_motion(recording, peaks, locations, method="decentralized", bin_s=1.0)
    assert mean_error(ours, gradient, depths) < mean_error(theirs, gradient, depths)


def test_t_start_moves_the_bins_only():
    peaks, locations = drifting_peaks(rigid, duration_s=20.0)
    plain, shifted = empty_recording(20.0), empty_recording(20.0)
    shifted.shift_times(1000.0)
    first = estimate_motion(plain, peaks, locations, method="steady_decentralized")
    second = estimate_motion(shifted, peaks, locations, method="steady_decentralized")
    np.testing.assert_allclose(second.temporal_bins_s[0], first.temporal_bins_s[0] + 1000.0)
    np.testing.assert_allclose(second.displacement[0], first.displacement[0], atol=1e-6)


def test_extra_outputs_describe_the_estimate():
    peaks, locations = drifting_peaks(rigid, duration_s=30.0)
    # nobody fires near the top in the last ten seconds
    silent = (peaks["sample_index"] > 20 * RATE_HZ) & (locations["y"] > 500)
    peaks, locations = peaks[~silent], locations[~silent]
    motion, extra = estimate_motion(
        empty_recording(30.0), peaks, locations, method="steady_decentralized", extra_outputs=True
    )
    shape = motion.displacement[0].shape
    assert extra["explained"].shape == shape
    # as 0.1.0 called it
    assert extra["trust"] is extra["explained"]
    assert extra["displacement_sd_um"].shape == shape
    assert np.all((extra["explained"] >= 0) & (extra["explained"] <= 1))
    assert extra["explained"][22:, -1].max() < extra["explained"][:18, -1].min()
    assert extra["displacement_sd_um"][22:, -1].min() > extra["displacement_sd_um"][:18, -1].max()
    assert extra["motion_histogram"].shape[0] == shape[0] == extra["temporal_hist_bin_edges"].size - 1
    assert extra["motion_histogram"].shape[1] == extra["spatial_hist_bin_edges"].size - 1
    assert extra["non_rigid_windows"].shape == (shape[1], extra["motion_histogram"].shape[1])
    lags = extra["pairwise"]["lags_s"]
    assert extra["pairwise"]["correlation"].shape == (lags.size, *shape)


@pytest.mark.parametrize("num_peaks", [0, 1, 2])
@pytest.mark.parametrize("duration_s", [0.5, 10.0])
def test_hardly_any_peak_gives_no_motion(num_peaks, duration_s):
    peaks, locations = drifting_peaks(rigid, duration_s=duration_s)
    motion, extra = estimate_motion(
        empty_recording(duration_s),
        peaks[:num_peaks],
        locations[:num_peaks],
        method="steady_decentralized",
        extra_outputs=True,
    )
    assert np.all(np.isfinite(motion.displacement[0]))
    np.testing.assert_allclose(motion.displacement[0], 0, atol=1e-4)
    assert np.all(np.isfinite(extra["explained"]))


def test_peaks_without_location_are_left_out():
    peaks, locations = drifting_peaks(rigid, duration_s=20.0)
    recording = empty_recording(20.0)
    expected = estimate_motion(recording, peaks[::2], locations[::2], method="steady_decentralized")
    broken = locations.copy()
    broken["y"][1::2] = np.tile([np.nan, np.inf], peaks.size)[: broken["y"][1::2].size]
    motion = estimate_motion(recording, peaks, broken, method="steady_decentralized")
    np.testing.assert_array_equal(motion.displacement[0], expected.displacement[0])


def test_peaks_are_not_changed():
    peaks, locations = drifting_peaks(rigid, duration_s=10.0)
    before = peaks.copy(), locations.copy()
    estimate_motion(empty_recording(10.0), peaks, locations, method="steady_decentralized")
    np.testing.assert_array_equal(peaks, before[0])
    np.testing.assert_array_equal(locations, before[1])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(bin_s=0), "bin_s=0; allowed: a number >= 1e-05"),
        (dict(bin_um=-1.0), "bin_um=-1.0"),
        (dict(hist_margin_um=-1), "hist_margin_um=-1"),
        (dict(max_displacement_um=0), "max_displacement_um=0"),
        (dict(time_horizon_s=0), "time_horizon_s=0"),
        (dict(corr_threshold=1.0), "corr_threshold=1.0"),
        (dict(refine_iterations=-1), "refine_iterations=-1"),
        (dict(num_amplitude_bins=0), "num_amplitude_bins=0"),
        (dict(template_smooth_um=0.1), "template_smooth_um=0.1"),
        (
            dict(reference_displacement="mode"),
            "reference_displacement='mode'; allowed: 'midrange', 'mean' or 'median'",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, text):
    peaks, locations = drifting_peaks(rigid, duration_s=2.0)
    with pytest.raises(ValueError, match=f"^steady_decentralized: {text}"):
        estimate_motion(empty_recording(2.0), peaks, locations, method="steady_decentralized", **arguments)


def test_every_other_argument_reaches_the_estimate():
    peaks, locations = drifting_peaks(gradient, duration_s=20.0)
    recording = empty_recording(20.0)
    defaults = {}
    for rounds in (0, 8):
        motion = estimate_motion(
            recording, peaks, locations, method="steady_decentralized", refine_iterations=rounds
        )
        defaults[rounds] = motion.displacement[0]
    assert np.abs(defaults[0] - defaults[8]).max() > 1e-6
    # the later rounds forget where they started from: what steers pairs is seen without them
    pairs = dict(refine_iterations=0)
    for argument in (
        dict(bin_um=8.0, **pairs),
        dict(hist_margin_um=0.0, **pairs),
        dict(histogram_depth_smooth_um=12.0, **pairs),
        dict(histogram_time_smooth_s=2.0, **pairs),
        dict(max_displacement_um=4.0, **pairs),
        dict(time_horizon_s=2.0, **pairs),
        dict(corr_threshold=0.99, **pairs),
        dict(num_amplitude_bins=9),
        dict(template_smooth_um=6.0),
        dict(reference_displacement="mean"),
    ):
        changed = estimate_motion(recording, peaks, locations, method="steady_decentralized", **argument)
        default = defaults[argument.get("refine_iterations", 8)]
        assert np.abs(changed.displacement[0] - default).max() > 1e-6, argument
