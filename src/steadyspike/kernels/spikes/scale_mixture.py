r"""What a prediction missed, by Bayes' rule: spikes apart from noise in the residual, window by window.

A window of the residual, some samples on the contacts around one, is noise and, now and then, a spike (or what the
prediction missed of it) of any size: :math:`r = \sqrt{z} u + n` with :math:`u \sim N(0, S)`, :math:`n \sim N(0, N)`
and a size :math:`z` that has one of a few values, 0 among them, each with its prior probability (a Gaussian scale
mixture). In the middle of the window the spike is expected to be

.. math:: E[m \mid r] = \sum_j p(z_j \mid r) \; e^T z_j S (z_j S + N)^{-1} r

In the basis in which N is the identity and S diagonal, with the values :math:`\lambda_k`, this is a gain
:math:`z_j \lambda_k / (1 + z_j \lambda_k)` for each coordinate. The coordinates with the largest :math:`\lambda` are
kept; what they leave of the middle sample has a gain of its own, so that a spike that is large enough passes whole.

References
----------
Portilla J., Strela V., Wainwright M. J., Simoncelli E. P. (2003) Image denoising using scale mixtures of Gaussians in
the wavelet domain. IEEE Transactions on Image Processing 12: 1338-1351.
Laine S., Karras T., Lehtinen J., Aila T. (2019) High-quality self-supervised deep image denoising. NeurIPS.
"""

from typing import NamedTuple

import numba
import numpy as np

# samples whose windows are in the processor's registers together
BLOCK = 64
# noise that a covariance is given at least, as a share of its mean variance
LEAST_NOISE = 1e-3


class Basis(NamedTuple):
    """The coordinates of one kind of window.

    `forward` (num_coordinates, size) takes a window to its coordinates, `back` (num_coordinates,) those to the middle
    sample; `values` (num_coordinates,) are the variances of a spike of size 1 in them, and `rest` that of what they
    leave, both in units of the noise there.
    """

    forward: np.ndarray
    back: np.ndarray
    values: np.ndarray
    rest: float


class Mixture(NamedTuple):
    """What the kernel needs of all kinds of windows; `mixture_of` makes it.

    `forward` (num_kinds, num_coordinates, size), `back` (num_kinds, num_coordinates), `precision` (num_kinds,
    num_sizes, num_coordinates) and `gain` (num_kinds, num_sizes, num_coordinates + 1; the last of what is left),
    `constant` (num_kinds, num_sizes) of the logarithm of the likelihood; all of float32.
    """

    forward: np.ndarray
    back: np.ndarray
    precision: np.ndarray
    gain: np.ndarray
    constant: np.ndarray


def basis_of(spikes: np.ndarray, noise: np.ndarray, middle: int, most: int) -> Basis:
    """Make the coordinates of a window from the covariances of spikes and of noise in it, both (size, size).

    `middle` is the index of its middle sample, `most` the number of coordinates at most. Covariances that were
    estimated in parts need not be positive: what is negative of them is taken as nothing.
    """
    noise = 0.5 * (noise + noise.T)
    own, vectors = np.linalg.eigh(noise)
    own = np.maximum(own, LEAST_NOISE * max(float(np.trace(noise)) / len(noise), 1e-12))
    whitener = vectors / np.sqrt(own)
    values, turned = np.linalg.eigh(whitener.T @ (0.5 * (spikes + spikes.T)) @ whitener)
    values, turned = np.maximum(values[::-1], 0), turned[:, ::-1]
    forward = (whitener @ turned).T
    back = (vectors * np.sqrt(own) @ turned)[middle]
    left = np.square(back[most:])
    rest = float(left @ values[most:] / left.sum()) if left.sum() > 0 else 0.0
    return Basis(forward[:most], back[:most], values[:most], rest)


def mixture_of(bases: list[Basis], sizes: np.ndarray, prior: np.ndarray) -> Mixture:
    """Put the coordinates of all kinds of windows together for sizes and their prior probabilities (num_sizes,)."""
    most = max(len(basis.values) for basis in bases)
    longest = max(basis.forward.shape[1] for basis in bases)
    values = np.zeros((len(bases), most + 1))
    forward, back = np.zeros((len(bases), most, longest)), np.zeros((len(bases), most))
    for kind, basis in enumerate(bases):
        number = len(basis.values)
        forward[kind, :number, : basis.forward.shape[1]] = basis.forward
        back[kind, :number], values[kind, :number], values[kind, -1] = basis.back, basis.values, basis.rest
    scaled = sizes[:, np.newaxis] * values[:, np.newaxis]
    with np.errstate(divide="ignore"):
        constant = np.log(prior) - 0.5 * np.log1p(scaled[..., :-1]).sum(axis=-1)
    parts = (forward, back, 1 / (1 + scaled[..., :-1]), scaled / (1 + scaled), constant)
    return Mixture(*(np.ascontiguousarray(part, "float32") for part in parts))


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def expected_spikes(residual, kinds, offsets, members, half, mixture, result):
    """Fill `result` with what is expected of the spikes in the middle of each window.

    `residual` (num_channels, num_samples + 2 * half) of float32 is in units of its noise; `kinds` (num_channels,) are
    those of the windows, and `members[offsets[c] : offsets[c + 1]]` their channels, the channel itself first. `result`
    is (num_channels, num_samples).
    """
    forward, back, precision, gain, constant = mixture
    most, num_sizes = precision.shape[2], precision.shape[1]
    taps = 2 * half + 1
    num_samples = result.shape[1]
    squares = np.empty((most, BLOCK), dtype=np.float32)
    coordinates = np.empty((most, BLOCK), dtype=np.float32)
    likely = np.empty((num_sizes, BLOCK), dtype=np.float32)
    for channel in range(len(kinds)):
        kind = kinds[channel]
        for begin in range(0, num_samples, BLOCK):
            count = min(BLOCK, num_samples - begin)
            coordinates[:] = 0
            for place in range(offsets[channel], offsets[channel + 1]):
                row = residual[members[place]]
                for tap in range(taps):
                    column = (place - offsets[channel]) * taps + tap
                    for number in range(most):
                        weight = forward[kind, number, column]
                        for time in range(count):
                            coordinates[number, time] += weight * row[begin + tap + time]
            for number in range(most):
                for time in range(count):
                    squares[number, time] = np.float32(0.5) * coordinates[number, time] ** 2
            for size in range(num_sizes):
                for time in range(count):
                    likely[size, time] = constant[kind, size]
                for number in range(most):
                    weight = precision[kind, size, number]
                    for time in range(count):
                        likely[size, time] -= weight * squares[number, time]
            own = residual[channel]
            for time in range(count):
                _mix(
                    likely[:, time],
                    coordinates[:, time],
                    back[kind],
                    gain[kind],
                    own[begin + half + time],
                    result[channel],
                    begin + time,
                )


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"}, inline="always")
def _mix(likely, coordinates, back, gain, middle, result, place):
    """Weigh the gains by how likely the sizes are."""
    most = len(coordinates)
    highest = likely[0]
    for size in range(1, len(likely)):
        highest = max(highest, likely[size])
    total = np.float32(0)
    for size in range(len(likely)):
        likely[size] = np.exp(likely[size] - highest)
        total += likely[size]
    left, expected, rest = middle, np.float32(0), np.float32(0)
    for size in range(len(likely)):
        likely[size] /= total
        rest += likely[size] * gain[size, most]
    for number in range(most):
        passed = np.float32(0)
        for size in range(len(likely)):
            passed += likely[size] * gain[size, number]
        own = back[number] * coordinates[number]
        left -= own
        expected += passed * own
    result[place] = expected + rest * left
