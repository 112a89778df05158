"""Parts of a quasi-Newton descent inside a box, for three variables.

They do what the limited-memory method L-BFGS-B does (Byrd et al. 1995, with the subspace step of Morales and Nocedal
2011), for so few variables that the approximated Hessian is written out: the results are the same but for rounding,
and nothing is left of the method's bookkeeping.

References
----------
Byrd, Lu, Nocedal, Zhu, "A limited memory algorithm for bound constrained optimization", SIAM Journal on Scientific
Computing 16, 1995.
Morales, Nocedal, "Remark on algorithm 778: L-BFGS-B", ACM Transactions on Mathematical Software 38, 2011.
"""

import math

import numba
import numpy as np

MEMORY = 10
EPSILON = float(np.finfo(np.float64).eps)


@numba.njit(nogil=True, cache=True)
def largest_slope(x, g, low, high):
    """Return the largest component of the gradient, projected on the box."""
    largest = 0.0
    for k in range(3):
        slope = g[k]
        slope = max(x[k] - high[k], slope) if slope < 0.0 else min(x[k] - low[k], slope)
        largest = max(largest, abs(slope))
    return largest


@numba.njit(nogil=True, cache=True)
def approximate_hessian(steps, changes, count, theta, B):
    """Fill `B`, (3, 3): `theta` times the identity, updated with each kept step and the gradient's change over it."""
    for i in range(3):
        for j in range(3):
            B[i, j] = theta if i == j else 0.0
    for k in range(count):
        s0, s1, s2 = steps[k, 0], steps[k, 1], steps[k, 2]
        y0, y1, y2 = changes[k, 0], changes[k, 1], changes[k, 2]
        b0 = B[0, 0] * s0 + B[0, 1] * s1 + B[0, 2] * s2
        b1 = B[0, 1] * s0 + B[1, 1] * s1 + B[1, 2] * s2
        b2 = B[0, 2] * s0 + B[1, 2] * s1 + B[2, 2] * s2
        p = 1.0 / (s0 * b0 + s1 * b1 + s2 * b2)
        q = 1.0 / (s0 * y0 + s1 * y1 + s2 * y2)
        B[0, 0] += q * y0 * y0 - p * b0 * b0
        B[0, 1] += q * y0 * y1 - p * b0 * b1
        B[0, 2] += q * y0 * y2 - p * b0 * b2
        B[1, 1] += q * y1 * y1 - p * b1 * b1
        B[1, 2] += q * y1 * y2 - p * b1 * b2
        B[2, 2] += q * y2 * y2 - p * b2 * b2
    B[1, 0], B[2, 0], B[2, 1] = B[0, 1], B[0, 2], B[1, 2]


@numba.njit(nogil=True, cache=True)
def cauchy_point(x, g, low, high, B, z, free, d, breaks):
    """Find the first minimum of the quadratic model along the projected path of steepest descent.

    Writes the point to `z`, and to `free` which variables are not at a bound there. `d` and `breaks` are scratch.
    """
    slope = 0.0
    for k in range(3):
        z[k], breaks[k] = x[k], math.inf
        held = (g[k] >= 0.0 and x[k] <= low[k]) or (g[k] <= 0.0 and x[k] >= high[k]) or g[k] == 0.0
        free[k] = 0.0 if held and g[k] != 0.0 else 1.0
        d[k] = 0.0 if held else -g[k]
        slope -= d[k] * d[k]
        if not held:
            breaks[k] = (x[k] - low[k]) / g[k] if g[k] > 0.0 else (x[k] - high[k]) / g[k]
    if slope == 0.0:
        return
    curvature = _quadratic(B, d, d)
    least = EPSILON * curvature
    reached = 0.0
    for _ in range(3):
        k = 0
        for j in range(1, 3):
            if breaks[j] < breaks[k]:
                k = j
        best = -slope / curvature
        if not breaks[k] - reached <= best:
            break
        _move(z, d, breaks[k] - reached)
        reached = breaks[k]
        z[k] = high[k] if d[k] > 0.0 else low[k]
        d[k], free[k], breaks[k] = 0.0, 0.0, math.inf
        # slope and curvature of the model along what is left of the path
        slope = d[0] * g[0] + d[1] * g[1] + d[2] * g[2]
        for i in range(3):
            for j in range(3):
                slope += d[i] * B[i, j] * (z[j] - x[j])
        if d[0] == 0.0 and d[1] == 0.0 and d[2] == 0.0:
            return
        curvature = max(_quadratic(B, d, d), least)
    _move(z, d, max(-slope / curvature, 0.0))


