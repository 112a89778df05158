"""Registration of depth profiles of the local field potential, one for each time bin.

The profile over depth changes little from one time bin to the next but for the motion of the tissue, so the shift at
which two profiles correlate best tells the motion between them (Windolf et al. 2025). Pairs at a schedule of lags are
correlated, in every window, by the weighted Pearson correlation over the depths that both see; robust least squares
joins the shifts (`pair_least_squares`). The profiles are then moved back by the result, between contacts by cubic
splines, and what is left is found in further rounds, where the best shift is close to none and a parabola is not biased
by the contacts' distance.

References
----------
Windolf et al. 2025, DREDge: robust motion correction for high-density extracellular recordings across species, Nature
Methods.
"""

from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np

from steadyspike.kernels.motion import motion_prior, pair_least_squares, pairwise_shift

# Share of a window, and of the time bins at a depth, that has to be seen.
LEAST_OVERLAP = 0.4
# Depth steps within which further rounds look for shifts.
RESIDUAL_STEPS = 3
NUM_BLOCKS = 24
LEAST_MISFIT_UM = 0.05
# Time bins that are moved and correlated at once, beside the largest lag.
BLOCK_BINS = 8192
# Pairs of each lag from which their scatter is taken.
MISFIT_PAIRS = 100_000


@dataclass(frozen=True)
class LfpSettings:
    """Numbers that steer `register_profiles`; lengths in um, times in time bins.

    The depth step at which profiles are correlated, the largest displacement between two time bins, and the largest
    lag of a pair; pairs that correlate less than `min_correlation` are left out; `residual_rounds` are those on the
    profiles that the estimate so far has moved back.
    """

    step_um: float = 10.0
    max_displacement_um: float = 100.0
    horizon_bins: int = 2500
    min_correlation: float = 0.6
    residual_rounds: int = 2


@dataclass(frozen=True)
class Profiles:
    """Depth profiles as cubic splines.

    `coefficients` (num_times, num_rows) are those of the cubic B-splines on an even grid of depths from `first_um` in
    steps of `pitch_um`, as `scipy.ndimage.spline_filter1d` gives them.
    """

    coefficients: np.ndarray
    first_um: float
    pitch_um: float

    @property
    def depths_um(self):
        """Depths of the grid."""
        return self.first_um + self.pitch_um * np.arange(self.coefficients.shape[1])


def make_profiles(values, depths_um):
    """Splines of profiles (num_times, num_rows), finite and known at increasing depths.

    On the same depths where they are even, and then in the same memory, else on an even grid of their median step,
    linear in between.
    """
    from scipy.ndimage import spline_filter1d

    if depths_um.size < 2:
        return Profiles(values, float(depths_um[0]), 1.0)
    pitch_um = float(np.median(np.diff(depths_um)))
    grid_um = np.arange(depths_um[0], depths_um[-1] + 0.5 * pitch_um, pitch_um)
    if grid_um.size != depths_um.size or not np.allclose(grid_um, depths_um, atol=0.01 * pitch_um):
        weights = np.stack([np.interp(grid_um, depths_um, unit) for unit in np.eye(depths_um.size)])
        values = values @ weights.astype("float32")
    for start in range(0, values.shape[0], BLOCK_BINS):
        part = values[start : start + BLOCK_BINS]
        part[:] = spline_filter1d(part, order=3, axis=1, mode="mirror", output="float32")
    return Profiles(values, float(grid_um[0]), pitch_um)


@numba.njit(nogil=True, cache=True)
def move_back(coefficients, first_um, pitch_um, displacement, knots_um, grid_um, moved, valid):
    """Profiles as they would be without a displacement.

    For the first three see `Profiles`. `displacement` (num_times, num_knots) is in um, linear between the increasing
    `knots_um`; `grid_um` are the increasing depths of the result. `moved` (num_times, num_depths), float32, is set to
    the profile at the depth plus the displacement there, 0 where no contact sees that; `valid` (num_times, 2), int64,
    to the first depth that is seen, and the one after the last.
    """
    num_times, num_rows = coefficients.shape
    for t in range(num_times):
        valid[t, 0], valid[t, 1] = 0, 0
        knot = 0
        for d in range(grid_um.size):
            while knot < knots_um.size - 2 and grid_um[d] > knots_um[knot + 1]:
                knot += 1
            here = displacement[t, knot]
            if knots_um.size > 1:
                share = (grid_um[d] - knots_um[knot]) / (knots_um[knot + 1] - knots_um[knot])
                share = min(max(share, 0.0), 1.0)
                here += share * (displacement[t, knot + 1] - here)
            place = (grid_um[d] + here - first_um) / pitch_um
            if place < -1e-6 or place > num_rows - 1 + 1e-6:
                moved[t, d] = 0.0
                continue
            cell = min(int(max(place, 0.0)), max(num_rows - 2, 0))
            f = place - cell
            weights = ((1 - f) ** 3, 4 - 6 * f**2 + 3 * f**3, 1 + 3 * f + 3 * f**2 - 3 * f**3, f**3)
            value = 0.0
            for tap in range(4):
                row = abs(cell + tap - 1)
                row = row if row < num_rows else max(2 * (num_rows - 1) - row, 0)
                value += weights[tap] * coefficients[t, row]
            moved[t, d] = value / 6.0
            if valid[t, 1] == 0:
                valid[t, 0] = d
            valid[t, 1] = d + 1


