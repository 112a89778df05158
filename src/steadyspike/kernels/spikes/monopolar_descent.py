"""What SpikeInterface's "monopolar_triangulation" minimizes: its nearest minimum, and its values digit by digit.

SciPy's optimizers stop before the minimum: L-BFGS-B at a slope below 1e-5 per um. Where the objective has a curvature
``c`` (per um^2) they may stop ``1e-5 / c`` um short of it, so that the curvature tells how much of a position is the
optimizer's and how much the data's.
"""

import math

import numba
import numpy as np

from steadyspike.kernels.spikes.monopolar import (
    PENALTY_WEIGHT,
    START_Z_UM,
    _checked,
    _damped_step,
    _descend,
    _moments,
    _normalize,
    _projections,
    _read,
    _set,
    _set_box,
    _set_prior,
)
from steadyspike.kernels.spikes.spike_snippets import pairwise_sum

# the step, in um, over which SciPy takes differences
DIFFERENCE_UM = 1e-8
# curvature, per um^2, that counts as none: across a line of contacts there is none but for rounding
FLAT = 1e-7
# contacts this near to a line, as a part of its length, are on it
STRAIGHT = 1e-3


def descend_monopolar(
    features, channels, neighbours, counts, locations, max_distance_um=150.0, penalty=PENALTY_WEIGHT
):
    """Nearest minimum to the start of SpikeInterface's optimizers, and how sharp it is.

    The objective ``mean((w - a q)^2) - penalty * log(1 + 10 z)`` and the box are SpikeInterface's. There is one
    descent, from the center of mass at ``z = 20``, and no contact is left out. `penalty` is 0 or more; 0 is plain least
    squares. The other arguments are those of `solve_monopolar`.

    Returns float64 (num_spikes, 5): x, y, z (um), alpha (feature times um) and the curvature of the objective, per
    um^2, along the line from the start to the minimum, with the other coordinates free; 0 where `x`, `y` or the largest
    `z` of the box ends the descent. NaN for spikes with a feature that is negative, NaN or infinite, or without one
    above 0.
    """
    arguments = _checked(features, channels, counts, locations, max_distance_um)
    return _descend_all(arguments[0], arguments[1], neighbours, counts, *arguments[2:], float(penalty))


def sources_are_determined(neighbours, counts, locations):
    """Tell which channels have more contacts in reach than a point source has unknowns.

    Unknown are the distance from the probe, the amplitude, and one coordinate where all contacts in reach are on a
    line, two elsewhere. Contacts at the same place count once. Returns bool (num_channels,).
    """
    return _determined(neighbours, counts, np.ascontiguousarray(locations, dtype=np.float64))


@numba.njit(nogil=True, cache=True)
def _determined(neighbours, counts, locations):
    out = np.zeros(counts.size, dtype=np.bool_)
    for channel in range(counts.size):
        row = neighbours[channel, : counts[channel]]
        places = 0
        along = across = 0.0
        # the longest of the lines from the first contact, and how far contacts are from it
        far_x = far_y = 0.0
        for k in range(row.size):
            dx = locations[row[k], 0] - locations[row[0], 0]
            dy = locations[row[k], 1] - locations[row[0], 1]
            if dx * dx + dy * dy > along:
                along, far_x, far_y = dx * dx + dy * dy, dx, dy
        for k in range(row.size):
            dx = locations[row[k], 0] - locations[row[0], 0]
            dy = locations[row[k], 1] - locations[row[0], 1]
            across = max(across, abs(dx * far_y - dy * far_x))
            new = True
            for j in range(k):
                new &= (
                    locations[row[j], 0] != locations[row[k], 0]
                    or locations[row[j], 1] != locations[row[k], 1]
                )
            places += new
        num_unknown = 4 if across > STRAIGHT * along else 3
        out[channel] = places > num_unknown
    return out


def objective_with_differences(point, features, xs, ys, upper):
    """Objective of "minimize_with_log_penality" and its gradient, as SciPy and SpikeInterface compute them.

    ``mean((w - a q)^2) - log(1 + 10 z) / 10000`` (see `descend_monopolar`), every sum in the order of NumPy, since
    where L-BFGS-B ends depends on the last digits: its first steps are as small as the rounding errors of its gradient.

    `point` is x, y and z in um, `xs` and `ys` those of each contact, float64; `features` are float32 or float64, above
    0 somewhere. Returns the value and the gradient (3,): differences over 1e-8 um, forward, or backward at the bounds
    `upper`, beyond which no difference is taken.
    """
    gradient = np.empty(3)
    value = _differences(np.array(point, dtype=np.float64), features, xs, ys, upper, gradient)
    return value, gradient


