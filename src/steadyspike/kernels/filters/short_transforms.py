"""Short Fourier transforms of many signals side by side in vector registers.

They are done in steps of 2, 3, 4 or 5 between two buffers in the first-level cache, which leaves them sorted
(Stockham).
All complex numbers are the lanes of their real parts, followed by those of their imaginary parts.
"""

import numba
import numpy as np

from steadyspike.kernels.lanes.lanes import fill_lanes, load_lanes, store_lanes

unsigned = np.uint64
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
def _step_2(source, target, twiddles, base, rest, done, lanes, real, imaginary):
    size = rest // unsigned(2)
    width = lanes * unsigned(2)
    for j in range(size):
        w_re = fill_lanes(twiddles, base + j * unsigned(2))
        w_im = fill_lanes(twiddles, base + j * unsigned(2) + unsigned(1))
        for q in range(done):
            at = (q + done * j) * width
            a_re, a_im = load_lanes(source, at + real), load_lanes(source, at + imaginary)
            at = (q + done * (j + size)) * width
            b_re, b_im = load_lanes(source, at + real), load_lanes(source, at + imaginary)
            to = (q + done * unsigned(2) * j) * width
            store_lanes(target, to + real, a_re + b_re)
            store_lanes(target, to + imaginary, a_im + b_im)
            c_re, c_im = a_re - b_re, a_im - b_im
            to += done * width
            store_lanes(target, to + real, c_re * w_re - c_im * w_im)
            store_lanes(target, to + imaginary, c_re * w_im + c_im * w_re)


@numba.njit(nogil=True, cache=True)
def _step_3(source, target, twiddles, base, rest, done, lanes, real, imaginary, constants):
    size = rest // unsigned(3)
    width = lanes * unsigned(2)
    half, sine = fill_lanes(constants, unsigned(0)), fill_lanes(constants, unsigned(1))
    for j in range(size):
        at = base + j * unsigned(4)
        w1_re, w1_im = fill_lanes(twiddles, at), fill_lanes(twiddles, at + unsigned(1))
        w2_re, w2_im = fill_lanes(twiddles, at + unsigned(2)), fill_lanes(twiddles, at + unsigned(3))
        for q in range(done):
            at = (q + done * j) * width
            jump = done * size * width
            a_re, a_im = load_lanes(source, at + real), load_lanes(source, at + imaginary)
            at += jump
            b_re, b_im = load_lanes(source, at + real), load_lanes(source, at + imaginary)
            at += jump
            c_re, c_im = load_lanes(source, at + real), load_lanes(source, at + imaginary)
            s_re, s_im = b_re + c_re, b_im + c_im
            d_re, d_im = (b_re - c_re) * sine, (b_im - c_im) * sine
            m_re, m_im = a_re - s_re * half, a_im - s_im * half
            to = (q + done * unsigned(3) * j) * width
            store_lanes(target, to + real, a_re + s_re)
            store_lanes(target, to + imaginary, a_im + s_im)
            # exp(-2j pi / 3) = -1/2 - j sine
            e_re, e_im = m_re + d_im, m_im - d_re
            to += done * width
            store_lanes(target, to + real, e_re * w1_re - e_im * w1_im)
            store_lanes(target, to + imaginary, e_re * w1_im + e_im * w1_re)
            e_re, e_im = m_re - d_im, m_im + d_re
            to += done * width
            store_lanes(target, to + real, e_re * w2_re - e_im * w2_im)
            store_lanes(target, to + imaginary, e_re * w2_im + e_im * w2_re)


@numba.njit(nogil=True, cache=True)
def _step_4(source, target, twiddles, base, rest, done, lanes, real, imaginary):
    size = rest // unsigned(4)
    width = lanes * unsigned(2)
    for j in range(size):
        at = base + j * unsigned(6)
        w1_re, w1_im = fill_lanes(twiddles, at), fill_lanes(twiddles, at + unsigned(1))
        w2_re, w2_im = fill_lanes(twiddles, at + unsigned(2)), fill_lanes(twiddles, at + unsigned(3))
        w3_re, w3_im = fill_lanes(twiddles, at + unsigned(4)), fill_lanes(twiddles, at + unsigned(5))
        for q in range(done):
            at = (q + done * j) * width
            jump = done * size * width
            a_re, a_im = load_lanes(source, at + real), load_lanes(source, at + imaginary)
            at += jump
            b_re, b_im = load_lanes(source, at + real), load_lanes(source, at + imaginary)
            at += jump
            c_re, c_im = load_lanes(source, at + real), load_lanes(source, at + imaginary)
            at += jump
            d_re, d_im = load_lanes(source, at + real), load_lanes(source, at + imaginary)
            p_re, p_im, m_re, m_im = a_re + c_re, a_im + c_im, a_re - c_re, a_im - c_im
            s_re, s_im, t_re, t_im = b_re + d_re, b_im + d_im, b_re - d_re, b_im - d_im
            to = (q + done * unsigned(4) * j) * width
            store_lanes(target, to + real, p_re + s_re)
            store_lanes(target, to + imaginary, p_im + s_im)
            e_re, e_im = m_re + t_im, m_im - t_re
            to += done * width
            store_lanes(target, to + real, e_re * w1_re - e_im * w1_im)
            store_lanes(target, to + imaginary, e_re * w1_im + e_im * w1_re)
            e_re, e_im = p_re - s_re, p_im - s_im
            to += done * width
            store_lanes(target, to + real, e_re * w2_re - e_im * w2_im)
            store_lanes(target, to + imaginary, e_re * w2_im + e_im * w2_re)
            e_re, e_im = m_re - t_im, m_im + t_re
            to += done * width
            store_lanes(target, to + real, e_re * w3_re - e_im * w3_im)
            store_lanes(target, to + imaginary, e_re * w3_im + e_im * w3_re)


