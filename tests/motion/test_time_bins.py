"""Time bins: only where there are samples, and no more than can be held."""

import importlib
import re
import warnings

import numpy as np
import pytest
import spikeinterface as si
from spikeinterface.core.motion import Motion
from test_segments import segmented_peaks, segmented_recording

import steadyspike
from steadyspike.evaluation.binned_units import _edges
from steadyspike.motion import resample_motion
from steadyspike.motion.forecast import forecast_motion
from steadyspike.motion.problem import time_bins

GAP_S = 1e6
SECONDS = 40.0


def slow(segment, times_s, depths_um):
    return 10 * np.sin(times_s / 8)


@pytest.fixture(scope="module")
def with_gap():
    """A recording whose clock jumps by 12 days in the middle, its peaks, and their locations."""
    recording = segmented_recording((SECONDS,))
    times_s = 5.0 + np.arange(recording.get_num_samples()) / recording.sampling_frequency
    times_s[times_s.size // 2 :] += GAP_S
    recording.set_times(times_s)
    return recording, *segmented_peaks(slow, (SECONDS,))


def estimate_motion(*args, **kwargs):
    return importlib.import_module("spikeinterface.sortingcomponents.motion").estimate_motion(*args, **kwargs)


@pytest.mark.parametrize(
    "method", ["steady_auto", "steady_decentralized", "steady_iterative_template", "steady_point_cloud"]
)
def test_there_are_no_bins_in_a_gap_and_motion_is_found_on_both_sides(with_gap, method):
    motion, extra = estimate_motion(*with_gap, method=method, extra_outputs=True)
    times_s = motion.temporal_bins_s[0]
    assert 40 <= times_s.size <= 42
    assert extra["temporal_hist_bin_edges"].size == times_s.size + 1
    late = times_s > GAP_S
    assert times_s[~late].max() < 26.0
    recorded_s = times_s - 5.0 - GAP_S * late
    difference = motion.displacement[0] - slow(0, recorded_s, 0.0)[:, None]
    assert np.abs(difference - np.median(difference, axis=0)).mean() < 1.0
    assert steadyspike.motion_trust(with_gap[0], motion, *with_gap[1:]).verdict == "correct"


def test_a_forecast_counts_samples_and_not_the_gap(with_gap):
    forecast = forecast_motion(with_gap[0], preset="steady_auto", peaks_per_s=100.0)
    assert forecast.duration_s == pytest.approx(SECONDS)
    assert forecast.num_peaks == 4000


def test_bins_of_regular_times_are_those_of_spikeinterface():
    bins = time_bins("test", segmented_recording((3.0, 0.5)), 1.0)
    np.testing.assert_array_equal(bins.edges_s[0], bins.edges_s[0][0] + np.arange(4.0))
    assert bins.segment_edges.tolist() == [0, 3, 4]


@pytest.mark.parametrize("method", ["steady_auto", "steady_decentralized", "steady_iterative_template"])
@pytest.mark.parametrize(
    ("bin_s", "allowed"),
    [(1e-5, "at least"), (1e-300, "a number >= 1e-05"), (1e300, "a number >= 1e-05 and <= 1e+07 s")],
)
def test_bins_that_nobody_can_hold_are_refused(method, bin_s, allowed):
    recording = segmented_recording((SECONDS,))
    peaks, locations = segmented_peaks(slow, (SECONDS,), num_units=3)
    with pytest.raises(ValueError, match=re.escape(f"bin_s={bin_s}; allowed: {allowed}")):
        estimate_motion(recording, peaks, locations, method=method, bin_s=bin_s)


@pytest.mark.parametrize("wrong", ["backwards", "constant"])
def test_times_that_do_not_increase_are_refused(wrong):
    recording = segmented_recording((4.0,))
    times_s = np.arange(recording.get_num_samples()) / recording.sampling_frequency
    recording.set_times(0.0 * times_s if wrong == "constant" else times_s - 2.0 * (times_s > 2.0))
    with pytest.raises(ValueError, match="allowed: times that increase; those of segment 0 do not"):
        time_bins("test", recording, 1.0)


def test_a_motion_is_not_resampled_to_bins_that_nobody_can_hold():
    motion = Motion(np.zeros((2, 1)), np.array([0.0, 1e6]), np.array([0.0]))
    with pytest.raises(ValueError, match=r"resample_motion: bin_s=1e-06; allowed: at least 0\.51 s"):
        resample_motion(motion, bin_s=1e-6)


def test_measures_of_drift_have_no_bins_in_a_gap():
    centres = np.concatenate([np.arange(10.0), 1e6 + np.arange(5.0)]) + 0.5
    edges = _edges(centres, 2.0)
    np.testing.assert_array_equal(edges, [0, 2, 4, 6, 8, 1e6, 1e6 + 2, 1e6 + 4])
    np.testing.assert_array_equal(_edges(centres[:10], 2.0), [0, 2, 4, 6, 8, 10])


def test_short_bins_of_an_interpolation_are_told_and_too_short_ones_refused(with_gap):
    recording = segmented_recording((1.0,))
    start_s = recording.get_start_time(0)
    fast = Motion(np.zeros((3000, 1)), start_s + np.arange(3000) / 3000.0, np.array([0.0]))
    with pytest.warns(UserWarning, match="3000 time bins of 0.33 ms.*interpolation_time_bin_size_s=0.01"):
        steadyspike.interpolate_motion(recording, fast, spatial_interpolation_method="kriging")
    for chosen, size_s in ((recording, 1e-300), (recording, 1e-6), (with_gap[0], 1e-4)):
        with pytest.raises(
            ValueError, match=f"interpolation_time_bin_size_s={size_s}; allowed: bins of at least one"
        ):
            steadyspike.interpolate_motion(chosen, fast, interpolation_time_bin_size_s=size_s)


def test_a_potential_follows_its_clock_and_fine_bins_are_told():
    rng = np.random.default_rng(0)
    for rate_hz in (250.0, 2000.0):
        recording = si.NumpyRecording([rng.standard_normal((500, 96)).astype("float32")], rate_hz)
        recording.set_probe(segmented_recording((1.0,)).get_probe())
        recording.set_times(np.arange(500) / rate_hz + GAP_S * (np.arange(500) >= 250))
        kwargs = dict(peaks=None, peak_locations=None, method="steady_decentralized_lfp", rigid=True)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            times_s = estimate_motion(recording, **kwargs).temporal_bins_s[0]
        np.testing.assert_allclose(times_s, recording.get_times(), rtol=0, atol=1e-6)
        told = [str(one.message) for one in heard if "steady_decentralized_lfp" in str(one.message)]
        assert len(told) == (rate_hz > 250)
        assert all("interpolation_time_bin_size_s" in message for message in told)


@pytest.mark.parametrize("bin_s", [1e-300, 1e300])
def test_presets_with_bins_that_nobody_can_hold_are_refused(bin_s, tmp_path):
    file = tmp_path / "lab.toml"
    steadyspike.save_preset(steadyspike.load_preset("steady_auto"), file)
    text = file.read_text(encoding="utf8")
    file.write_text(text.replace('direction = "y"', f'direction = "y"\nbin_s = {bin_s}'), encoding="utf8")
    with pytest.raises(ValueError, match=r"bin_s.*a number >= 1e-05"):
        steadyspike.load_preset(file)
