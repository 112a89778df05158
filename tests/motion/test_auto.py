import importlib
import warnings

import numpy as np
import pytest
from probeinterface import Probe, generate_linear_probe
from spikeinterface.generation import NoiseGeneratorRecording
from test_segments import mean_error, segmented_peaks, segmented_recording, still

import steadyspike  # noqa: F401  (registers the methods)
from steadyspike.motion import auto
from steadyspike.motion.auto import MotionVerdictWarning
from steadyspike.motion.plan import plan_estimation
from steadyspike.motion.settings import WindowSettings


def estimate_motion(*args, **kwargs):
    return importlib.import_module("spikeinterface.sortingcomponents.motion").estimate_motion(*args, **kwargs)


def slow(segment, times_s, depths_um):
    return 10 * np.sin(times_s / 8)


@pytest.mark.parametrize(
    ("extent_um", "rate_hz", "rigid", "num_windows", "bins_s"),
    [
        (3840.0, 500.0, False, 20, (1.0,)),  # Neuropixels 1.0
        (3840.0, 30.0, False, 20, (2.0, 5.0, 10.0, 20.0)),  # the same, hardly any spikes
        (345.0, 40.0, False, 2, (1.0,)),  # one of four shanks
        (750.0, 5.0, False, 4, (2.0, 5.0, 10.0, 20.0)),  # a linear probe of 16 contacts
        (150.0, 20.0, False, 2, (1.0, 2.0)),  # a short one
        (150.0, 6.0, False, 2, (1.0, 2.0, 5.0, 10.0)),
        (150.0, 1.5, True, 1, (2.0, 5.0, 10.0, 20.0)),
        (10_000.0, 3000.0, False, 41, (1.0,)),  # 5,000 contacts
        (3840.0, 0.0, True, 1, (60.0,)),
        (0.0, 3.0, True, 1, (1.0, 2.0, 5.0, 10.0)),
    ],
)
def test_windows_and_bins_follow_the_probe_and_the_spikes(extent_um, rate_hz, rigid, num_windows, bins_s):
    plan = plan_estimation(extent_um, rate_hz, 600.0)
    assert plan.rigid == rigid
    assert int(extent_um // plan.win_step_um) + 1 == num_windows
    assert plan.bins_s == bins_s
    assert plan_estimation(extent_um, rate_hz, 600.0, rigid=True).rigid
    assert plan_estimation(extent_um, rate_hz, 30.0).bins_s[0] == bins_s[0]
    assert len(plan_estimation(extent_um, rate_hz, 5.0).bins_s) == 1


def test_tissue_that_bends_within_a_short_probe_is_followed_at_both_ends():
    def drift(segment, times_s, depths_um):
        return 20 * np.sin(2 * np.pi * times_s / 100) * (1.0 - depths_um / 160.0)

    peaks, locations = segmented_peaks(drift, (200.0,), num_units=40, height_um=140.0)
    recording = segmented_recording((200.0,), num_channels=16)
    motion = estimate_motion(recording, peaks, locations, method="steady_auto")
    times = motion.temporal_bins_s[0]
    for depth in (0.0, 140.0):
        found = motion.get_displacement_at_time_and_depth(times, np.full(times.size, depth))
        expected = drift(0, times, depth)
        difference = found - expected
        assert np.abs(difference - np.median(difference)).mean() < 1.5


def test_bins_of_sparse_spikes_are_those_that_held_out_spikes_gain_most_from():
    def drift(segment, times_s, depths_um):
        return 12 * np.sin(2 * np.pi * times_s / 400)

    peaks, locations = segmented_peaks(drift, (600.0,), num_units=12, rate_hz=0.15)
    with warnings.catch_warnings():
        warnings.simplefilter("error", MotionVerdictWarning)
        motion, extra = estimate_motion(
            segmented_recording((600.0,)), peaks, locations, method="steady_auto", extra_outputs=True
        )
    assert extra["chosen"]["bin_s"] == np.diff(motion.temporal_bins_s[0])[0]
    assert extra["motion_trust"].verdict == "correct"
    assert extra["motion_trust"].wild_bins == 0
    truth = 12 * np.sin(2 * np.pi * motion.temporal_bins_s[0] / 400)
    difference = motion.displacement[0] - truth[:, None]
    assert np.abs(difference - np.median(difference, axis=0)).max() < 3.0


def test_real_motion_is_estimated_without_a_warning():
    peaks, locations = segmented_peaks(slow, (60.0,))
    with warnings.catch_warnings():
        warnings.simplefilter("error", MotionVerdictWarning)
        motion, extra = estimate_motion(
            segmented_recording((60.0,)), peaks, locations, method="steady_auto", extra_outputs=True
        )
    assert extra["motion_trust"].verdict == "correct"
    assert mean_error(motion, slow) < 0.5


def test_still_tissue_is_left_alone_and_that_is_said():
    peaks, locations = segmented_peaks(still, (60.0,))
    # enough scatter for an estimate that is not nothing
    locations["y"] += np.random.default_rng(0).normal(0, 8, len(peaks))
    recording = segmented_recording((60.0,))
    with pytest.warns(MotionVerdictWarning, match="do not correct.*no motion is returned"):
        motion, extra = estimate_motion(recording, peaks, locations, method="steady_auto", extra_outputs=True)
    assert np.all(motion.displacement[0] == 0)
    assert extra["motion_trust"].verdict == "do not correct"
    assert extra["estimate"].displacement[0].shape == motion.displacement[0].shape
    with pytest.warns(MotionVerdictWarning, match="as it is"):
        kept = estimate_motion(recording, peaks, locations, method="steady_auto", follow_verdict=False)
    np.testing.assert_array_equal(kept.displacement[0], extra["estimate"].displacement[0])


def test_too_few_spikes_cannot_tell():
    peaks, locations = segmented_peaks(slow, (20.0,), num_units=2, rate_hz=1.0)
    with pytest.warns(MotionVerdictWarning, match="cannot tell"):
        motion = estimate_motion(segmented_recording((20.0,)), peaks, locations, method="steady_auto")
    assert np.all(motion.displacement[0] == 0)


def recording_of(probe):
    count = probe.get_contact_count()
    probe.set_device_channel_indices(np.arange(count))
    recording = NoiseGeneratorRecording(
        num_channels=count, sampling_frequency=30_000.0, durations=[5.0], seed=0
    )
    recording.set_probe(probe)
    return recording


def utah():
    probe = Probe(ndim=2)
    grid = np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(-1, 2)
    probe.set_contacts(positions=400.0 * grid, shapes="circle", shape_params={"radius": 5})
    return probe


def lying():
    probe = generate_linear_probe(num_elec=8, ypitch=20)
    probe.rotate(90)
    return probe


@pytest.mark.parametrize(
    ("probe", "direction", "message"),
    [(utah, "y", "400 um apart"), (lying, "y", "at one place along y"), (lying, "z", "x and y only")],
)
@pytest.mark.parametrize("method", ["steady_auto", "steady_decentralized"])
def test_layouts_that_cannot_tell_motion_get_a_clear_answer(probe, direction, message, method):
    peaks, locations = segmented_peaks(still, (5.0,), num_units=3)
    with pytest.raises(ValueError, match=message):
        estimate_motion(recording_of(probe()), peaks, locations, method=method, direction=direction)


def test_every_parameter_is_passed_on(monkeypatch):
    asked = dict(
        bin_s=3.0,
        max_displacement_um=70.0,
        max_segment_displacement_um=90.0,
        periods=[(1.0, 2.0)],
        reference_displacement="median",
    )
    seen = []
    decentralized = auto.SteadyDecentralizedRegistration.estimate

    def spy(recording, peaks, locations, windows, settings, *shown):
        seen.append((windows, settings))
        return decentralized(recording, peaks, locations, windows, settings, *shown)

    monkeypatch.setattr(auto.SteadyDecentralizedRegistration, "estimate", spy)
    peaks, locations = segmented_peaks(slow, (60.0,))
    estimate_motion(
        segmented_recording((60.0,)), peaks, locations, method="steady_auto", win_step_um=1.0, **asked
    )
    windows, settings = seen[0]
    assert asked.items() <= settings.values().items()
    assert asked.keys() | {"follow_verdict"} == auto.AutoSettings.model_fields.keys()
    plan = auto.plan_for(segmented_recording((60.0,)), len(peaks), WindowSettings.of())
    assert (windows.rigid, windows.win_step_um, windows.win_margin_um) == (plan.rigid, plan.win_step_um, 0.0)


@pytest.mark.parametrize(
    "kwargs", [{"bin_s": 0}, {"max_displacement_um": -1}, {"reference_displacement": "max"}]
)
def test_arguments_outside_their_range_are_refused(kwargs):
    peaks, locations = segmented_peaks(still, (5.0,), num_units=3)
    (name, value) = next(iter(kwargs.items()))
    with pytest.raises(ValueError, match=f"^steady_auto: {name}={value!r}; allowed: "):
        estimate_motion(segmented_recording((5.0,)), peaks, locations, method="steady_auto", **kwargs)
