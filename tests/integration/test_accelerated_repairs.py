import pickle
import sys
import types

import numpy as np
import pytest
import spikeinterface.full as si
from motion_inputs import drifting_peaks
from spikeinterface.core.motion import Motion
from spikeinterface.core.node_pipeline import base_peak_dtype
from spikeinterface.sortingcomponents import peak_localization
from spikeinterface.sortingcomponents.motion import estimate_motion, interpolate_motion
from spikeinterface.sortingcomponents.peak_detection import detect_peaks

import steadyspike


def test_repairs_are_told():
    with steadyspike.repair() as told:
        report = steadyspike.repaired()
        assert report.on
        assert (
            set(report.defects)
            == set(report)
            == {
                "compute_motion",
                "dredge_ap",
                "get_noise_levels",
                "interpolate_motion",
                "localize_peaks",
                "locally_exclusive",
                "medicine",
            }
        )
        assert all(sentence in repr(told) for sentence in report.defects.values())
    with steadyspike.repair(names=["medicine"]):
        assert list(steadyspike.repaired().defects) == ["medicine"]
    assert not steadyspike.repaired().on


@pytest.mark.parametrize("method", ["center_of_mass", "monopolar_triangulation", "grid_convolution"])
def test_no_peaks_have_no_locations(method):
    recording, none = si.generate_recording(num_channels=4, durations=[0.1]), np.zeros(0, base_peak_dtype)
    with pytest.raises(ValueError, match="at least one array"):
        peak_localization.localize_peaks(recording, none, method=method)
    with steadyspike.repair(names=["localize_peaks"]):
        assert peak_localization.localize_peaks(recording, none, method=method).shape == (0,)
        assert steadyspike.repaired()["localize_peaks"].taken == 1


def test_names_that_are_not_repaired_are_refused():
    with pytest.raises(ValueError, match=r"names=\['whiten'\] cannot be repaired; allowed: .*medicine"):
        steadyspike.repair(names=["whiten"])


def still_and_moving(num_segments):
    """A recording, and a motion that differs between its segments."""
    recording = si.generate_recording(num_channels=16, durations=[3.0] * num_segments, seed=0)
    bins = np.arange(3.0) + 0.5
    depths = np.array([0.0, 100.0])
    displacement = [np.full((3, 2), 3.0 * index) + np.arange(3.0)[:, None] for index in range(num_segments)]
    return recording, Motion(displacement, [bins.copy() for _ in range(num_segments)], depths)


def test_several_segments_are_interpolated():
    recording, motion = still_and_moving(2)
    with pytest.raises(ValueError, match="Several segment"):
        interpolate_motion(recording, motion)
    with steadyspike.repair():
        corrected = interpolate_motion(recording, motion)
    assert corrected.get_num_channels() < 16
    # what it gives for each segment is what that segment alone gives
    for index in range(2):
        alone = Motion([motion.displacement[index]], [motion.temporal_bins_s[index]], motion.spatial_bins_um)
        expected = interpolate_motion(
            recording.select_segments([index]), alone, border_mode="force_zeros"
        ).select_channels(corrected.channel_ids)
        np.testing.assert_allclose(
            corrected.get_traces(segment_index=index), expected.get_traces(segment_index=0), atol=1e-5
        )
    kept = corrected.save(format="memory", n_jobs=1, progress_bar=False)
    np.testing.assert_array_equal(kept.get_traces(segment_index=1), corrected.get_traces(segment_index=1))
    assert corrected._kwargs["motion"] == motion


@pytest.mark.parametrize(("dtype", "num_segments"), [("int16", 2), ("float32", 2), ("float32", 1)])
def test_what_a_repair_has_made_lives_without_it(dtype, num_segments):
    # a spawned worker unpickles the recording before it repairs anything, and other processes never do
    recording, motion = still_and_moving(num_segments)
    with steadyspike.accelerate(), steadyspike.repair():
        corrected = interpolate_motion(recording.astype(dtype), motion, interpolation_time_bin_size_s=0.5)
    again = pickle.loads(pickle.dumps(corrected))
    np.testing.assert_array_equal(again.channel_ids, corrected.channel_ids)
    for index in range(num_segments):
        traces = again.get_traces(segment_index=index)
        np.testing.assert_allclose(traces, corrected.get_traces(segment_index=index), atol=1e-3)


def test_channels_that_leave_in_any_segment_go():
    recording, motion = still_and_moving(2)
    motion.displacement[1] += 30.0
    with steadyspike.repair():
        both = interpolate_motion(recording, motion)
    first = Motion(motion.displacement[:1], motion.temporal_bins_s[:1], motion.spatial_bins_um)
    alone = interpolate_motion(recording.select_segments([0]), first)
    assert set(both.channel_ids) < set(alone.channel_ids)


