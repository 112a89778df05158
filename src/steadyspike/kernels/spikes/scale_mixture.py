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
# logarithm of a share of likelihood that counts as none
NOTHING = np.float32(-20.0)


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
    `constant` (num_kinds, num_classes, num_sizes) of the logarithm of the likelihood; all of float32.
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
    """Put the coordinates of all kinds of windows together.

    `sizes` (num_sizes,) are those that spikes may have, `prior` (num_classes, num_sizes) how probable they are in each
    class of windows.
    """
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
        constant = np.log(prior) - 0.5 * np.log1p(scaled[..., :-1]).sum(axis=-1)[:, np.newaxis]
    parts = (forward, back, 1 / (1 + scaled[..., :-1]), scaled / (1 + scaled), constant)
    return Mixture(*(np.ascontiguousarray(part, "float32") for part in parts))


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def expected_spikes(residual, classes, kinds, offsets, members, half, mixture, result):
    """Fill `result` with what is expected of the spikes in the middle of each window.

    `residual` (num_channels, num_samples + 2 * half) of float32 is in units of its noise, `classes` (num_channels,
    num_samples) of uint8 those of the windows; `kinds` (num_channels,) are those of their contacts, and
    `members[offsets[c] : offsets[c + 1]]` their channels, the channel itself first. `result` is (num_channels,
    num_samples).
    """
    forward, back, precision, gain, constant = mixture
    num_sizes, most = precision.shape[1:]
    taps = 2 * half + 1
    num_samples = result.shape[1]
    coordinates = np.empty((most, BLOCK), dtype=np.float32)
    squares = np.empty((most, BLOCK), dtype=np.float32)
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
                    likely[size, time] = constant[kind, classes[channel, begin + time], size]
                for number in range(most):
                    weight = precision[kind, size, number]
                    for time in range(count):
                        likely[size, time] -= weight * squares[number, time]
            _make_probabilities(likely, count)
            middle = residual[channel, begin + half : begin + half + count]
            own = result[channel, begin : begin + count]
            _mix(likely, coordinates, back[kind], gain[kind], middle, own)


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def _make_probabilities(likely, count):
    """Turn logarithms of likelihoods (num_sizes, BLOCK) into probabilities."""
    num_sizes = len(likely)
    for time in range(count):
        highest = likely[0, time]
        for size in range(1, num_sizes):
            highest = max(highest, likely[size, time])
        total = np.float32(0)
        for size in range(num_sizes):
            # beyond this it is nothing, and the exponential is what takes time
            below = likely[size, time] - highest
            chance = np.exp(below) if below > NOTHING else np.float32(0)
            likely[size, time] = chance
            total += chance
        for size in range(num_sizes):
            likely[size, time] /= total


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def _mix(likely, coordinates, back, gain, middle, own):
    """Weigh the gains of each coordinate, and of what they leave, by how likely the sizes are."""
    most, count = len(coordinates), len(own)
    left = middle.copy()
    expected = np.zeros(count, dtype=np.float32)
    passed = np.empty(count, dtype=np.float32)
    for number in range(most + 1):
        passed[:] = 0
        for size in range(len(likely)):
            weight = gain[size, number]
            for time in range(count):
                passed[time] += weight * likely[size, time]
        if number < most:
            weight = back[number]
            for time in range(count):
                part = weight * coordinates[number, time]
                left[time] -= part
                expected[time] += passed[time] * part
        else:
            for time in range(count):
                own[time] = expected[time] + passed[time] * left[time]
