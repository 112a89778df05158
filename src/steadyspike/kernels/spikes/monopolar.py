"""Monopolar localization of spikes: every spike of a batch in one compiled call.

A spike is taken for a point source: on the contact at ``(x_i, y_i)`` its size is ``alpha / d_i`` with
``d_i^2 = (x - x_i)^2 + (y - y_i)^2 + z^2`` (Boussard et al. 2021). For each spike

1. a size per contact (peak-to-peak, energy or peak voltage) is read off the waveforms, on the contacts around
   the spike's main channel only (`contact_features.waveform_features`);
2. optionally, sizes that grow again with the distance from the main channel are cut
   (`contact_features.enforce_radial_decrease`);
3. ``x, y, z`` are found by a damped Newton descent inside a box (`solve_monopolar`). The best ``alpha`` for
   given ``x, y, z`` has a closed form and is projected out (variable projection, Golub & Pereyra 1973), so
   that each step solves three equations only.

Few contacts, or noisy ones, leave a position open. A weak prior then decides: a source is near the contact that sees it
best, and some 25 um in front of the probe. SpikeInterface's penalty pushes it away, until its optimizer stops.
`python -m steadyspike_benchmarks monopoles` measures the errors of both.

References
----------
Boussard, Varol, Lee, Dethe, Paninski, "Three-dimensional spike localization and improved motion correction
for Neuropixels recordings", NeurIPS 2021.
Golub, Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems whose variables
separate", SIAM J. Numer. Anal. 10, 1973.
"""

import math

import numba
import numpy as np

from steadyspike.kernels.spikes.contact_features import checked_channels

# um. Heights at which descents start: the first, as SpikeInterface's, and the two after a poor fit.
START_Z_UM = 20.0
NEAR_Z_UM = 5.0
FAR_Z_UM = 80.0
LOWEST_Z_UM = 1.0
HIGHEST_Z_FACTOR = 10.0
# SpikeInterface's penalty
PENALTY_WEIGHT = 1e-4
PENALTY_RATE = 10.0
# The prior: so weak that three times more or less changes errors by 2 % where contacts determine a source.
PRIOR_WEIGHT = 1e-4
# Where they do not, sources are on average so far in front of the probe, and so far beside their contact at most.
PRIOR_BESIDE_UM = 30.0
PRIOR_Z_UM = 25.0

MAX_ITERATIONS = 100
MAX_DAMPINGS = 40
# a step that promises less ends the descent: a thousandth of the 1e-6 that matters for the objective
TOLERANCE = 1e-9
# a fit that explains less of the variation may sit in one of several minima: a second, then a third start
GOOD_FIT = 0.8
POOR_FIT = 0.5
LARGEST = float(np.finfo(np.float64).max)


def solve_monopolar(features, channels, neighbours, counts, locations, max_distance_um=150.0):
    """Position and amplitude of the point source behind each spike.

    With ``w`` the features divided by their maximum, ``q_i = 1 / d_i`` and ``a = sum(w q) / sum(q^2)``, the
    objective is ``mean((w - a q)^2) + 1e-4 (r^2 / 30^2 + log(z / 25)^2)``, with ``r`` the distance along the probe
    from the contact with the largest feature. It is minimized in the box ``|x - x_c| <= max_distance_um``,
    ``|y - y_c| <= max_distance_um``, ``1 <= z <= 10 max_distance_um`` around the center of mass ``(x_c, y_c)`` of the
    features, starting from there at ``z = 20``. After a poor fit the descent is repeated from the main channel near
    the probe and from far away; the lowest objective is kept.

    Contacts with a NaN, infinite or negative feature are left out. Where fewer than two are left, or all
    are equal (all zero included), nothing can be solved: the position is then the center of mass of the
    positive features (the main channel without any) at ``z = 20`` (inside the bounds), with a goodness of
    fit of zero.

    `features`, float64 (num_spikes, max_neighbours), are not negative; `max_distance_um` is at least 1. Returns float64
    (num_spikes, 5), always finite: x, y, z (um), alpha (feature times um) and the goodness of fit ``1 - sum((w - a
    q)^2) / sum((w - mean(w))^2)``, cut to [0, 1].
    """
    arguments = _checked(features, channels, counts, locations, max_distance_um)
    return _solve(arguments[0], arguments[1], neighbours, counts, *arguments[2:])


def _checked(features, channels, counts, locations, max_distance_um):
    if not 1.0 <= max_distance_um < math.inf:
        raise ValueError(f"max_distance_um is {max_distance_um}; allowed is a finite number of at least 1")
    features = np.ascontiguousarray(features, dtype=np.float64)
    channels = checked_channels(channels, features.shape[0], counts)
    return features, channels, np.ascontiguousarray(locations, dtype=np.float64), float(max_distance_um)


