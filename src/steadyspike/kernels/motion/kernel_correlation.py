"""How two clouds of spikes fit each other at a shift in depth: the kernel correlation, and the best shift.

Spikes are points with a depth and other features (amplitude, place across the probe). All pairs of like spikes vote for
the difference of their depths; the votes, smoothed by a Gaussian, are the kernel correlation as a function
of the shift. Spikes are ordered by depth, so that the cost grows with the pairs within reach only.

References
----------
Tsin & Kanade 2004, A correlation-based approach to robust point set registration, ECCV.
"""

import numba
import numpy as np

# um. Differences in depth are added up on a grid this fine, each shared between its two nearest points.
FINE_UM = 1.0
# Standard deviations at which kernels are cut off.
REACH_SD = 3.0
# Windows that weigh less at a knot are not looked at there.
LEAST_WEIGHT = 1e-3


@numba.njit(nogil=True, cache=True)
def _likeness(first, second, reach):
    """Gaussian kernel of two spikes' features; 0 beyond the reach."""
    distance = np.float32(0.0)
    for f in range(first.size):
        distance += (first[f] - second[f]) ** 2
    return np.exp(-0.5 * distance) if distance <= reach * reach else np.float32(0.0)


@numba.njit(nogil=True, cache=True)
def add_differences(spikes, first, second, limit_um, step_um, differences):
    """Add up the differences in depth of all pairs of spikes of two clouds, weighed by their likeness.

    `spikes` are depths in um (num_spikes,), increasing in each cloud; features (num_spikes, num_features), in units of
    their kernel's standard deviation; the knot below each spike and the weight of the one above (see
    `template_registration.knot_weights`); and the first spike of each cloud (num_clouds + 1,). `first` and `second`
    are the two clouds; differences larger than `limit_um` are not looked at.

    `differences` (num_knots, 2 * reach + 1), float32, is set to what the pairs of each knot add up to, for the
    differences ``-reach ... reach`` in steps of `step_um`, second minus first; `limit_um` is smaller than ``reach *
    step_um``. Each pair is shared between its two nearest differences and the knots of its first spike.
    """
    depths_um, features, lower, upper_weight, first_spikes = spikes
    differences[:] = 0.0
    reach = differences.shape[1] // 2
    last_knot = differences.shape[0] - 1
    start, end = first_spikes[second], first_spikes[second + 1]
    for i in range(first_spikes[first], first_spikes[first + 1]):
        while start < end and depths_um[start] < depths_um[i] - limit_um:
            start += 1
        k, weight = lower[i], upper_weight[i]
        upper = min(k + 1, last_knot)
        j = start
        while j < end and depths_um[j] <= depths_um[i] + limit_um:
            alike = _likeness(features[i], features[j], REACH_SD)
            if alike > 0.0:
                position = (depths_um[j] - depths_um[i]) / step_um + reach
                cell = int(position)
                fraction = position - cell
                differences[k, cell] += alike * (1.0 - weight) * (1.0 - fraction)
                differences[k, cell + 1] += alike * (1.0 - weight) * fraction
                differences[upper, cell] += alike * weight * (1.0 - fraction)
                differences[upper, cell + 1] += alike * weight * fraction
            j += 1


@numba.njit(nogil=True, cache=True)
def _moments(values, place, sigma):
    """Sums of values x kernel, and of those x offset and x offset squared, around a place; all in steps."""
    half = int(np.ceil(REACH_SD * sigma))
    center = int(np.floor(place + 0.5))
    total, linear, square = 0.0, 0.0, 0.0
    for index in range(max(center - half, 0), min(center + half + 1, values.size)):
        if values[index] != 0.0:
            offset = (index - place) / sigma
            part = values[index] * np.exp(-0.5 * offset * offset)
            total += part
            linear += part * offset
            square += part * offset * offset
    return total, linear, square


@numba.njit(nogil=True, cache=True)
def best_place(values, sigma, low, high, kernel, stride):
    """Place and height of the largest Gaussian-smoothed value: on a coarse grid, then by Newton's method.

    `values` are at least 0, `kernel` is the Gaussian of standard deviation `sigma` on whole places, of height 1, and
    `stride`, the step of the coarse grid, at most `sigma`. Only places from `low` to `high` are allowed; of equal ones
    the most central is taken, and the center with a height of 0 where there are no values.
    """
    half = kernel.size // 2
    center = values.size // 2
    best, height = center, np.float32(0.0)
    for distance in range(0, max(high - center, center - low) + 1, stride):
        for side in (-1, 1):
            index = center + side * distance
            if index < low or index > high:
                continue
            total = np.float32(0.0)
            for other in range(max(index - half, 0), min(index + half + 1, values.size)):
                total += values[other] * kernel[other - index + half]
            if total > height:
                best, height = index, total
    place = float(best)
    if height <= 0.0:
        return place, 0.0
    for _ in range(6):
        total, linear, square = _moments(values, place, sigma)
        if total <= 0.0:
            break
        curvature = total - square
        # far from the maximum the mean of the points around still leads upwards
        step = linear / curvature if curvature > 0.2 * total else linear / total
        step = min(max(step * sigma, -0.5 * sigma), 0.5 * sigma)
        place = min(max(place + step, float(low)), float(high))
        if abs(step) < 1e-3:
            break
    return place, _moments(values, place, sigma)[0]


