"""What release 0.1.0 saved is loaded, and means the same: `saved_by_0_1_0/make.py` wrote it, and is not run again."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.full as si
import torch
from probeinterface import Probe
from safetensors.numpy import load_file

import steadyspike
from steadyspike.motion import OnlineMotionEstimator, load_motion
from steadyspike.peaks.spike_cutouts import SpikeCutouts

SAVED = Path(__file__).parent / "saved_by_0_1_0"
CHAINS = sorted(path.name.removesuffix(".json") for path in (SAVED / "chains").glob("*.json"))
CHAINS.remove("frames")
PRESETS = sorted(path.stem for path in (SAVED / "presets").glob("*.toml"))
METHODS = {
    "autoencoder": ("transform", "reconstruct"),
    **dict.fromkeys(
        ("classifier_cnn", "classifier_discriminant", "classifier_gru"),
        ("decision_function", "predict_proba", "predict"),
    ),
}
KINDS = {
    **dict.fromkeys(("blindspot", "ridge", "unet"), steadyspike.DeepInterpolationModel),
    **dict.fromkeys(("spike_detector", "yass_detector"), steadyspike.SpikeDetectorModel),
    **dict.fromkeys(("waveform_denoiser", "yass_denoiser"), steadyspike.WaveformDenoiserModel),
    **dict.fromkeys(
        ("classifier_cnn", "classifier_discriminant", "classifier_gru"), steadyspike.SpikeClassifier
    ),
    "autoencoder": steadyspike.WaveformAutoencoderModel,
}
# In standard deviations of what was saved. Another CPU sums in another order, with or without fused multiplication:
# about 1e-6 in float32, more behind a narrow filter.
TOLERANCE = 1e-4
# bfloat16 has 8 bits, and CPUs with instructions for it keep other intermediate results than those without
HALF_TOLERANCE = 0.02
# Of what the steps after the interrupt change; without the optimizer's state it would be 1.
TRAINED_TOLERANCE = 0.01


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy, as chains hold absolute paths, and work on unfinished things goes on in their place."""
    copy = tmp_path_factory.mktemp("saved") / "copy"
    shutil.copytree(SAVED, copy, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for file in (copy / "chains").glob("*.json"):
        # as_posix: a backslash would have to be escaped in JSON
        file.write_text(file.read_text(encoding="utf8").replace("{folder}", copy.as_posix()), encoding="utf8")
    return copy


def assert_near(found, saved, tolerance=TOLERANCE):
    assert found.shape == saved.shape
    assert found.dtype == saved.dtype
    if saved.dtype.kind not in "iuf":
        np.testing.assert_array_equal(found, saved)
        return
    # a value near a half is rounded to either side
    allowed = tolerance * saved.std(dtype="float64") + (saved.dtype.kind in "iu")
    np.testing.assert_allclose(found.astype("float64"), saved.astype("float64"), rtol=0, atol=allowed)


def assert_none_is_missing(names, files):
    """Names of what is tested here are those of the files."""
    assert sorted(names) == sorted(files)
    assert files


@pytest.mark.parametrize("name", CHAINS)
def test_lazy_chains(folder, name):
    file = folder / "chains" / f"{name}.json"
    chain = si.load(file, base_folder=folder)
    frames = json.loads((folder / "chains" / "frames.json").read_text())
    found = np.concatenate([chain.get_traces(segment, first, end) for segment, first, end in frames])
    half = '"precision":"half"' in file.read_text(encoding="utf8")
    assert_near(found, np.load(file.with_suffix(".npy")), HALF_TOLERANCE if half else TOLERANCE)


def test_every_node_is_in_a_chain():
    text = "".join((SAVED / "chains" / f"{name}.json").read_text(encoding="utf8") for name in CHAINS)
    for node in (
        *("bandpass.SteadyBandpassFilter", "common_reference.SteadyCommonReference"),
        *("deepinterpolation.SteadyDeepInterpolate", "motion_interpolation.SteadyInterpolateMotion"),
        "motion_by_shank.SteadyInterpolateMotionByShank",
    ):
        assert f'"steadyspike.preprocessing.{node}Recording"' in text


def test_a_chain_is_saved_again_as_it_was(folder):
    """Nothing that 0.1.0 kept is dropped; what came later may be added."""
    for name in CHAINS:
        file = folder / "chains" / f"{name}.json"
        before = json.loads(file.read_text(encoding="utf8"))
        si.load(file, base_folder=folder).dump_to_json(folder / "again.json")
        after = json.loads((folder / "again.json").read_text(encoding="utf8"))
        assert after["kwargs"].keys() >= before["kwargs"].keys()
        for argument in before["kwargs"].keys() - {"recording"}:
            now = after["kwargs"][argument]
            if argument == "model" and "path" in now:
                # where SpikeInterface makes paths relative, which it does by their name
                path = now.pop("path")
                now = {"file": path, **now} if now else path
            assert now == before["kwargs"][argument], (name, argument)


@pytest.mark.parametrize("name", KINDS)
def test_model_folders(folder, name):
    place = folder / "models" / name
    model = steadyspike.load_model(place)
    assert type(model) is KINDS[name]
    assert model.card == (place / "README.md").read_text(encoding="utf8")
    config = json.loads((place / "config.json").read_text(encoding="utf8"))
    assert json.loads(model.config.model_dump_json()).items() >= config.items()
    with np.load(place.with_suffix(".npz")) as saved:
        if name in METHODS:
            for method in METHODS[name]:
                assert_near(getattr(model, method)(saved["waveforms"]), saved[method])
            return
        inputs = [torch.from_numpy(saved[f"input{number}"]) for number in range(len(saved.files) - 1)]
        with torch.inference_mode():
            assert_near(model.network(*inputs).numpy(), saved["output"])


def test_every_model_folder_is_loaded():
    assert_none_is_missing(KINDS, [path.name for path in (SAVED / "models").iterdir() if path.is_dir()])


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    preset = steadyspike.load_preset(SAVED / "presets" / f"{name}.toml")
    saved = json.loads((SAVED / "presets" / f"{name}.json").read_text(encoding="utf8"))
    for attribute, value in saved.items():
        # tuples are lists in JSON
        assert json.loads(json.dumps(getattr(preset, attribute))) == value
    if preset.kind == "motion":
        assert si.get_motion_parameters_preset(SAVED / "presets" / f"{name}.toml")


def test_presets_of_both_kinds_are_there():
    kinds = [json.loads((SAVED / "presets" / f"{name}.json").read_text())["kind"] for name in PRESETS]
    assert set(kinds) == {"motion", "preprocessing"}


@pytest.fixture
def recording(folder):
    """What peaks, cutouts and training were made of: the samples of the chains' parent less their offset."""
    parent = si.load(folder / "chains" / "bandpass.json").get_parent()
    traces = [parent.get_traces(segment_index=segment) - np.int16(150) for segment in range(2)]
    made = si.NumpyRecording(traces, parent.sampling_frequency, channel_ids=parent.channel_ids)
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=parent.get_channel_locations(), shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(16))
    made.set_probe(probe)
    made.set_channel_gains(0.195)
    made.set_channel_offsets(-3.0)
    return made


