"""`dredge_ap`: the estimates of DREDge's spike registration as SpikeInterface has it.

Its time-by-time matrices of displacement and correlation are computed tile by tile, within the time horizon only, and
added to the normal equations, which are held by lag: memory grows with (duration x horizon), and the equations are
solved by conjugate gradients in place of dense block elimination.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from spikeinterface.core.motion import Motion
from spikeinterface.sortingcomponents.motion import dredge as upstream

from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.replacements.decentralized import correlated, tiles
from steadyspike.integration.acceleration.replacements.histograms import motion_histogram, spatial_windows
from steadyspike.kernels.motion import pair_least_squares
from steadyspike.kernels.motion.pair_correlation import PairCorrelation

BLOCK = 512
"""SpikeInterface leaves out whole blocks of so many time bins that are farther apart than the horizon."""
KNOWN_XCORR = {"centered", "normalized", "max_dt_bins"}
KNOWN_THOMAS = {"lambda_t", "lambda_s", "eps", "bandwidth"}


@dataclass(frozen=True)
class _Problem:
    """Raster and windows, and how pairs of time bins are compared."""

    raster: np.ndarray
    windows: np.ndarray
    max_disp_um: float
    bin_um: float
    bin_s: float
    mincorr: float
    horizon_s: float | None
    skip_bins: float | None
    centered: bool

    @property
    def num_times(self) -> int:
        return self.raster.shape[1]

    @property
    def reach(self) -> int:
        """Pairs that are fewer time bins apart may count."""
        reach = self.num_times
        if self.horizon_s is not None:
            reach = min(reach, int(self.horizon_s / self.bin_s) + 3)
        if self.skip_bins:
            reach = min(reach, (int(self.skip_bins // BLOCK) + 2) * BLOCK)
        return reach

    def computed(self, rows: slice, columns: slice) -> np.ndarray:
        """Which pairs SpikeInterface computes."""
        first, second = _bins(rows)[:, None] // BLOCK, _bins(columns) // BLOCK
        between = np.maximum(np.abs(first - second) - 1, 0) * BLOCK
        return between <= self.skip_bins if self.skip_bins else np.ones(between.shape, dtype=bool)

    def within_horizon(self, rows: slice, columns: slice) -> np.ndarray:
        """Which pairs SpikeInterface uses."""
        apart = np.abs(self.bin_s * _bins(rows)[:, None] - self.bin_s * _bins(columns))
        return self.computed(rows, columns) & (True if self.horizon_s is None else apart <= self.horizon_s)


def _bins(part: slice) -> np.ndarray:
    return np.arange(part.start, part.stop)


@replaces(
    "spikeinterface.sortingcomponents.motion.dredge",
    "dredge_ap",
    name="dredge_ap",
    sources=("4085466364fa2a10",),
    helpers=(
        "compute_displacement_full",
        "laplacian",
        "neg_hessian_likelihood_term",
        "newton_rhs",
        "newton_solve_rigid",
        "thomas_solve",
        "threshold_correlation_matrix",
        "xcorr_windows",
        "calc_corr_decent_pair",
        "normxcorr1d",
        "weight_correlation_matrix",
        "spikeinterface.sortingcomponents.motion.motion_utils:make_2d_motion_histogram",
        "spikeinterface.sortingcomponents.motion.motion_utils:get_window_domains",
    ),
)
def registration(
    recording: Any,
    peaks: np.ndarray,
    peak_locations: np.ndarray,
    direction: str = "y",
    rigid: bool = False,
    win_shape: str = "gaussian",
    win_step_um: float = 400,
    win_scale_um: float = 450,
    win_margin_um: float | None = None,
    bin_um: float = 1.0,
    bin_s: float = 1.0,
    max_disp_um: float | None = None,
    time_horizon_s: float | None = 1000.0,
    mincorr: float = 0.1,
    do_window_weights: bool = True,
    weights_threshold_low: Any = 0.2,
    weights_threshold_high: Any = 0.2,
    mincorr_percentile: float | None = None,
    mincorr_percentile_nneighbs: int | None = None,
    amp_scale_fn: Callable | None = None,
    post_transform: Callable | None = np.log1p,
    histogram_depth_smooth_um: float | None = 1,
    histogram_time_smooth_s: float | None = 1,
    avg_in_bin: bool = False,
    thomas_kw: dict[str, Any] | None = None,
    xcorr_kw: dict[str, Any] | None = None,
    device: Any = None,
    progress_bar: bool = True,
    extra_outputs: bool = False,
    precomputed_D_C_maxdisp: tuple | None = None,
    chunk_len_s: float | None = None,
    batching_mode: str = "full",
) -> Motion | tuple[Motion, dict[str, Any]]:
    """Do what `dredge_ap` does."""
    thomas_kw, xcorr_kw = dict(thomas_kw or {}), dict(xcorr_kw or {})
    _check(batching_mode, mincorr_percentile, precomputed_D_C_maxdisp, thomas_kw, xcorr_kw, device)
    histogram, edges_s, edges_um = motion_histogram(
        recording,
        peaks,
        peak_locations,
        weight_with_amplitude=True,
        avg_in_bin=avg_in_bin,
        direction=direction,
        bin_s=bin_s,
        bin_um=bin_um,
        hist_margin_um=0.0,
        spatial_bin_edges=None,
        depth_smooth_um=histogram_depth_smooth_um,
        time_smooth_s=histogram_time_smooth_s,
    )
    if len(histogram) < 2 or not np.isfinite(histogram).all():
        raise NotCoveredError("fewer than two time bins, or amplitudes that are not finite")
    windows, centers_um = spatial_windows(
        *(recording, direction, edges_um),
        rigid=rigid,
        win_shape=win_shape,
        win_step_um=win_step_um,
        win_scale_um=win_scale_um,
        win_margin_um=win_margin_um,
        zero_threshold=1e-5,
    )
    if not np.isfinite(windows).all() or not (windows > 0).any(axis=1).all():
        raise NotCoveredError("an empty window")
    if time_horizon_s:
        xcorr_kw["max_dt_bins"] = np.ceil(time_horizon_s / bin_s)
    skip_bins = xcorr_kw.pop("max_dt_bins", None)
    largest_um = max_disp_um
    if largest_um is None:
        largest_um = int(np.ptp(edges_um) // 4) if rigid else int(win_scale_um // 4)
    if largest_um >= np.ptp(edges_um):
        # the best of lags with hardly any overlap is decided by how their correlations are rounded
        raise NotCoveredError("max_disp_um as long as the probe")
    # SpikeInterface compares the horizon in s with a number of time bins
    masked = time_horizon_s is not None and 0 < time_horizon_s < len(histogram)
    problem = _Problem(
        histogram.T,
        windows,
        largest_um,
        bin_um,
        bin_s,
        mincorr,
        time_horizon_s if masked else None,
        skip_bins,
        xcorr_kw.get("centered", True),
    )
    weights_kw = dict(
        do_window_weights=do_window_weights,
        weights_threshold_low=weights_threshold_low,
        weights_threshold_high=weights_threshold_high,
    )
    extra: dict[str, Any] = {}
    if extra_outputs:
        # what is asked for are the matrices themselves
        displacement, extra = upstream.compute_displacement_full(
            problem.raster,
            windows,
            edges_um,
            win_scale_um,
            None,
            extra,
            True,
            thomas_kw,
            dict(mincorr=mincorr, time_horizon_s=time_horizon_s, **weights_kw),
            dict(progress_bar=False),
            dict(bin_s=bin_s),
            (*_all_pairs(problem), largest_um),
            post_transform,
        )
        extra["windows"] = windows
        extra["window_centers"] = centers_um
        extra["max_disp_um"] = max_disp_um
    else:
        inverse_weights = _inverse_weights(problem, edges_um, post_transform, **weights_kw)
        displacement = _solve(*_equations(problem, inverse_weights), **thomas_kw)
    motion = Motion([displacement.T], [0.5 * (edges_s[1:] + edges_s[:-1])], centers_um, direction=direction)
    return (motion, extra) if extra_outputs else motion


def _check(
    batching_mode: str,
    mincorr_percentile: float | None,
    precomputed: tuple | None,
    thomas_kw: dict[str, Any],
    xcorr_kw: dict[str, Any],
    device: Any,
) -> None:
    if not xcorr_kw.get("normalized", True):
        raise NotCoveredError("xcorr_kw with normalized=False")
    if batching_mode != "full":
        raise NotCoveredError(f"batching_mode={batching_mode!r}")
    if mincorr_percentile is not None or precomputed is not None:
        raise NotCoveredError("mincorr_percentile or precomputed_D_C_maxdisp")
    if set(xcorr_kw) - KNOWN_XCORR or set(thomas_kw) - KNOWN_THOMAS:
        raise NotCoveredError(f"xcorr_kw={sorted(xcorr_kw)}, thomas_kw={sorted(thomas_kw)}")
    if (
        thomas_kw.get("lambda_t", 1.0) <= 0
        or thomas_kw.get("eps", 1.0) <= 0
        or thomas_kw.get("lambda_s", 1.0) < 0
    ):
        raise NotCoveredError("thomas_kw without smoothness over time, or without eps")
    if _on_gpu(device):
        raise NotCoveredError("a GPU does it")


def _on_gpu(device: Any) -> bool:
    if device is not None:
        return str(device) != "cpu"
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def _correlation(problem: _Problem, index: int) -> tuple[PairCorrelation, np.ndarray]:
    """Correlations in one window, and the displacement that each lag means."""
    window = problem.windows[index]
    inside = np.flatnonzero(window)
    start, stop = inside[0], inside[-1] + 1
    reach = int(problem.max_disp_um // problem.bin_um)
    low, high = max(0, start - reach), min(window.size, stop + reach)
    padding = max(low - (start - reach), (stop + reach) - high)
    correlation = PairCorrelation(
        problem.raster[start:stop].T,
        problem.raster[low:high].T,
        window[start:stop].astype("float32"),
        padding,
        centered=problem.centered,
    )
    left, right = padding + start - low, padding + high - stop
    return correlation, -np.arange(-left, right + 1) * problem.bin_um


def _all_pairs(problem: _Problem) -> tuple[np.ndarray, np.ndarray]:
    """Displacement and correlation of all pairs, as `xcorr_windows` gives them."""
    shape = (len(problem.windows), problem.num_times, problem.num_times)
    shifts, heights = np.zeros(shape, dtype="float32"), np.zeros(shape, dtype="float32")
    for index in range(shape[0]):
        correlation, displacements = _correlation(problem, index)
        parts = tiles(problem.num_times, problem.num_times)
        wanted = (part for part in parts if problem.computed(*part).any())
        for rows, columns, best, where in correlated(correlation, wanted):
            computed = problem.computed(rows, columns)
            # templates come first there
            shifts[index, columns, rows] = (displacements[where] * computed).T
            heights[index, columns, rows] = (best * computed).T
    return shifts, heights


def _inverse_weights(
    problem: _Problem, edges_um: np.ndarray, post_transform: Any, do_window_weights: bool, **thresholds: Any
) -> np.ndarray:
    """Reciprocal weight of each time bin in each window: infinite where there is too little to see."""
    if not do_window_weights:
        return np.zeros((len(problem.windows), problem.num_times))
    _, weights, _ = upstream.get_weights(
        [None] * len(problem.windows),
        None,
        None,
        problem.windows,
        problem.raster,
        edges_um,
        post_transform=post_transform,
        **thresholds,
    )
    with np.errstate(divide="ignore"):
        return 1.0 / weights


def _equations(problem: _Problem, inverse_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of pairs by lag, the right side, and which time bins have pairs, for each window."""
    num_windows, num_times = inverse_weights.shape
    bands = np.zeros((num_windows, max(problem.reach - 1, 1), num_times), dtype="float32")
    right_side = np.zeros((num_windows, num_times))
    seen = np.zeros((num_windows, num_times), dtype=bool)
    for index in range(num_windows):
        correlation, displacements = _correlation(problem, index)
        inverse = inverse_weights[index]
        for rows, columns, best, where in correlated(correlation, tiles(num_times, problem.reach)):
            used = problem.within_horizon(rows, columns)
            squared = np.square(np.where(used & (best >= problem.mincorr), best, np.float32(0)))
            with np.errstate(divide="ignore"):
                weights = np.abs(1.0 / (1.0 / squared + (inverse[rows, None] + inverse[columns])))
            weights = weights.astype("float32").astype("float64")
            seen[index, columns] |= (weights > 0).any(axis=0)
            # displacements are those of the columns
            pulls = -weights * displacements[where]
            pair_least_squares.add_pairs(
                rows.start, columns.start, weights, pulls, bands[index], right_side[index]
            )
    seen[~seen.any(axis=1)] = True
    return bands, right_side, seen


def _solve(
    bands: np.ndarray,
    right_side: np.ndarray,
    seen: np.ndarray,
    lambda_t: float = upstream.DEFAULT_LAMBDA_T,
    lambda_s: float = 1.0,
    eps: float = upstream.DEFAULT_EPS,
    bandwidth: Any = None,
) -> np.ndarray:
    """Solve for the displacement, of shape (num_windows, num_times)."""
    joined = len(bands) > 1 and lambda_s > 0
    return pair_least_squares.solve(
        bands,
        right_side,
        np.zeros_like(right_side),
        chain=0.5 * lambda_t,
        bend=0.25 * lambda_s if joined else 0.0,
        # SpikeInterface adds it with each of the two priors
        ridge=(2.0 if joined else 1.0) * eps * seen,
    )