def test_integers_become_float32(tmp_path):
    recording, motion = still_and_moving(1)
    integers = si.scale(recording, gain=10.0, dtype="int16")
    with pytest.raises(ValueError, match="non-floating"):
        interpolate_motion(integers, motion)
    expected = interpolate_motion(integers, motion, dtype="float32")
    with steadyspike.repair():
        corrected = interpolate_motion(integers, motion)
        assert corrected.dtype == np.dtype("float32")
        corrected.dump(tmp_path / "corrected.pickle")
    np.testing.assert_allclose(corrected.get_traces(), expected.get_traces(), atol=1e-5)
    # and loads as SpikeInterface's own
    again = si.load(tmp_path / "corrected.pickle")
    np.testing.assert_allclose(again.get_traces(), expected.get_traces(), atol=1e-5)


def test_bins_of_a_size_with_a_time_vector(tmp_path):
    (shifted, motion), (vector, _) = still_and_moving(1), still_and_moving(1)
    motion = Motion(motion.displacement, [motion.temporal_bins_s[0] + 10.0], motion.spatial_bins_um)
    shifted.shift_times(10.0)
    vector.set_times(vector.get_times() + 10.0)
    with pytest.raises(IndexError):
        interpolate_motion(vector, motion, interpolation_time_bin_size_s=0.5)
    expected = interpolate_motion(shifted, motion, interpolation_time_bin_size_s=0.5)
    with steadyspike.repair():
        ours = interpolate_motion(vector, motion, interpolation_time_bin_size_s=0.5)
        ours.dump(tmp_path / "corrected.pickle")
    edges, theirs = (one.segments[0].interpolation_time_bin_edges_s for one in (ours, expected))
    np.testing.assert_allclose(edges, theirs)
    again = si.load(tmp_path / "corrected.pickle")
    for one in (ours, again):
        np.testing.assert_allclose(one.get_traces(), expected.get_traces(), atol=1e-5)


def test_what_needs_no_repair_is_left_alone():
    recording, motion = still_and_moving(1)
    with steadyspike.repair():
        interpolate_motion(recording, motion)
        calls_of_it = steadyspike.repaired()["interpolate_motion"]
    assert calls_of_it.taken == 0
    assert not calls_of_it.fell_back
    with steadyspike.repair(), pytest.raises(ValueError, match="Wrong border_mode"):
        interpolate_motion(recording, motion, border_mode="nonsense")


@pytest.fixture
def medicine(monkeypatch):
    """A stand-in for the package: 1 s bins from the first sample."""

    def run_medicine(peak_times, **arguments):
        bins = np.arange(0.5, peak_times.max(), 1.0)
        return None, bins, np.array([0.0, 600.0]), np.column_stack([bins, 2 * bins])

    module = types.ModuleType("medicine")
    module.run_medicine = run_medicine
    monkeypatch.setitem(sys.modules, "medicine", module)


@pytest.mark.parametrize("vector", [False, True])
def test_medicine_follows_the_times(medicine, vector):
    recording, peaks, locations = drifting_peaks(t_start=None if vector else 100.0)
    if vector:
        # an hour's pause in the middle
        times = np.arange(recording.get_num_samples()) / 1000.0 + 100.0
        times[30_000:] += 3600.0
        recording.set_times(times)
    theirs = estimate_motion(recording, peaks, locations, method="medicine")
    with steadyspike.repair():
        ours = estimate_motion(recording, peaks, locations, method="medicine")
    assert theirs.temporal_bins_s[0][0] == 0.5
    bins = theirs.temporal_bins_s[0] + 100.0
    expected = np.where(vector & (bins > 130.0), bins + 3600.0, bins)
    np.testing.assert_allclose(ours.temporal_bins_s[0], expected, atol=1e-3)
    np.testing.assert_array_equal(ours.displacement[0], theirs.displacement[0])


def test_medicine_keeps_the_direction(medicine):
    inputs = drifting_peaks()
    with steadyspike.repair():
        assert estimate_motion(*inputs, method="medicine", direction="x").direction == "x"
        motion = estimate_motion(*inputs, method="medicine")
        assert steadyspike.repaired()["medicine"].taken == 1
    assert motion == estimate_motion(*inputs, method="medicine")


@pytest.fixture(scope="module")
def spiking():
    return si.generate_ground_truth_recording(durations=[4.0], num_channels=16, num_units=15, seed=0)[0]