# No `a[:] = b` in these kernels: for the text of its shape error numba compiles 3 s longer.


@numba.njit(nogil=True, cache=True)
def _solve(features, channels, neighbours, counts, locations, max_distance_um):
    width = features.shape[1]
    w, xs, ys = np.empty(width), np.empty(width), np.empty(width)
    out = np.empty((features.shape[0], 5))
    work = np.empty((10, 6))
    for i in range(features.shape[0]):
        main = channels[i]
        used = _read(features[i], neighbours[main], counts[main], locations, main, w, xs, ys)
        _solve_one(w[:used], xs[:used], ys[:used], max_distance_um, work, out[i])
        out[i, 0] += locations[main, 0]
        out[i, 1] += locations[main, 1]
    return out


@numba.njit(nogil=True, cache=True)
def _read(features, neighbours, count, locations, main, w, xs, ys):
    """Write usable features, and positions relative to the main contact; return how many there are."""
    used = 0
    for k in range(count):
        if 0.0 <= features[k] <= LARGEST:
            # positions relative to the main contact keep their digits however long the probe is
            w[used] = features[k]
            xs[used] = locations[neighbours[k], 0] - locations[main, 0]
            ys[used] = locations[neighbours[k], 1] - locations[main, 1]
            used += 1
    return used


@numba.njit(nogil=True, cache=True)
def _solve_one(w, xs, ys, max_distance_um, work, out):
    """Fill `out` with x, y, z, alpha and goodness of fit of one spike, relative to its main contact.

    `w` holds the usable features and is divided by its maximum in place.
    """
    point, lower, upper, prior = work[6], work[7], work[8], work[9]
    largest, main, flat = _normalize(w)
    total, power, x_mass, y_mass = _moments(w, xs, ys)
    _set_box(lower, upper, x_mass, y_mass, max_distance_um)
    _set_prior(prior, 0.0, PRIOR_WEIGHT, xs[main] if w.size else 0.0, ys[main] if w.size else 0.0)
    _set(out, x_mass, y_mass, min(START_Z_UM, upper[2]))
    variation = power - total * total / w.size if not flat else 0.0
    residual = math.inf
    lowest = math.inf
    for start in range(3):
        enough = GOOD_FIT if start == 1 else POOR_FIT
        if not variation > 0.0 or residual < (1.0 - enough) * variation:
            break
        if start == 0:
            _set(point, x_mass, y_mass, START_Z_UM)
        elif start == 1:
            _set(point, xs[main], ys[main], NEAR_Z_UM)
        else:
            _set(point, x_mass, y_mass, FAR_Z_UM)
        _clip(point, lower, upper)
        value = _descend(point, w, xs, ys, power, prior, lower, upper, work)
        if value < lowest:
            lowest = value
            residual = w.size * (value - _prior(point, prior))
            _set(out, point[0], point[1], point[2])
    wq, qq = _projections(out[0], out[1], out[2], w, xs, ys)
    out[3] = min(wq / qq * largest, LARGEST) if largest > 0.0 else 0.0
    out[4] = min(1.0 - residual / variation, 1.0) if residual < variation else 0.0


@numba.njit(nogil=True, cache=True)
def _normalize(w):
    """Divide by the maximum in place; return the maximum, where it is, and whether all are equal."""
    largest, main, flat = 0.0, 0, True
    for k in range(w.size):
        flat &= w[k] == w[0]
        if w[k] > largest:
            largest, main = w[k], k
    for k in range(w.size):
        w[k] = w[k] / largest if largest > 0.0 else 0.0
    return largest, main, flat


@numba.njit(nogil=True, cache=True)
def _moments(w, xs, ys):
    """Return the sums of w and of w^2 and the center of mass."""
    total = power = x_mass = y_mass = 0.0
    for k in range(w.size):
        total += w[k]
        power += w[k] * w[k]
        x_mass += w[k] * xs[k]
        y_mass += w[k] * ys[k]
    if total > 0.0:
        return total, power, x_mass / total, y_mass / total
    return 0.0, 0.0, 0.0, 0.0


@numba.njit(nogil=True, cache=True)
def _set(point, x, y, z):
    point[0], point[1], point[2] = x, y, z


@numba.njit(nogil=True, cache=True)
def _set_box(lower, upper, x, y, max_distance_um):
    _set(lower, x - max_distance_um, y - max_distance_um, LOWEST_Z_UM)
    _set(upper, x + max_distance_um, y + max_distance_um, HIGHEST_Z_FACTOR * max_distance_um)


