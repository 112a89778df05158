"""The ridge interpolator against ordinary least squares on an explicit design matrix."""

import numpy as np
import pytest
import torch

from steadyspike.networks.linear import RidgeFit, RidgeInterpolator


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def design(traces, network, reach=1):
    """Rows of what each sample of each unit is predicted from, for one column of contacts with one in each unit."""
    taps, gap = network.linear.taps, network.omission
    before = taps + gap
    padded = np.pad(traces, ((0, 0), (reach, reach)))
    rows, wanted = [], []
    for time in range(before, len(traces) - before):
        times = [*range(time - before, time - gap), *range(time + gap + 1, time + before + 1)]
        for unit in range(traces.shape[1]):
            rows.append([*padded[times, unit : unit + 2 * reach + 1].ravel(), 1])
            wanted.append(traces[time, unit])
    return np.array(rows), np.array(wanted)


def test_it_is_the_least_squares_solution():
    rng = np.random.default_rng(0)
    traces = np.cumsum(rng.standard_normal((120, 5)), axis=0) + 3
    network = RidgeInterpolator(((1,),), taps=2, omission=1).double()
    fit = RidgeFit(network)
    image = torch.from_numpy(traces)[None, :, :, None]
    before, after = network.context
    for start, stop in ((0, 50), (50, len(traces) - before - after)):
        fit.add(image[:, start : stop + before + after])
    fit.solve(alpha=0.0)
    rows, wanted = design(traces, network)
    weights = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    with torch.inference_mode():
        predicted = network(image)[0, :, :, 0].numpy()
    np.testing.assert_allclose(predicted.ravel(), rows @ weights, atol=1e-6)
    assert fit.num_rows == len(rows)


def test_a_penalty_shrinks_all_but_the_mean():
    traces = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 300, 6, 2)) + 4)
    network = RidgeInterpolator(((1, 1),), taps=2).double()
    fit = RidgeFit(network)
    fit.add(traces)
    fit.solve(alpha=1e9)
    assert network.linear.past.weight.detach().abs().max() < 1e-6
    mean = fit.products[-1] / fit.num_rows
    torch.testing.assert_close(network.linear.future.bias.detach(), mean, atol=1e-4, rtol=0)


def test_units_with_dead_contacts_teach_nothing():
    rng = np.random.default_rng(2)
    image = torch.from_numpy(rng.standard_normal((1, 60, 6, 2)))
    mask = torch.ones(6, 2)
    mask[5, 0] = 0
    image[:, :, 5, 0] = 1e6
    network = RidgeInterpolator(((1, 1),), taps=2, reach=0).double()
    masked, without = RidgeFit(network), RidgeFit(network)
    masked.add(image, mask)
    without.add(image[:, :, :5])
    torch.testing.assert_close(masked.covariance, without.covariance)
    torch.testing.assert_close(masked.products, without.products)
    with pytest.raises(ValueError, match="nothing to solve"):
        RidgeFit(network).solve()


def test_constant_traces_are_no_trouble():
    network = RidgeInterpolator(((1,),), taps=2).double()
    fit = RidgeFit(network)
    fit.add(torch.full((1, 40, 3, 1), 2.0, dtype=torch.float64))
    with torch.inference_mode():
        predicted = fit.solve()(torch.full((1, 10, 3, 1), 2.0, dtype=torch.float64))
    assert torch.isfinite(predicted).all()
    torch.testing.assert_close(predicted, torch.full_like(predicted, 2.0), atol=1e-2, rtol=0)


def test_hidden_samples_have_no_gradient():
    network = RidgeInterpolator(((1, 1),), taps=3, omission=2).double()
    image = torch.randn(1, sum(network.context) + 1, 4, 2, dtype=torch.float64, requires_grad=True)
    network(image)[0, 0, 1, 1].backward()
    seen = (image.grad[0] != 0).any(-1).any(-1)
    assert seen.tolist() == [True] * 3 + [False] * 5 + [True] * 3


def test_changed_weights_are_used_at_once():
    torch.manual_seed(0)
    network, image = RidgeInterpolator(((1, 1), (1, 1)), taps=2).eval(), torch.randn(1, 30, 8, 2)
    with torch.inference_mode():
        before = network(image)
        torch.testing.assert_close(network(image), before, rtol=0, atol=0)
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(2.0)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), 2 * before)
    network.load_state_dict({name: weights / 2 for name, weights in network.state_dict().items()})
    with torch.inference_mode():
        torch.testing.assert_close(network(image), before)