SELECTED = dict(
    preset="rigid_fast",
    select_kwargs={"method": "uniform", "n_peaks": 5, "seed": 0},
    n_jobs=1,
    progress_bar=False,
)


def test_peaks_are_selected(spiking, tmp_path):
    with pytest.raises(TypeError, match="pipeline_nodes"):
        si.correct_motion(spiking, **SELECTED)
    with steadyspike.repair():
        corrected, info = si.correct_motion(
            spiking, output_motion_info=True, folder=tmp_path / "motion", **SELECTED
        )
        motion = si.compute_motion(spiking, **SELECTED)
    assert corrected.get_traces(end_frame=100).shape[0] == 100
    assert 0 < info["peaks"].size <= 5 * 16
    assert info["peak_locations"].size == info["peaks"].size
    assert set(info["run_times"]) == {"detect_peaks", "select_peaks", "localize_peaks", "estimate_motion"}
    assert si.load_motion_info(tmp_path / "motion")["motion"] == info["motion"]
    assert motion.displacement[0].shape == info["motion"].displacement[0].shape


def test_errors_after_selection_are_spikeinterfaces(spiking, tmp_path):
    wrong = {**SELECTED, "estimate_motion_kwargs": {"no_such": 1}}
    with steadyspike.repair():
        with pytest.raises(RuntimeError, match=r"Motion estimation failed. Error given: .*no_such"):
            si.compute_motion(spiking, **wrong)
        with pytest.warns(UserWarning, match="Motion estimation failed"):
            assert si.compute_motion(spiking, raise_error=False, **wrong) is None
        (tmp_path / "there").mkdir()
        with pytest.raises(AssertionError, match="already exists"):
            si.compute_motion(spiking, folder=tmp_path / "there", **SELECTED)


def glitching(dtype="float32"):
    """Spikes in noise of 3 counts; channel "3" is silent but for a few glitches."""
    recording, _ = si.generate_ground_truth_recording(durations=[4.0], num_channels=8, num_units=4, seed=0)
    traces = 3.0 * recording.get_traces()
    traces[:, 3] = 0.0
    traces[::5000, 3] = -300.0
    broken = si.NumpyRecording([np.round(traces).astype(dtype)], recording.sampling_frequency)
    broken.set_probe(recording.get_probe())
    broken.set_channel_gains(-0.5)
    broken.set_channel_offsets(0.0)
    return broken.rename_channels([str(one) for one in range(8)])


@pytest.mark.parametrize("accelerated", [False, True])
def test_a_silent_channel_does_not_stop_a_preset(accelerated):
    # also without repairs, as presets are what users call
    with steadyspike.accelerate(accelerated), pytest.warns(UserWarning, match="channels 3 are silent"):
        _, info = si.correct_motion(
            glitching(), preset="steady_rigid", output_motion_info=True, progress_bar=False
        )
    assert info["peaks"].size > 50
    assert not (info["peaks"]["channel_index"] == 3).any()


@pytest.mark.parametrize("accelerated", [False, True])
def test_detection_leaves_silent_channels_out(accelerated):
    recording = glitching()
    kwargs = dict(noise_levels=np.where(np.arange(8) == 3, 0.0, 3.0).astype("float32"))
    with steadyspike.accelerate(accelerated):
        with pytest.raises(ZeroDivisionError):
            detect_peaks(
                recording, method="locally_exclusive", method_kwargs=kwargs, job_kwargs=dict(n_jobs=1)
            )
        with steadyspike.repair():
            peaks = detect_peaks(
                recording, method="locally_exclusive", method_kwargs=kwargs, job_kwargs=dict(n_jobs=1)
            )
    assert peaks.size > 50
    assert not (peaks["channel_index"] == 3).any()


@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize("in_uv", [False, True])
def test_noise_levels_of_integers(accelerated, in_uv):
    levels = np.array([0.4, 0.8, 1.7, 30.0])
    traces = np.random.default_rng(0).normal(100.0, levels, size=(20_000, 4)).round().astype("int16")
    recording = si.NumpyRecording([traces], 30_000.0)
    recording.set_channel_gains(-0.5)
    recording.set_channel_offsets(0.0)
    kwargs = dict(return_in_uV=in_uv, force_recompute=True, n_jobs=1, progress_bar=False)
    expected = levels / 2 if in_uv else levels
    with steadyspike.accelerate(accelerated):
        bent = si.get_noise_levels(recording, **kwargs)
        with steadyspike.repair():
            right = si.get_noise_levels(recording, **kwargs)
    assert right / expected == pytest.approx(1.0, abs=0.04)
    assert np.abs(bent / expected - 1)[:3].min() > 0.1
