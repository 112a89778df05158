r"""Normalized cross-correlation of many pairs of rows in a window of depth: the best lag of each pair, and its height.

For the template :math:`a` (of length L), the signal :math:`b`, weights :math:`w` and the lag :math:`s`, with sums over
those k for which :math:`b_{k+s}` exists, and the weighted means :math:`\bar a(s)` and :math:`\bar b(s)` over the same,

.. math:: C(s) = \frac{\frac{1}{N(s)} \sum_k w_k a_k b_{k+s} - \bar a(s)\, \bar b(s)}
                      {\sqrt{\mathrm{Var}_a(s)\; \mathrm{Var}_b(s)}}, \qquad N(s) = \sum_k w_k

The products of all pairs at one lag are one matrix product, which is nearly all of the work; means and variances
belong to single rows. Nothing of the size of (pairs x lags) is ever held.
"""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def _keep_larger(products, share, means_x, scales_x, means_t, scales_t, lag, best, where):
    for i in range(products.shape[0]):
        mean, scale = means_x[i], scales_x[i]
        for j in range(products.shape[1]):
            value = (products[i, j] * share - mean * means_t[j]) * (scale * scales_t[j])
            larger = value > best[i, j]
            best[i, j] = value if larger else best[i, j]
            where[i, j] = lag if larger else where[i, j]


class PairCorrelation:
    """Correlations of every template with every signal in one window, tile by tile.

    Parameters
    ----------
    templates : ndarray of float, shape (num_templates, length)
        Rows without NaN, cut to the window.
    signals : ndarray of float, shape (num_signals, length_x)
        Rows without NaN, in which the templates are sought.
    weights : ndarray of float, shape (length,)
        Weight of each place of a template, not negative.
    padding : int
        Lags at which the template reaches out of the signal by as much, on both sides; at least 0. Lag 0 is the one
        that reaches out most on the left.
    normalized, centered : bool, default: True
        Whether correlations are divided by standard deviations, and means subtracted first.
    dtype : dtype, default: "float32"
        Of the products.
    """

    def __init__(self, templates, signals, weights, padding, normalized=True, centered=True, dtype="float32"):
        length = templates.shape[1]
        weights = np.asarray(weights, dtype="float64")
        self.num_lags = signals.shape[1] + 2 * padding - length + 1
        self._signals = np.pad(np.asarray(signals, dtype=dtype), ((0, 0), (padding, padding)))
        self._templates = np.ascontiguousarray(templates * weights, dtype=dtype)
        self._length = length
        # the part of each template that lies on the signal
        first = np.clip(padding - np.arange(self.num_lags), 0, length)
        last = np.clip(signals.shape[1] + padding - np.arange(self.num_lags), 0, length)
        totals = _between(weights[None, :], first, last)[0]
        self._shares = np.divide(1.0, totals, out=np.ones_like(totals), where=totals > 0)
        sliding = _sliding(weights, self.num_lags)
        means_t = _between(templates * weights, first, last)
        squares_t = _between(np.square(templates) * weights, first, last) if normalized else None
        padded = np.pad(np.asarray(signals, dtype="float64"), ((0, 0), (padding, padding)))
        means_x = padded @ sliding
        squares_x = np.square(padded) @ sliding if normalized else None
        self._means_t, self._scales_t = _statistics(means_t, squares_t, self._shares, centered, dtype)
        self._means_x, self._scales_x = _statistics(means_x, squares_x, self._shares, centered, dtype)
        self._shares = self._shares.astype(dtype)

    def best_lags(self, rows, columns):
        """Correlate the signals `rows` with the templates `columns`.

        Parameters
        ----------
        rows, columns : slice
            Of signals, and of templates.

        Returns
        -------
        best : ndarray of dtype, shape (num_rows, num_columns)
            Largest correlation of each pair.
        where : ndarray of int32, shape (num_rows, num_columns)
            Its lag, in ``[0, num_lags)``; of equal ones, the first.
        """
        templates = self._templates[columns].T
        signals = self._signals[rows]
        products = np.empty((signals.shape[0], templates.shape[1]), dtype=self._templates.dtype)
        best = np.full(products.shape, -np.inf, dtype=products.dtype)
        where = np.zeros(products.shape, dtype="int32")
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
        return best, where


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


def _statistics(sums, squares, shares, centered, dtype):
    """Means and reciprocal standard deviations, each of shape (num_lags, num_rows)."""
    means = sums * shares if centered else np.zeros_like(sums)
    scales = np.ones_like(sums)
    if squares is not None:
        variances = squares * shares - np.square(means)
        # differences of sums: what is left of equal numbers is no variance
        variances[variances <= 1e-13 * np.abs(squares).max(axis=1, initial=0.0, keepdims=True)] = 1.0
        scales = 1.0 / np.sqrt(variances)
    return np.ascontiguousarray(means.T, dtype=dtype), np.ascontiguousarray(scales.T, dtype=dtype)
