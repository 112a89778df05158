"""`steadyspike train`, `denoise` and `evaluate`: what help says, going on after an interrupt, refusals in one line."""

import json
import os
import shutil
import signal
import threading

import numpy as np
import pytest
import spikeinterface.full as si
import torch
from cli_runner import assert_nothing_left, run
from probeinterface import generate_linear_probe

import steadyspike
from steadyspike.cli import denoising
from steadyspike.core import aside, saving
from steadyspike.core.loading import load_sorting
from steadyspike.evaluation.denoising import methods as denoising_methods
from steadyspike.training import loop
from steadyspike.training import run as training_run

TINY = ["--size", "tiny", "--pre-ms", 0.5, "--post-ms", 0.5, "--gap", 0.02, "--batch-size", 2, "--steps", 10]


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run, "RIDGE_ROWS", 10_000)
        patch.setattr(denoising_methods, "LINEAR_ROWS", 10_000)
        patch.setitem(os.environ, "OMP_NUM_THREADS", "1")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Where a raw int16 recording of two segments is, and what one command made of it."""
    folder = tmp_path_factory.mktemp("data")
    recording, sorting = si.generate_ground_truth_recording(
        durations=[1.5, 0.4], sampling_frequency=30_000.0, num_channels=8, num_units=3, seed=0
    )
    recording.annotate(is_filtered=False)
    si.astype(recording, "int16", round=True).save(folder=folder / "raw", n_jobs=1, verbose=False)
    sorting.save(folder=folder / "sorting")
    without_noise = {"parent_recording": None, "num_samples": [45_000, 12_000]}
    clean = si.InjectTemplatesRecording(**{**recording._kwargs, **without_noise})
    clean.save(folder=folder / "clean", n_jobs=1, verbose=False)
    result = run(
        "train",
        folder / "raw",
        "-o",
        folder / "model",
        *TINY,
        "--license",
        "MIT",
        "--data-license",
        "cc0-1.0",
    )
    assert result.exit_code == 0, result.output
    (folder / "trained.txt").write_text(result.output)
    return folder


def marker(folder):
    return json.loads((folder / "steadyspike.json").read_text())


def interrupt(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)


def test_train_writes_a_model_and_its_scores(data):
    names = {path.name for path in (data / "model").iterdir()}
    pair = {"test_input.safetensors", "test_output.safetensors"}
    assert names == {"README.md", "config.json", "model.safetensors", "log.jsonl", "loss.png"} | pair
    output = (data / "trained.txt").read_text()
    for word in ("this network", "linear interpolation", "predicting the median", "10 steps", "wrote"):
        assert word in output
    assert "highpass and common reference" in output
    model = steadyspike.load_model(data / "model")
    assert f"{model.config.extra['scores']['linear interpolation']['mse']:.4f}" in output
    noted = model.config.extra["preprocessing"]
    assert noted["chosen"] == "highpass and common reference"
    assert noted["steps"][0]["params"] == {"freq_min": 300.0, "freq_max": None}
    assert "license: MIT" in model.card
    assert "Licence of the training data: cc0-1.0." in model.card


def test_what_was_trained_on_is_told(data, tmp_path):
    evaluated = run("evaluate", data / "raw", "-m", data / "model", "--start", 0, "--end", 1)
    assert evaluated.exit_code == 0, evaluated.output
    note = "model: was trained on 1 s of the 1 s that are evaluated"
    assert f"note: {note}" in evaluated.stderr
    assert "UserWarning" not in evaluated.stderr
    assert note in evaluated.stdout
    held_out = run("evaluate", data / "raw", "-m", data / "model", "--start", 1.35, "--end", 1.5)
    assert held_out.exit_code == 0, held_out.output
    assert "was trained on" not in held_out.output
    # a model of Python, where only the recording tells whether it is filtered
    content = json.loads((data / "model" / "config.json").read_text())
    del content["extra"]["preprocessing"]
    shutil.copytree(data / "model", tmp_path / "python")
    (tmp_path / "python" / "config.json").write_text(json.dumps(content))
    for preprocess, told in (("none", True), ("auto", False)):
        folder = tmp_path / preprocess
        denoised = run(
            *("denoise", data / "raw", "-m", tmp_path / "python", "-o", folder, "--format", "json"),
            *("--preprocess", preprocess),
        )
        assert denoised.exit_code == 0, denoised.output
        assert ("and this one is not marked as filtered" in denoised.stderr) == told


@pytest.mark.parametrize("name", ["out [/b]", "o_[red]", "[bold]o[/bold] :cat:"])
def test_brackets_in_paths_are_shown_as_they_are(data, tmp_path, name):
    shutil.copytree(data / "raw", tmp_path / f"raw_{name}".replace("/", "-"))
    recording = tmp_path / f"raw_{name}".replace("/", "-")
    output = tmp_path / name
    result = run(
        "denoise", recording, "-m", data / "model", "-o", output, "--format", "json", "--preprocess", "none"
    )
    assert result.exit_code == 0, result.output
    assert f"wrote {output}: " in result.stdout
    again = run("denoise", recording, "-m", data / "model", "-o", output, "--format", "json")
    assert again.exit_code == 2
    assert f"{output} exists; replace it with --overwrite" in again.stderr
    assert f"wrong {output}.toml: there is no" in run("presets", "validate", f"{output}.toml").stdout


def test_train_is_the_python_call(data, tmp_path):
    recording = steadyspike.bandpass_filter(si.load(data / "raw"), freq_min=300.0, freq_max=None)
    model = steadyspike.train_deepinterpolation(
        steadyspike.common_reference(recording),
        tmp_path / "model",
        size="tiny",
        **dict(pre_ms=0.5, post_ms=0.5, gap_s=0.02, batch_size=2, max_steps=10, progress_bar=False),
    )
    theirs = steadyspike.load_model(data / "model").network.state_dict()
    for name, weights in model.network.state_dict().items():
        assert torch.equal(weights, theirs[name])


def test_fine_tuning_and_choices_reach_the_training(data, tmp_path):
    result = run(
        *("train", data / "raw", data / "raw", "-o", tmp_path / "tuned", "--init-from", data / "model"),
        *(
            "--steps",
            2,
            "--train-layers",
            "last",
            "--loss",
            "mae",
            "--seed",
            3,
            "--segment",
            0,
            "--gap",
            0.02,
        ),
        *("--test-start", 1.1, "--test-duration", 0.3, "--max-time", "1min"),
    )
    assert result.exit_code == 0, result.output
    extra = steadyspike.load_model(tmp_path / "tuned").config.extra
    assert extra["training"]["init_from"] == "model"
    assert (extra["training"]["loss"], extra["training"]["seed"], extra["training"]["steps"]) == ("mae", 3, 2)
    assert [one["segments"] for one in extra["recordings"]] == [1, 1]
    assert [one["test_s"] for one in extra["recordings"]] == [0.3, 0.0]


def test_interrupted_training_goes_on(data, tmp_path, monkeypatch):
    command = ("train", data / "raw", "-o", tmp_path / "model", *TINY)
    step = loop._Loop.step

    def stop_at_5(self, batch):
        if self.progress.step == 5:
            interrupt()
        step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Loop, "step", stop_at_5)
        result = run(*command)
    assert result.exit_code == 130
    assert "goes on from there" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["model.training"]

    result = run(*command, "--seed", 1)
    assert result.exit_code == 2
    assert "seed is 0 there and 1 here" in result.output
    assert "--restart" in result.output

    result = run(*command)
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    ours, theirs = (steadyspike.load_model(folder / "model") for folder in (tmp_path, data))
    for name, weights in ours.network.state_dict().items():
        assert torch.equal(weights, theirs.network.state_dict()[name])


def test_a_model_or_work_in_the_way_is_safe(data, tmp_path):
    command = ("train", data / "raw", *TINY)
    result = run(*command, "-o", data / "model")
    assert result.exit_code == 2
    assert "--overwrite" in result.output
    for name in ("thesis", "thesis.training"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "chapter1.tex").write_text("years of work")
        for options in ((), ("--overwrite",), ("--restart",)):
            assert run(*command, "-o", tmp_path / "thesis", *options).exit_code == 2
        assert (tmp_path / name / "chapter1.tex").is_file()
        shutil.rmtree(tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "huge"], "--size"),
        (["--network", "transformer"], "unet_single_ephys_1024"),
        (["--network-option", "centre"], "key=value"),
        (["--steps", 0], "--steps 0; allowed: a whole number >= 1"),
        (["--max-time", "soon"], "8h"),
        (["--max-time", "0h"], "8h"),
        (["--loss", "hinge"], "charbonnier"),
        (["--device", "abacus"], "cuda"),
        (["--precision", "float8"], "bfloat16"),
        (["--init-from", "nowhere"], "nowhere"),
        (["--test-start", 100], "--test-start 100.0; allowed: 0 to"),
        (["--train-layers", "no_such"], "matches no parameter"),
        (["--preprocess", "steady_rigid"], "motion preset"),
        (["--segment", 7], "counted from 0"),
    ],
)
def test_train_refuses_in_one_line(data, tmp_path, arguments, words):
    result = run("train", data / "raw", "-o", tmp_path / "model", *arguments)
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "Traceback" not in result.output
    assert_nothing_left(tmp_path)


def test_recordings_that_would_be_preprocessed_differently_are_refused(data, tmp_path):
    filtered = steadyspike.bandpass_filter(si.load(data / "raw"))
    filtered.dump_to_json(tmp_path / "filtered.json")
    result = run("train", data / "raw", tmp_path / "filtered.json", "-o", tmp_path / "model")
    assert result.exit_code == 2
    assert "filtered.json by none" in result.output


def test_a_bandpass_is_advised_against(data, tmp_path):
    preset = tmp_path / "lab.toml"
    preset.write_text(
        'schema = 1\nkind = "preprocessing"\nname = "lab"\ndoc = "ours"\n'
        '[[steps]]\nname = "steady_bandpass_filter"\nparams = { freq_min = 300.0, freq_max = 6000.0 }\n'
    )
    result = run(
        *("denoise", data / "raw", "-m", data / "model", "-o", tmp_path / "out", "-f", "json"),
        *("--preprocess", preset),
    )
    assert result.exit_code == 0, result.output
    assert "Better is a highpass" in result.output
    assert "trained after another preprocessing (highpass and common reference)" in result.output


@pytest.fixture(scope="module")
def denoised_folder(data):
    result = run(
        *("denoise", data / "raw", "-m", data / "model", "-o", data / "denoised", "-j", 1),
        *("--chunk-duration", "500ms", "--device", "cpu"),
    )
    assert result.exit_code == 0, result.output
    assert "another preprocessing" not in result.output
    assert "times real time" in result.output
    return data / "denoised"


def test_denoise_writes_what_help_says(data, denoised_folder):
    names = sorted(path.name for path in denoised_folder.iterdir())
    assert names == ["recording", "recording.json", "report.html", "steadyspike.json"]
    assert not (data / "denoised.part").exists()
    recording = steadyspike.bandpass_filter(si.load(data / "raw"), freq_min=300.0, freq_max=None)
    expected = steadyspike.deepinterpolate(steadyspike.common_reference(recording), data / "model")
    saved, lazy = si.load(denoised_folder / "recording"), si.load(denoised_folder / "recording.json")
    assert saved.get_dtype() == lazy.get_dtype() == "float32"
    for segment in (0, 1):
        traces = expected.get_traces(segment)
        np.testing.assert_allclose(saved.get_traces(segment), traces, atol=1e-3)
        np.testing.assert_allclose(lazy.get_traces(segment), traces, atol=1e-3)
    made = marker(denoised_folder)
    assert made["request"]["preprocess"] == "highpass and common reference"
    assert made["model"]["sha256"] == lazy._kwargs["model_sha256"]
    assert made["result"]["written_s"] == pytest.approx(1.9)


def test_integers_in_the_units_of_the_recording(data, denoised_folder, tmp_path):
    command = ("denoise", data / "raw", "-m", data / "model", "--dtype", "int16", "-j", 1, "--segment", 1)
    result = run(*command, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    saved = si.load(tmp_path / "out" / "recording")
    assert saved.get_dtype() == "int16"
    exact = si.load(tmp_path / "out" / "recording.json").get_traces()
    np.testing.assert_array_equal(saved.get_traces(), exact)
    small = si.scale(si.load(data / "raw"), gain=0.1, dtype="float32")
    small.dump_to_json(tmp_path / "small.json")
    result = run("denoise", tmp_path / "small.json", *command[2:], "-o", tmp_path / "out2")
    assert result.exit_code == 2
    assert "--dtype" in result.output
    assert "round away" in " ".join(result.output.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "small.json"]
    unsigned = si.scale(si.load(data / "raw"), gain=1.0, offset=32_768.0, dtype="uint16")
    unsigned.dump_to_json(tmp_path / "unsigned.json")
    result = run(
        "denoise", tmp_path / "unsigned.json", *command[2:], "-o", tmp_path / "out3", "--preprocess", "none"
    )
    assert result.exit_code == 2
    assert "which hold the range of uint16" in " ".join(result.output.split())
    assert not (tmp_path / "out3").exists()


def test_interrupted_denoising_goes_on(data, denoised_folder, tmp_path, monkeypatch):
    command = ("denoise", data / "raw", "-m", data / "model", "-o", tmp_path / "out", "-j", 1)
    write, written = saving._write_chunk, []

    def stop_at_third(segment, start, stop, worker):
        if len(written) == 2:
            interrupt()
        written.append((segment, start, stop))
        return write(segment, start, stop, worker)

    monkeypatch.setattr(saving, "_write_chunk", stop_at_third)
    result = run(*command, "--chunk-duration", "500ms")
    assert result.exit_code == 130
    assert "goes on from there" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["out.part"]

    result = run(*command, "--chunk-duration", "250ms")
    assert result.exit_code == 2
    assert "chunk_size is 15000 there and 7500 here" in result.output
    assert "--restart" in result.output

    with (tmp_path / "out.part" / "traces" / "done.txt").open("a") as file:
        file.write("0 30000 4")  # a kill in the middle of a line
    written += [None] * 3
    result = run(*command, "--chunk-duration", "500ms")
    assert result.exit_code == 0, result.output
    assert "going on" in result.output
    assert "1.0 s of traces" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert written[5:] == [(0, 30000, 45000), (1, 0, 12000)]
    assert_same_traces(tmp_path / "out", denoised_folder)


def assert_same_traces(ours, theirs):
    for segment in (0, 1):
        traces = [si.load(folder / "recording").get_traces(segment) for folder in (ours, theirs)]
        np.testing.assert_array_equal(*traces)


def test_denoising_that_fails_before_the_last_rename_goes_on(data, denoised_folder, tmp_path, monkeypatch):
    command = ("denoise", data / "raw", "-m", data / "model", "-o", tmp_path / "out", "-j", 1)
    command = (*command, "--chunk-duration", "500ms")
    replace = os.replace

    def full_at_the_end(source, target):
        if str(target) == str(tmp_path / "out"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full_at_the_end)
        result = run(*command)
    assert result.exit_code == 1
    assert "kept" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["out.part"]
    monkeypatch.setattr(saving, "_write_chunk", None)
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert "going on" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert_same_traces(tmp_path / "out", denoised_folder)


def test_a_recording_that_was_written_anew_is_not_gone_on_with(data, tmp_path, monkeypatch):
    raw, loaded = tmp_path / "raw", si.load(data / "raw")
    shutil.copytree(data / "raw", raw)
    commands = {
        "model": ("train", raw, "-o", tmp_path / "model", *TINY),
        "denoised": ("denoise", raw, "-m", data / "model", "-o", tmp_path / "denoised", "-j", 1),
    }
    step = loop._Loop.step
    with monkeypatch.context() as patch:
        patch.setattr(loop._Loop, "step", lambda self, batch: (interrupt(), step(self, batch)))
        patch.setattr(denoising, "write_marker", interrupt)
        for command in commands.values():
            assert run(*command).exit_code == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["denoised.part", "model.training", "raw"]

    traces = loaded.get_traces(0).copy()
    traces[7_000:8_000] += 1
    traces.tofile(raw / "traces_cached_seg0.raw")
    for command in commands.values():
        result = run(*command)
        assert result.exit_code == 2, result.output
        for words in ("of another recording, or of one that was changed since", "samples is", "--restart"):
            assert words in result.output
    shutil.rmtree(raw)
    shutil.copytree(data / "raw", raw)
    for name, command in commands.items():
        assert run(*command).exit_code == 0
        assert (tmp_path / name).is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["denoised", "model", "raw"]


def test_two_runs_do_not_write_one_output(data, tmp_path, monkeypatch):
    monkeypatch.setattr(aside, "LOCK_WAIT_S", 0.0)
    commands = [
        ("denoise", data / "raw", "-m", data / "model", "-j", 1),
        ("correct", data / "raw", "-p", "steady_rigid", "-j", 1),
        ("train", data / "raw", *TINY),
        ("evaluate", data / "raw", "-m", data / "model"),
    ]
    monkeypatch.setattr(si.BaseRecording, "get_traces", None)
    # a lock is of a thread, as it is of a process
    held, over = threading.Event(), threading.Event()

    def hold():
        with aside.locked(tmp_path / "out"):
            held.set()
            over.wait()

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    try:
        for command in commands:
            result = run(*command, "-o", tmp_path / "out")
            assert result.exit_code == 2, result.output
            assert "out is being written by another run of steadyspike; wait until" in result.output
    finally:
        over.set()
        other.join()
    assert_nothing_left(tmp_path)


def test_recording_and_model_move_with_the_lazy_recording(data, denoised_folder, tmp_path):
    (tmp_path / "here").mkdir()
    for name in ("raw", "model"):
        shutil.copytree(data / name, tmp_path / "here" / name)
    monkey = ("denoise", tmp_path / "here" / "raw", "-m", tmp_path / "here" / "model", "-j", 1)
    result = run(*monkey, "-o", tmp_path / "here" / "out", "-f", "json", "--relative-paths")
    assert result.exit_code == 0, result.output
    (tmp_path / "here").rename(tmp_path / "there")
    lazy = si.load(tmp_path / "there" / "out" / "recording.json", base_folder=True)
    expected = si.load(denoised_folder / "recording").get_traces(1, end_frame=300)
    np.testing.assert_allclose(lazy.get_traces(1, end_frame=300), expected, atol=1e-3)


def test_failure_on_the_way_leaves_nothing(data, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("disk full")

    monkeypatch.setattr(saving, "_write_chunk", fail)
    result = run("denoise", data / "raw", "-m", data / "model", "-o", tmp_path / "out", "-j", 1)
    assert result.exit_code == 1
    assert "disk full" in result.output
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "nowhere"], "bundled name"),
        (["--model", "nowhere/model"], "there is no"),
        (["--device", "abacus"], "--device 'abacus'"),
        (["--precision", "quarter"], "--precision 'quarter'"),
        (["--memory-limit-mb", -1], "--memory-limit-mb"),
        (["--dtype", "complex64"], "dtype"),
        (["--chunk-duration", "soon"], "500ms"),
        (["--preprocess", "neuropixels9"], "neuropixels1"),
        (["--format", "zarr"], "binary"),
        (["--reader", "telegraph"], "spikeglx"),
    ],
)
def test_denoise_refuses_in_one_line(data, tmp_path, arguments, words):
    result = run("denoise", data / "raw", "-m", data / "model", "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "Traceback" not in result.output
    assert_nothing_left(tmp_path)


def test_a_model_for_other_probes_is_refused_before_anything_is_read(data, tmp_path, monkeypatch):
    recording = si.load(data / "raw")
    probe = generate_linear_probe(8, ypitch=20)
    probe.set_device_channel_indices(np.arange(8))
    recording.set_probe(probe)
    recording.save(folder=tmp_path / "other", n_jobs=1, verbose=False)
    monkeypatch.setattr(si.BaseRecording, "get_traces", interrupt)
    result = run("denoise", tmp_path / "other", "-m", data / "model", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "cannot denoise" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_someone_elses_folders_are_safe(data, denoised_folder, tmp_path):
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "book.tex").write_text("part one")
    for options in ((), ("--restart",)):
        result = run(
            *("denoise", data / "raw", "-m", data / "model", "-o", tmp_path / "out", "-j", 1, *options)
        )
        assert result.exit_code == 2
        assert "holds no unfinished output" in result.output
    assert (tmp_path / "out.part" / "book.tex").is_file()
    command = ("denoise", denoised_folder / "recording", "-m", data / "model", "-o", denoised_folder)
    assert "lies in" in run(*command, "--overwrite").output
    assert "--overwrite" in run(*command).output


def test_evaluate_prints_and_saves_tables(data, tmp_path):
    shutil.copytree(data / "model", tmp_path / "twin" / "model")
    result = run(
        *("evaluate", data / "raw", "-m", data / "model", "-m", tmp_path / "twin" / "model"),
        *("--sorting", data / "sorting", "--clean", data / "clean", "-o", tmp_path / "out"),
        *("--start", 0.8, "--min-spikes", 4, "--device", "cpu"),
    )
    assert result.exit_code == 0, result.output
    header = next(line for line in result.output.splitlines() if line.startswith("| "))
    assert header.count("model") == 2
    for word in (
        "held-out loss",
        "error against clean traces",
        "noise reduction",
        "amplitude bias",
        "0.8 s to",
    ):
        assert word in result.output
    assert (tmp_path / "out" / "evaluation.md").read_text() in result.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"summary.csv", "units.csv", "evaluation.json", "measures.png", "steadyspike.json"} <= names
    assert marker(tmp_path / "out")["preprocess"] == "highpass and common reference"
    again = run("evaluate", data / "raw", "-m", data / "model", "-o", tmp_path / "out")
    assert again.exit_code == 2
    assert "--overwrite" in again.output


def test_evaluate_is_the_python_call(data, tmp_path):
    result = run("evaluate", data / "raw", "-m", data / "model", "--segment", 1, "--preprocess", "none")
    assert result.exit_code == 0, result.output
    assert "trained after another preprocessing" in result.output
    recording = si.load(data / "raw").select_segments([1])
    evaluation = steadyspike.evaluate_deepinterpolation(
        recording, {"model": data / "model"}, progress_bar=False
    )
    assert evaluation.to_markdown() in result.output


def test_sortings_of_kilosort_are_read_without_running_anything(data, tmp_path):
    spikes = si.load(data / "sorting").to_spike_vector(concatenated=False)[0]
    np.save(tmp_path / "spike_times.npy", spikes["sample_index"][:, np.newaxis])
    np.save(tmp_path / "spike_clusters.npy", spikes["unit_index"])
    (tmp_path / "params.py").write_text("raise SystemExit")
    sorting = load_sorting(tmp_path, 30_000.0)
    for unit, index in zip(si.load(data / "sorting").unit_ids, sorting.unit_ids, strict=True):
        theirs = si.load(data / "sorting").get_unit_spike_train(unit, segment_index=0)
        np.testing.assert_array_equal(sorting.get_unit_spike_train(index), theirs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "nowhere"], "bundled name"),
        (["--sorting", "nowhere"], "does not exist"),
        (["--sorting", "raw"], "not a sorting"),
        (["--sorting", "model"], "spike_times.npy"),
        (["--sorting", "sorting", "--segment", 0, "--clean", "clean", "--min-spikes", 1], "--min-spikes"),
        (["--clean", "sorting"], "not a recording"),
        (["--start", 100], "--start"),
        (["--device", "abacus"], "--device"),
    ],
)
def test_evaluate_refuses_in_one_line(data, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(data)
    result = run("evaluate", "raw", "-m", "model", "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "Traceback" not in result.output
    assert_nothing_left(tmp_path)