@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_peak_folders(folder, recording, state):
    """A finished folder is read, and an unfinished one goes on after its block; neither is computed anew."""
    place = folder / "peaks" / state
    done = {"finished": place, "unfinished": place / "blocks" / "000000"}[state] / "peaks.npy"
    marked = np.load(done)
    marked["amplitude"][0] = -12_345.0
    np.save(done, marked)
    peaks, locations = steadyspike.compute_peaks(
        recording,
        place,
        preset="steady_nonrigid",
        detect_kwargs=dict(detect_threshold=5.0),
        chunk_duration="10ms",
        n_jobs=1,
        progress_bar=False,
    )
    saved = SAVED / "peaks" / "finished"
    expected = np.load(saved / "peaks.npy")
    assert set(expected["segment_index"]) == {0, 1}
    expected["amplitude"][0] = -12_345.0
    np.testing.assert_array_equal(peaks, expected)
    expected = np.load(saved / "peak_locations.npy")
    assert locations.dtype == expected.dtype
    for name in expected.dtype.names:
        assert_near(locations[name], expected[name])
    assert not (place / "blocks").exists()


def test_motions(folder):
    with np.load(SAVED / "motions" / "expected.npz") as saved:
        for name in ("saved", "spikeinterface", "dredge.npz", "medicine"):
            motion = load_motion(folder / "motions" / name)
            segments = (0, 1) if motion.num_segments == 2 else (1,)
            assert len(segments) == 2 or name in ("dredge.npz", "medicine")
            np.testing.assert_array_equal(motion.spatial_bins_um, saved["spatial_bins_um"])
            for at, segment in enumerate(segments):
                np.testing.assert_array_equal(motion.displacement[at], saved[f"displacement{segment}"])
                np.testing.assert_array_equal(motion.temporal_bins_s[at], saved[f"times{segment}"])
        assert load_motion(folder / "motions" / "saved").interpolation_method == "nearest"


