import numpy as np
import pytest
from spikeinterface.generation import NoiseGeneratorRecording
from spikeinterface.sortingcomponents.motion import estimate_motion

import steadyspike  # noqa: F401  (registers the method)
from steadyspike.benchmark.simulate import build_probe

PEAK_DTYPE = [
    ("sample_index", "int64"),
    ("channel_index", "int64"),
    ("amplitude", "float64"),
    ("segment_index", "int64"),
]
LOCATION_DTYPE = [("x", "float64"), ("y", "float64")]
RATE_HZ = 30_000.0


def empty_recording(duration_s, num_channels=96):
    recording = NoiseGeneratorRecording(
        num_channels=num_channels, sampling_frequency=RATE_HZ, durations=[duration_s], seed=0
    )
    recording.set_probe(build_probe("np1", num_channels))
    return recording


def drifting_peaks(
    motion_of, duration_s=60.0, num_units=80, rate_hz=4.0, jitter_um=2.0, height_um=940.0, seed=0
):
    """Peaks of units at rest at random depths, seen where `motion_of(times_s, depths_um)` has moved them."""
    rng = np.random.default_rng(seed)
    rest = rng.uniform(-20, height_um + 20, num_units)
    sizes = np.exp(rng.uniform(3.5, 6, num_units))
    count = int(rate_hz * duration_s * num_units)
    times = np.sort(rng.uniform(0, duration_s, count))
    units = rng.integers(0, num_units, count)
    peaks = np.zeros(count, dtype=PEAK_DTYPE)
    peaks["sample_index"] = np.minimum(times * RATE_HZ, duration_s * RATE_HZ - 1)
    peaks["amplitude"] = -sizes[units] * rng.normal(1, 0.1, count)
    locations = np.zeros(count, dtype=LOCATION_DTYPE)
    locations["y"] = rest[units] + motion_of(times, rest[units]) + jitter_um * rng.standard_normal(count)
    return peaks, locations


def zigzag(times_s):
    return 15 * np.abs((times_s / 12.5) % 2 - 1) - 7.5


def mean_error(motion, motion_of, depths_um):
    times = motion.temporal_bins_s[0]
    estimate = motion.get_displacement_at_time_and_depth(times, depths_um, grid=True)
    truth = np.stack([motion_of(times, depth) for depth in depths_um])
    difference = estimate - truth
    return np.abs(difference - np.median(difference)).mean()


def rigid(times_s, depths_um):
    return zigzag(times_s)


def gradient(times_s, depths_um):
    return zigzag(times_s) * (1.2 - np.asarray(depths_um) / 940)


def jump(times_s, depths_um):
    return np.where(times_s < 30, 0.0, 12.0)


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


def test_estimate_is_no_worse_than_decentralized():
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
    assert extra["trust"].shape == shape
    assert extra["displacement_sd_um"].shape == shape
    assert np.all((extra["trust"] >= 0) & (extra["trust"] <= 1))
    assert extra["trust"][22:, -1].max() < extra["trust"][:18, -1].min()
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
    assert np.all(np.isfinite(extra["trust"]))


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
        (dict(bin_s=0), "bin_s=0 must be larger than 0"),
        (dict(bin_um=-1.0), "bin_um=-1.0"),
        (dict(hist_margin_um=-1), "hist_margin_um=-1"),
        (dict(max_displacement_um=0), "max_displacement_um=0"),
        (dict(time_horizon_s=0), "time_horizon_s=0"),
        (dict(corr_threshold=1.0), "corr_threshold=1.0"),
        (dict(refine_iterations=-1), "refine_iterations=-1"),
        (dict(num_amplitude_bins=0), "num_amplitude_bins=0"),
        (dict(template_smooth_um=0.1), "template_smooth_um=0.1"),
        (dict(reference_displacement="mode"), "midrange, mean, median"),
    ],
)
def test_bad_arguments_are_refused(arguments, text):
    peaks, locations = drifting_peaks(rigid, duration_s=2.0)
    with pytest.raises(ValueError, match=text):
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
