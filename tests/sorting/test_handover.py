"""What Kilosort's own window reads."""

import json

import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface.core.motion import Motion
from test_parameters import prepared, raw, whitened

import steadyspike
from steadyspike import kilosort

JOBS = dict(n_jobs=1, progress_bar=False)


def noisy(dtype, sigma, num_channels=96, gain=2.0):
    rng = np.random.default_rng(0)
    traces = rng.normal(0, sigma, (6000, num_channels))
    recording = si.NumpyRecording([traces[:4000].astype(dtype), traces[4000:].astype(dtype)], 30_000.0)
    recording.set_probegroup(raw(num_channels).get_probegroup())
    recording.set_channel_gains(gain)
    recording.set_channel_offsets(0.0)
    return recording


def test_samples_of_int16_stay_as_they_are(tmp_path):
    recording = noisy("int16", 20.0)
    written = kilosort.prepare(recording, tmp_path / "out", **JOBS)
    samples = np.fromfile(written.binary, "int16").reshape(-1, 96)
    np.testing.assert_array_equal(samples[:4000], recording.get_traces(0))
    np.testing.assert_array_equal(samples[4000:], recording.get_traces(1))
    assert written.scale == 1.0
    assert written.settings == {"n_chan_bin": 96, "fs": 30_000.0, "data_dtype": "int16", "do_CAR": True}


@pytest.mark.parametrize("sigma", [0.01, 1.0, 400.0])
def test_others_are_scaled_and_the_scale_is_recorded(sigma, tmp_path):
    recording = noisy("float32", sigma)
    written = kilosort.prepare(recording, tmp_path / "out", **JOBS)
    samples = np.fromfile(written.binary, "int16").reshape(-1, 96)
    assert samples.std() == pytest.approx(25.0, rel=0.02)
    assert written.scale == pytest.approx(25.0 / sigma, rel=0.02)
    assert json.loads((tmp_path / "out" / "kilosort_settings.json").read_text())["scale"] == written.scale
    loaded = si.load(tmp_path / "out")
    volts = loaded.get_traces(return_in_uV=True)
    expected = np.concatenate([recording.get_traces(segment, return_in_uV=True) for segment in (0, 1)])
    # rounded to the nearest count, no more
    assert np.abs(volts - expected).max() < 0.51 * loaded.get_channel_gains()[0]


def test_unsigned_samples_lie_around_zero(tmp_path):
    recording = noisy("float32", 20.0)
    unsigned = si.NumpyRecording([(np.rint(recording.get_traces(0)) + 2**15).astype("uint16")], 30_000.0)
    unsigned.set_probegroup(recording.get_probegroup())
    written = kilosort.prepare(unsigned, tmp_path / "out", **JOBS)
    samples = np.fromfile(written.binary, "int16").reshape(-1, 96)
    np.testing.assert_array_equal(samples, np.rint(recording.get_traces(0)))


def test_what_does_not_fit_saturates_and_is_said(tmp_path):
    recording = noisy("float32", 1.0)
    traces = recording.get_traces(0).copy()
    traces[100, 3], traces[200, 4] = 1e5, -1e5
    loud = si.NumpyRecording([traces], 30_000.0)
    loud.set_probegroup(recording.get_probegroup())
    with pytest.warns(UserWarning, match=r"2 samples .* 1311 times the noise and saturate"):
        written = kilosort.prepare(loud, tmp_path / "out", **JOBS)
    samples = np.fromfile(written.binary, "int16").reshape(-1, 96)
    assert (samples[100, 3], samples[200, 4]) == (32767, -32767)


def test_the_probe_is_as_kilosort_documents_it(tmp_path):
    recording = noisy("int16", 20.0, 192)
    recording.set_probegroup(raw(192, shanks=4).get_probegroup())
    with pytest.warns(UserWarning, match="all shanks together"):
        written = kilosort.prepare(recording, tmp_path / "out", **JOBS)
    probe = json.loads(written.probe.read_text())
    assert set(probe) == {"chanMap", "xc", "yc", "kcoords", "n_chan"}
    assert probe["chanMap"] == list(range(192))
    assert probe["n_chan"] == 192
    np.testing.assert_array_equal(
        np.column_stack([probe["xc"], probe["yc"]]), recording.get_channel_locations()
    )
    assert probe["kcoords"] == np.repeat(range(4), 48).tolist()
    assert written.settings["nblocks"] == 0


def test_what_the_chain_has_done_is_switched_off(tmp_path):
    times = np.array([0.02, 0.1])
    motion = Motion([np.zeros((2, 1))] * 2, [times, times], np.array([100.0]))
    corrected = steadyspike.interpolate_motion(
        prepared(noisy("int16", 20.0)),
        motion,
        spatial_interpolation_method="kriging",
        border_mode="force_extrapolate",
    )
    written = kilosort.prepare(corrected, tmp_path / "out", **JOBS)
    assert {name: written.settings[name] for name in ("nblocks", "do_CAR", "highpass_cutoff")} == {
        "nblocks": 0,
        "do_CAR": False,
        "highpass_cutoff": 100.0,
    }
    assert "corrected the motion" in repr(written)


def test_a_result_of_it_is_read_with_its_gains(tmp_path):
    import kilosort_folders as made

    folder = made.kilosort4_folder(tmp_path / "results")
    recording = si.NumpyRecording(
        [np.random.default_rng(0).normal(0, 10, (3000, made.NUM_CHANNELS))], made.FS
    )
    recording.set_dummy_probe_from_locations(made.POSITIONS)
    recording.set_channel_gains(made.GAIN_UV)
    recording.set_channel_offsets(0.0)
    with pytest.warns(UserWarning, match="too few"):
        written = kilosort.prepare(recording, tmp_path / "input", **JOBS)
    sizes = kilosort.read_output(folder, si.load(written.folder)).units["amplitude_uV"]
    # what is 1 count there was 1 / scale counts of the recording
    np.testing.assert_allclose(sizes, made.PEAKS_UV / written.scale, rtol=1e-3)


def test_folders_are_whole_or_not_there(tmp_path):
    recording = noisy("int16", 20.0)
    kilosort.prepare(recording, tmp_path / "out", **JOBS)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        kilosort.prepare(recording, tmp_path / "out", **JOBS)
    kilosort.prepare(recording, tmp_path / "out", overwrite=True, **JOBS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data").write_text("mine")
    with pytest.raises(FileExistsError, match="is no input of Kilosort"):
        kilosort.prepare(recording, tmp_path / "other", overwrite=True, **JOBS)
    with pytest.raises(ValueError, match="whitened"):
        kilosort.prepare(whitened(prepared(recording)), tmp_path / "new", **JOBS)
    bare = si.NumpyRecording([np.zeros((100, 2), "int16")], 30_000.0)
    with pytest.raises(ValueError, match="no probe"):
        kilosort.prepare(bare, tmp_path / "new", **JOBS)
    assert not (tmp_path / "new").exists()
