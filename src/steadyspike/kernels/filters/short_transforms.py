"""Short Fourier transforms of many signals side by side in vector registers.

They are done in steps of 2, 3, 4 or 5 between two buffers in the first-level cache, which leaves them sorted
(Stockham).
All complex numbers are the lanes of their real parts, followed by those of their imaginary parts.
"""

import numba
import numpy as np

from steadyspike.kernels.lanes.arrays import unsigned
from steadyspike.kernels.lanes.lanes import fill_lanes, load_lanes, store_lanes

RADICES = (4, 2, 3, 5)


def short_steps(length, precision):
    """Radices of the steps, and their twiddle factors exp(-2j pi j r / m) for r = 1 ... radix - 1."""
    factors, twiddles, rest = [], [np.zeros(0)], length
    while rest > 1:
        radix = next(one for one in RADICES if rest % one == 0)
        factors.append(radix)
        step = np.arange(rest // radix)[:, None] * np.arange(1, radix)[None, :] / rest
        twiddles.append(step.ravel())
        rest //= radix
    return np.array(factors, dtype="int64"), twiddle_factors(np.concatenate(twiddles), precision)


def twiddle_factors(cycles, precision):
    """Real and imaginary parts of exp(-2j pi cycles), flat."""
    angles = -2 * np.pi * np.asarray(cycles, dtype="float64").ravel()
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).ravel().astype(precision)


@numba.njit(nogil=True, cache=True)
def radix_constants(alike):
    """Cosines and sines of thirds and fifths of a cycle, in the type of an array."""
    third, fifth = 2.0 * np.pi / 3.0, 2.0 * np.pi / 5.0
    constants = np.empty(6, dtype=alike.dtype)
    constants[0], constants[1] = -np.cos(third), np.sin(third)
    constants[2], constants[3] = np.cos(fifth), np.cos(2.0 * fifth)
    constants[4], constants[5] = np.sin(fifth), np.sin(2.0 * fifth)
    return constants


@numba.njit(nogil=True, cache=True)
def load(buffer, at, parts):
    """Real and imaginary lanes of the complex numbers at a place; `parts` says how far from it each begins."""
    return load_lanes(buffer, at + parts[0]), load_lanes(buffer, at + parts[1])


@numba.njit(nogil=True, cache=True)
def store(buffer, at, parts, value):
    """Write what `load` reads."""
    store_lanes(buffer, at + parts[0], value[0])
    store_lanes(buffer, at + parts[1], value[1])


@numba.njit(nogil=True, cache=True)
def factor_at(factors, index):
    """One of several complex numbers, in every lane."""
    at = index * unsigned(2)
    return fill_lanes(factors, at), fill_lanes(factors, at + unsigned(1))


@numba.njit(nogil=True, cache=True)
def multiply(a, w):
    """Product of complex numbers."""
    return a[0] * w[0] - a[1] * w[1], a[0] * w[1] + a[1] * w[0]


@numba.njit(nogil=True, cache=True)
def _both(a, b):
    """Sum and difference."""
    return (a[0] + b[0], a[1] + b[1]), (a[0] - b[0], a[1] - b[1])


@numba.njit(nogil=True, cache=True)
def _turned(a, b):
    """``a - 1j * b`` and ``a + 1j * b``."""
    return (a[0] + b[1], a[1] - b[0]), (a[0] - b[1], a[1] + b[0])


@numba.njit(nogil=True, cache=True)
def _scaled(a, factor):
    return a[0] * factor, a[1] * factor


@numba.njit(nogil=True, cache=True)
def _step_2(source, target, twiddles, base, rest, done, width, parts, constants):
    size = rest // unsigned(2)
    for j in range(size):
        w = factor_at(twiddles, base + j)
        for q in range(done):
            a = load(source, (q + done * j) * width, parts)
            total, difference = _both(a, load(source, (q + done * (j + size)) * width, parts))
            to = (q + done * unsigned(2) * j) * width
            store(target, to, parts, total)
            store(target, to + done * width, parts, multiply(difference, w))


