"""`DecentralizedRegistration.run`: the estimates of SpikeInterface's method `decentralized`.

Its all-pairs matrices are computed tile by tile, and what the least squares need of them is kept: the pairs within
the time horizon by lag, and sums. SpikeInterface's iterations trim only the smoothness priors, never the pairs, and
start at the mean displacement of each row; that start decides where windows without a spatial prior lie relative to
each other, so that it is reproduced too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from spikeinterface.core.motion import Motion
from spikeinterface.sortingcomponents.motion import motion_utils

from steadyspike.integration.acceleration import threads
from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.replacements.histograms import motion_histogram, spatial_windows
from steadyspike.kernels.motion import pair_least_squares
from steadyspike.kernels.motion.pair_correlation import PairCorrelation

ROWS, COLUMNS = 128, 512
"""Pairs of a tile; its products, best values and lags stay in the cache."""


@dataclass(frozen=True)
class _Pairs:
    """How pairs of time bins are compared and weighted: arguments of SpikeInterface's method."""

    bin_um: float
    max_displacement_um: float | None
    weight_scale: str
    error_sigma: float
    corr_threshold: float | None
    normalized_xcorr: bool
    centered_xcorr: bool
    soft_weights: bool
    dtype: str


@dataclass
class _Window:
    """Equations of one window, and what its residuals' mean and deviation need."""

    band: np.ndarray
    right_side: np.ndarray
    imbalance: np.ndarray
    start: np.ndarray
    num_pairs: int = 0
    target: float = 0.0
    target_squared: float = 0.0
    full: np.ndarray | None = None


@replaces(
    "spikeinterface.sortingcomponents.motion.decentralized",
    "DecentralizedRegistration.run",
    name="decentralized",
    sources=("471c7ee84aee012e",),
    helpers=(
        "compute_pairwise_displacement",
        "compute_global_displacement",
        "spikeinterface.sortingcomponents.motion.motion_utils:make_2d_motion_histogram",
        "spikeinterface.sortingcomponents.motion.motion_utils:scipy_conv1d",
    ),
)
def run(
    recording: Any,
    peaks: np.ndarray,
    peak_locations: np.ndarray,
    direction: str,
    rigid: bool,
    win_shape: str,
    win_step_um: float,
    win_scale_um: float,
    win_margin_um: float | None,
    verbose: bool,
    progress_bar: bool,
    extra: dict[str, Any] | None,
    bin_um: float = 5.0,
    hist_margin_um: float = 20.0,
    bin_s: float = 2.0,
    histogram_depth_smooth_um: float | None = 1.0,
    histogram_time_smooth_s: float | None = 1.0,
    pairwise_displacement_method: str = "conv",
    max_displacement_um: float | None = 100.0,
    weight_scale: str = "linear",
    error_sigma: float = 0.2,
    conv_engine: str | None = None,
    torch_device: Any = None,
    batch_size: int = 1,
    corr_threshold: float | None = 0.0,
    time_horizon_s: float | None = None,
    convergence_method: str = "lsmr",
    soft_weights: bool = False,
    normalized_xcorr: bool = True,
    centered_xcorr: bool = True,
    temporal_prior: bool = True,
    spatial_prior: bool = False,
    force_spatial_median_continuity: bool = False,
    reference_displacement: str = "median",
    reference_displacement_time_s: float = 0,
    robust_regression_sigma: float = 2,
    lsqr_robust_n_iter: int = 20,
    weight_with_amplitude: bool = False,
) -> Motion:
    """Do what `DecentralizedRegistration.run` does."""
    if pairwise_displacement_method != "conv":
        raise NotCoveredError(f"pairwise_displacement_method={pairwise_displacement_method!r}")
    if convergence_method != "lsmr":
        raise NotCoveredError(f"convergence_method={convergence_method!r}")
    if weight_scale not in ("linear", "exp") or conv_engine not in (None, "torch", "numpy"):
        raise NotCoveredError(f"weight_scale={weight_scale!r} with conv_engine={conv_engine!r}")
    if torch_device is not None and str(torch_device) != "cpu":
        raise NotCoveredError(f"torch_device={torch_device!r}")
    if spatial_prior and rigid:
        raise NotCoveredError("spatial_prior with a rigid motion")
    edges_um = motion_utils.get_spatial_bin_edges(recording, direction, hist_margin_um, bin_um)
    windows, centers_um = spatial_windows(
        *(recording, direction, edges_um),
        rigid=rigid,
        win_shape=win_shape,
        win_step_um=win_step_um,
        win_scale_um=win_scale_um,
        win_margin_um=win_margin_um,
        zero_threshold=None,
    )
    slices = window_slices(windows)
    histogram, edges_s, edges_um = motion_histogram(
        recording,
        peaks,
        peak_locations,
        direction=direction,
        bin_s=bin_s,
        spatial_bin_edges=edges_um,
        weight_with_amplitude=weight_with_amplitude,
        depth_smooth_um=histogram_depth_smooth_um,
        time_smooth_s=histogram_time_smooth_s,
    )
    if len(histogram) < 2 or not np.isfinite(histogram).all():
        raise NotCoveredError("fewer than two time bins, or amplitudes that are not finite")
    if verbose:
        print("Computing motion histogram")
    pairs = _Pairs(
        bin_um,
        max_displacement_um,
        weight_scale,
        error_sigma,
        corr_threshold,
        normalized_xcorr,
        centered_xcorr,
        soft_weights,
        "float64" if conv_engine == "numpy" else "float32",
    )
    band = _band_width(time_horizon_s, bin_s, len(histogram))
    # where no offset between windows is left over, distant pairs tell nothing
    offsets_matter = not temporal_prior or (
        len(windows) > 1 and not force_spatial_median_continuity and reference_displacement != "time"
    )
    offsets_matter |= reference_displacement == "mode_search"
    prior = (temporal_prior, spatial_prior, robust_regression_sigma, lsqr_robust_n_iter)
    joined, solved, full = [], [], []
    for index in _progress(range(len(windows)), progress_bar):
        if verbose:
            print(f"Computing pairwise displacement: {index + 1} / {len(windows)}")
        equations = _equations(
            histogram[:, slices[index]],
            windows[index][slices[index]],
            pairs,
            band,
            everywhere=offsets_matter or extra is not None,
            keep=extra is not None,
        )
        full.append(equations.full)
        if spatial_prior:
            joined.append(equations)
        else:
            # one window's pairs at a time are in memory
            solved.append(_solve([equations], *prior))
    if verbose:
        print("Computing global displacement")
    displacement = np.concatenate([_solve(joined, *prior)] if spatial_prior else solved).T.copy()
    if not spatial_prior and force_spatial_median_continuity:
        for index in range(len(windows) - 1):
            displacement[:, index + 1] -= np.median(displacement[:, index + 1] - displacement[:, index])
    _refer(displacement, reference_displacement, reference_displacement_time_s, edges_s)
    if extra is not None:
        extra["motion_histogram"] = histogram
        extra["pairwise_displacement_list"] = full
        extra["temporal_hist_bin_edges"] = edges_s
        extra["spatial_hist_bin_edges"] = edges_um
    np.nan_to_num(displacement, copy=False)
    return Motion([displacement], [0.5 * (edges_s[1:] + edges_s[:-1])], centers_um, direction=direction)


