r"""Normalized cross-correlation of many pairs of rows in a window of depth: the best lag of each pair, and its height.

For the template :math:`a` (of length L), the signal :math:`b`, weights :math:`w` and the lag :math:`s`, with sums over
those k for which :math:`b_{k+s}` exists, and the weighted means :math:`\bar a(s)` and :math:`\bar b(s)` over the same,

.. math:: C(s) = \frac{\frac{1}{N(s)} \sum_k w_k a_k b_{k+s} - \bar a(s)\, \bar b(s)}
                      {\sqrt{\mathrm{Var}_a(s)\; \mathrm{Var}_b(s)}}, \qquad N(s) = \sum_k w_k

The products are nearly all of the work. Few lags of short rows are one matrix product of all pairs for each lag; many
lags of long rows are cut into blocks of depth whose spectra are multiplied, added up, and transformed back once for a
pair (Stockham 1966, High-speed convolution and correlation), which takes a tenth of the operations. Means and variances
belong to single rows. Nothing of the size of (pairs x lags) is ever held.
"""

import numba
import numpy as np

FFT_SIZES = tuple(sorted(factor * 2**power for factor in (2, 3) for power in range(5, 14)))
ROWS = 512
FFT_SIGNALS, FFT_TEMPLATES = 4, 64
"""Pairs that are transformed back at once; their spectra and correlations stay in the cache."""
FLOPS_PER_US = 1e5
PRODUCT_FLOPS_PER_US = 4e4
TRANSFORM_US = 1.8e-3
FFT_OVERHEAD_US = 0.3
"""What a core does, roughly: in matrix products, in products of spectra; in us, for each place of a transform, for
each pair."""


@numba.njit(nogil=True, cache=True)
def _keep_larger(products, share, means_x, scales_x, means_t, scales_t, lag, best, where):
    for i in range(products.shape[0]):
        mean, scale = means_x[i], scales_x[i]
        for j in range(products.shape[1]):
            value = (products[i, j] * share - mean * means_t[j]) * (scale * scales_t[j])
            larger = value > best[i, j]
            best[i, j] = value if larger else best[i, j]
            where[i, j] = lag if larger else where[i, j]


# fused multiplications and additions round once in place of twice
@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _multiply_spectra(signals, templates, parts, out):
    """Add up the products of signals' spectra with templates' conjugate ones over blocks of depth, for each pair."""
    num_blocks, size = signals.shape[2:]
    real, imaginary = parts[0], parts[1]
    for j in range(templates.shape[0]):
        for i in range(signals.shape[0]):
            real[:] = 0.0
            imaginary[:] = 0.0
            for block in range(num_blocks):
                a, b = templates[j, 0, block], templates[j, 1, block]
                c, d = signals[i, 0, block], signals[i, 1, block]
                for f in range(size):
                    real[f] += a[f] * c[f] + b[f] * d[f]
                    imaginary[f] += a[f] * d[f] - b[f] * c[f]
            for f in range(size):
                out[i, j, 2 * f] = real[f]
                out[i, j, 2 * f + 1] = imaginary[f]


@numba.njit(nogil=True, cache=True)
def _largest(products, shares, means_x, scales_x, means_t, scales_t, values, best, where):
    num_lags = shares.size
    for i in range(products.shape[0]):
        for j in range(products.shape[1]):
            for lag in range(num_lags):
                values[lag] = (products[i, j, lag] * shares[lag] - means_x[i, lag] * means_t[j, lag]) * (
                    scales_x[i, lag] * scales_t[j, lag]
                )
            largest, place = values[0], 0
            for lag in range(1, num_lags):
                if values[lag] > largest:
                    largest, place = values[lag], lag
            best[i, j] = largest
            where[i, j] = place


