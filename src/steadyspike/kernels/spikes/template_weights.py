"""Weights of the contacts in templates on a fine grid, most of which are zero."""

import math

import numba
import numpy as np

# a weight that is smaller than the largest by this factor changes no digit of the sum of squares in float32
NEGLIGIBLE_EXPONENT = 18.0
BLOCK = 128


def sparse_weights(distances, planes, decay, spread, threshold):
    """Weigh contacts by their distance from each template, and drop weights that are small in their template.

    The weight of contact ``c`` in template ``t`` of a plane is ``exp(-e)``, ``e = sqrt(d^2 + plane^2) / decay`` or, if
    `spread`, ``e = d^2 / (2 plane^2)``. Each template is divided by its norm, weights below `threshold` are set to
    zero, and it is divided by its norm again; a template without a norm is zero.

    `distances` (num_contacts, num_templates) are float64, finite; `planes` (num_planes,) are float64, standard
    deviations of a Gaussian if `spread`; `decay`, above 0, is not used with it; `threshold` is above ``exp(-18)``, of
    which smaller weights are not computed. Returns float32 (num_planes, num_contacts, num_templates). Memory that
    holds only zeros is not touched.
    """
    weights = np.zeros((len(planes), *distances.shape), dtype=np.float32)
    for first in range(0, distances.shape[1], BLOCK):
        last = min(first + BLOCK, distances.shape[1])
        _weigh(distances, first, last, planes, decay, spread, np.float32(threshold), weights)
    return weights


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _weigh(distances, first, last, planes, decay, spread, threshold, weights):
    size = last - first
    nearest = np.full(size, np.inf)
    for c in range(distances.shape[0]):
        for t in range(size):
            nearest[t] = min(nearest[t], distances[c, first + t])
    reach = np.empty(size)
    sums = np.empty(size, np.float32)
    contacts = np.empty(distances.shape[0], np.int64)
    for p in range(planes.size):
        farthest = 0.0
        for t in range(size):
            reach[t] = _reach(nearest[t], planes[p], decay, spread)
            farthest = max(farthest, reach[t])
        count = _list_near(distances, first, last, farthest, contacts)
        for t in range(size):
            sums[t] = 0.0
        for k in range(count):
            c = contacts[k]
            for t in range(size):
                d = distances[c, first + t]
                if d <= reach[t]:
                    exponent = (
                        d**2 / (2.0 * planes[p] ** 2) if spread else math.sqrt(d**2 + planes[p] ** 2) / decay
                    )
                    weights[p, c, first + t] = math.exp(-exponent)
                    sums[t] += weights[p, c, first + t] * weights[p, c, first + t]
        _divide(weights[p], first, contacts[:count], sums, threshold)
        for t in range(size):
            sums[t] = 0.0
        for k in range(count):
            for t in range(size):
                sums[t] += weights[p, contacts[k], first + t] * weights[p, contacts[k], first + t]
        _divide(weights[p], first, contacts[:count], sums, np.float32(0.0))


@numba.njit(nogil=True, cache=True)
def _reach(nearest, plane, decay, spread):
    """Distance from which on a weight is negligible beside that of the nearest contact."""
    if spread:
        return math.sqrt(nearest**2 + NEGLIGIBLE_EXPONENT * 2.0 * plane**2)
    depth = math.sqrt(nearest**2 + plane**2) + NEGLIGIBLE_EXPONENT * decay
    return math.sqrt(depth * depth - plane**2)


@numba.njit(nogil=True, cache=True)
def _list_near(distances, first, last, farthest, contacts):
    """List the contacts that some template of the block reaches."""
    count = 0
    for c in range(distances.shape[0]):
        closest = distances[c, first]
        for t in range(first, last):
            closest = min(closest, distances[c, t])
        contacts[count] = c
        count += closest <= farthest
    return count


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _divide(weights, first, contacts, sums, threshold):
    for t in range(sums.size):
        sums[t] = math.sqrt(sums[t])
    for c in contacts:
        for t in range(sums.size):
            weight = weights[c, first + t] / sums[t]
            weights[c, first + t] = (
                weight if math.isfinite(weight) and weight >= threshold else np.float32(0.0)
            )