def window_slices(windows: np.ndarray) -> list[slice]:
    """Return the depth bins in which SpikeInterface uses each window: it leaves out the last."""
    slices = []
    for window in windows:
        inside = np.flatnonzero(window > 1e-5)
        if inside.size < 2 or inside[-1] - inside[0] < 2:
            raise NotCoveredError("a window of fewer than two depth bins")
        slices.append(slice(inside[0], inside[-1]))
    return slices


def _band_width(time_horizon_s: float | None, bin_s: float, num_times: int) -> int:
    """Pairs count whose time bins are fewer than this apart."""
    if time_horizon_s is None or time_horizon_s <= 0:
        return num_times
    return min(int(np.ceil(time_horizon_s / bin_s)), num_times)


def _progress(iterable: Any, shown: bool) -> Any:
    if not shown:
        return iterable
    from tqdm.auto import tqdm

    return tqdm(iterable, desc="pairwise displacement")


def tiles(num_times: int, reach: int) -> Iterator[tuple[slice, slice]]:
    """Cut pairs of time bins that are fewer than `reach` apart into tiles."""
    for first in range(0, num_times, ROWS):
        rows = slice(first, min(first + ROWS, num_times))
        begin, end = max(0, rows.start - reach + 1), min(num_times, rows.stop + reach - 1)
        for start in range(begin, end, COLUMNS):
            yield rows, slice(start, min(start + COLUMNS, end))


def correlated(
    correlation: PairCorrelation, parts: Iterable[tuple[slice, slice]]
) -> Iterator[tuple[slice, slice, np.ndarray, np.ndarray]]:
    """Correlate tiles, as many at a time as there are threads; give each with its heights and lags, in order."""
    parts = iter(parts)
    while some := list(islice(parts, threads.num_threads())):
        found = threads.run_all([partial(correlation.best_lags, *part) for part in some])
        for part, (heights, lags) in zip(some, found, strict=True):
            yield *part, heights, lags


