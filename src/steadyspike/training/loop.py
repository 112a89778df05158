"""The training loop: any network, any loss, with checkpoints from which it goes on as if it had never stopped."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from steadyspike.training.checkpoint import CHECKPOINT, Progress, load_checkpoint, save_checkpoint
from steadyspike.training.devices import Runtime
from steadyspike.training.log import TrainingLog
from steadyspike.training.losses import LOSSES, masked_sum
from steadyspike.training.windows import Batch

CHECKPOINT_EVERY_S = 60.0
LEAST_RATE = 0.01


class TrainingInterrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C (SIGINT) or SIGTERM, after its state was saved."""


@dataclass(frozen=True)
class LoopSettings:
    """How to train.

    Parameters
    ----------
    loss : {"mae", "mse", "charbonnier"}
        `steadyspike.training.losses`.
    focus : float
        How much more spikes weigh in training (`steadyspike.training.losses.masked_sum`), not in the held-out loss.
    learning_rate : float
        The highest, after the warm-up; then it falls like a cosine to a hundredth.
    weight_decay : float
        Of AdamW.
    warmup_steps : int
        Over which the learning rate rises.
    clip_norm : float
        Greatest norm of the gradient.
    max_steps : int or None
        Steps in all.
    max_time_s : float or None
        Seconds in all, evaluations included. The learning rate follows whichever limit is nearer.
    evaluate_every : int
        Steps between evaluations of the held-out loss.
    patience : int or None
        Evaluations without a lower loss after which training stops; None: never.
    """

    loss: str = "mae"
    focus: float = 0.0
    learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    clip_norm: float = 1.0
    max_steps: int | None = None
    max_time_s: float | None = None
    evaluate_every: int = 200
    patience: int | None = 10

    def done(self, progress: Progress) -> float:
        """Share of the budget that is used, 0 to 1."""
        steps = progress.step / self.max_steps if self.max_steps else 0.0
        seconds = progress.elapsed_s / self.max_time_s if self.max_time_s else 0.0
        return min(1.0, max(steps, seconds))

    def rate(self, progress: Progress) -> float:
        """Learning rate of the next step."""
        warm = min(1.0, (progress.step + 1) / max(1, self.warmup_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * self.done(progress)))
        return self.learning_rate * warm * (LEAST_RATE + (1 - LEAST_RATE) * cosine)


def fit(
    network: nn.Module,
    stream: Callable[[int, int | None], Iterator[Batch]],
    held_out: Sequence[Batch],
    folder: Path,
    settings: LoopSettings,
    runtime: Runtime,
    resume: bool = False,
    progress_bar: bool = True,
    spent_s: float = 0.0,
) -> tuple[Progress, dict[str, Tensor]]:
    """Train a network until its budget is used or the held-out loss no longer falls.

    Parameters
    ----------
    network : nn.Module
        One of `steadyspike.networks`. Only parameters that require gradients are trained.
    stream : callable
        Takes the numbers of the first batch and of the one after the last (or None), returns an iterator of `Batch`.
    held_out : sequence of Batch
        What the held-out loss is measured on.
    folder : Path
        Existing folder for the checkpoint and `log.jsonl`.
    settings : LoopSettings
    runtime : Runtime
        Device and precision.
    resume : bool, default: False
        Go on from the checkpoint in `folder`, if there is one.
    progress_bar : bool, default: True
    spent_s : float, default: 0.0
        What of the time is used already, when it does not go on from a checkpoint.

    Returns
    -------
    progress : Progress
        `stopped` tells why: "steps", "time", "patience" or "diverged".
    best : dict of Tensor
        The weights with the lowest held-out loss, on the CPU; those at the start count too.

    Raises
    ------
    ValueError
        If nothing is held out that is finite.
    TrainingInterrupted
        After Ctrl-C or SIGTERM, when all is saved.
    """
    loop = _Loop(network, held_out, folder, settings, runtime)
    loop.progress.elapsed_s = spent_s
    loop.start(resume)
    with _stop_signals() as asked, _bar(loop, progress_bar and runtime.rank == 0) as bar:
        batches = stream(loop.progress.step, settings.max_steps)
        try:
            while not loop.finished():
                loop.step(next(batches))
                bar.update()
                evaluated = loop.finished() or loop.progress.step % settings.evaluate_every == 0
                if evaluated:
                    loop.evaluate()
                    bar.set_postfix_str(f"held-out {settings.loss} {loop.progress.best_loss:.4g}")
                if evaluated or loop.checkpoint_is_due():
                    loop.save()
                if runtime.any(bool(asked)):
                    loop.save()
                    raise TrainingInterrupted(f"stopped after step {loop.progress.step}; resume=True goes on")
        finally:
            batches.close()  # type: ignore[attr-defined]
    loop.save()
    return loop.progress, loop.best