def moved_back(profiles, bins, displacement, knots_um, grid_um):
    """Profiles of some time bins without a displacement, and which depths are seen; see `move_back`."""
    moved = np.empty((len(displacement), grid_um.size), dtype="float32")
    valid = np.empty((len(displacement), 2), dtype="int64")
    spline = profiles.coefficients[bins], profiles.first_um, profiles.pitch_um
    move_back(*spline, displacement, knots_um, grid_um, moved, valid)
    return moved, valid


@dataclass(frozen=True)
class PairRegistration:
    """What pairs of profiles tell, all but the lags of shape (..., num_times, num_windows).

    The displacement (um) has a mean of zero in every segment. Lags, shifts (um) and correlations are those of the last
    round's pairs, whose profiles `moved_by` was taken out of.
    """

    displacement: np.ndarray
    moved_by: np.ndarray
    lags: np.ndarray
    shifts: np.ndarray
    correlations: np.ndarray


def register_profiles(profiles, knots_um, windows_of, segment_edges, settings, progress):
    """Displacement of each time bin in each window, from pairs of profiles of one segment.

    For the arguments see `steadyspike.kernels.motion`.
    """
    displacement = np.zeros((int(segment_edges[-1]), knots_um.size))
    lags = pairwise_shift.lag_schedule(int(np.diff(segment_edges).max()), settings.horizon_bins)
    max_shift = max(int(settings.max_displacement_um / settings.step_um), 2)
    for number in range(1 + settings.residual_rounds):
        moved_by = displacement
        blocks = _blocks(segment_edges, int(lags.max(initial=0)))
        blocks = progress(blocks, f"pairs of profiles, round {number + 1}")
        shifts, correlations = _pairs(
            profiles, moved_by, knots_um, windows_of, blocks, lags, max_shift, settings.step_um
        )
        weights = pairwise_shift.pair_weights(correlations, settings.min_correlation)
        displacement = moved_by + pair_least_squares.solve_pairwise(
            lags, shifts, weights, scale=settings.step_um
        )
        max_shift = min(RESIDUAL_STEPS, max_shift)
    pairwise_shift.center_segments(displacement, segment_edges)
    return PairRegistration(displacement, moved_by, lags, shifts, correlations)


def _blocks(segment_edges, longest):
    """First time bin of each block, the one after its last, and the one after the last that pairs of it reach."""
    return [
        (first, min(first + BLOCK_BINS, stop), min(first + BLOCK_BINS + longest, stop))
        for start, stop in pairwise(segment_edges)
        for first in range(start, stop, BLOCK_BINS)
    ]


def _pairs(profiles, displacement, knots_um, windows_of, blocks, lags, max_shift, step_um):
    """Shifts (um) and correlations of all pairs, after the profiles were moved back."""
    grid_um = np.arange(profiles.first_um, profiles.depths_um[-1] + 1e-3, step_um)
    windows = windows_of(grid_um)
    num_blocks = 1 if np.ptp(windows) == 0 else NUM_BLOCKS
    block_edges, weights = pairwise_shift.window_blocks(windows, num_blocks)
    shifts = np.zeros((lags.size, *displacement.shape), dtype="float32")
    correlations = np.zeros_like(shifts)
    for first, last, seen in blocks:
        some = slice(first, seen)
        moved, valid = moved_back(profiles, some, displacement[some], knots_um, grid_um)
        for index, lag in enumerate(lags):
            part = slice(0, min(last - first + lag, seen - first))
            found = shifts[index, some], correlations[index, some]
            pairwise_shift.correlate_at_lag(
                moved[part, :, None], lag, block_edges, weights, max_shift, *found, valid[part], LEAST_OVERLAP
            )
    shifts *= step_um
    return shifts, correlations


def explained_and_precision(pairs, displacement, segment_edges, settings):
    """What motion explains in each time bin and window, and the precision of its displacement, from its pairs.

    `displacement` (num_times, num_windows) is the estimate in um, perhaps another than that of the pairs. Both results
    have its shape: what is explained is the mean over the pairs of a time bin of the squared correlation, counted less
    where the pair's shift disagrees with the estimate (by much more than most do); the precision is in 1/um^2, 0 where
    nothing was measured.
    """
    solution = displacement - pairs.moved_by
    weights = pairwise_shift.pair_weights(pairs.correlations, settings.min_correlation)
    num_times = solution.shape[0]

    def difference_of(index, lag):
        return solution[lag:] - solution[: num_times - lag] - pairs.shifts[index, : num_times - lag]

    counted = [
        difference_of(index, lag)[weights[index, : num_times - lag] > 0][:MISFIT_PAIRS]
        for index, lag in enumerate(pairs.lags)
    ]
    misfit_um = motion_prior.robust_scale(np.concatenate(counted)) if counted else 0.0
    misfit_um = max(misfit_um, LEAST_MISFIT_UM)
    explained, precision = np.zeros_like(solution), np.zeros_like(solution)
    counts = np.zeros((num_times, 1))
    for index, lag in enumerate(pairs.lags):
        stop = num_times - lag
        inside = motion_prior.same_segment(segment_edges, num_times, lag)[:, None]
        agreement = inside / (1.0 + np.square(difference_of(index, lag) / (3.0 * misfit_um)))
        for place in (slice(None, stop), slice(lag, None)):
            explained[place] += agreement * np.square(pairs.correlations[index, :stop])
            precision[place] += agreement * weights[index, :stop] / misfit_um**2
            counts[place] += inside
    # the pairs of a time bin share its own noise, so that many lags tell little more than two
    precision *= 2.0 / np.maximum(counts, 2.0)
    return explained / np.maximum(counts, 1.0), precision
