"""The training loop of all networks: steps, learning rate, evaluation, best weights, early stop, checkpoints.

What differs between networks is a `Task`: its batches, its loss, and how it is evaluated.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from steadyspike.training.checkpoint import CHECKPOINT, Progress, load_checkpoint, save_checkpoint
from steadyspike.training.devices import Runtime
from steadyspike.training.log import TrainingLog

CHECKPOINT_EVERY_S = 60.0

Batch = TypeVar("Batch")


class TrainingInterrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C (SIGINT) or SIGTERM, after its state was saved."""


class StepLoss(NamedTuple):
    """Loss of a batch, whose gradient is taken; and its sum and that of its weights, shape (2,), for the log."""

    mean: Tensor
    sums: Tensor | None = None


class Task(ABC, Generic[Batch]):
    """What a network is trained to do.

    Only parameters of the network that require gradients are trained.
    """

    label: ClassVar[str]
    """Of the progress bar."""
    measure: str = "loss"
    """What is evaluated, for the progress bar."""
    starts_trained: ClassVar[bool] = False
    """Whether the first weights are evaluated too, and kept if no step makes them better."""

    def __init__(self, network: nn.Module) -> None:
        self.network: Any = network

    @abstractmethod
    def batches(self, first: int, stop: int | None) -> Generator[Batch, None, None]:
        """Give the batch of step `first` and those that follow, up to `stop` (None: without end)."""

    @abstractmethod
    def loss(self, network: Any, batch: Batch) -> StepLoss | None:
        """Measure the loss of a batch; None: there is nothing to learn in it.

        `network` is the network, or what stands for it where several processes share a step.
        """

    def held_out_loss(self) -> float:
        """Evaluate the network, which is in evaluation mode: the smaller, the better."""
        raise NotImplementedError


