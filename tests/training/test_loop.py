"""The one training loop: what plain loops of PyTorch do, and what it keeps, for tasks of every kind."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from steadyspike.training import loop as loops
from steadyspike.training.loop import LoopSettings, StepLoss, Task, fit, own_random_numbers
from steadyspike.training.settings import EpochSettings
from steadyspike.training.tasks import Epochs

TARGET = torch.tensor([[1.0, -2.0, 0.5]])


def network():
    with own_random_numbers(3):
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def batch(step):
    values = torch.from_numpy(np.random.default_rng(step).standard_normal((8, 3)).astype("float32"))
    return values, values @ TARGET.T


class Regression(Task):
    label = "regression"

    def __init__(self, network, empty=()):
        super().__init__(network)
        self.empty, self.losses, self.modes = empty, [], []

    def batches(self, first, stop):
        for step in range(first, stop or 10**9):
            yield None if step in self.empty else batch(step)

    def loss(self, network, batch):
        self.modes.append(self.network.training)
        if batch is None:
            return None
        error = (network(batch[0]) - batch[1]).square()
        return StepLoss(error.mean(), torch.stack([error.sum(), torch.tensor(float(error.numel()))]))

    def held_out_loss(self):
        self.modes.append(self.network.training)
        values, wanted = batch(10_000)
        with torch.no_grad():
            self.losses.append(float(functional.mse_loss(self.network(values), wanted)))
        return self.losses[-1]


class Tuned(Regression):
    starts_trained = True


def plain(network, steps, rate, weight_decay=0.0, clip_norm=None, empty=()):
    """The obvious loop."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0, weight_decay=weight_decay)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate(step)
        if step in empty:
            continue
        values, wanted = batch(step)
        optimizer.zero_grad()
        functional.mse_loss(network(values), wanted).backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()
    return network


def assert_same(one, other):
    for name, values in one.state_dict().items():
        torch.testing.assert_close(values, other.state_dict()[name], rtol=1e-6, atol=1e-7)


RATES = {
    "cosine": (dict(least_rate=0.1), lambda k: 0.02 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * k / 30)))),
    "constant": (dict(least_rate=1.0), lambda k: 0.02),
    "warm": (dict(least_rate=1.0, warmup_steps=10), lambda k: 0.02 * min(1, (k + 1) / 10)),
    "stairs": (
        dict(least_rate=0.0, rate_every=10),
        lambda k: 0.02 * 0.5 * (1 + math.cos(math.pi * (k // 10) / 3)),
    ),
}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    "others", [dict(), dict(weight_decay=0.1, clip_norm=0.5)], ids=["", "decay and clip"]
)
def test_it_does_what_a_plain_loop_does(rate, others):
    changes, of_step = RATES[rate]
    task = Regression(network(), empty=(4, 5))
    progress = fit(task, LoopSettings(learning_rate=0.02, max_steps=30, **changes, **others))
    assert_same(task.network, plain(network(), 30, of_step, empty=(4, 5), **others))
    assert (progress.step, progress.stopped, progress.best_loss) == (30, "steps", None)
    assert task.modes == [True] * 30
    assert not task.network.training


def test_the_best_weights_are_kept_and_patience_ends():
    # so high a rate that it gets worse
    settings = LoopSettings(
        learning_rate=0.9, least_rate=1.0, max_steps=200, evaluate_every=5, patience=3, weight_decay=0.0
    )
    task = Regression(network())
    progress = fit(task, settings)
    best = int(np.argmin(task.losses))
    assert progress.stopped == "patience"
    assert progress.best_step == 5 * (best + 1)
    assert progress.step == 5 * (best + 4) < 200
    assert task.held_out_loss() == progress.best_loss == min(task.losses)
    assert set(task.modes[:6]) == {True, False}


@pytest.mark.parametrize("task_class", [Regression, Tuned])
def test_first_weights_count_where_they_are_trained(task_class):
    first = network()
    task = task_class(copy.deepcopy(first))
    # every step makes it worse
    fit(task, LoopSettings(learning_rate=50.0, least_rate=1.0, max_steps=4, evaluate_every=2))
    assert len(task.losses) == (3 if task_class is Tuned else 2)
    kept = all(torch.equal(a, b) for a, b in zip(first.parameters(), task.network.parameters(), strict=True))
    assert kept == (task_class is Tuned)


@pytest.mark.parametrize("stop", [1, 7, 10, 13])
def test_going_on_is_the_same_to_the_last_bit(tmp_path, monkeypatch, stop):
    settings = LoopSettings(
        learning_rate=0.02, max_steps=20, evaluate_every=5, weight_decay=0.01, clip_norm=1.0
    )
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, parts = Tuned(network()), Tuned(network())
    fit(whole, settings, folder=tmp_path / "whole")
    taken = loops._Loop.step

    def interrupted(self, batch):
        taken(self, batch)
        if self.progress.step == stop:
            loops.signal.raise_signal(loops.signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(loops._Loop, "step", interrupted)
        with pytest.raises(loops.TrainingInterrupted, match=f"stopped after step {stop}"):
            fit(parts, settings, folder=tmp_path / "parts")
    again = Tuned(network())
    progress = fit(again, settings, folder=tmp_path / "parts", resume=True)
    assert progress.step == 20
    for name, values in whole.network.state_dict().items():
        assert torch.equal(values, again.network.state_dict()[name])


def test_without_a_folder_an_interrupt_is_python_s_own(monkeypatch):
    def interrupted(self, batch):
        loops.signal.raise_signal(loops.signal.SIGINT)

    monkeypatch.setattr(loops._Loop, "step", interrupted)
    # a shell without job control lets what it starts in the background ignore Ctrl-C
    before = loops.signal.signal(loops.signal.SIGINT, loops.signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            fit(Regression(network()), LoopSettings(learning_rate=0.02, max_steps=5))
    finally:
        loops.signal.signal(loops.signal.SIGINT, before)
    assert caught.type is KeyboardInterrupt


def test_a_loss_that_is_not_finite_ends_it():
    class Broken(Regression):
        def held_out_loss(self):
            return math.nan

    progress = fit(
        Broken(network()), LoopSettings(learning_rate=0.02, max_steps=9, evaluate_every=2), progress_bar=True
    )
    assert (progress.stopped, progress.step) == ("diverged", 2)


def test_epochs_are_permutations_that_are_evaluated():
    class Counted(Epochs):
        def values(self):
            self.drawn.append([])
            return torch.arange(10.0)

        def loss(self, network, batch):
            self.drawn[-1].append(batch[1].tolist())
            return StepLoss(network(torch.ones(1, 3)).square().mean())

        def held_out_loss(self):
            return float(len(self.drawn) != 2)

    task = Counted(
        network(), 10, EpochSettings(max_epochs=6, patience=2, batch_size=4), np.random.default_rng(0)
    )
    task.drawn = []
    assert task.fit(0.0, 1.0) == (0.0, {"epochs": 4, "best_epoch": 2})
    for epoch in task.drawn:
        assert list(map(len, epoch)) == [4, 4, 2]
        assert sorted(one for chosen in epoch for one in chosen) == list(range(10))