class PairCorrelation:
    """Correlations of every template with every signal in one window, tile by tile.

    `templates` (num_templates, length), cut to the window, are sought in `signals` (num_signals, length_x), both
    without NaN; `weights` (length,) are those of the places of a template, not negative. At lag 0 a template reaches
    out of the signal by `padding` on the left, at the last one on the right. `normalized` divides correlations by
    standard deviations, `centered` subtracts means first; products are of `dtype`.
    """

    def __init__(self, templates, signals, weights, padding, normalized=True, centered=True, dtype="float32"):
        length, length_x = templates.shape[1], signals.shape[1]
        weights = np.asarray(weights, dtype="float64")
        self.num_lags = length_x + 2 * padding - length + 1
        self._length = length
        # the part of each template that lies on the signal
        first = np.clip(padding - np.arange(self.num_lags), 0, length)
        last = np.clip(length_x + padding - np.arange(self.num_lags), 0, length)
        totals = _between(weights[None, :], first, last)[0]
        shares = np.divide(1.0, totals, out=np.ones_like(totals), where=totals > 0)
        sliding = _sliding(weights, self.num_lags)[padding : padding + length_x]
        self._shares = shares.astype(dtype)
        self._templates = np.empty(templates.shape, dtype=dtype)
        self._signals = np.zeros((signals.shape[0], length_x + 2 * padding), dtype=dtype)
        self._means_t, self._scales_t = np.empty((2, self.num_lags, templates.shape[0]), dtype=dtype)
        self._means_x, self._scales_x = np.empty((2, self.num_lags, signals.shape[0]), dtype=dtype)
        # sums are in double precision, of some rows at a time
        for rows in _pieces(templates.shape[0], ROWS):
            weighted = templates[rows] * weights
            self._templates[rows] = weighted
            squares = _between(weighted * templates[rows], first, last) if normalized else None
            self._means_t[:, rows], self._scales_t[:, rows] = _statistics(
                _between(weighted, first, last), squares, shares, centered
            )
        for rows in _pieces(signals.shape[0], ROWS):
            signal = np.asarray(signals[rows], dtype="float64")
            self._signals[rows, padding : padding + length_x] = signal
            squares = np.square(signal) @ sliding if normalized else None
            self._means_x[:, rows], self._scales_x[:, rows] = _statistics(
                signal @ sliding, squares, shares, centered
            )
        self._fft_size = _best_fft_size(length, self.num_lags) if np.dtype(dtype) == np.float32 else None

    def best_lags(self, rows, columns):
        """Correlate the signals `rows` with the templates `columns`.

        Both are slices. Returns the largest correlation of each pair, (num_rows, num_columns), and its lag, int32,
        from 0 to before `num_lags`; of equal ones, the first.
        """
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        best = np.full(shape, -np.inf, dtype=self._templates.dtype)
        where = np.zeros(shape, dtype="int32")
        if self._fft_size is None:
            self._by_products(rows, columns, best, where)
        else:
            self._by_spectra(rows, columns, best, where)
        return best, where

    def _by_products(self, rows, columns, best, where):
        templates = self._templates[columns].T
        signals = self._signals[rows]
        products = np.empty_like(best)
        for lag in range(self.num_lags):
            np.matmul(signals[:, lag : lag + self._length], templates, out=products)
            _keep_larger(
                products,
                self._shares[lag],
                self._means_x[lag, rows],
                self._scales_x[lag, rows],
                self._means_t[lag, columns],
                self._scales_t[lag, columns],
                np.int32(lag),
                best,
                where,
            )

    def _by_spectra(self, rows, columns, best, where):
        from scipy.fft import irfft

        size, block = self._fft_size, self._fft_size - self.num_lags + 1
        num_blocks = -(-self._length // block)
        templates = _spectra(self._templates[columns], num_blocks, block, block, size)
        signals = _spectra(self._signals[rows], num_blocks, block, size, size)
        statistics_x, statistics_t = (
            [np.ascontiguousarray(one[:, part].T) for one in pair]
            for pair, part in (
                ((self._means_x, self._scales_x), rows),
                ((self._means_t, self._scales_t), columns),
            )
        )
        parts, values = (
            np.empty((2, size // 2 + 1), dtype="float32"),
            np.empty(self.num_lags, dtype="float32"),
        )
        for some in _pieces(best.shape[0], FFT_SIGNALS):
            for others in _pieces(best.shape[1], FFT_TEMPLATES):
                spectra = np.empty(
                    (some.stop - some.start, others.stop - others.start, size + 2), dtype="float32"
                )
                _multiply_spectra(signals[some], templates[others], parts, spectra)
                _largest(
                    irfft(spectra.view("complex64"), size, axis=2),
                    self._shares,
                    *(one[some] for one in statistics_x),
                    *(one[others] for one in statistics_t),
                    values,
                    best[some, others],
                    where[some, others],
                )


def _pieces(size, length):
    return [slice(start, min(start + length, size)) for start in range(0, size, length)]


def _best_fft_size(length, num_lags):
    """Size of the transforms, or None where matrix products take less time."""
    least, best = 2.0 * num_lags * length / FLOPS_PER_US, None
    for size in FFT_SIZES:
        if size < 1.4 * num_lags:
            continue
        num_blocks = -(-length // (size - num_lags + 1))
        products_us = 4.0 * size * num_blocks / PRODUCT_FLOPS_PER_US
        # templates and signals are transformed anew in each tile
        expected = products_us + TRANSFORM_US * size * (1 + num_blocks / 100) + FFT_OVERHEAD_US
        if expected < least:
            least, best = expected, size
    return best


def _spectra(rows, num_blocks, step, width, size):
    """Spectra of pieces of each row that begin `step` apart: real and imaginary parts, blocks and frequencies."""
    from scipy.fft import rfft

    padded = np.zeros((rows.shape[0], (num_blocks - 1) * step + width), dtype="float32")
    kept = min(rows.shape[1], padded.shape[1])
    padded[:, :kept] = rows[:, :kept]
    pieces = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)[:, ::step]
    spectra = rfft(pieces, size, axis=2)
    return np.stack([spectra.real, spectra.imag], axis=1)


def _between(rows, first, last):
    """Sums of each row from `first` to `last`, for each pair of these."""
    cumulated = np.zeros((rows.shape[0], rows.shape[1] + 1))
    np.cumsum(rows, axis=1, out=cumulated[:, 1:])
    return cumulated[:, last] - cumulated[:, first]


def _sliding(weights, num_lags):
    """Matrix that takes the weighted sum of a row at every lag."""
    matrix = np.zeros((weights.size + num_lags - 1, num_lags))
    for lag in range(num_lags):
        matrix[lag : lag + weights.size, lag] = weights
    return matrix


def _statistics(sums, squares, shares, centered):
    """Means and reciprocal standard deviations, each of shape (num_lags, num_rows)."""
    means = sums * shares if centered else np.zeros_like(sums)
    scales = np.ones_like(sums)
    if squares is not None:
        variances = squares * shares - np.square(means)
        # differences of sums: what is left of equal numbers is no variance
        variances[variances <= 1e-13 * np.abs(squares).max(axis=1, initial=0.0, keepdims=True)] = 1.0
        scales = 1.0 / np.sqrt(variances)
    return means.T, scales.T