@numba.njit(nogil=True, cache=True)
def _set_prior(prior, penalty, weight, x, y):
    """Write the weights of SpikeInterface's penalty and of the prior, and where the prior has a source."""
    prior[0], prior[1], prior[2], prior[3] = penalty, weight, x, y


@numba.njit(nogil=True, cache=True)
def _clip(point, lower, upper):
    for k in range(3):
        point[k] = min(max(point[k], lower[k]), upper[k])


@numba.njit(nogil=True, cache=True)
def _descend(point, w, xs, ys, power, prior, lower, upper, work):
    """Damped Newton descent of the objective inside the box; changes `point`, returns the objective there.

    The first two rows of `work` are then what `_system` writes there.
    """
    gradient, hessian, step, trial = work[0], work[1], work[2], work[3]
    ahead_gradient, ahead_hessian = work[4], work[5]
    value = _system(point, w, xs, ys, power, prior, lower, upper, gradient, hessian)
    damping = -1.0
    for _ in range(MAX_ITERATIONS):
        curvature = max(abs(hessian[0]), abs(hessian[3]), abs(hessian[5]))
        if damping < 0.0:
            damping = 1e-3 * curvature
        gain = promised = 0.0
        for _ in range(MAX_DAMPINGS):
            if _damped_step(gradient, hessian, damping, step):
                promised = -0.5 * (gradient[0] * step[0] + gradient[1] * step[1] + gradient[2] * step[2])
                if promised < TOLERANCE and damping <= 1e-2 * curvature:
                    return value
                z = point[2]
                stretch = math.exp(min(max(step[2], -2.0), 2.0))
                _set(trial, point[0] + z * step[0], point[1] + z * step[1], z * stretch)
                _clip(trial, lower, upper)
                # most trials are taken: the value comes with all that the next step needs
                ahead = _system(trial, w, xs, ys, power, prior, lower, upper, ahead_gradient, ahead_hessian)
                gain = value - ahead
                if gain > 0.0 or promised < TOLERANCE:
                    break
            damping = max(4.0 * damping, 1e-6)
        if not gain > 0.0:
            return value
        if gain > 0.5 * promised:
            damping *= 0.1
        _set(point, trial[0], trial[1], trial[2])
        for k in range(6):
            gradient[k], hessian[k] = ahead_gradient[k], ahead_hessian[k]
        value -= gain
    return value


@numba.njit(nogil=True, cache=True)
def _system(point, w, xs, ys, power, prior, lower, upper, gradient, hessian):
    """Write what a step from the point is solved from; return the objective there."""
    value = _derivatives(point, w, xs, ys, power, prior, gradient, hessian)
    _scale_by_height(point[2], gradient, hessian)
    _hold_at_bounds(point, lower, upper, gradient, hessian)
    return value


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _projections(x, y, z, w, xs, ys):
    """Return sum(w q) and sum(q^2) over the contacts, with q = 1 / distance."""
    wq = qq = 0.0
    for i in range(w.size):
        q2 = 1.0 / ((x - xs[i]) ** 2 + (y - ys[i]) ** 2 + z * z)
        qq += q2
        wq += w[i] * math.sqrt(q2)
    return wq, qq if qq > 0.0 else 1.0