@numba.njit(nogil=True, cache=True)
def _quadratic(B, a, b):
    total = 0.0
    for i in range(3):
        total += a[i] * (B[i, 0] * b[0] + B[i, 1] * b[1] + B[i, 2] * b[2])
    return total


@numba.njit(nogil=True, cache=True)
def _move(z, d, length):
    for k in range(3):
        z[k] += length * d[k]


@numba.njit(nogil=True, cache=True)
def subspace_step(x, g, low, high, B, z, free, d, projected):
    """Move `z` from the Cauchy point to the model's minimum over the free variables, as far as the box lets it.

    Returns False where the model is not convex there. `d` and `projected` are scratch.
    """
    for i in range(3):
        d[i] = 0.0
        if free[i] != 0.0:
            d[i] = -g[i]
            for j in range(3):
                d[i] -= B[i, j] * (z[j] - x[j])
    if not _solve_free(B, free, d):
        return False
    outside = False
    along = 0.0
    for k in range(3):
        inside = min(max(z[k] + d[k], low[k]), high[k]) if free[k] != 0.0 else z[k]
        outside |= free[k] != 0.0 and (inside == low[k] or inside == high[k])
        projected[k] = inside
        along += (inside - x[k]) * g[k]
    if not outside or along <= 0.0:
        for k in range(3):
            z[k] = projected[k]
        return True
    # the projected step would lead uphill: shorten it instead
    share, first = 1.0, -1
    for k in range(3):
        if free[k] == 0.0 or d[k] == 0.0:
            continue
        room = (low[k] if d[k] < 0.0 else high[k]) - z[k]
        if room / d[k] < share:
            share, first = max(room / d[k], 0.0), k
    for k in range(3):
        if k == first:
            z[k] = high[k] if d[k] > 0.0 else low[k]
        elif free[k] != 0.0:
            z[k] += share * d[k]
    return True


@numba.njit(nogil=True, cache=True)
def _solve_free(B, free, d):
    """Solve for the free variables in place; False where their part of `B` is not positive definite."""
    held0, held1, held2 = free[0] == 0.0, free[1] == 0.0, free[2] == 0.0
    a00 = 1.0 if held0 else B[0, 0]
    a11 = 1.0 if held1 else B[1, 1]
    a22 = 1.0 if held2 else B[2, 2]
    a10 = 0.0 if held0 or held1 else B[1, 0]
    a20 = 0.0 if held0 or held2 else B[2, 0]
    a21 = 0.0 if held1 or held2 else B[2, 1]
    if not a00 > 0.0:
        return False
    l10, l20 = a10 / a00, a20 / a00
    b11 = a11 - l10 * a10
    if not b11 > 0.0:
        return False
    b21 = a21 - l20 * a10
    l21 = b21 / b11
    b22 = a22 - l20 * a20 - l21 * b21
    if not b22 > 0.0:
        return False
    d[1] -= l10 * d[0]
    d[2] -= l20 * d[0] + l21 * d[1]
    d[2] /= b22
    d[1] = d[1] / b11 - l21 * d[2]
    d[0] = d[0] / a00 - l10 * d[1] - l20 * d[2]
    return True


@numba.njit(nogil=True, cache=True)
def longest_step(x, d, low, high):
    """Return how many times `d` can be gone before leaving the box."""
    longest = 1e10
    for k in range(3):
        room = (low[k] if d[k] < 0.0 else high[k]) - x[k]
        if d[k] != 0.0:
            longest = min(longest, max(room / d[k], 0.0))
    return longest


@numba.njit(nogil=True, cache=True)
def remember(steps, changes, count, s, y):
    """Keep a step and the change of the gradient over it, and forget the oldest; return how many are kept."""
    if count == MEMORY:
        for k in range(MEMORY - 1):
            for i in range(3):
                steps[k, i], changes[k, i] = steps[k + 1, i], changes[k + 1, i]
        count -= 1
    for i in range(3):
        steps[count, i], changes[count, i] = s[i], y[i]
    return count + 1
