"""No hidden sample reaches a prediction, and all the others do, for every size and option."""

import numpy as np
import pytest
import torch

from steadyspike.networks.blindspot import SIZES, BlindSpot, dilations_for

STAGGERED = ((1, 0, 1, 0), (0, 1, 0, 1))
PAIRS = ((1, 1), (1, 1))
GROUP = ((1, 1, 1, 1),)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def cells_of(unit, rows, columns):
    """Which cells of a grid hold contacts when a unit repeats over it."""
    unit = np.array(unit, bool)
    tiled = np.tile(unit, (-(-rows // unit.shape[0]), -(-columns // unit.shape[1])))
    return torch.from_numpy(tiled[:rows, :columns])


def visible_inputs(network, image, at, mask=None):
    """Inputs on which the prediction of one frame, row and column depends, shape (time, rows, columns)."""
    image = image.clone().requires_grad_()
    time, row, column = at
    network(image, mask)[0, time, row, column].backward()
    return image.grad[0] != 0


def allowed_inputs(network, cells, at, length):
    """The same by definition: all contacts beyond the gap, and with a centre others than the predicted one."""
    time, row, column = at
    before = network.context[0]
    distance = (torch.arange(length) - (time + before)).abs()
    beyond = (distance > network.omission) & (distance <= before)
    allowed = beyond[:, None, None] & cells
    allowed[:, row, column] = beyond
    if network.sizes["centre"] is not None:
        near = (distance <= network.sizes["centre"])[:, None, None] & cells
        near[:, row, column] = False
        allowed |= near
    return allowed


OPTIONS = [
    *(dict(size=size, unit=STAGGERED, centre=centre) for size in SIZES for centre in (None, 1)),
    *(dict(size="tiny", unit=unit, centre=2) for unit in (PAIRS, GROUP, ((1,),) * 4)),
    *(
        dict(size="tiny", unit=STAGGERED, omission=omission, centre=centre)
        for omission in (0, 3)
        for centre in (None, 0, 5)
    ),
    dict(size="tiny", unit=STAGGERED, linear_taps=0, kernel=3),
    dict(size="tiny", unit=STAGGERED, linear_taps=30, frames=3, centre=1),
    dict(size="tiny", unit=((1, 1, 1),), halo=2, centre=1, columns=7),
    dict(size="tiny", unit=STAGGERED, halo=4, columns=8, centre=1, rows=9),
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(map(str, options.values())))
def test_hidden_inputs_have_no_gradient_and_visible_ones_do(options, monkeypatch):
    # a unit that is off would hide a leak: this one passes every gradient
    monkeypatch.setattr(torch.nn.functional, "relu", lambda x: x + 0.3 * torch.sin(x))
    options = {"frames": 8, "rows": 10, **options}
    unit, rows = options.pop("unit"), options.pop("rows")
    rows, columns = (1, 4) if unit is GROUP else (rows, options.pop("columns", len(unit[0])))
    network = BlindSpot.of_size(options.pop("size"), unit, **options).double()
    # a fresh network is near zero where it matters; no two paths cancel with random weights
    with torch.no_grad():
        for weights in network.parameters():
            weights.uniform_(-0.5, 0.5)
    cells = cells_of(unit, rows, columns)
    before, after = network.context
    length = before + 3 + after
    image = torch.randn(1, length, rows, columns, dtype=torch.float64)
    seen_in_reach = torch.zeros(length, dtype=torch.bool)
    for row, column in cells.nonzero().tolist()[:: max(1, int(cells.sum()) // 6)]:
        at = (1, row, column)
        seen = visible_inputs(network, image, at)
        allowed = allowed_inputs(network, cells, at, length)
        assert not (seen & ~allowed).any()
        seen_in_reach |= seen.any((1, 2))
        # its own past and future next to the gap and at the ends of the context
        own = seen[:, row, column]
        for sample in (1, before - network.omission, before + 2 + network.omission, length - 2):
            assert own[sample], sample
        if options.get("centre") is not None and int(cells.sum()) > 1:
            assert seen[before + 1].any()
    assert torch.equal(seen_in_reach[1:-1], allowed_inputs(network, cells, at, length).any((1, 2))[1:-1])


def test_a_contact_never_sees_itself_through_the_halo_of_another_strip(monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "relu", lambda x: x + 0.3 * torch.sin(x))
    network = BlindSpot.of_size("tiny", ((1, 1),), frames=4, halo=2, centre=1).double()
    image = torch.randn(1, sum(network.context) + 1, 4, 6, dtype=torch.float64)
    for column in range(6):
        seen = visible_inputs(network, image, (0, 1, column))
        assert not seen[network.context[0] - 1 : network.context[0] + 2, 1, column].any()


@pytest.mark.parametrize("centre", [None, 1])
def test_chunks_give_what_the_whole_gives(centre):
    network = BlindSpot.of_size("small", STAGGERED, frames=12, centre=centre).eval()
    before, after = network.context
    image = torch.randn(1, before + 50 + after, 14, 4)
    mask = cells_of(STAGGERED, 14, 4)
    with torch.inference_mode():
        whole = network(image, mask)
        parts = [network(image[:, a : b + before + after], mask) for a, b in ((0, 1), (1, 20), (20, 50))]
    assert whole.shape == (1, 50, 14, 4)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=0)


def test_any_number_of_rows_and_a_batch_of_shanks_with_masks_of_their_own():
    network = BlindSpot.of_size("tiny", PAIRS, frames=4).eval()
    length = sum(network.context) + 5
    images, masks = torch.randn(2, length, 11, 2), torch.ones(2, 11, 2)
    masks[1, 3] = 0
    with torch.inference_mode():
        both = network(images, masks)
        for shank in range(2):
            torch.testing.assert_close(network(images[shank][None], masks[shank])[0], both[shank])
        told = network(images[1][None], masks[0])[0]
        assert network(images[:, :, :1]).shape == (2, 5, 1, 2)
    assert not torch.allclose(told, both[1])


def test_empty_cells_are_neither_read_nor_written():
    network = BlindSpot.of_size("tiny", STAGGERED, frames=4, centre=1).eval()
    cells = cells_of(STAGGERED, 6, 4)
    image = torch.randn(1, sum(network.context) + 2, 6, 4)
    with torch.inference_mode():
        predicted = network(image)
        torch.testing.assert_close(predicted, network(image * cells))
    assert not predicted[0, :, ~cells].any()
    assert predicted[0, :, cells].all()


@pytest.mark.parametrize(("frames", "kernel"), [(1, 2), (2, 2), (30, 2), (31, 3), (32, 3)])
def test_layers_are_as_many_as_the_frames_take(frames, kernel):
    dilations = dilations_for(frames, kernel)
    assert 1 + (kernel - 1) * sum(dilations) >= frames
    assert 1 + (kernel - 1) * sum(dilations[:-1]) < frames or frames == 1


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"kernel": 1}, "kernel=1 must be 2 or more"),
        ({"omission": -1}, "omission=-1"),
        ({"dilations": [0]}, "dilations"),
        ({"centre": 99}, "centre=99"),
        ({"halo": 9}, "halo=9"),
        ({"features": 0}, "features=0"),
    ],
)
def test_sizes_that_cannot_be(wrong, match):
    with pytest.raises(ValueError, match=match):
        BlindSpot(STAGGERED, **wrong)
    with pytest.raises(ValueError, match="size='huge'"):
        BlindSpot.of_size("huge", STAGGERED)
    with pytest.raises(ValueError, match="unit"):
        BlindSpot(((0, 0),))


def test_it_learns_what_its_context_tells():
    network = BlindSpot.of_size("tiny", PAIRS, frames=8)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    before, after = network.context
    time = torch.arange(before + 64 + after)
    for _ in range(60):
        phase = 6.3 * torch.rand(4, 1, 1, 1)
        clean = torch.sin(0.3 * time[None, :, None, None] + phase).expand(-1, -1, 4, 2)
        noisy = clean + 0.5 * torch.randn_like(clean)
        predicted = network(noisy)
        optimizer.zero_grad()
        (predicted - noisy[:, before:-after]).square().mean().backward()
        optimizer.step()
    error = (predicted - clean[:, before:-after]).square().mean()
    assert error < 0.5 * 0.5**2  # it never saw a clean sample
