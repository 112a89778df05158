import numpy as np
import pytest
from numpy.lib import recfunctions
from simulated_peaks import (
    drifting_peaks,
    empty_recording,
    estimate_motion,
    gradient,
    in_segments,
    mean_error,
    rigid,
)

METHOD = "steady_point_cloud"


def test_few_spikes_are_put_together():
    def slow(times_s, depths_um):
        return 12 * np.sin(times_s / 40)

    peaks, locations = drifting_peaks(slow, duration_s=150.0, num_units=40, rate_hz=0.4)
    motion, extra = estimate_motion(
        empty_recording(150.0), peaks, locations, method=METHOD, extra_outputs=True, win_margin_um=0.0
    )
    assert extra["merged_bins"] > 1
    assert motion.displacement[0].shape[0] == 150
    assert mean_error(motion, in_segments(slow)) < 1.0
    many, peaks_of_many = drifting_peaks(slow, duration_s=20.0)
    _, extra = estimate_motion(empty_recording(20.0), many, peaks_of_many, method=METHOD, extra_outputs=True)
    assert extra["merged_bins"] == 1


def test_position_across_the_probe_tells_units_apart():
    # two units beside each other take turns: without x, they look like one that jumps
    rng = np.random.default_rng(0)
    peaks, locations = drifting_peaks(rigid, num_units=2, rate_hz=20.0, seed=3)
    second = peaks["sample_index"] // 90_000 % 2 == 1
    peaks["amplitude"] = -100 * rng.normal(1, 0.1, peaks.size)
    locations["y"] = (
        400 + 9 * second + rigid(peaks["sample_index"] / 30_000, 0) + rng.normal(0, 2, peaks.size)
    )
    # some spikes of each in every bin
    swapped = rng.random(peaks.size) < 0.3
    locations["y"][swapped] += np.where(second[swapped], -9, 9)
    locations["x"] = 50.0 * (second ^ swapped) + rng.normal(0, 3, peaks.size)
    errors = {}
    for use_position in (True, False):
        motion = estimate_motion(
            empty_recording(60.0),
            peaks,
            locations,
            method=METHOD,
            rigid=True,
            use_position=use_position,
            refine_iterations=0,
        )
        errors[use_position] = mean_error(motion, in_segments(rigid))
    assert errors[True] < 0.7
    assert errors[True] < 0.5 * errors[False]


def test_locations_may_lack_the_position_across():
    peaks, locations = drifting_peaks(rigid, duration_s=20.0)
    only_y = recfunctions.repack_fields(locations[["y"]])
    recording = empty_recording(20.0)
    found = estimate_motion(recording, peaks, only_y, method=METHOD)
    expected = estimate_motion(recording, peaks, locations, method=METHOD, use_position=False)
    np.testing.assert_array_equal(found.displacement[0], expected.displacement[0])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(depth_kernel_um=0.5), "depth_kernel_um=0.5"),
        (dict(feature_kernel=0), "feature_kernel=0"),
        (dict(max_peaks_per_bin=0), "max_peaks_per_bin=0"),
        (dict(peaks_per_window=-1), "peaks_per_window=-1"),
        (dict(residual_rounds=-1), "residual_rounds=-1"),
        (dict(time_horizon_s=0), "time_horizon_s=0"),
        (dict(corr_threshold=1.0), "corr_threshold=1.0"),
    ],
)
def test_bad_arguments_are_refused(arguments, text):
    peaks, locations = drifting_peaks(rigid, duration_s=2.0)
    with pytest.raises(ValueError, match=f"^{METHOD}: {text}.*; allowed: "):
        estimate_motion(empty_recording(2.0), peaks, locations, method=METHOD, **arguments)


def test_every_argument_reaches_the_estimate():
    peaks, locations = drifting_peaks(gradient, duration_s=20.0)
    locations["x"] = np.random.default_rng(0).uniform(0, 60, peaks.size)
    recording = empty_recording(20.0)

    def estimate(**arguments):
        return estimate_motion(
            recording, peaks, locations, method=METHOD, **{"refine_iterations": 0, **arguments}
        )

    default = estimate().displacement[0]
    for argument in (
        dict(hist_margin_um=0.0),
        dict(depth_kernel_um=8.0),
        dict(feature_kernel=0.8),
        dict(use_position=False),
        dict(max_peaks_per_bin=50),
        dict(peaks_per_window=200.0),
        dict(residual_rounds=0),
        dict(max_displacement_um=4.0),
        dict(time_horizon_s=2.0),
        dict(corr_threshold=0.7),
        dict(refine_iterations=8),
        dict(win_scale_um=100.0, win_margin_um=-150.0),
    ):
        assert np.abs(estimate(**argument).displacement[0] - default).max() > 1e-6, argument
