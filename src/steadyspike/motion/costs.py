"""Time and memory that an estimation of motion takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.kernels.motion import registration

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

    from steadyspike.motion.settings import WindowSettings

MB = 1e6


@dataclass(frozen=True)
class Costs:
    """What one peak, cell, product and pair of a registration cost.

    `base_mb` is the memory of a process that has imported everything, in MB; a peak costs `seconds_per_peak` in each
    round. `calibration_s` is what `calibrate` gave when these times were measured.
    """

    base_mb: float
    bytes_per_peak: float
    bytes_per_cell: float
    bytes_per_pair: float
    seconds_per_peak: float
    seconds_per_product: float
    seconds_per_pair: float
    calibration_s: float


# printed by: python -m steadyspike_benchmarks memory --costs
MEASURED = {
    "steady_decentralized": Costs(
        base_mb=205.0,
        bytes_per_peak=70.1,
        bytes_per_cell=2.07,
        bytes_per_pair=27.0,
        seconds_per_peak=8.7e-08,
        seconds_per_product=2.09e-10,
        seconds_per_pair=2.91e-06,
        calibration_s=0.00279,
    )
}


@dataclass(frozen=True)
class ProblemSize:
    """Numbers of what a registration works on.

    Time bins are compared at `num_lags` lags and `num_shifts` shifts each; of rounds the costs count those from other
    starts in.
    """

    num_peaks: int
    num_times: int
    num_depths: int
    num_windows: int
    num_lags: int
    num_shifts: int
    num_rounds: int

    @property
    def num_cells(self) -> int:
        """Cells of the raster."""
        return self.num_times * self.num_depths * registration.NUM_PAIR_MARKS

    @property
    def num_pairs(self) -> int:
        """Pairs of time bins, in all windows."""
        return self.num_times * self.num_lags * self.num_windows

    @property
    def num_products(self) -> int:
        """Products that the correlations of all pairs sum up."""
        return self.num_cells * self.num_lags * self.num_shifts

    def memory_features(self) -> np.ndarray:
        """Give peaks, cells and pairs: memory is linear in them."""
        return np.array([self.num_peaks, self.num_cells, self.num_pairs], dtype="float64")

    def time_features(self) -> np.ndarray:
        """Give peaks times rounds, products and pairs: time is linear in them."""
        return np.array(
            [self.num_peaks * self.num_rounds, self.num_products, self.num_pairs], dtype="float64"
        )

    def memory_mb(self, costs: Costs) -> float:
        """Give the expected peak memory in MB."""
        weights = np.array([costs.bytes_per_peak, costs.bytes_per_cell, costs.bytes_per_pair])
        return costs.base_mb + float(weights @ self.memory_features()) / MB

    def seconds(self, costs: Costs, speed: float = 1.0) -> float:
        """Give the expected time in s on a machine that is `speed` times as fast as that of the costs."""
        weights = np.array([costs.seconds_per_peak, costs.seconds_per_product, costs.seconds_per_pair])
        return float(weights @ self.time_features()) / speed


def calibrate() -> float:
    """Time a piece of work whose duration tells how fast this machine is: some 5 ms, the best of a few."""
    first, second = np.random.default_rng(0).random((2, 20_000), dtype="float32")
    product = np.empty_like(first)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(500):
            np.multiply(first, second, out=product)
            product.sum()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def time_and_memory_in_words(seconds: float, megabytes: float) -> str:
    """Time and memory as a message tells them."""
    return f"{about(seconds)}, {size_in_words(megabytes)} of memory"


def about(seconds: float) -> str:
    """Say about how long something takes."""
    return f"about {in_words(seconds)}" if seconds >= 1 else in_words(seconds)


def in_words(seconds: float) -> str:
    """Say a duration in the units that fit it."""
    if seconds < 1:
        return "less than 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size_in_words(megabytes: float) -> str:
    """Size in MB or GB, in whole MB, or in GB with one decimal."""
    if megabytes < 1:
        return "less than 1 MB"
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"


def problem_size(
    recording: BaseRecording, num_peaks: int, windows: WindowSettings, settings: Any
) -> ProblemSize:
    """Give the size of the registration of `steady_decentralized`."""
    from steadyspike.kernels.motion.pairwise_shift import lag_schedule
    from steadyspike.motion.problem import time_bins, windows_on

    depths_um = recording.get_channel_locations()[:, "xyz".index(windows.direction)]
    _, centers_um = windows_on(depths_um, windows)(depths_um)
    num_depths = int((np.ptp(depths_um) + 2 * settings.hist_margin_um) / settings.bin_um) + 2
    bins = time_bins(settings.part, recording, settings.bin_s)
    longest = int(np.diff(bins.segment_edges).max())
    lags = lag_schedule(longest, settings.horizon_bins(settings.bin_s, bins.num_times))
    max_shift = int(np.clip(settings.max_displacement_um / settings.bin_um, 1, max(num_depths // 2, 1)))
    return ProblemSize(
        num_peaks=num_peaks,
        num_times=bins.num_times,
        num_depths=num_depths,
        num_windows=len(centers_um),
        num_lags=lags.size,
        num_shifts=2 * max_shift + 1,
        num_rounds=settings.refine_iterations + 1,
    )


def estimation_in_words(
    recording: BaseRecording, num_peaks: int, windows: WindowSettings, settings: Any
) -> str:
    """Say what an estimate will take; see `problem_size`."""
    size, costs = problem_size(recording, num_peaks, windows, settings), MEASURED[settings.part]
    return time_and_memory_in_words(
        size.seconds(costs, costs.calibration_s / calibrate()), size.memory_mb(costs)
    )
