"""Dependence of one series on another, of any shape, and what it is by chance.

Chatterjee's xi [1]_ sorts the pairs by `x` and sums how far the rank of `y` jumps from each to the next;
Azadkia and Chatterjee's T [2]_ (the "codec") looks at the nearest neighbour in `z` instead, and so also tells
what `z` adds to an `x` that is known already. Both are near 0 where there is no dependence and reach 1 where
`y` is a function of the other.

A series in time resembles itself a moment later, so shuffled series are no fair comparison. Here one of the
two is turned around in a circle instead, which keeps both as they are and breaks what they have in common.

References
----------
.. [1] Chatterjee, S. (2021). A new coefficient of correlation. Journal of the American Statistical
   Association, 116, 2009-2022.
.. [2] Azadkia, M., & Chatterjee, S. (2021). A simple measure of conditional dependence. Annals of
   Statistics, 49, 3070-3102.
"""

import numba
import numpy as np


def draw_shifts(starts, num_shifts, rng) -> np.ndarray:
    """Draw circular shifts of a series, each block of it for itself.

    `starts` (num_blocks + 1,) says where the blocks start, and ends with the length of the series. A single block has
    only length - 1 shifts, all of which are taken if more are asked for. Returns int64 (1 + at most num_shifts,
    num_blocks); the first row is no shift.
    """
    lengths = np.diff(starts)
    if lengths.size == 1:
        number = max(0, min(num_shifts, int(lengths[0]) - 1))
        drawn = 1 + rng.permutation(max(int(lengths[0]) - 1, 0))[:number, np.newaxis]
    else:
        drawn = rng.integers(0, np.maximum(lengths, 1), (num_shifts, lengths.size))
    return np.concatenate([np.zeros((1, lengths.size), dtype="int64"), drawn])


def xi(x, y, rng, starts=None, shifts=None) -> np.ndarray:
    """Chatterjee's xi of `y` on `x`: ``1 - n sum |r[i+1] - r[i]| / (2 sum l (n - l))``, sorted by `x`.

    `r` and `l` count the values of `y` up to and from each one on. Ties in `x` are put in a random order.

    Both series are finite; `rng` breaks the ties, `starts` and `shifts` are those of `draw_shifts` (None: no shift).
    Returns float64 (num_shifts,): `y` turned around by each shift. NaN for fewer than 3 bins, and where `x` or `y` is
    constant.
    """
    x, y, starts, shifts = _checked(x, y, starts, shifts)
    size = y.size
    if size < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.full(len(shifts), np.nan)
    order = np.lexsort((rng.random(size), x))
    upper, lower = _counts(y)
    sums = _pair_sums(order[:-1], order[1:], upper, starts, shifts)
    return 1 - size * (sums[:, 1] - sums[:, 0]) / (2 * (lower * (size - lower)).sum())


def codec(y, z, rng, x=None, starts=None, shifts=None) -> np.ndarray:
    """Azadkia and Chatterjee's T of `y` on `z`, or on `z` given `x`.

    With `M` the nearest neighbour in `z` (given `x`: in both together), `N` that in `x`, and `r`, `l` the
    numbers of values of `y` up to and from each one on, it is
    ``sum (n min(r, r[M]) - l^2) / sum l (n - l)``, and given `x`
    ``sum (min(r, r[M]) - min(r, r[N])) / sum (r - min(r, r[N]))``. Ties are broken at random.

    `y` (num_bins,), `z` and `x` (num_bins,) or (num_bins, num_dimensions) are finite; `x` is what is known already,
    whose distances add up with those in `z`, so that the two need comparable scales. `rng`, `starts` and `shifts` are
    those of `xi`. Returns float64 (num_shifts,): `y` turned around by each shift. NaN for fewer than 3 bins, and where
    `y` or `z` is constant, or `y` a function of `x`.
    """
    z = _as_points(z)
    _, y, starts, shifts = _checked(z[:, 0], y, starts, shifts)
    size = y.size
    if size < 3 or np.ptp(y) == 0 or not np.ptp(z, axis=0).any():
        return np.full(len(shifts), np.nan)
    upper, lower = _counts(y)
    everyone = np.arange(size)
    if x is None:
        together = _pair_sums(everyone, nearest_neighbours(z, rng), upper, starts, shifts)[:, 0]
        squares = (lower**2).sum()
        return (size * together - squares) / (size * lower.sum() - squares)
    x = _as_points(x)
    together = _pair_sums(everyone, nearest_neighbours(np.hstack([x, z]), rng), upper, starts, shifts)[:, 0]
    alone = _pair_sums(everyone, nearest_neighbours(x, rng), upper, starts, shifts)[:, 0]
    left = upper.sum() - alone
    return np.where(left > 0, (together - alone) / np.maximum(left, 1), np.nan)