def _equations(
    histogram: np.ndarray, window: np.ndarray, pairs: _Pairs, band: int, everywhere: bool, keep: bool
) -> _Window:
    """Correlate the time bins of a window with each other, and collect the equations."""
    num_times, length = histogram.shape
    reach = length // 2
    if pairs.max_displacement_um is not None:
        reach = min(reach, int(np.ceil(pairs.max_displacement_um // pairs.bin_um)))
    displacements = np.arange(-reach, reach + 1) * pairs.bin_um
    correlation = PairCorrelation(
        histogram, histogram, window, reach, pairs.normalized_xcorr, pairs.centered_xcorr, pairs.dtype
    )
    found = _Window(
        # pairs count whole unless they are soft
        band=np.zeros((max(band - 1, 1), num_times), dtype="float64" if pairs.soft_weights else "float32"),
        right_side=np.zeros(num_times),
        imbalance=np.zeros(num_times),
        start=np.zeros(num_times),
        full=np.empty((num_times, num_times), dtype="float32") if keep else None,
    )
    parts = tiles(num_times, num_times if everywhere else band)
    for rows, columns, heights, lags in correlated(correlation, parts):
        shifts = displacements[lags]
        found.start[rows] += shifts.sum(axis=1)
        if found.full is not None:
            found.full[rows, columns] = shifts
        weights = _weights(heights, pairs)
        distance = np.abs(np.arange(rows.start, rows.stop)[:, None] - np.arange(columns.start, columns.stop))
        counted = (weights > 0) & (distance < band)
        if not counted.any():
            continue
        weights = np.where(counted, weights if pairs.soft_weights else 1.0, 0.0)
        targets = weights * shifts
        found.num_pairs += int(counted.sum())
        found.target += targets.sum()
        found.target_squared += np.square(targets).sum()
        found.imbalance[rows] += weights.sum(axis=1)
        found.imbalance[columns] -= weights.sum(axis=0)
        pair_least_squares.add_pairs(
            rows.start, columns.start, np.square(weights), weights * targets, found.band, found.right_side
        )
    found.start /= num_times
    return found


def _weights(heights: np.ndarray, pairs: _Pairs) -> np.ndarray:
    heights = heights.astype("float64")
    if pairs.corr_threshold is not None and pairs.corr_threshold > 0:
        heights *= heights > pairs.corr_threshold
    if pairs.weight_scale == "exp":
        heights = np.exp((heights - 1) / pairs.error_sigma)
    return heights


def _solve(
    windows: list[_Window], temporal_prior: bool, spatial_prior: bool, sigma: float, num_iterations: int
) -> np.ndarray:
    """Solve the least squares of some windows together, in rounds that trim the priors.

    Returns float64 (num_windows, num_times).
    """
    bands = np.stack([one.band for one in windows]) if len(windows) > 1 else windows[0].band[None]
    right_side, imbalance, x = (
        np.stack([getattr(one, name) for one in windows]) for name in ("right_side", "imbalance", "start")
    )
    num_pairs, target, target_squared = (
        sum(getattr(one, name) for one in windows) for name in ("num_pairs", "target", "target_squared")
    )
    degrees = pair_least_squares.degrees_of(bands)
    num_windows, num_times = x.shape
    chain = np.full((num_windows, num_times - 1), float(temporal_prior))
    cross = np.full((num_windows - 1, num_times), float(spatial_prior))
    for _ in range(max(1, num_iterations)):
        x = pair_least_squares.solve(bands, right_side, x, degrees, chain, cross)
        along, across = np.diff(x, axis=1), x[:-1] - x[1:]
        priors = np.concatenate(
            [along.ravel() if temporal_prior else [], across.ravel() if spatial_prior else []]
        )
        total = np.sum(imbalance * x) - target + priors.sum()
        squared = pair_least_squares.energy(bands, degrees, x) - 2 * np.sum(right_side * x) + target_squared
        squared += np.square(priors).sum()
        number = num_pairs + priors.size
        mean = total / number if number else 0.0
        deviation = np.sqrt(max(squared / number - mean**2, 0.0)) if number else 0.0
        # without any deviation nothing is within it, as in SpikeInterface
        kept_chain = (np.abs(along - mean) <= sigma * deviation) & (deviation > 0) & temporal_prior
        kept_cross = (np.abs(across - mean) <= sigma * deviation) & (deviation > 0) & spatial_prior
        if (kept_chain == chain).all() and (kept_cross == cross).all():
            break
        chain, cross = kept_chain.astype("float64"), kept_cross.astype("float64")
    return x


def _refer(displacement: np.ndarray, reference: str, reference_s: float, edges_s: np.ndarray) -> None:
    """Say which displacement is zero, in place."""
    if reference == "mean":
        displacement -= displacement.mean()
    elif reference == "median":
        displacement -= np.median(displacement)
    elif reference == "time":
        displacement -= displacement[np.digitize(reference_s, edges_s) - 1, :]
    elif reference == "mode_search":
        best = np.median(displacement)
        most = np.sum(np.round(displacement - best) == 0)
        for candidate in np.arange(np.floor(displacement.min()), np.ceil(displacement.max()), 0.1):
            number = np.sum(np.round(displacement - candidate) == 0)
            if number > most:
                most, best = number, candidate
        displacement -= best
