"""Our parts through SpikeInterface's own calls: pipelines, presets, and the correction of motion."""

import re
import subprocess
import sys

import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface.neuropixels_tools import build_neuropixels_probe
from spikeinterface.core.motion import Motion
from spikeinterface.preprocessing.phase_shift import apply_frequency_shift

import steadyspike
from steadyspike.simulation.drift import simulate_drifting_recording
from steadyspike.simulation.truth import motion_error

NUM_CHANNELS, DEAD, NOISY, GAIN = 32, 10, 21, 2.34375
JOBS = dict(n_jobs=1, progress_bar=False)
STEPS = [
    {"name": "steady_bandpass_filter", "params": {"freq_min": 500.0, "freq_max": 5000.0}},
    {"name": "steady_common_reference", "params": {"reference": "global", "operator": "average"}},
]


@pytest.fixture(scope="module")
def simulated():
    return simulate_drifting_recording("rigid_zigzag", num_channels=32, duration_s=20.0, seed=1)


@pytest.fixture(scope="module")
def raw(simulated, tmp_path_factory):
    """The recording in a file, because what is in memory has no JSON; in one chunk, as each has a cost."""
    folder = tmp_path_factory.mktemp("pipeline") / "raw"
    return simulated.recording.astype("int16").save(
        folder=folder, chunk_duration="20s", verbose=False, **JOBS
    )


@pytest.fixture(scope="module")
def filtered(raw):
    return steadyspike.common_reference(steadyspike.bandpass_filter(raw))


def traces(recording):
    return recording.get_traces(start_frame=3000, end_frame=6000)


def test_steps_in_a_pipeline(raw):
    by_hand = steadyspike.bandpass_filter(raw, freq_min=500.0, freq_max=5000.0)
    by_hand = steadyspike.common_reference(by_hand, reference="global", operator="average")
    pipeline = si.PreprocessingPipeline(STEPS)
    for processed in (
        si.apply_preprocessing_pipeline(raw, STEPS),
        si.apply_preprocessing_pipeline(raw, pipeline),
    ):
        assert type(processed) is type(by_hand)
        np.testing.assert_array_equal(traces(processed), traces(by_hand))
    assert "steady_bandpass_filter" in repr(pipeline)
    assert "500.0" in pipeline._repr_html_()


def test_steps_on_recordings_by_group(raw):
    recording = raw.clone()
    recording.set_property("group", np.repeat([0, 1], 16))
    processed = si.apply_preprocessing_pipeline(recording.split_by("group"), STEPS)
    assert [part.get_num_channels() for part in processed.values()] == [16, 16]


@pytest.mark.parametrize("suffix", ["json", "pkl"])
def test_steps_come_back_from_a_saved_chain(suffix, raw, tmp_path):
    middle = float(raw.get_channel_locations()[:, 1].mean())
    motion = Motion([np.array([[0.0], [8.0]])], [np.array([5.0, 15.0])], np.array([middle]))
    processed = si.apply_preprocessing_pipeline(raw, STEPS)
    processed = steadyspike.interpolate_motion(processed, motion, sigma_um=25.0)
    path = tmp_path / f"chain.{suffix}"
    processed.dump(path)
    steps = si.get_preprocessing_list_from_file(path)
    assert [step["name"] for step in steps] == [step["name"] for step in STEPS] + [
        "steady_interpolate_motion"
    ]
    assert STEPS[0]["params"].items() <= steps[0]["params"].items()
    assert steps[2]["params"]["sigma_um"] == 25.0
    again = si.apply_preprocessing_pipeline(raw, steps)
    np.testing.assert_allclose(traces(again), traces(processed), rtol=0, atol=1e-3)


def sample_shifts(probe, num_cycles):
    """Share of a sample by which each channel is read late: the channels of one group are read together."""
    groups = re.findall(r"\(([\d ]+)\)", probe.annotations["adc_sampling_table"])
    shifts = np.empty(probe.annotations["num_readout_channels"])
    for turn, group in enumerate(groups):
        shifts[np.array(group.split(), dtype=int)] = turn / num_cycles
    return shifts


def neuropixels_recording(part_number, num_cycles):
    """A raw recording as SpikeGLX delivers it, with a dead channel, a noisy one, and a common artefact."""
    probe = build_neuropixels_probe(part_number)
    shifts = sample_shifts(probe, num_cycles)[:NUM_CHANNELS]
    probe = probe.get_slice(np.arange(NUM_CHANNELS))
    probe.set_device_channel_indices(np.arange(NUM_CHANNELS))
    rng = np.random.default_rng(0)
    time_s = np.arange(30_000) / 30_000.0
    artefact = 200.0 * np.sin(2 * np.pi * 10.0 * time_s) + rng.normal(scale=10.0, size=time_s.size)
    # what all channels pick up at once each takes at its own time
    samples = apply_frequency_shift(np.tile(artefact[:, None], NUM_CHANNELS), -shifts)
    samples += rng.normal(scale=3.0, size=(time_s.size, NUM_CHANNELS))
    samples[:, DEAD] = rng.normal(scale=0.5, size=time_s.size)
    samples[:, NOISY] += rng.normal(scale=100.0, size=time_s.size)
    recording = si.NumpyRecording(np.round(samples / GAIN).astype("int16"), 30_000.0)
    recording.set_probe(probe)
    recording.set_property("inter_sample_shift", shifts)
    recording.set_channel_gains(GAIN)
    recording.set_channel_offsets(0.0)
    return recording