@dataclass(frozen=True)
class LoopSettings:
    """How to train.

    `learning_rate` is the highest: it rises over `warmup_steps`, then falls like a cosine to `least_rate`, a share of
    it (1: it stays), changing every `rate_every` steps. `weight_decay` is AdamW's, `clip_norm` the greatest norm of the
    gradient (None: any). Training ends after `max_steps` or `max_time_s` (None: no limit), evaluations included; the
    learning rate follows whichever is nearer. It is evaluated every `evaluate_every` steps (None: never, and the last
    weights are kept), and ends after `patience` evaluations without a lower loss (None: never).
    """

    learning_rate: float
    least_rate: float = 0.01
    rate_every: int = 1
    weight_decay: float = 0.0
    warmup_steps: int = 0
    clip_norm: float | None = None
    max_steps: int | None = None
    max_time_s: float | None = None
    evaluate_every: int | None = None
    patience: int | None = None

    def done(self, progress: Progress) -> float:
        """Share of the budget that is used, 0 to 1."""
        return self._share(progress.step, progress.elapsed_s)

    def rate(self, progress: Progress) -> float:
        """Learning rate of the next step."""
        warm = min(1.0, (progress.step + 1) / max(1, self.warmup_steps))
        done = self._share(progress.step // self.rate_every * self.rate_every, progress.elapsed_s)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * warm * (self.least_rate + (1 - self.least_rate) * cosine)

    def _share(self, step: int, elapsed_s: float) -> float:
        steps = step / self.max_steps if self.max_steps else 0.0
        seconds = elapsed_s / self.max_time_s if self.max_time_s else 0.0
        return min(1.0, max(steps, seconds))


def fit(
    task: Task[Any],
    settings: LoopSettings,
    runtime: Runtime | None = None,
    folder: Path | None = None,
    *,
    resume: bool = False,
    progress_bar: bool = False,
    spent_s: float = 0.0,
) -> Progress:
    """Train a network until its budget is used or its evaluation no longer improves.

    The network ends with the weights that were evaluated best, or with the last ones. `runtime` None is the CPU with
    float32. An existing `folder` holds the checkpoint and `log.jsonl`, from which `resume` goes on if there is one;
    None: nothing is saved, and an interrupt ends all. `spent_s` is time that is used already, unless it resumes.
    `stopped` of the progress tells why: "steps", "time", "patience" or "diverged". Raises `ValueError` if the first
    evaluation is not finite, and `TrainingInterrupted` after Ctrl-C or SIGTERM, when all is saved.
    """
    loop = _Loop(task, settings, runtime or Runtime(torch.device("cpu")), folder)
    loop.progress.elapsed_s = spent_s
    loop.start(resume)
    with (
        _stop_signals(wanted=folder is not None) as asked,
        _bar(loop, progress_bar) as bar,
        closing(task.batches(loop.progress.step, settings.max_steps)) as batches,
    ):
        while not loop.finished():
            loop.step(next(batches))
            bar.update()
            if loop.is_evaluated():
                loop.evaluate()
                best = loop.progress.best_loss
                shown = "not finite" if best is None else f"{best:.4g}"
                bar.set_postfix_str(f"held-out {task.measure} {shown}")
                loop.save()
            elif loop.save_is_due():
                loop.save()
            if loop.runtime.any(bool(asked)):
                loop.save()
                raise TrainingInterrupted(f"stopped after step {loop.progress.step}; resume=True goes on")
    loop.save()
    if loop.best:
        task.network.load_state_dict(loop.best)
    task.network.eval()
    return loop.progress


class _Loop:
    """State of a run."""

    def __init__(
        self, task: Task[Any], settings: LoopSettings, runtime: Runtime, folder: Path | None
    ) -> None:
        self.task, self.settings, self.runtime, self.folder = task, settings, runtime, folder
        self.network: nn.Module = task.network
        trained = [weights for weights in self.network.parameters() if weights.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.called = runtime.setup(self.network, self.optimizer)
        self.progress = Progress()
        self.best = copied(self.network) if task.starts_trained else {}
        self.running = torch.zeros(2, device=runtime.device)
        self.log = TrainingLog(folder) if folder is not None and runtime.rank == 0 else None
        self.since = self.saved_at = time.monotonic()

    def start(self, resume: bool) -> None:
        """Take up the state of the checkpoint, or evaluate the network as it comes."""
        if resume and self.folder is not None and (self.folder / CHECKPOINT).is_file():
            self.progress, self.best = load_checkpoint(self.folder, self.network, self.optimizer)
            self.progress.stopped = ""
            self.running = torch.tensor(
                [self.progress.loss_sum, self.progress.loss_count], device=self.runtime.device
            )
            self.runtime.load_scaler(self.progress.scaler)
            if self.log:
                self.log.cut_after(self.progress.step)
            self.since = time.monotonic()
            return
        if self.log:
            self.log.cut_after(-1)
        if self.task.starts_trained:
            self.evaluate()
            if self.progress.best_loss is None:
                raise ValueError(
                    "the held-out loss is not finite before training: "
                    "either no held-out sample of a live contact is finite, or the first weights are not"
                )
            self.save()

    def finished(self) -> bool:
        """Whether to stop, and why."""
        progress, settings = self.progress, self.settings
        if self.runtime.any(settings.done(progress) >= 1):
            out_of_steps = settings.max_steps and progress.step >= settings.max_steps
            progress.stopped = "steps" if out_of_steps else "time"
        if settings.patience is not None and progress.without_gain >= settings.patience:
            progress.stopped = "patience"
        return bool(progress.stopped)

    def step(self, batch: Any) -> None:
        rate = self.settings.rate(self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if not self.network.training:
            self.network.train()
        loss = self.task.loss(self.called, batch)
        if loss is not None:
            self.runtime.descend(loss.mean, self.network, self.optimizer, self.settings.clip_norm)
            if loss.sums is not None:
                self.running += loss.sums.detach()
        self.progress.step += 1
        self._tick()

    def is_evaluated(self) -> bool:
        every = self.settings.evaluate_every
        return every is not None and (self.finished() or self.progress.step % every == 0)

    def evaluate(self) -> None:
        """Measure the held-out loss, remember the best weights, and log both losses."""
        progress = self.progress
        self.network.eval()
        loss = self.runtime.from_first(self.task.held_out_loss)
        if progress.best_loss is None:
            progress.initial_loss = loss
        if not math.isfinite(loss):
            progress.stopped = "diverged"
        elif progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_step, progress.without_gain = loss, progress.step, 0
            self.best = copied(self.network)
        else:
            progress.without_gain += 1
        self._tick()
        total, count = self.running.tolist()
        self.running.zero_()
        if self.log:
            self.log.append(
                {
                    "step": progress.step,
                    "train_loss": total / count if count else None,
                    "test_loss": loss if math.isfinite(loss) else None,
                    "learning_rate": self.settings.rate(progress),
                    "elapsed_s": round(progress.elapsed_s, 3),
                }
            )

    def save_is_due(self) -> bool:
        """Whether the last checkpoint is old."""
        return self.folder is not None and time.monotonic() - self.saved_at > CHECKPOINT_EVERY_S

    def save(self) -> None:
        if self.folder is None:
            return
        self.progress.loss_sum, self.progress.loss_count = self.running.tolist()
        self.progress.scaler = self.runtime.scaler_state()
        if self.runtime.rank == 0:
            save_checkpoint(self.folder, self.network, self.best, self.optimizer, self.progress)
        self.saved_at = time.monotonic()

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.elapsed_s += now - self.since
        self.since = now


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """Draw torch's random numbers from a state that the caller does not see."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def copied(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights as they are now, on the CPU."""
    return {name: values.detach().cpu().clone() for name, values in network.state_dict().items()}


def _bar(loop: _Loop, shown: bool) -> Any:
    return tqdm(
        desc=loop.task.label,
        total=loop.settings.max_steps,
        initial=loop.progress.step,
        unit="step",
        disable=not shown or loop.runtime.rank != 0,
    )


@contextmanager
def _stop_signals(wanted: bool) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM while a step is taken; a second one acts at once."""
    asked: list[int] = []
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _: Any) -> None:
        asked.append(number)
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