@numba.njit(nogil=True, cache=True)
def _mix(windows, differences, window, mixed):
    """Sum the knots' differences by their weights in a window."""
    mixed[:] = 0.0
    for knot in range(differences.shape[0]):
        weight = windows[window, knot]
        if weight > LEAST_WEIGHT:
            for index in range(mixed.size):
                mixed[index] += weight * differences[knot, index]


@numba.njit(nogil=True, cache=True)
def self_correlations(spikes, windows, sigma_um):
    """Kernel correlation of each cloud with itself at no shift, in each window: what normalizes that of pairs.

    `spikes` are those of `add_differences`, `windows` (num_windows, num_windows) of float32 the weights of each knot in
    each window, `sigma_um` the standard deviation of the kernel over depth. Returns float32 (num_clouds, num_windows).
    """
    depths_um, features, lower, upper_weight, first_spikes = spikes
    num_clouds, num_windows = first_spikes.size - 1, windows.shape[0]
    energies = np.zeros((num_clouds, num_windows), dtype=np.float32)
    limit_um = REACH_SD * sigma_um
    at_knots = np.zeros(num_windows)
    for cloud in range(num_clouds):
        at_knots[:] = 0.0
        start, end = first_spikes[cloud], first_spikes[cloud + 1]
        for i in range(first_spikes[cloud], end):
            while depths_um[start] < depths_um[i] - limit_um:
                start += 1
            j = start
            total = 0.0
            while j < end and depths_um[j] <= depths_um[i] + limit_um:
                alike = _likeness(features[i], features[j], REACH_SD)
                if alike > 0.0:
                    total += alike * np.exp(-0.5 * ((depths_um[j] - depths_um[i]) / sigma_um) ** 2)
                j += 1
            at_knots[lower[i]] += total * (1.0 - upper_weight[i])
            at_knots[min(lower[i] + 1, num_windows - 1)] += total * upper_weight[i]
        for window in range(num_windows):
            for knot in range(num_windows):
                energies[cloud, window] += windows[window, knot] * at_knots[knot]
    return energies


@numba.njit(nogil=True, cache=True)
def correlate_clouds(spikes, start, stop, lag, windows, energies, max_shift_um, sigma_um, shifts, heights):
    r"""Best shift between every pair of clouds at one lag, in every window.

    The kernel correlation of the clouds a and b in the window w is

    .. math:: C(s) = \frac{\sum_{i \in a} \sum_{j \in b} w(y_i)\, k(f_i - f_j)\, e^{-(y_j - y_i - s)^2 / 2 \sigma^2}}
                          {\sqrt{C_{aa} C_{bb}}}

    with the depth y and the features f of each spike, and the clouds' correlations with themselves.

    `spikes` are those of `add_differences`, `start` and `stop` the first cloud of the segment and the one after its
    last, `lag` the distance of the pairs in clouds; windows, energies and `sigma_um` are those of `self_correlations`.
    `shifts` and `heights` (num_clouds, num_windows), float32, are filled for ``start <= t < stop - lag`` with the
    shift in um, at most `max_shift_um`, and the correlation there, cut to 1; both are 0 where no spikes are alike.
    """
    sigma = sigma_um / FINE_UM
    limit = int(np.ceil(REACH_SD * sigma))
    low_high = int(max_shift_um / FINE_UM)
    reach = low_high + limit + 2
    differences = np.zeros((windows.shape[0], 2 * reach + 1), dtype=np.float32)
    mixed = np.zeros(2 * reach + 1, dtype=np.float32)
    kernel = np.zeros(2 * limit + 1, dtype=np.float32)
    for index in range(kernel.size):
        kernel[index] = np.exp(-0.5 * ((index - limit) / sigma) ** 2)
    stride = max(int(0.8 * sigma), 1)
    for t in range(start, stop - lag):
        add_differences(spikes, t, t + lag, (reach - 1) * FINE_UM, FINE_UM, differences)
        for window in range(windows.shape[0]):
            _mix(windows, differences, window, mixed)
            place, height = best_place(mixed, sigma, reach - low_high, reach + low_high, kernel, stride)
            norm = np.sqrt(energies[t, window] * energies[t + lag, window])
            if height > 0.0 and norm > 0.0:
                shifts[t, window] = (place - reach) * FINE_UM
                heights[t, window] = min(height / norm, 1.0)
