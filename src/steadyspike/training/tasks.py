"""What networks are trained to do, as the training loop takes it: windows, spikes drawn from recordings, epochs."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Generator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from steadyspike.kernels.spikes.contact_features import neighbour_lists
from steadyspike.training.devices import Runtime
from steadyspike.training.loop import LoopSettings, StepLoss, Task, fit
from steadyspike.training.losses import LOSSES, masked_sum
from steadyspike.training.settings import EpochSettings, StepSettings
from steadyspike.training.windows import Batch, Windows

RECORDINGS_PER_STEP = 4
LEAST_RATE_OF_STEPS = 0.005


class Interpolation(Task[Batch]):
    """Predict each sample of windows from those around it.

    The network, one of `steadyspike.networks`, is trained on `windows`; its held-out loss is measured on `held_out`.
    `loss` is the name of one of `steadyspike.training.losses`; `focus` says how much more spikes weigh in training
    (`masked_sum`), not in the held-out loss. Windows are read by `num_readers` threads.
    """

    label = "train_deepinterpolation"
    starts_trained = True

    def __init__(
        self,
        network: nn.Module,
        windows: Windows,
        held_out: Sequence[Batch],
        loss: str,
        focus: float,
        runtime: Runtime,
        num_readers: int = 1,
    ) -> None:
        super().__init__(network)
        self.windows, self.held_out, self.measure = windows, held_out, loss
        self.penalty, self.focus = LOSSES[loss], focus
        self.runtime, self.num_readers = runtime, num_readers

    def batches(self, first: int, stop: int | None) -> Generator[Batch, None, None]:
        """Read windows in the background."""
        share = self.runtime.rank, self.runtime.num_ranks
        yield from self.windows.stream(first, stop, self.num_readers, *share)

    def loss(self, network: Any, batch: Batch) -> StepLoss:
        """Measure the errors of live contacts, those of spikes more."""
        sums = self._sums(network, batch, self.focus)
        # gradients are averaged over processes: so that of the errors of all of them, each with its weight
        return StepLoss(sums[0] / self.runtime.mean(sums[1]).clamp_min(1), sums)

    def held_out_loss(self) -> float:
        """Measure the errors of held-out windows."""
        with torch.inference_mode():
            sums = [self._sums(self.network, batch).cpu().double() for batch in self.held_out]
        total, count = torch.stack(sums).sum(0).tolist()
        return total / count if count else math.nan

    def _sums(self, network: Any, batch: Batch, focus: float = 0.0) -> Tensor:
        image, mask = (torch.from_numpy(part).to(self.runtime.device) for part in batch)
        before, after = self.network.context
        wanted = image[:, before : image.shape[1] - after]
        with self.runtime.autocast():
            predicted = network(torch.nan_to_num(image), mask)
        return masked_sum(self.penalty, predicted, wanted, mask, focus)


class Surroundings:
    """The contacts around each contact of a recording, as networks of spikes see them.

    Contacts within `radius_um` are seen; `locations` (num_channels, 2) are in um.
    """

    def __init__(self, locations: np.ndarray, radius_um: float) -> None:
        self.neighbours, _ = neighbour_lists(locations, radius_um)
        offsets = locations[np.maximum(self.neighbours, 0)] - locations[:, np.newaxis]
        self.offsets = torch.as_tensor(offsets, dtype=torch.float32)
        self.present = torch.as_tensor(self.neighbours >= 0, dtype=torch.float32)

    def weights(self, network: Any, channels: np.ndarray) -> Tensor:
        """Return a network's spatial weights around channels, 0 where there is no contact."""
        weights = network.spatial_weights(self.offsets) * self.present[:, :, np.newaxis]
        return weights[torch.from_numpy(channels)]


class Source(Protocol):
    """A recording from which spikes are drawn."""

    train: np.ndarray
    """What is drawn from."""

    def draw(self, number: int, rng: np.random.Generator) -> Any:
        """Draw that many spikes, or fewer."""


class Draws(Task[list[tuple[Any, Any]]]):
    """Steps of spikes that are drawn from up to four recordings at a time.

    Sources with nothing to train on are left out.
    """

    def __init__(self, network: nn.Module, sources: Sequence[Source], settings: StepSettings) -> None:
        super().__init__(network)
        self.sources = [source for source in sources if source.train.size]
        self.settings = settings
        self.rng = np.random.default_rng(settings.seed)

    def batches(self, first: int, stop: int | None) -> Generator[list[tuple[Any, Any]], None, None]:
        """Draw as much from each of the recordings that are chosen, in the order of the steps."""
        number = min(RECORDINGS_PER_STEP, len(self.sources))
        share = self.settings.batch_size // number
        while True:
            chosen = self.rng.choice(len(self.sources), size=number, replace=False)
            yield [(self.sources[one], self.sources[one].draw(share, self.rng)) for one in chosen]

    def fit(self, weight_decay: float, progress_bar: bool) -> None:
        """Train as the settings say; the network is in evaluation mode after it."""
        settings = LoopSettings(
            learning_rate=self.settings.learning_rate,
            least_rate=LEAST_RATE_OF_STEPS,
            weight_decay=weight_decay,
            max_steps=self.settings.steps,
        )
        fit(self, settings, progress_bar=progress_bar)


class Epochs(Task[tuple[Tensor, Tensor]]):
    """Epochs over what is in memory, each evaluated.

    There are `size` to train on; `rng` makes their order.
    """

    label = "train"

    def __init__(
        self, network: nn.Module, size: int, settings: EpochSettings, rng: np.random.Generator
    ) -> None:
        super().__init__(network)
        self.size, self.settings, self.rng = size, settings, rng

    @abstractmethod
    def values(self) -> Tensor:
        """Return what an epoch trains on."""

    def batches(self, first: int, stop: int | None) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Give the values of each epoch, and which of them a step takes."""
        while True:
            values = self.values()
            for chosen in torch.from_numpy(self.rng.permutation(self.size)).split(self.settings.batch_size):
                yield values, chosen

    def fit(self, weight_decay: float, least_rate: float) -> tuple[float, dict[str, int]]:
        """Train; the network has the weights of the best epoch after it.

        Returns the held-out loss of that epoch, infinite if it never was finite, and "epochs" and "best_epoch".
        """
        settings = self.settings
        steps = -(-self.size // settings.batch_size)
        loop = LoopSettings(
            learning_rate=settings.learning_rate,
            least_rate=least_rate,
            rate_every=steps,
            weight_decay=weight_decay,
            max_steps=settings.max_epochs * steps,
            evaluate_every=steps,
            patience=settings.patience,
        )
        progress = fit(self, loop)
        loss = math.inf if progress.best_loss is None else progress.best_loss
        return loss, {"epochs": progress.step // steps, "best_epoch": progress.best_step // steps}
