"""The network that sees all samples: what it sees, in any chunks, and that it can be taught to give spikes back."""

import pytest
import torch

from steadyspike.networks import make_network
from steadyspike.networks.seeing import Seeing

PAIRS, STAGGERED = ((1, 1), (1, 1)), ((1, 0, 1, 0), (0, 1, 0, 1))
SMALL = dict(features=4, kernel=3, dilations=(1, 2), linear_taps=5)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.mark.parametrize("unit", [PAIRS, STAGGERED])
def test_it_sees_the_sample_itself_and_no_more_than_its_context(unit):
    network = Seeing(unit, **SMALL)
    before, after = network.context
    assert (before, after) == (5, 5)
    image = torch.randn(1, before + 3 + after, 8, len(unit[0]), requires_grad=True)
    network(image)[0, 1, 2, 0].backward()
    seen = (image.grad[0] != 0).any((1, 2))
    assert seen.tolist() == [False, *[True] * (before + 1 + after), False]
    assert image.grad[0, before + 1, 2, 0] != 0


def test_chunks_give_what_the_whole_gives():
    network = make_network("seeing", Seeing(PAIRS).sizes).eval()
    before, after = network.context
    image = torch.randn(1, before + 40 + after, 8, 2)
    mask = torch.ones(8, 2)
    mask[3, 1] = 0
    with torch.inference_mode():
        whole = network(image, mask)
        parts = [network(image[:, at : at + before + size + after], mask) for at, size in ((0, 7), (7, 33))]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)


def test_it_learns_what_a_filter_of_the_sample_gives():
    network, wanted = Seeing(PAIRS, **SMALL), 0.5
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        image = torch.randn(1, 40, 8, 2)
        loss = torch.nn.functional.mse_loss(network(image), wanted * image[:, 5:35])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("change", [dict(kernel=4), dict(features=0), dict(linear_taps=0)])
def test_sizes_that_cannot_be_are_refused(change):
    with pytest.raises(ValueError, match=r"kernel=4|must be 1 or more"):
        Seeing(PAIRS, **change)