@numba.njit(nogil=True, cache=True)
def _step_3(source, target, twiddles, base, rest, done, width, parts, constants):
    half, sine = fill_lanes(constants, unsigned(0)), fill_lanes(constants, unsigned(1))
    step, jump = done * width, done * (rest // unsigned(3)) * width
    for j in range(rest // unsigned(3)):
        at = base + j * unsigned(2)
        w1, w2 = factor_at(twiddles, at), factor_at(twiddles, at + unsigned(1))
        for q in range(done):
            at = (q + done * j) * width
            a, b = load(source, at, parts), load(source, at + jump, parts)
            s, d = _both(b, load(source, at + jump + jump, parts))
            to = (q + done * unsigned(3) * j) * width
            store(target, to, parts, _both(a, s)[0])
            # exp(-2j pi / 3) = -1/2 - j sine
            one, other = _turned(_both(a, _scaled(s, half))[1], _scaled(d, sine))
            store(target, to + step, parts, multiply(one, w1))
            store(target, to + step + step, parts, multiply(other, w2))


@numba.njit(nogil=True, cache=True)
def _step_4(source, target, twiddles, base, rest, done, width, parts, constants):
    step, jump = done * width, done * (rest // unsigned(4)) * width
    for j in range(rest // unsigned(4)):
        at = base + j * unsigned(3)
        w1, w2 = factor_at(twiddles, at), factor_at(twiddles, at + unsigned(1))
        w3 = factor_at(twiddles, at + unsigned(2))
        for q in range(done):
            at = (q + done * j) * width
            a, b = load(source, at, parts), load(source, at + jump, parts)
            at += jump + jump
            p, m = _both(a, load(source, at, parts))
            s, t = _both(b, load(source, at + jump, parts))
            total, difference = _both(p, s)
            one, other = _turned(m, t)
            to = (q + done * unsigned(4) * j) * width
            store(target, to, parts, total)
            store(target, to + step, parts, multiply(one, w1))
            store(target, to + step + step, parts, multiply(difference, w2))
            store(target, to + step + step + step, parts, multiply(other, w3))


@numba.njit(nogil=True, cache=True)
def _step_5(source, target, twiddles, base, rest, done, width, parts, constants):
    c1, c2 = fill_lanes(constants, unsigned(2)), fill_lanes(constants, unsigned(3))
    s1, s2 = fill_lanes(constants, unsigned(4)), fill_lanes(constants, unsigned(5))
    step, jump = done * width, done * (rest // unsigned(5)) * width
    for j in range(rest // unsigned(5)):
        w = base + j * unsigned(4)
        for q in range(done):
            at = (q + done * j) * width
            a, b = load(source, at, parts), load(source, at + jump, parts)
            at += jump + jump
            c, d = load(source, at, parts), load(source, at + jump, parts)
            p, m = _both(b, load(source, at + jump + jump, parts))
            r, n = _both(c, d)
            to = (q + done * unsigned(5) * j) * width
            store(target, to, parts, _both(_both(a, p)[0], r)[0])
            x = _both(_both(a, _scaled(p, c1))[0], _scaled(r, c2))[0]
            one, four = _turned(x, _both(_scaled(m, s1), _scaled(n, s2))[0])
            x = _both(_both(a, _scaled(p, c2))[0], _scaled(r, c1))[0]
            two, three = _turned(x, _both(_scaled(m, s2), _scaled(n, s1))[1])
            for value in (one, two, three, four):
                to += step
                store(target, to, parts, multiply(value, factor_at(twiddles, w)))
                w += unsigned(1)
            w -= unsigned(4)


@numba.njit(nogil=True, cache=True)
def short_transform(buffers, now, length, factors, twiddles, lanes, parts, constants):
    """Transform what is in `buffers[now]`; return which of the two buffers holds the result.

    `parts` are the places of the real and the imaginary lanes; the transform back is the one with them exchanged.
    """
    rest, done, base, width = unsigned(length), unsigned(1), unsigned(0), unsigned(2) * lanes
    for index in range(factors.size):
        radix = unsigned(factors[index])
        source, target = buffers[now], buffers[1 - now]
        if radix == 4:
            _step_4(source, target, twiddles, base, rest, done, width, parts, constants)
        elif radix == 2:
            _step_2(source, target, twiddles, base, rest, done, width, parts, constants)
        elif radix == 3:
            _step_3(source, target, twiddles, base, rest, done, width, parts, constants)
        else:
            _step_5(source, target, twiddles, base, rest, done, width, parts, constants)
        now = 1 - now
        rest //= radix
        base += rest * (radix - unsigned(1))
        done *= radix
    return now
