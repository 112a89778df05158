"""`train_deepinterpolation` learns, goes on after a kill as if nothing had happened, and refuses what cannot work."""

import inspect
import json
import os
import pydoc
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from training_signals import FAST, recording_of, traces_of

from steadyspike.core.normalization import METHODS
from steadyspike.core.stretches import Stretch
from steadyspike.library.models.config import ModelError
from steadyspike.library.models.folder import load_model
from steadyspike.library.models.provenance import seconds_in_both
from steadyspike.networks.blindspot import SIZES
from steadyspike.training import loop, run
from steadyspike.training.deepinterpolation import train_deepinterpolation
from steadyspike.training.devices import PRECISIONS
from steadyspike.training.losses import LOSSES
from steadyspike.training.plan import DEFAULTS, TRAINED_NETWORKS, choose_layers
from steadyspike.training.settings import DeepInterpolationTraining, NetworkSettings, OptimizerSettings

EVERYTHING = [Stretch(0, 0, 0, 12_000)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(run, "RIDGE_ROWS", 10_000)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped."""
    threads, rows = torch.get_num_threads(), run.RIDGE_ROWS
    torch.set_num_threads(1)
    run.RIDGE_ROWS = 10_000
    model = train_deepinterpolation(recording_of(), tmp_path_factory.mktemp("whole") / "model", **FAST)
    run.RIDGE_ROWS = rows
    torch.set_num_threads(threads)
    return model


def weights_of(model):
    return {name: values.clone() for name, values in model.network.state_dict().items()}


def assert_same(one, other):
    theirs = weights_of(other)
    for name, values in weights_of(one).items():
        assert torch.equal(values, theirs[name]), name


def log_of(folder):
    """Lines of a log without times."""
    lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "elapsed_s"} for line in lines]


def test_it_learns_and_writes_a_whole_model(whole):
    scores = whole.config.extra["scores"]
    assert scores["this network"]["mse"] < 0.4 * scores["predicting the median"]["mse"]
    assert scores["linear interpolation"]["mse"] < 0.4 * scores["predicting the median"]["mse"]
    names = {"README.md", "config.json", "model.safetensors", "log.jsonl", "loss.png"}
    pair = {"test_input.safetensors", "test_output.safetensors"}
    assert {path.name for path in whole.folder.iterdir()} == names | pair
    assert [path.name for path in whole.folder.parent.iterdir()] == ["model"]
    assert whole.config.network.name == "blindspot"
    assert whole.config.sampling_frequency == 10_000
    assert len(whole.config.normalization.scale) == 8
    training = whole.config.extra["training"]
    assert (training["steps"], training["stopped"], training["init_from"]) == (40, "steps", None)
    lines = log_of(whole.folder)
    assert [line["step"] for line in lines] == list(range(0, 41, 2))
    losses = [line["test_loss"] for line in lines]
    assert min(losses) == training["best_loss"] < losses[0]
    assert seconds_in_both(whole.config.extra["trained_on"], recording_of(), EVERYTHING) == pytest.approx(
        1.06
    )
    for text in (
        "| this network |",
        "## Preprocessing expected\n\nTrained after: no step that is known.",
        "aligned 1 column 20 um",
        "license: unknown",
        "40 steps",
        "![Losses](loss.png)",
    ):
        assert text in whole.card


def test_the_held_out_loss_is_that_of_the_saved_weights(whole):
    from steadyspike.core.stretches import TimeRange, split_time
    from steadyspike.training.baseline import score
    from steadyspike.training.windows import Source, Windows

    recording = recording_of()
    _, test = split_time([recording], TimeRange(), TimeRange(), FAST["gap_s"], False)
    source = Source.of(recording, "lattice", "channel")
    windows = Windows([source], test, whole.context, 64, 4).spread(8)
    ours = score(whole.network, windows, whole.context)
    assert ours == pytest.approx(whole.config.extra["scores"]["this network"], rel=1e-6)
    assert ours["mse"] == pytest.approx(whole.config.extra["training"]["best_loss"], rel=1e-5)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from training_signals import FAST, recording_of
from steadyspike.training import checkpoint, loop, run
from steadyspike.training.deepinterpolation import train_deepinterpolation
run.RIDGE_ROWS = 10_000
step = loop._Loop.step
def killed_at_23(self, batch):
    if self.progress.step == 23:
        os.kill(os.getpid(), signal.SIGKILL)
    step(self, batch)
loop._Loop.step = killed_at_23
train_deepinterpolation(recording_of(), {folder!r}, **FAST)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_resume_after_a_kill_is_the_same_to_the_last_bit(whole, tmp_path):
    folder = tmp_path / "model"
    script = KILLED.format(tests=str(Path(__file__).parent), folder=str(folder))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not folder.exists()
    work = tmp_path / "model.training"
    assert [line["step"] for line in log_of(work)][-1] == 22
    # part of a line, and a checkpoint that was being written
    with (work / "log.jsonl").open("a") as file:
        file.write('{"step": 24, "train_loss": 1.0}\n{"step"')
    (work / ".checkpoint.safetensors-1").write_bytes(b"part")
    model = train_deepinterpolation(recording_of(), folder, resume=True, **FAST)
    assert_same(model, whole)
    assert log_of(folder) == log_of(whole.folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    # finished, and killed before the work was deleted: comes back without training
    run.work_folder(folder).begin({})
    assert_same(train_deepinterpolation(recording_of(), folder, resume=True, **FAST), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.fixture
def interrupted(monkeypatch, tmp_path):
    """An unfinished run that Ctrl-C stopped in its 8th step."""
    step = loop._Loop.step

    def with_ctrl_c(self, batch):
        if self.progress.step == 7:
            signal.raise_signal(signal.SIGINT)
        step(self, batch)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:
        patched.setattr(loop._Loop, "step", with_ctrl_c)
        with pytest.raises(loop.TrainingInterrupted, match="stopped after step 8; resume=True goes on"):
            train_deepinterpolation(recording_of(), tmp_path / "model", **FAST)
    assert signal.getsignal(signal.SIGINT) is before
    return tmp_path / "model"


def test_ctrl_c_saves_and_stops(interrupted, whole):
    assert not interrupted.exists()
    with pytest.raises(FileExistsError, match="holds an unfinished run; pass resume=True"):
        train_deepinterpolation(recording_of(), interrupted, **FAST)
    with pytest.raises(ValueError, match=r"other settings: seed is 0 there and 3 here; first_w"):
        train_deepinterpolation(recording_of(), interrupted, resume=True, **{**FAST, "seed": 3})
    model = train_deepinterpolation(recording_of(), interrupted, resume=True, **FAST)
    assert_same(model, whole)
    assert log_of(interrupted) == log_of(whole.folder)


def test_a_damaged_checkpoint_is_told(interrupted):
    file = interrupted.with_name("model.training") / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(
        ValueError, match=r"checkpoint.safetensors is damaged .* start anew with overwrite=True"
    ):
        train_deepinterpolation(recording_of(), interrupted, resume=True, **FAST)


def test_an_unfinished_run_can_end_early(interrupted):
    model = train_deepinterpolation(recording_of(), interrupted, resume=True, **{**FAST, "max_steps": 8})
    assert model.config.extra["training"]["steps"] == 8


def test_overwriting_starts_anew(interrupted, whole):
    assert_same(train_deepinterpolation(recording_of(), interrupted, overwrite=True, **FAST), whole)
    with pytest.raises(FileExistsError, match="pass overwrite=True to replace a model"):
        train_deepinterpolation(recording_of(), interrupted, **FAST)


def test_fine_tuning_starts_from_a_model(whole, tmp_path):
    # another rate, other distances and more channels: what fine-tuning is for
    recording = recording_of(12, seed=5, rate=12_000.0)
    fine = {
        name: FAST[name]
        for name in ("batch_size", "chunk_frames", "test_windows", "gap_s", "device", "progress_bar")
    }
    with pytest.warns(
        UserWarning, match="for 10000 Hz, the recordings have 12000 Hz: it will see 0.83 times"
    ):
        model = train_deepinterpolation(
            recording,
            tmp_path / "tuned",
            init_from=whole,
            train_layers="last",
            max_steps=6,
            focus=0.0,
            patience=None,
            **fine,
        )
    before, after = weights_of(whole), weights_of(model)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"out", "linear"}
    training = model.config.extra["training"]
    assert (training["init_from"], training["steps"]) == ("model", 6)
    assert training["best_loss"] <= training["initial_loss"]
    assert model.config.sampling_frequency == 12_000
    by_path = train_deepinterpolation(
        recording_of(12, seed=5),
        tmp_path / "other",
        existing_model_path=whole.folder,
        train_layers=["past"],
        max_steps=2,
        **fine,
    )
    # what the model it starts from has seen, it has seen too
    seen = whole.config.extra["trained_on"]
    assert by_path.config.extra["trained_on"][: len(seen)] == seen
    assert seconds_in_both(by_path.config.extra["trained_on"], recording_of(), EVERYTHING) == pytest.approx(
        1.06
    )
    kept = weights_of(by_path)
    assert all(torch.equal(before[name], kept[name]) for name in before if not name.startswith("past"))
    # the model that was passed is as it was
    assert_same(whole, load_model(whole.folder))
    assert all(weights.requires_grad for weights in whole.network.parameters())


def test_a_model_for_another_layout_is_refused(whole, tmp_path):
    recording = recording_of(16, columns=2)
    with pytest.raises(ModelError, match="init_from cannot be trained on these recordings: columns is 1"):
        train_deepinterpolation(recording, tmp_path / "model", init_from=whole)
    with pytest.raises(ValueError, match="allowed: owner/name"):
        train_deepinterpolation(recording, tmp_path / "model", init_from="hf:lab")
    with pytest.raises(ModelError, match="no model 'nothing'"):
        train_deepinterpolation(recording, tmp_path / "model", init_from="nothing")
    with pytest.raises(
        ValueError, match="size, pre_frame; allowed: not with init_from, whose model decides on them"
    ):
        train_deepinterpolation(recording, tmp_path / "model", init_from=whole, size="tiny", pre_frame=3)
    with pytest.raises(ValueError, match="mean the same"):
        train_deepinterpolation(recording, tmp_path / "model", init_from=whole, existing_model_path=whole)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_model_is_never_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is no model folder, so it is not replaced"):
        train_deepinterpolation(recording_of(), tmp_path / "model", overwrite=True, **FAST)
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "thesis.txt"]


@pytest.mark.parametrize("how", [dict(resume=True), dict(overwrite=True), {}])
def test_a_folder_beside_it_that_is_no_training_of_ours_is_never_deleted(tmp_path, how):
    for number, content in enumerate(
        ["{}", "[1", '{"kind": "steadyspike peaks", "settings": {}}', "[" * 9999]
    ):
        work = tmp_path / f"{number}.training"
        work.mkdir()
        (work / "thesis.txt").write_text("mine")
        (work / "settings.json").write_text(content)
        with pytest.raises(
            FileExistsError, match=r"training (exists and holds no training|holds an unfinished)"
        ):
            train_deepinterpolation(recording_of(), tmp_path / f"{number}", **how, **FAST)
        assert sorted(path.name for path in work.iterdir()) == ["settings.json", "thesis.txt"]


@pytest.mark.parametrize("other", ["samples", "preprocessing", "gain", "order"])
def test_a_run_is_not_resumed_on_other_data(interrupted, whole, other, tmp_path):
    recording = recording_of()
    if other == "samples":
        recording = recording_of(seed=1)
    elif other == "preprocessing":
        recording = recording.frame_slice(0, recording.get_num_samples())
    elif other == "gain":
        recording.set_channel_gains(-1.0)
        recording.set_channel_offsets(0.0)
    else:
        recording = recording.select_channels(recording.channel_ids[::-1])
    before = (tmp_path / "model.training" / "checkpoint.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"of another recording.*overwrite=True with resume=False"):
        train_deepinterpolation(recording, interrupted, resume=True, **FAST)
    assert (tmp_path / "model.training" / "checkpoint.safetensors").read_bytes() == before


def test_recordings_with_other_numbers_of_channels_and_a_dead_one(tmp_path):
    gains = np.ones(8, "float32")
    gains[3] = 0
    recordings = [
        recording_of(8, samples=(6_000, 3_000), gains=gains),
        recording_of(16, samples=(5_000,), seed=9),
    ]
    few = {**FAST, "max_steps": 10, "loss": "charbonnier"}
    model = train_deepinterpolation(
        recordings, tmp_path / "model", test_recordings=recording_of(10, samples=(4_000,), seed=20), **few
    )
    scores = model.config.extra["scores"]
    assert scores["this network"]["charbonnier"] < 0.7 * scores["predicting the median"]["charbonnier"]
    described = model.config.extra["recordings"]
    assert [one["num_channels"] for one in described] == [8, 16, 10]
    assert [one["dead_channels"] for one in described] == [1, 0, 0]
    assert [(one["train_s"], one["test_s"]) for one in described] == [(0.9, 0), (0.5, 0), (0, 0.4)]


def test_the_papers_network(tmp_path):
    few = {
        **FAST,
        "max_steps": 3,
        "network_kwargs": {"width": 4},
        "network": "unet_single_ephys_1024",
        "batch_size": 2,
    }
    del few["size"]
    recording = recording_of(16, columns=2, samples=(4_000,))
    model = train_deepinterpolation(
        recording, tmp_path / "model", normalization="global", loss="mean_absolute_error", **few
    )
    assert model.layout_type.arrangement == "interleaved"
    assert (model.config.pre, model.config.post, model.config.omission) == (6, 6, 1)
    assert model.config.normalization.method == "global"
    assert model.config.extra["scores"]["linear interpolation"]["mae"] < 1
    assert model.config.extra["training"]["loss"] == "mae"


def test_samples_that_are_not_finite_are_left_out(tmp_path):
    traces = traces_of(4_000, 8)
    traces[::50, 2] = np.nan
    traces[1_000:1_010] = np.inf
    model = train_deepinterpolation(
        recording_of(traces=[traces]), tmp_path / "model", **{**FAST, "max_steps": 4}
    )
    assert all(torch.isfinite(values).all() for values in weights_of(model).values())
    assert np.isfinite(model.config.extra["scores"]["this network"]["mse"])


def test_nothing_is_left_where_nothing_can_be_learnt(tmp_path):
    flat = np.full((4_000, 8), 3.0, "float32")
    with pytest.raises(ValueError, match="no held-out sample of a live contact is finite"):
        train_deepinterpolation(recording_of(traces=[flat]), tmp_path / "model", **FAST)
    assert not list(tmp_path.iterdir())


def test_training_stops_without_gain_and_when_time_is_up(tmp_path):
    white = np.random.default_rng(0).standard_normal((4_000, 8)).astype("float32")
    few = {**FAST, "max_steps": 400, "evaluate_every": 1}
    model = train_deepinterpolation(
        recording_of(traces=[white]), tmp_path / "white", learning_rate=0.02, patience=3, **few
    )
    training = model.config.extra["training"]
    assert training["stopped"] == "patience"
    assert training["steps"] == training["best_step"] + 3
    few["max_steps"] = None
    model = train_deepinterpolation(recording_of(), tmp_path / "time", max_time_s=0.3, **few)
    assert model.config.extra["training"]["stopped"] == "time"


def test_the_callers_random_numbers_stay(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train_deepinterpolation(recording_of(samples=(4_000,)), tmp_path / "model", **{**FAST, "max_steps": 2})
    assert torch.equal(torch.rand(3), expected)


def test_groups_and_plain_keywords_are_the_same_run(whole, tmp_path):
    network, optimizer, data = (
        {name: FAST[name] for name in names}
        for names in (
            ("size",),
            ("max_steps", "batch_size"),
            ("pre_ms", "post_ms", "chunk_frames", "test_windows", "gap_s"),
        )
    )
    others = {"device": "cpu", "progress_bar": False}
    model = train_deepinterpolation(
        recording_of(),
        tmp_path / "model",
        network=NetworkSettings(name="blindspot", **network),
        optimizer=OptimizerSettings(**optimizer),
        data=data,
        **others,
    )
    assert_same(model, whole)
    with pytest.raises(
        ValueError, match="max_steps=3; allowed: only one of both, and optimizer says max_steps=40"
    ):
        train_deepinterpolation(recording_of(), tmp_path / "other", optimizer=optimizer, max_steps=3)
    with pytest.raises(TypeError, match="takes no argument 'max_step'; did you mean max_steps"):
        train_deepinterpolation(recording_of(), tmp_path / "other", max_step=3)


def test_what_is_declared_is_what_there_is():
    fields = DeepInterpolationTraining.fields()
    sizes = {
        name: get_args(get_args(fields[name].annotation)[0]) for name in ("network", "size", "normalization")
    }
    assert set(sizes["network"]) == set(TRAINED_NETWORKS) == set(DEFAULTS)
    assert set(sizes["size"]) == set(SIZES)
    assert sizes["normalization"] == METHODS
    assert set(get_args(fields["loss"].annotation)) == set(LOSSES)
    assert set(get_args(fields["precision"].annotation)) == {"auto", *PRECISIONS}


def test_help_can_be_read():
    assert len(inspect.signature(train_deepinterpolation).parameters) <= 18
    text = pydoc.plain(pydoc.render_doc(train_deepinterpolation))
    # each group, with what it holds below it, indented
    for name in ("network", "optimizer", "data"):
        group = DeepInterpolationTraining.groups()[name]
        place = text.index(f"\n    {name} : {group.__name__} or dict\n")
        for field in group.model_fields:
            place = text.index(f"\n        {field} : ", place)
    assert max(map(len, text.splitlines()[6:])) <= 125


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "huber"}, "loss='huber'; allowed: 'mse', 'mae' or 'charbonnier'"),
        ({"size": "huge"}, "size='huge'; allowed: 'tiny', 'small', 'base' or None"),
        ({"network": "transformer"}, "network='transformer'; allowed: 'blindspot', 'unet_single_ephys_1024'"),
        (
            {"network": "unet_single_ephys_1024", "size": "tiny"},
            "size='tiny'; allowed: None, as only 'blindspot' has sizes",
        ),
        ({"network_kwargs": {"colour": 1}}, "network_kwargs=.*colour"),
        ({"train_layers": "first"}, "train_layers='first'; allowed: 'all', 'last' or a list"),
        ({"train_layers": ["nothing"]}, "matches no parameter; allowed: the start of one of encoder.weight"),
        ({"train_layers": ["("]}, "allowed: valid patterns"),
        ({"normalization": "zscore"}, "normalization='zscore'; allowed: 'channel', 'global', 'none'"),
        ({"max_steps": 0}, "max_steps=0; allowed: a whole number >= 1"),
        ({"batch_size": 2.5}, "batch_size=2.5; allowed: a whole number"),
        ({"max_time_s": -1}, "max_time_s=-1; allowed: a number > 0 s"),
        ({"learning_rate": float("nan")}, "learning_rate=nan; allowed: a number > 0"),
        ({"focus": -1}, "focus=-1; allowed: a number >= 0"),
        ({"pre_ms": 0}, "pre_ms=0; allowed: a number > 0 ms"),
        ({"post_frame": 0}, "post_frame=0; allowed: a whole number >= 1"),
        ({"gap_s": -1}, "gap_s=-1; allowed: a number >= 0 s"),
        ({"gap_s": 5.0}, "leave nothing to train on"),
        ({"test_duration_s": 0.001}, "leave nothing to test on"),
        ({"train_end_s": 99}, "train_end_s=99.0; allowed: 0 to 1.2 s"),
        ({"device": "abacus"}, "device='abacus' is not known"),
        ({"precision": "int4"}, "precision='int4'; allowed: 'auto', 'float32'"),
        ({"precision": "bfloat16"}, "precision='bfloat16'; allowed on cpu"),
        ({"devices": 0}, "devices=0; allowed: a whole number >= 1"),
        ({"recordings": []}, r"recordings=\[\]; allowed: one recording"),
        ({"recordings": ["raw.bin"]}, r"recordings\[0\]='raw.bin'; allowed: a recording"),
    ],
)
def test_refusals_come_before_any_data_is_read(arguments, message, tmp_path, monkeypatch):
    recording = recording_of()
    monkeypatch.setattr(type(recording.segments[0]), "get_traces", None)
    arguments = {"recordings": recording, "device": "cpu", **arguments}
    with pytest.raises(ValueError, match=message):
        train_deepinterpolation(folder=tmp_path / "model", progress_bar=False, **arguments)
    assert not list(tmp_path.iterdir())


def test_recordings_that_do_not_fit_each_other_are_refused(tmp_path):
    others = {
        r"recordings\[1\] has another layout than recordings\[0\]: columns": recording_of(16, columns=2),
        r"recordings\[1\] has a sampling frequency of 20000 Hz": recording_of(rate=20_000.0),
    }
    for message, other in others.items():
        with pytest.raises(ValueError, match=message):
            train_deepinterpolation([recording_of(), other], tmp_path / "model")
    bare = recording_of()
    bare = type(bare)([traces_of(100, 4)], 10_000.0)
    with pytest.raises(ValueError, match=r"recordings\[0\] has no probe"):
        train_deepinterpolation(bare, tmp_path / "model")


def test_several_devices_ask_for_lightning(tmp_path, monkeypatch):
    from steadyspike.training import devices

    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'steadyspike\[train\]'"):
        train_deepinterpolation(recording_of(), tmp_path / "model", devices=2, device="cpu")


def test_several_processes_train_as_one_with_a_batch_as_large_as_all_of_theirs(tmp_path, monkeypatch):
    pytest.importorskip("lightning", reason="needs the extra train")
    # as in the processes, which know nothing of _quick
    monkeypatch.setattr(run, "RIDGE_ROWS", 200_000)
    few = {**FAST, "max_steps": 10, "focus": 1.0}
    two = train_deepinterpolation(recording_of(), tmp_path / "two", devices=2, **few)
    one = train_deepinterpolation(recording_of(), tmp_path / "one", **{**few, "batch_size": 8})
    training, scores = two.config.extra["training"], two.config.extra["scores"]
    assert (training["devices"], training["steps"]) == (2, 10)
    assert scores["this network"]["mse"] < 0.4 * scores["predicting the median"]["mse"]
    assert training["best_loss"] == pytest.approx(one.config.extra["training"]["best_loss"], rel=1e-5)
    others = weights_of(one)
    for name, values in weights_of(two).items():
        torch.testing.assert_close(values, others[name], rtol=1e-4, atol=1e-6)


def test_a_loop_that_diverges_keeps_the_best(tmp_path, monkeypatch):
    network = torch.nn.Linear(1, 1)
    assert choose_layers(network, ["w"]) == ["weight"]
    step = loop._Loop.step

    def broken(self, batch):
        step(self, batch)
        if self.progress.step == 3:
            next(self.network.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(loop._Loop, "step", broken)
    model = train_deepinterpolation(
        recording_of(samples=(4_000,)), tmp_path / "model", **{**FAST, "evaluate_every": 1}
    )
    assert model.config.extra["training"]["stopped"] == "diverged"
    assert all(torch.isfinite(values).all() for values in weights_of(model).values())
    assert os.path.isfile(tmp_path / "model" / "loss.png")