def test_a_folder_of_correct_motion(folder):
    """The motion that `si.correct_motion` left in its folder is the one in the chain that it returned."""
    info = si.load_motion_info(folder / "motion_info")
    chain = si.load(folder / "chains" / "chain_of_correct_motion.json")
    in_chain = chain._kwargs["motion"].displacement
    for found, wanted in zip(info["motion"].displacement, in_chain, strict=True):
        np.testing.assert_array_equal(found, wanted)
        assert np.abs(found).max() > 2
    assert info["parameters"]["estimate_motion_kwargs"]["method"] == "steady_decentralized"
    assert len(info["peaks"]) == len(info["peak_locations"]) > 0
    loaded = load_motion(folder / "motion_info")
    np.testing.assert_array_equal(loaded.displacement[1], in_chain[1])


def test_a_sign_that_0_1_0_loaded_and_could_not_run_is_refused_at_once(tmp_path):
    saved = (SAVED / "presets" / "steady_denoised.toml").read_text(encoding="utf-8")
    assert 'peak_sign = "pos"' in saved
    (tmp_path / "both.toml").write_text(saved.replace('peak_sign = "pos"', 'peak_sign = "both"'))
    with pytest.raises(ValueError, match=r"detect_kwargs\.peak_sign: is 'both'; allowed: 'neg' or 'pos'"):
        steadyspike.load_preset(tmp_path / "both.toml")


def test_a_saved_stream_goes_on(folder):
    estimator = OnlineMotionEstimator.load(folder / "motions" / "online.npz")
    with np.load(SAVED / "motions" / "online_expected.npz") as saved:
        known = estimator.motion().displacement[0]
        assert 0 < len(known) < len(saved["displacement"])
        np.testing.assert_array_equal(known, saved["displacement"][: len(known)])
        estimator.push(saved["times_s"], saved["depths_um"], saved["amplitudes"])
        estimator.finish()
        # how it goes on has changed by 0.006 um with the numbers of the filter
        np.testing.assert_allclose(estimator.motion().displacement[0], saved["displacement"], atol=0.01)


def test_cutouts(folder, recording):
    cutouts = SpikeCutouts.load(folder / "cutouts")
    assert cutouts.settings.threshold == 3.5
    assert cutouts.settings.peak_sign == "both"
    assert cutouts.settings.sampling_frequency == 20_000.0
    waveforms = np.load(SAVED / "cutouts" / "waveforms.npy")
    np.testing.assert_array_equal(cutouts.waveforms, waveforms)
    before = cutouts.settings.nbefore
    for peak, waveform in zip(cutouts.peaks, cutouts.waveforms, strict=True):
        first = peak["sample_index"] - before
        traces = recording.get_traces(peak["segment_index"], first, first + waveforms.shape[1])
        np.testing.assert_array_equal(waveform, traces[:, peak["channel_index"]])


def with_own_first_weights(resume, settings):
    """Go on with a run, also where torch draws other first weights from the seed (a CPU without AVX2).

    0.1.0 refuses that; the weights of the checkpoint take their place anyway.
    """
    try:
        return resume()
    except ValueError as error:
        drawn = re.search(r'other settings: first_weights is "\w+" there and "(\w+)" here\. ', str(error))
        if drawn is None:
            raise
    content = json.loads(settings.read_text())
    settings.write_text(json.dumps({**content, "first_weights": drawn[1]}))
    return resume()


def test_an_unfinished_training_goes_on(folder, recording):
    arguments = json.loads((folder / "training" / "arguments.json").read_text())
    work = folder / "training" / "model.training"
    known = (work / "log.jsonl").read_text().splitlines()
    began = load_file(work / "checkpoint.safetensors")
    model = with_own_first_weights(
        lambda: steadyspike.train_deepinterpolation(
            recording, folder / "training" / "model", resume=True, **arguments
        ),
        work / "settings.json",
    )
    lines = (folder / "training" / "model" / "log.jsonl").read_text().splitlines()
    assert lines[: len(known)] == known, "steps of before the interrupt are not done again"
    assert len(lines) == arguments["max_steps"] + 1
    with np.load(SAVED / "training" / "expected.npz") as saved:
        state = model.network.state_dict()
        assert state.keys() == set(saved.files)
        errors = [state[name].numpy() - saved[name] for name in saved.files]
        changes = [began[f"network.{name}"] - saved[name] for name in saved.files]
    error, change = (
        np.linalg.norm(np.concatenate([one.ravel() for one in many])) for many in (errors, changes)
    )
    assert change > 0.01
    assert error < TRAINED_TOLERANCE * change


def test_nothing_in_the_folder_is_pickled():
    for file in SAVED.rglob("*.np[yz]"):
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.lib.npyio.NpzFile):
            with content:
                assert all(content[name].dtype != object for name in content.files)
    assert not [file for file in SAVED.rglob("*") if file.suffix in (".pkl", ".pickle", ".pt", ".pth")]