def p_value(statistics) -> float:
    """Share of the shifts that give as much: ``(1 + number of statistics >= the first) / number of statistics``."""
    if np.isnan(statistics[0]):
        return np.nan
    return float((1 + (statistics[1:] >= statistics[0]).sum()) / len(statistics))


def nearest_neighbours(points, rng) -> np.ndarray:
    """Index of the nearest other one of at least two points, (num_points, num_dimensions); of equally near ones any."""
    from scipy.spatial import cKDTree

    places, place, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    by_place = np.argsort(place, kind="stable")
    first = np.cumsum(counts) - counts
    # points at one place are each other's neighbours: a random step around their circle, which is never 0
    rank = np.empty(place.size, dtype="int64")
    rank[by_place] = np.arange(place.size) - first[place[by_place]]
    size = counts[place]
    step = 1 + np.floor(rng.random(place.size) * np.maximum(size - 1, 1)).astype("int64")
    neighbours = by_place[first[place] + (rank + step) % size]
    alone = np.flatnonzero(size == 1)
    if alone.size:
        tree = cKDTree(places)
        distances, found = tree.query(points[alone], k=min(3, len(places)))
        nearest = found[:, 1].copy()
        if len(places) > 2:
            tied = np.flatnonzero(distances[:, 2] <= distances[:, 1] * (1 + 1e-12))
            reach = distances[tied, 1] * (1 + 1e-12)
            for i, near in zip(tied, tree.query_ball_point(points[alone[tied]], reach), strict=True):
                others = np.array([other for other in near if other != place[alone[i]]])
                nearest[i] = rng.choice(others, p=counts[others] / counts[others].sum())
        member = np.floor(rng.random(alone.size) * counts[nearest]).astype("int64")
        neighbours[alone] = by_place[first[nearest] + member]
    return neighbours


def _checked(x, y, starts, shifts):
    """Bring the arguments into the types that the compiled loop knows."""
    x, y = np.asarray(x, dtype="float64"), np.asarray(y, dtype="float64")
    if x.shape != y.shape or y.ndim != 1 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(
            f"the series have shapes {x.shape} and {y.shape}; allowed: one length, finite values"
        )
    starts = np.array([0, y.size]) if starts is None else np.asarray(starts)
    shifts = np.zeros((1, starts.size - 1)) if shifts is None else np.asarray(shifts)
    if starts[-1] != y.size or shifts.shape[1:] != (starts.size - 1,):
        raise ValueError(
            f"starts end at {starts[-1]}, shifts have shape {shifts.shape}; allowed: those of the series"
        )
    return x, y, starts.astype("int64"), np.ascontiguousarray(shifts, dtype="int64")


def _as_points(values) -> np.ndarray:
    values = np.asarray(values, dtype="float64")
    return values[:, np.newaxis] if values.ndim == 1 else values


def _counts(y):
    """For each value, how many are not above it, and how many not below it."""
    ordered = np.sort(y)
    upper = np.searchsorted(ordered, y, side="right")
    lower = y.size - np.searchsorted(ordered, y, side="left")
    return upper.astype("int64"), lower.astype("int64")


@numba.njit(nogil=True, cache=True)
def _pair_sums(first, second, ranks, starts, shifts):
    """Sum of the smaller and of the larger rank over pairs of bins, for each shift of the ranks."""
    sums = np.zeros((shifts.shape[0], 2), dtype=np.int64)
    rolled = np.empty_like(ranks)
    for row in range(shifts.shape[0]):
        for block in range(starts.size - 1):
            start, length = starts[block], starts[block + 1] - starts[block]
            source = shifts[row, block]
            for i in range(length):
                if source >= length:
                    source -= length
                rolled[start + i] = ranks[start + source]
                source += 1
        smaller, larger = 0, 0
        for i in range(first.size):
            one, other = rolled[first[i]], rolled[second[i]]
            smaller += min(one, other)
            larger += max(one, other)
        sums[row, 0], sums[row, 1] = smaller, larger
    return sums