@numba.njit(nogil=True, cache=True)
def _prior(point, prior):
    """Return what the objective adds to the misfit."""
    x, y, log_z = point[0] - prior[2], point[1] - prior[3], math.log(point[2] / PRIOR_Z_UM)
    distance2 = (x * x + y * y) / PRIOR_BESIDE_UM**2 + log_z * log_z
    return prior[1] * distance2 - prior[0] * math.log1p(PENALTY_RATE * point[2])


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _derivatives(point, w, xs, ys, power, prior, gradient, hessian):
    """Write gradient and Hessian (xx, xy, xz, yy, yz, zz) of the objective into the arrays; return the objective.

    `power` is sum(w^2).
    With ``A = sum(w q)``, ``B = sum(q^2)`` and ``a = A / B`` the fitted part is ``A^2 / B``. Its first
    derivative is ``2 a A' - a^2 B'``, its second ``2 / B (A' - a B')(A' - a B')^T + 2 a A'' - a^2 B''``.
    """
    A = B = 0.0
    Ax = Ay = Az = Axx = Axy = Axz = Ayy = Ayz = Azz = 0.0
    Bx = By = Bz = Bxx = Bxy = Bxz = Byy = Byz = Bzz = 0.0
    z = point[2]
    for i in range(w.size):
        dx = point[0] - xs[i]
        dy = point[1] - ys[i]
        q2 = 1.0 / (dx * dx + dy * dy + z * z)
        wq = w[i] * math.sqrt(q2)
        A += wq
        B += q2
        s = wq * q2
        t = 3.0 * s * q2
        Ax -= s * dx
        Ay -= s * dy
        Az -= s * z
        Axx += t * dx * dx - s
        Axy += t * dx * dy
        Axz += t * dx * z
        Ayy += t * dy * dy - s
        Ayz += t * dy * z
        Azz += t * z * z - s
        u = 2.0 * q2 * q2
        v = 4.0 * u * q2
        Bx -= u * dx
        By -= u * dy
        Bz -= u * z
        Bxx += v * dx * dx - u
        Bxy += v * dx * dy
        Bxz += v * dx * z
        Byy += v * dy * dy - u
        Byz += v * dy * z
        Bzz += v * z * z - u
    a, b, c = A / B, (A / B) ** 2, 2.0 / B
    ex, ey, ez = Ax - a * Bx, Ay - a * By, Az - a * Bz
    scale = -1.0 / w.size
    gradient[0] = scale * (2.0 * a * Ax - b * Bx)
    gradient[1] = scale * (2.0 * a * Ay - b * By)
    gradient[2] = scale * (2.0 * a * Az - b * Bz)
    hessian[0] = scale * (c * ex * ex + 2.0 * a * Axx - b * Bxx)
    hessian[1] = scale * (c * ex * ey + 2.0 * a * Axy - b * Bxy)
    hessian[2] = scale * (c * ex * ez + 2.0 * a * Axz - b * Bxz)
    hessian[3] = scale * (c * ey * ey + 2.0 * a * Ayy - b * Byy)
    hessian[4] = scale * (c * ey * ez + 2.0 * a * Ayz - b * Byz)
    hessian[5] = scale * (c * ez * ez + 2.0 * a * Azz - b * Bzz)
    _add_prior(point, prior, gradient, hessian)
    return (power - A * a) / w.size + _prior(point, prior)


@numba.njit(nogil=True, cache=True)
def _add_prior(point, prior, gradient, hessian):
    """Add the derivatives of `_prior`."""
    z = point[2]
    beside, along = 2.0 * prior[1] / PRIOR_BESIDE_UM**2, 2.0 * prior[1] / z
    log_z, p = math.log(z / PRIOR_Z_UM), PENALTY_RATE / (1.0 + PENALTY_RATE * z)
    gradient[0] += beside * (point[0] - prior[2])
    gradient[1] += beside * (point[1] - prior[3])
    gradient[2] += along * log_z - prior[0] * p
    hessian[0] += beside
    hessian[3] += beside
    hessian[5] += along * (1.0 - log_z) / z + prior[0] * p * p


@numba.njit(nogil=True, cache=True)
def _scale_by_height(z, gradient, hessian):
    """Change variables to (x / z, y / z, log z), in which steps near to and far from the probe are alike."""
    for k in range(6):
        hessian[k] *= z * z
    hessian[5] += gradient[2] * z
    for k in range(3):
        gradient[k] *= z


@numba.njit(nogil=True, cache=True)
def _hold_at_bounds(point, lower, upper, gradient, hessian):
    """Take a variable that sits on its bound and would leave the box out of the system."""
    for k in range(3):
        if (point[k] <= lower[k] and gradient[k] > 0.0) or (point[k] >= upper[k] and gradient[k] < 0.0):
            gradient[k] = 0.0
            if k == 0:
                hessian[0], hessian[1], hessian[2] = 1.0, 0.0, 0.0
            elif k == 1:
                hessian[3], hessian[1], hessian[4] = 1.0, 0.0, 0.0
            else:
                hessian[5], hessian[2], hessian[4] = 1.0, 0.0, 0.0


@numba.njit(nogil=True, cache=True)
def _damped_step(gradient, hessian, damping, step):
    """Solve (H + damping I) step = -g by LDL; return False where H + damping I is not positive definite."""
    d0 = hessian[0] + damping
    if not d0 > 0.0:
        return False
    l10 = hessian[1] / d0
    l20 = hessian[2] / d0
    d1 = hessian[3] + damping - l10 * hessian[1]
    if not d1 > 0.0:
        return False
    e = hessian[4] - l20 * hessian[1]
    l21 = e / d1
    d2 = hessian[5] + damping - l20 * hessian[2] - l21 * e
    if not d2 > 0.0:
        return False
    y0 = -gradient[0]
    y1 = -gradient[1] - l10 * y0
    y2 = -gradient[2] - l20 * y0 - l21 * y1
    step[2] = y2 / d2
    step[1] = y1 / d1 - l21 * step[2]
    step[0] = y0 / d0 - l10 * step[1] - l20 * step[2]
    return True
