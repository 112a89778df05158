"""Spikes expected in a residual against Bayes' rule written out with the covariances themselves."""

import numpy as np
import pytest

from steadyspike.kernels.spikes.scale_mixture import BLOCK, basis_of, expected_spikes, mixture_of

HALF, MEMBERS = 2, (np.array([0, 1, 2]), np.array([1, 0]), np.array([2]))


def covariances(rng, size, rank=4):
    """A covariance of noise, and one of spikes that is not of full rank."""
    own, shared = rng.normal(size=(size, size)), rng.normal(size=(size, rank))
    return shared @ shared.T / rank, own @ own.T / size + 0.3 * np.eye(size)


def by_hand(window, spikes, noise, sizes, prior):
    """Expected spike in the middle of a window: the mean of Wiener filters, weighed by their evidence."""
    logs, means = [], []
    for size, chance in zip(sizes, prior, strict=True):
        whole = size * spikes + noise
        solved = np.linalg.solve(whole, window)
        with np.errstate(divide="ignore"):
            logs.append(np.log(chance))
        logs[-1] -= 0.5 * np.linalg.slogdet(whole)[1] + 0.5 * window @ solved
        means.append((size * spikes @ solved)[HALF])
    shares = np.exp(np.array(logs) - max(logs))
    return shares @ np.array(means) / shares.sum()


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(3)
    taps = 2 * HALF + 1
    pairs = [covariances(rng, len(members) * taps) for members in MEMBERS]
    sizes = np.array([0.0, 0.5, 4.0, 300.0])
    prior = np.array([[0.9, 0.06, 0.03, 0.01], [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 1.0, 0.0]])
    residual = rng.standard_t(3, size=(3, BLOCK + 40 + 2 * HALF)).astype("float32") * 2
    residual[1, 30:34] = [40, -900, 3e4, 0]
    return pairs, sizes, prior, residual


def classes_of(num_samples):
    """A class for each window, which changes every two samples."""
    return (np.arange(3 * num_samples).reshape(3, -1) // 2 % 3).astype("uint8")


def expected(case, most, residual=None, classes=None):
    pairs, sizes, prior, own = case
    residual = own if residual is None else residual
    mixture = mixture_of([basis_of(*pair, HALF, most) for pair in pairs], sizes, prior)
    result = np.full((3, residual.shape[1] - 2 * HALF), np.nan, "float32")
    classes = classes_of(result.shape[1]) if classes is None else classes
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in MEMBERS])])
    expected_spikes(residual, classes, np.arange(3), offsets, np.concatenate(MEMBERS), HALF, mixture, result)
    return result


def test_it_is_bayes_rule(case):
    pairs, sizes, prior, residual = case
    result = expected(case, most=15)
    for channel, members in enumerate(MEMBERS):
        for time in range(result.shape[1]):
            window = residual[members, time : time + 2 * HALF + 1].ravel().astype("float64")
            own = prior[classes_of(result.shape[1])[channel, time]]
            wanted = by_hand(window, *pairs[channel], sizes, own)
            allowed = 1e-4 * max(1.0, np.abs(window).max())
            assert abs(result[channel, time] - wanted) <= allowed, (channel, time)


def test_blocks_change_nothing(case):
    residual = case[3]
    whole = expected(case, 15)
    for start in (0, 1, BLOCK - 1, BLOCK, BLOCK + 7):
        window = np.ascontiguousarray(residual[:, start : start + 1 + 2 * HALF])
        part = expected(case, 15, window, classes_of(whole.shape[1])[:, start : start + 1])
        np.testing.assert_allclose(part[:, 0], whole[:, start], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("most", [1, 3, 15])
def test_a_large_spike_passes_whole_and_noise_does_not(most):
    # what the kept coordinates leave has a gain of its own
    spikes, noise = covariances(np.random.default_rng(5), 5, rank=5)
    sizes, prior = np.array([0.0, 1.0, 1e4]), np.array([[0.9, 0.05, 0.05]])
    mixture = mixture_of([basis_of(spikes, noise, HALF, most)], sizes, prior)
    residual = np.array([[1.0, -3.0, 5.0, -2.0, 1.0]], "float32")
    for height, share in ((100.0, 1.0), (1e-3, 0.0)):
        result = np.empty((1, 1), "float32")
        expected_spikes(
            residual * np.float32(height),
            np.zeros((1, 1), "uint8"),
            *(np.zeros(1, int), np.array([0, 1]), np.zeros(1, int)),
            *(HALF, mixture, result),
        )
        assert abs(result[0, 0] / (5 * height) - share) < 0.1


def test_no_spikes_expected_gives_none(case):
    pairs, sizes, _, residual = case
    assert not expected((pairs, sizes, np.array([[1.0, 0, 0, 0]] * 3), residual), 15).any()


def test_covariances_that_are_none_do_no_harm():
    # as estimated in parts: negative eigenvalues, or nothing at all
    for noise in (np.zeros((5, 5)), np.eye(5) - 0.5, np.ones((5, 5))):
        basis = basis_of(-np.eye(5), noise, HALF, 5)
        assert np.isfinite(basis.forward).all()
        assert (basis.values >= 0).all()
        assert basis.rest >= 0