@numba.njit(nogil=True, cache=True)
def _step_5(source, target, twiddles, base, rest, done, lanes, real, imaginary, constants):
    size = rest // unsigned(5)
    width = lanes * unsigned(2)
    c1, c2 = fill_lanes(constants, unsigned(2)), fill_lanes(constants, unsigned(3))
    s1, s2 = fill_lanes(constants, unsigned(4)), fill_lanes(constants, unsigned(5))
    for j in range(size):
        at = base + j * unsigned(8)
        for q in range(done):
            place = (q + done * j) * width
            jump = done * size * width
            a_re, a_im = load_lanes(source, place + real), load_lanes(source, place + imaginary)
            place += jump
            b_re, b_im = load_lanes(source, place + real), load_lanes(source, place + imaginary)
            place += jump
            c_re, c_im = load_lanes(source, place + real), load_lanes(source, place + imaginary)
            place += jump
            d_re, d_im = load_lanes(source, place + real), load_lanes(source, place + imaginary)
            place += jump
            e_re, e_im = load_lanes(source, place + real), load_lanes(source, place + imaginary)
            p_re, p_im, m_re, m_im = b_re + e_re, b_im + e_im, b_re - e_re, b_im - e_im
            r_re, r_im, n_re, n_im = c_re + d_re, c_im + d_im, c_re - d_re, c_im - d_im
            to = (q + done * unsigned(5) * j) * width
            store_lanes(target, to + real, a_re + p_re + r_re)
            store_lanes(target, to + imaginary, a_im + p_im + r_im)
            x_re, x_im = a_re + p_re * c1 + r_re * c2, a_im + p_im * c1 + r_im * c2
            y_re, y_im = m_re * s1 + n_re * s2, m_im * s1 + n_im * s2
            w_re, w_im = fill_lanes(twiddles, at), fill_lanes(twiddles, at + unsigned(1))
            z_re, z_im = x_re + y_im, x_im - y_re
            to += done * width
            store_lanes(target, to + real, z_re * w_re - z_im * w_im)
            store_lanes(target, to + imaginary, z_re * w_im + z_im * w_re)
            w_re, w_im = fill_lanes(twiddles, at + unsigned(6)), fill_lanes(twiddles, at + unsigned(7))
            z_re, z_im = x_re - y_im, x_im + y_re
            last = to + unsigned(3) * done * width
            store_lanes(target, last + real, z_re * w_re - z_im * w_im)
            store_lanes(target, last + imaginary, z_re * w_im + z_im * w_re)
            x_re, x_im = a_re + p_re * c2 + r_re * c1, a_im + p_im * c2 + r_im * c1
            y_re, y_im = m_re * s2 - n_re * s1, m_im * s2 - n_im * s1
            w_re, w_im = fill_lanes(twiddles, at + unsigned(2)), fill_lanes(twiddles, at + unsigned(3))
            z_re, z_im = x_re + y_im, x_im - y_re
            to += done * width
            store_lanes(target, to + real, z_re * w_re - z_im * w_im)
            store_lanes(target, to + imaginary, z_re * w_im + z_im * w_re)
            w_re, w_im = fill_lanes(twiddles, at + unsigned(4)), fill_lanes(twiddles, at + unsigned(5))
            z_re, z_im = x_re - y_im, x_im + y_re
            to += done * width
            store_lanes(target, to + real, z_re * w_re - z_im * w_im)
            store_lanes(target, to + imaginary, z_re * w_im + z_im * w_re)


@numba.njit(nogil=True, cache=True)
def short_transform(buffers, now, length, factors, twiddles, lanes, real, imaginary, constants):
    """Transform what is in `buffers[now]`; return which of the two buffers holds the result.

    The transform back is the one with the places of real and imaginary parts exchanged.
    """
    rest, done, base = unsigned(length), unsigned(1), unsigned(0)
    for step in range(factors.size):
        radix = unsigned(factors[step])
        source, target = buffers[now], buffers[1 - now]
        if radix == 4:
            _step_4(source, target, twiddles, base, rest, done, lanes, real, imaginary)
        elif radix == 2:
            _step_2(source, target, twiddles, base, rest, done, lanes, real, imaginary)
        elif radix == 3:
            _step_3(source, target, twiddles, base, rest, done, lanes, real, imaginary, constants)
        else:
            _step_5(source, target, twiddles, base, rest, done, lanes, real, imaginary, constants)
        now = 1 - now
        rest //= radix
        base += rest * (radix - unsigned(1)) * unsigned(2)
        done *= radix
    return now
