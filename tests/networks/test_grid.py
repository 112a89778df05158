"""The tensor functions do as the numpy ones of `ProbeLayout`, for a batch."""

import numpy as np
import pytest
import torch

from steadyspike.core.probe_layout import layout_of
from steadyspike.networks.blindspot import BlindSpot
from steadyspike.networks.grid import gather, scatter


@pytest.fixture
def layout():
    row, column = np.divmod(np.arange(20), 2)
    positions = np.stack([column * 32, row * 15], axis=1)
    return layout_of(np.concatenate([positions, positions[:14]]), np.repeat([0, 1], [20, 14]), dead=[3, 30])


def test_a_batch_is_what_numpy_makes_of_each(layout):
    traces = np.random.default_rng(0).standard_normal((3, 5, 34)).astype("float32")
    traces[:, :, 3] = np.nan
    cells, dead = torch.from_numpy(layout.cells), torch.from_numpy(layout.dead)
    images = scatter(torch.from_numpy(traces), cells, layout.shape, dead)
    expected = np.concatenate([layout.scatter(one) for one in traces])
    np.testing.assert_array_equal(images.numpy(), expected)
    back = gather(images, cells, shanks=2).numpy()
    np.testing.assert_array_equal(back, np.where(layout.dead, 0, traces))


def test_gradients_pass_from_channels_to_channels(layout):
    network = BlindSpot.of_size("tiny", layout.type.unit, frames=2)
    cells = torch.from_numpy(layout.cells)
    traces = torch.randn(2, sum(network.context) + 1, 34, requires_grad=True)
    mask = torch.from_numpy(layout.mask).repeat(2, 1, 1)
    predicted = gather(network(scatter(traces, cells, layout.shape), mask), cells, shanks=2)
    assert predicted.shape == (2, 1, 34)
    (gradient,) = torch.autograd.grad(predicted[0, 0, 20], traces)
    assert gradient[0, :, 20:].any()
    assert not gradient[0, :, :20].any()  # shanks are separate images
    assert not gradient[1].any()