class _Loop:
    """State of a run."""

    def __init__(
        self,
        network: nn.Module,
        held_out: Sequence[Batch],
        folder: Path,
        settings: LoopSettings,
        runtime: Runtime,
    ) -> None:
        self.network, self.held_out, self.folder = network, held_out, folder
        self.settings, self.runtime = settings, runtime
        trained = [weights for weights in network.parameters() if weights.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.called = runtime.setup(network, self.optimizer)
        self.penalty = LOSSES[settings.loss]
        self.progress, self.best = Progress(), _copied(network)
        self.running = torch.zeros(2, device=runtime.device)
        self.log = TrainingLog(folder)
        self.since = self.saved_at = time.monotonic()

    def start(self, resume: bool) -> None:
        """Take up the state of the checkpoint, or evaluate the network as it comes."""
        if resume and (self.folder / CHECKPOINT).is_file():
            self.progress, self.best = load_checkpoint(self.folder, self.network, self.optimizer)
            self.progress.stopped = ""
            self.running = torch.tensor(
                [self.progress.loss_sum, self.progress.loss_count], device=self.runtime.device
            )
            self.runtime.load_scaler(self.progress.scaler)
            self.log.cut_after(self.progress.step, self.runtime.rank)
            self.since = time.monotonic()
        else:
            self.log.cut_after(-1, self.runtime.rank)
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
            progress.stopped = (
                "steps" if settings.max_steps and progress.step >= settings.max_steps else "time"
            )
        if settings.patience is not None and progress.without_gain >= settings.patience:
            progress.stopped = "patience"
        return bool(progress.stopped)

    def step(self, batch: Batch) -> None:
        """Take one step."""
        rate = self.settings.rate(self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        sums = self._loss(self.called, batch, self.settings.focus)
        self.runtime.descend(
            sums[0] / sums[1].clamp_min(1), self.network, self.optimizer, self.settings.clip_norm
        )
        self.running += sums.detach()
        self.progress.step += 1
        self._tick()

    def evaluate(self) -> None:
        """Measure the held-out loss, remember the best weights, and log both losses."""
        progress = self.progress
        loss = self.runtime.from_first(self._held_out_loss)
        if progress.best_loss is None:
            progress.initial_loss = loss
        if not math.isfinite(loss):
            progress.stopped = "diverged"
        elif progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_step, progress.without_gain = loss, progress.step, 0
            self.best = _copied(self.network)
        else:
            progress.without_gain += 1
        self._tick()
        total, count = self.running.tolist()
        self.running.zero_()
        line = {
            "step": progress.step,
            "train_loss": total / count if count else None,
            "test_loss": loss if math.isfinite(loss) else None,
            "learning_rate": self.settings.rate(progress),
            "elapsed_s": round(progress.elapsed_s, 3),
        }
        if self.runtime.rank == 0:
            self.log.append(line)

    def checkpoint_is_due(self) -> bool:
        """Whether the last one is old."""
        return time.monotonic() - self.saved_at > CHECKPOINT_EVERY_S

    def save(self) -> None:
        """Write a checkpoint."""
        self.progress.loss_sum, self.progress.loss_count = self.running.tolist()
        self.progress.scaler = self.runtime.scaler_state()
        if self.runtime.rank == 0:
            save_checkpoint(self.folder, self.network, self.best, self.optimizer, self.progress)
        self.saved_at = time.monotonic()

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.elapsed_s += now - self.since
        self.since = now

    def _loss(self, network: Any, batch: Batch, focus: float = 0.0) -> Tensor:
        image, mask = (torch.from_numpy(part).to(self.runtime.device) for part in batch)
        before, after = self.network.context  # type: ignore[misc]
        wanted = image[:, before : image.shape[1] - after]
        with self.runtime.autocast():
            predicted = network(torch.nan_to_num(image), mask)
        return masked_sum(self.penalty, predicted, wanted, mask, focus)

    def _held_out_loss(self) -> float:
        self.network.eval()
        with torch.inference_mode():
            sums = [self._loss(self.network, batch).cpu().double() for batch in self.held_out]
        total, count = torch.stack(sums).sum(0).tolist()
        return total / count if count else math.nan


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: values.detach().cpu().clone() for name, values in network.state_dict().items()}


def _bar(loop: _Loop, shown: bool) -> Any:
    return tqdm(
        desc="train_deepinterpolation",
        total=loop.settings.max_steps,
        initial=loop.progress.step,
        unit="step",
        disable=not shown,
    )


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM while a step is taken; a second one acts at once."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
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