@numba.njit(nogil=True, cache=True)
def _differences(x, features, xs, ys, upper, gradient):
    wq, qq = np.empty(features.size), np.empty(features.size)
    largest = features.max()
    value = _exact_objective(x[0], x[1], x[2], features, largest, xs, ys, wq, qq)
    for k in range(3):
        before = x[k]
        x[k] = before + (DIFFERENCE_UM if before + DIFFERENCE_UM <= upper[k] else -DIFFERENCE_UM)
        ahead = _exact_objective(x[0], x[1], x[2], features, largest, xs, ys, wq, qq)
        gradient[k] = (ahead - value) / (x[k] - before)
        x[k] = before
    return value


@numba.njit(nogil=True, cache=True)
def _exact_objective(x, y, z, features, largest, xs, ys, wq, qq):
    for k in range(features.size):
        dx, dy = x - xs[k], y - ys[k]
        q = 1.0 / math.sqrt(dx * dx + dy * dy + z * z)
        wq[k] = q * features[k] / largest
        qq[k] = q * q
    a = pairwise_sum(wq, 0, wq.size) / pairwise_sum(qq, 0, qq.size)
    for k in range(features.size):
        dx, dy = x - xs[k], y - ys[k]
        residual = features[k] / largest - a / math.sqrt(dx * dx + dy * dy + z * z)
        wq[k] = residual * residual
    return pairwise_sum(wq, 0, wq.size) / wq.size - math.log1p(10.0 * z) / 10000.0


@numba.njit(nogil=True, cache=True)
def _descend_all(features, channels, neighbours, counts, locations, max_distance_um, penalty):
    width = features.shape[1]
    w, xs, ys = np.empty(width), np.empty(width), np.empty(width)
    out = np.full((features.shape[0], 5), np.nan)
    work = np.empty((11, 6))
    point, lower, upper, start, prior = work[6], work[7], work[8], work[9], work[10]
    _set_prior(prior, penalty, 0.0, 0.0, 0.0)
    for i in range(features.shape[0]):
        main = channels[i]
        used = _read(features[i], neighbours[main], counts[main], locations, main, w, xs, ys)
        some, some_xs, some_ys = w[:used], xs[:used], ys[:used]
        largest, _, _ = _normalize(some)
        if used < counts[main] or not largest > 0.0:
            continue
        _, power, x_mass, y_mass = _moments(some, some_xs, some_ys)
        _set_box(lower, upper, x_mass, y_mass, max_distance_um)
        _set(start, x_mass, y_mass, min(START_Z_UM, upper[2]))
        _set(point, start[0], start[1], start[2])
        _descend(point, some, some_xs, some_ys, power, prior, lower, upper, work)
        wq, qq = _projections(point[0], point[1], point[2], some, some_xs, some_ys)
        out[i, 0], out[i, 1] = point[0] + locations[main, 0], point[1] + locations[main, 1]
        out[i, 2], out[i, 3] = point[2], wq / qq * largest
        out[i, 4] = _curvature(start, point, lower, upper, work)
    return out


@numba.njit(nogil=True, cache=True)
def _curvature(start, point, lower, upper, work):
    """Return the curvature along the line from the start to a minimum, with the other coordinates free.

    With the unit vector ``u`` of the line and the Hessian ``H`` it is ``1 / (u^T H^-1 u)``. `work` is as `_descend`
    leaves it, with ``z^2 H``.
    """
    if not (lower[0] < point[0] < upper[0] and lower[1] < point[1] < upper[1] and point[2] < upper[2]):
        return 0.0
    hessian, step, line = work[1], work[2], work[3]
    z2 = point[2] * point[2]
    length = 0.0
    for k in range(3):
        # the negative, since a step is against a gradient
        line[k] = start[k] - point[k] if k < 2 or point[2] > lower[2] else 0.0
        length += line[k] ** 2
    if not length > 0.0:
        return math.inf
    if not _damped_step(line, hessian, FLAT * z2, step):
        return 0.0
    spread = -(line[0] * step[0] + line[1] * step[1] + line[2] * step[2])
    return length / (spread * z2) if spread > 0.0 else 0.0
