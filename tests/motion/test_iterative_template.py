import numpy as np
import pytest
from simulated_peaks import (
    drifting_peaks,
    empty_recording,
    estimate_motion,
    gradient,
    in_segments,
    mean_error,
    rigid,
)

METHOD = "steady_iterative_template"


def test_drift_may_exceed_what_two_time_bins_share():
    def far(times_s, depths_um):
        return 4.0 * times_s

    peaks, locations = drifting_peaks(far, duration_s=80.0, num_units=160, height_um=940.0)
    motion = estimate_motion(
        empty_recording(80.0), peaks, locations, method=METHOD, win_margin_um=0.0, max_displacement_um=50.0
    )
    middle = motion.get_displacement_at_time_and_depth(motion.temporal_bins_s[0], np.full(80, 470.0))
    error = middle - 4.0 * motion.temporal_bins_s[0]
    assert np.abs(error - np.median(error)).max() < 3.0


def test_estimate_is_no_worse_than_iterative_template():
    recording = empty_recording(60.0)
    for motion_of in (rigid, gradient):
        peaks, locations = drifting_peaks(motion_of, num_units=40)
        theirs = estimate_motion(recording, peaks, locations, method="iterative_template", bin_s=1.0)
        for rounds in (0, 8):
            ours = estimate_motion(recording, peaks, locations, method=METHOD, refine_iterations=rounds)
            assert mean_error(ours, in_segments(motion_of)) < mean_error(theirs, in_segments(motion_of))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(bin_um=0.0), "bin_um=0.0"),
        (dict(num_amp_bins=0), "num_amp_bins=0"),
        (dict(num_iterations=0), "num_iterations=0"),
        (dict(num_shifts_block=0), "num_shifts_block=0"),
        (dict(smoothing_sigma=-1), "smoothing_sigma=-1"),
    ],
)
def test_bad_arguments_are_refused(arguments, text):
    peaks, locations = drifting_peaks(rigid, duration_s=2.0)
    with pytest.raises(ValueError, match=f"^{METHOD}: {text}.*; allowed: "):
        estimate_motion(empty_recording(2.0), peaks, locations, method=METHOD, **arguments)


def test_every_argument_reaches_the_estimate():
    peaks, locations = drifting_peaks(gradient, duration_s=20.0)
    # steps that a small range cannot follow at once
    locations["y"] += np.where(peaks["sample_index"] > 12 * 30_000, 30.0, 0.0)
    recording = empty_recording(20.0)

    def estimate(**arguments):
        return estimate_motion(
            recording, peaks, locations, method=METHOD, **{"refine_iterations": 0, **arguments}
        )

    default = estimate().displacement[0]
    for argument in (
        dict(bin_um=8.0),
        dict(hist_margin_um=0.0),
        dict(num_amp_bins=4),
        dict(num_iterations=1),
        dict(num_shifts_block=1),
        dict(smoothing_sigma=2.0),
        dict(max_displacement_um=10.0),
        dict(refine_iterations=8),
        dict(win_scale_um=100.0, win_margin_um=-150.0),
    ):
        assert np.abs(estimate(**argument).displacement[0] - default).max() > 1e-6, argument
    refined = estimate(refine_iterations=2).displacement[0]
    other = estimate(refine_iterations=2, reference_displacement="mean").displacement[0]
    assert np.abs(refined - other).max() > 1e-6
