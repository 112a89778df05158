"""Losses against loops over single values."""

import numpy as np
import pytest
import torch
from training_signals import recording_of, traces_of

from steadyspike.core.stretches import Stretch
from steadyspike.training.devices import Runtime
from steadyspike.training.losses import CHARBONNIER_EPSILON, LOSSES, MOST_FOCUSED, masked_sum
from steadyspike.training.tasks import Interpolation
from steadyspike.training.windows import Source, Windows

PENALTIES = {
    "mae": abs,
    "mse": lambda apart: apart**2,
    "charbonnier": lambda apart: np.hypot(apart, CHARBONNIER_EPSILON) - CHARBONNIER_EPSILON,
}


@pytest.mark.parametrize("focus", [0.0, 0.7])
@pytest.mark.parametrize("loss", LOSSES)
def test_sums_are_those_of_a_loop(loss, focus):
    rng = np.random.default_rng(0)
    predicted, wanted = (rng.normal(0, 4, (2, 5, 3, 2)).astype("float32") for _ in range(2))
    wanted[0, 1, 1] = np.nan, np.inf
    mask = np.ones((2, 3, 2), "float32")
    mask[1, 0, 1] = 0
    total = weights = 0.0
    for batch, time, row, column in np.ndindex(predicted.shape):
        one = wanted[batch, time, row, column]
        if not np.isfinite(one) or not mask[batch, row, column]:
            continue
        guess = predicted[batch, time, row, column]
        weight = 1 + focus * min(abs(guess), MOST_FOCUSED)
        total, weights = total + weight * PENALTIES[loss](guess - one), weights + weight
    sums = masked_sum(LOSSES[loss], *(torch.from_numpy(part) for part in (predicted, wanted, mask)), focus)
    np.testing.assert_allclose(sums, [total, weights], rtol=1e-5)


def test_focus_does_not_change_what_is_best_to_predict():
    # half of the targets are 3, half 5: 4 is best, however much it weighs
    wanted = torch.tensor([3.0, 5.0]).repeat(50).reshape(1, 100, 1, 1)
    guess = torch.tensor(4.0, requires_grad=True)
    for focus in (0.0, 1.0, 50.0):
        sums = masked_sum(LOSSES["mse"], guess.expand(1, 100, 1, 1), wanted, torch.ones(1, 1, 1), focus)
        (slope,) = torch.autograd.grad(sums[0] / sums[1], guess)
        assert abs(slope.item()) < 1e-6


def test_nothing_live_counts_nothing():
    values = torch.zeros(1, 4, 2, 1)
    assert masked_sum(LOSSES["mse"], values, values, torch.zeros(1, 2, 1), 1.0).tolist() == [0.0, 0.0]


class Neighbours(torch.nn.Module):
    """Predicts a sample from the one before and the one after."""

    context = (1, 1)

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.tensor([0.3, 0.2]))

    def forward(self, image, mask):
        return self.weights[0] * image[:, :-2] + self.weights[1] * image[:, 2:]


@pytest.mark.parametrize("focus", [0.0, 1.0])
def test_gradients_of_processes_average_to_that_of_one_with_all_their_windows(focus):
    traces = traces_of(3_000, 4)
    traces[1_000:1_400] = np.nan
    recording = recording_of(num_channels=4, traces=[traces])
    source, stretches = Source.of(recording, "lattice", "channel"), [Stretch(0, 0, 0, 3_000)]

    def gradient(batch_size, runtime):
        network = Neighbours()
        windows = Windows([source], stretches, network.context, 64, batch_size)
        task = Interpolation(network, windows, [], "mse", focus, runtime)
        task.loss(network, next(task.batches(0, 1))).mean.backward()
        return network.weights.grad

    weights = []
    runtimes = [Runtime(torch.device("cpu")) for _ in range(2)]
    for rank, runtime in enumerate(runtimes):
        runtime.rank, runtime.num_ranks = rank, 2
        runtime.mean = lambda mine: weights.append(mine.detach()) or mine
        gradient(4, runtime)
    assert (weights[0] != weights[1]) == bool(focus)
    for runtime in runtimes:
        runtime.mean = lambda mine: (weights[0] + weights[1]) / 2
    parts = [gradient(4, runtime) for runtime in runtimes]
    torch.testing.assert_close((parts[0] + parts[1]) / 2, gradient(8, Runtime(torch.device("cpu"))))
