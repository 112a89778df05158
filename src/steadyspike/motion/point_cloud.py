"""Motion estimation from localized spikes as clouds of points, as a motion estimator of SpikeInterface."""

import numpy as np

from steadyspike.core.settings import parameter
from steadyspike.kernels.motion import kernel_correlation, point_cloud
from steadyspike.motion.problem import PeakEstimator, finish
from steadyspike.motion.settings import PairSettings


class PointCloudSettings(PairSettings):
    """Parameters of `steady_point_cloud`."""

    part = "steady_point_cloud"

    depth_kernel_um: float = parameter(
        5.0, "Standard deviation of the kernel over depth", unit="um", ge=kernel_correlation.FINE_UM
    )
    feature_kernel: float = parameter(
        0.3,
        """Standard deviation of the kernel over the logarithm of the amplitude, and over the position across the
        probe, in robust standard deviations of each""",
        gt=0,
    )
    use_position: bool = parameter(
        True, 'Use the position across the probe ("x", for motion along "y") where the peak locations have it'
    )
    max_peaks_per_bin: int = parameter(
        500,
        "Where a time bin holds more peaks, the pairs are made from evenly spread ones of this number",
        ge=1,
    )
    peaks_per_window: float = parameter(
        8.0,
        """For the pairs, time bins are put together until at the median there are this many peaks for each window; 0:
        never""",
        ge=0,
    )
    residual_rounds: int = parameter(
        2,
        """How often pairs are registered again from corrected depths, within a small range. This sharpens what wide
        windows blur""",
        ge=0,
    )


class SteadyPointCloudRegistration(PeakEstimator):
    """Registration of localized spikes as points: depth, amplitude and place across the probe.

    Pairs of time bins at a schedule of lags are registered by the kernel correlation of their spikes, without depth
    bins: pairs of spikes of like amplitude (and x) vote for the difference of their depths. Robust least squares joins
    the shifts (see `steadyspike.kernels.motion.point_cloud`), and maximum likelihood refines the result, as in
    `steady_decentralized`. Memory and time grow linearly with duration.

    Used as ``estimate_motion(recording, peaks, peak_locations, method="steady_point_cloud", ...)``.
    Peaks whose location along the direction is NaN or infinite are left out.

    With ``extra_outputs=True`` it tells "temporal_hist_bin_edges", "window_centers", "merged_bins" (how many time bins
    were put together for the pairs), "pairs_displacement_um" (before refinement), "explained" and
    "displacement_sd_um", these three of shape (num_times, num_windows). The last two are those of
    `steady_decentralized`.

    References
    ----------
    Boussard et al. 2021, Three-dimensional spike localization and improved motion correction for Neuropixels
    recordings, NeurIPS.
    """

    settings_class = PointCloudSettings

    @classmethod
    def solve(cls, problem, settings, extra):
        """Estimate the motion; see `run`."""
        amplitudes = np.abs(problem.spikes.amplitudes)
        columns = [np.log(amplitudes, out=np.full(amplitudes.shape, np.nan), where=amplitudes > 0)]
        across = "y" if problem.windows.direction == "x" else "x"
        if settings.use_position and across in problem.peak_locations.dtype.names:
            columns.append(problem.peak_locations[across][problem.order])
        pairs = point_cloud.register_clouds(
            problem.spikes,
            point_cloud.scaled_features(columns, settings.feature_kernel, problem.spikes.groups),
            problem.centers_um,
            problem.windows_of(problem.centers_um),
            problem.depth_range_um,
            problem.times.segment_edges,
            point_cloud.CloudSettings(
                depth_kernel_um=settings.depth_kernel_um,
                max_displacement_um=settings.max_displacement_um,
                horizon_bins=settings.horizon_bins(settings.bin_s, problem.times.num_times),
                min_correlation=settings.corr_threshold,
                max_spikes_per_bin=settings.max_peaks_per_bin,
                spikes_per_window=settings.peaks_per_window,
                residual_rounds=settings.residual_rounds,
            ),
            problem.progress,
        )
        if extra is not None:
            extra["merged_bins"] = pairs.merged_bins
            extra["pairs_displacement_um"] = pairs.displacement
        starts = [pairs.displacement, np.zeros_like(pairs.displacement)]
        return finish(problem, starts, settings.registration(), extra)
