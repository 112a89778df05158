import numpy as np
import pytest
from motion_inputs import assert_same, assert_same_extra, both, drifting_peaks
from spikeinterface.sortingcomponents.motion import estimate_motion, iterative_template, motion_utils

import steadyspike
from steadyspike.integration.acceleration.replacements.iterative_template import covariances, rolled


@pytest.fixture(scope="module")
def inputs():
    return drifting_peaks()


@pytest.mark.parametrize(
    "arguments",
    [
        {"win_shape": "rect", "win_step_um": 200.0, "win_scale_um": 400.0, "hist_margin_um": 0},
        {"rigid": True, "bin_s": 1.0},
        {"win_step_um": 100.0, "win_scale_um": 100.0, "num_amp_bins": 5, "num_shifts_block": 3},
        {"num_shifts_global": 3, "num_iterations": 1, "smoothing_sigma": 1.5},
        {"kriging_sigma": 2, "kriging_p": 1, "kriging_d": 1, "bin_um": 5.0, "bin_s": 1.5},
    ],
    ids=str,
)
def test_same_estimates(inputs, arguments):
    (theirs, extra), (ours, our_extra), alone, report = both(inputs, method="iterative_template", **arguments)
    assert report["iterative_template"].taken == report["motion_histogram"].taken == 2
    assert_same(theirs, ours, atol=1e-9)
    assert_same(theirs, alone, atol=1e-9)
    assert_same_extra(extra, our_extra)


def test_time_bins_without_peaks():
    recording, peaks, locations = drifting_peaks()
    kept = (peaks["sample_index"] < 20_000) | (peaks["sample_index"] > 32_000)
    (theirs, _), (ours, _), _, _ = both(
        (recording, peaks[kept], locations[kept]), method="iterative_template"
    )
    assert_same(theirs, ours, atol=1e-9)


def test_what_cannot_be_aligned_raises_as_before():
    images = np.zeros((1, 8, 2))
    windows = np.ones((1, 8))
    with steadyspike.accelerate():
        ours = iterative_template.iterative_template_registration(images, windows)
        reasons = steadyspike.accelerated()["iterative_template"].fell_back
    assert any("fewer than two time bins" in reason for reason in reasons)
    theirs = iterative_template.iterative_template_registration(images, windows)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_windows_outside_the_probe_raise_as_before(inputs):
    arguments = {
        "method": "iterative_template",
        "win_shape": "rect",
        "win_margin_um": 200.0,
        "win_scale_um": 60.0,
    }
    with pytest.raises(IndexError) as theirs:
        estimate_motion(*inputs, **arguments)
    with steadyspike.accelerate(), pytest.raises(IndexError) as ours:
        estimate_motion(*inputs, **arguments)
    assert str(ours.value) == str(theirs.value)


def test_no_peaks_raise_as_before(inputs):
    recording, peaks, locations = inputs
    with pytest.raises(ValueError, match="zero-size") as theirs:
        motion_utils.make_3d_motion_histograms(recording, peaks[:0], locations[:0])
    with steadyspike.accelerate(), pytest.raises(ValueError, match="zero-size") as ours:
        motion_utils.make_3d_motion_histograms(recording, peaks[:0], locations[:0])
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("same_amplitude", [False, True])
def test_histograms_with_amplitudes(inputs, same_amplitude):
    recording, peaks, locations = inputs
    if same_amplitude:
        peaks = peaks.copy()
        peaks["amplitude"] = -50.0
    with np.errstate(invalid="ignore"):
        theirs = motion_utils.make_3d_motion_histograms(recording, peaks, locations, num_amp_bins=7)
        with steadyspike.accelerate():
            ours = motion_utils.make_3d_motion_histograms(recording, peaks, locations, num_amp_bins=7)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("tapered", [False, True])
def test_covariances_of_rolled_images(tapered):
    rng = np.random.default_rng(0)
    images, template = rng.normal(size=(4, 9, 3)), rng.normal(size=(9, 3))
    taper = rng.random((9, 1)) if tapered else np.ones((9, 1))
    shifts = np.arange(-12, 13)
    ours = covariances(images, template, shifts, taper if tapered else None)
    for number, shift in enumerate(shifts):
        for index, image in enumerate(images):
            expected = np.mean(np.roll(image * taper, shift, axis=0) * template)
            assert ours[number, index] == pytest.approx(expected)


def test_images_are_rolled_one_by_one():
    images = np.random.default_rng(0).normal(size=(5, 7, 2))
    shifts = np.array([0, 3, -2, 7, -15])
    for image, shift, ours in zip(images, shifts, rolled(images, shifts), strict=True):
        np.testing.assert_array_equal(ours, np.roll(image, shift, axis=0))