@pytest.mark.parametrize(
    ("name", "probe"), [("neuropixels1", ("NP1000", 13)), ("neuropixels2", ("NP2003", 16))]
)
def test_neuropixels_presets(name, probe):
    recording = neuropixels_recording(*probe)
    processed = si.apply_preprocessing_pipeline(recording, steadyspike.load_preset(name).steps)
    np.testing.assert_array_equal(processed.channel_ids, recording.channel_ids)
    np.testing.assert_array_equal(processed.get_channel_locations(), recording.get_channel_locations())
    assert processed.get_dtype() == "float32"
    raw, clean = traces(recording).astype("float32"), traces(processed)
    assert np.isfinite(clean).all()
    # what was slow or common is gone
    assert clean.std() < 0.1 * raw.std()
    assert np.abs(np.median(clean, axis=1)).max() < 1e-3
    # the dead and the noisy channel hold less than a good one, as an average of independent noise does
    deviations = clean.std(axis=0)
    assert set(np.argsort(deviations)[:2]) == {DEAD, NOISY}
    assert deviations.max() < 1.5 * np.median(deviations)


@pytest.mark.parametrize("name", steadyspike.list_presets("motion"))
def test_correct_motion_with_each_bundled_preset(name, filtered):
    corrected, motion = si.correct_motion(filtered, preset=name, output_motion=True, **JOBS)
    assert type(corrected).__name__ == "SteadyInterpolateMotionRecording"
    np.testing.assert_array_equal(corrected.channel_ids, filtered.channel_ids)
    assert np.isfinite(traces(corrected)).all()
    assert isinstance(motion, Motion)


def test_correct_motion_finds_the_motion(simulated, filtered):
    motion = si.compute_motion(filtered, preset="steady_rigid", **JOBS)
    still = Motion([np.zeros_like(motion.displacement[0])], motion.temporal_bins_s, motion.spatial_bins_um)
    error, error_if_left = (np.abs(motion_error(simulated, m)).mean() for m in (motion, still))
    assert error < 0.5 * error_if_left


def test_correct_motion_with_a_file_in_a_fresh_process(filtered, tmp_path):
    preset = steadyspike.load_preset("steady_rigid")
    # a detector that is not compiled, which each new process would do again
    changes = dict(
        detect_kwargs={"method": "by_channel", "detect_threshold": 8.0},
        estimate_motion_kwargs={**preset.estimate_motion_kwargs, "bin_s": 2.0},
    )
    path = steadyspike.save_preset(preset.replace(name="my_lab", **changes), tmp_path / "my_lab.toml")
    corrected, info = si.correct_motion(
        filtered, preset=path, output_motion_info=True, folder=tmp_path / "motion", **JOBS
    )
    assert info["parameters"]["estimate_motion_kwargs"]["bin_s"] == 2.0
    saved = si.load_motion_info(tmp_path / "motion")
    assert saved["parameters"]["preset"] == str(path)
    corrected.dump_to_json(tmp_path / "corrected.json")
    np.save(tmp_path / "traces.npy", traces(corrected))
    script = f"""
import numpy as np
import spikeinterface.full as si
loaded = si.load(r"{tmp_path / "corrected.json"}")
traces = loaded.get_traces(start_frame=3000, end_frame=6000)
np.testing.assert_allclose(traces, np.load(r"{tmp_path / "traces.npy"}"), rtol=0, atol=1e-3)
motion = si.compute_motion(loaded, preset=r"{path}", n_jobs=1, progress_bar=False)
assert motion.displacement[0].shape[0] == {info["motion"].displacement[0].shape[0]}
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_an_integer_recording_and_a_preset_of_spikeinterface_that_ends_in_our_node(filtered):
    integers = filtered.astype("int16")
    ours = dict(method="steady_interpolate_motion", border_mode="force_extrapolate")
    corrected = si.correct_motion(integers, preset="rigid_fast", interpolate_motion_kwargs=ours, **JOBS)
    assert type(corrected).__name__ == "SteadyInterpolateMotionRecording"
    assert corrected.get_dtype() == "float32"


def test_wrong_values_stop_before_any_data_is_read(filtered, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('schema = 1\nkind = "motion"\nname = "bad"\ndoc = "bad"\n')
    with pytest.raises(ValueError, match=r"bad\.toml: detect_kwargs: is missing"):
        si.correct_motion(None, preset=path)
    with pytest.raises(KeyError, match="steady_nonrigid"):
        si.correct_motion(None, preset="steady_nonrgid")
