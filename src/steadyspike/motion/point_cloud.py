"""Motion estimation from localized spikes as clouds of points, as a motion estimator of SpikeInterface."""

import numpy as np

from steadyspike.core.arguments import check_arguments
from steadyspike.kernels.motion import kernel_correlation, point_cloud, registration
from steadyspike.motion.problem import PEAKS_PARAMS_DOC, build_problem, check_common, finish


class SteadyPointCloudRegistration:
    """Registration of localized spikes as points: depth, amplitude and place across the probe.

    Pairs of time bins at a schedule of lags are registered by the kernel correlation of their spikes, without depth
    bins: pairs of spikes of like amplitude (and x) vote for the difference of their depths. Robust least squares joins
    the shifts (see `steadyspike.kernels.motion.point_cloud`), and maximum likelihood refines the result, as in
    `steady_decentralized`. Memory and time grow linearly with duration.

    Used as ``estimate_motion(recording, peaks, peak_locations, method="steady_point_cloud", ...)``.

    References
    ----------
    Boussard et al. 2021, Three-dimensional spike localization and improved motion correction for Neuropixels
    recordings, NeurIPS.
    """

    name = "steady_point_cloud"
    need_peak_location = True
    params_doc = (
        PEAKS_PARAMS_DOC
        + """
    depth_kernel_um : float, default: 5.0
        Standard deviation of the kernel over depth in um, at least 1.
    feature_kernel : float, default: 0.3
        Standard deviation of the kernel over the logarithm of the amplitude, and over the position across the probe,
        in robust standard deviations of each; larger than 0.
    use_position : bool, default: True
        Use the position across the probe ("x", for motion along "y") where the peak locations have it.
    max_peaks_per_bin : int, default: 500
        Where a time bin holds more peaks, the pairs are made from evenly spread ones of this number; at least 1.
    peaks_per_window : float, default: 8.0
        For the pairs, time bins are put together until at the median there are this many peaks for each window;
        0: never.
    residual_rounds : int, default: 2
        How often pairs are registered again from corrected depths, within a small range; at least 0. This sharpens
        what wide windows blur.
    time_horizon_s : float or None, default: 1000.0
        Time bins farther apart than this (in s, larger than 0) are not compared; None: no limit.
    corr_threshold : float, default: 0.1
        Pairs of time bins that correlate less (0 to 1) are left out.
    refine_iterations : int, default: 8
        Rounds of registration to the density of all peaks by maximum likelihood; 0 keeps the estimate from pairs.
    """
    )

    @classmethod
    def run(
        cls,
        recording,
        peaks,
        peak_locations,
        direction,
        rigid,
        win_shape,
        win_step_um,
        win_scale_um,
        win_margin_um,
        verbose,
        progress_bar,
        extra,
        bin_s=1.0,
        hist_margin_um=40.0,
        depth_kernel_um=5.0,
        feature_kernel=0.3,
        use_position=True,
        max_peaks_per_bin=500,
        peaks_per_window=8.0,
        residual_rounds=2,
        max_displacement_um=100.0,
        time_horizon_s=1000.0,
        corr_threshold=0.1,
        refine_iterations=8,
        reference_displacement="midrange",
        max_segment_displacement_um=400.0,
        periods=None,
        negligible_um=0.5,
    ):
        """Estimate the motion; called by SpikeInterface's `estimate_motion`.

        Parameters
        ----------
        recording : BaseRecording
            Its times and contact positions are used, not its traces.
        peaks : ndarray, shape (num_peaks,)
            Peaks of `detect_peaks`, with "sample_index", "amplitude" and, for several segments, "segment_index".
        peak_locations : ndarray, shape (num_peaks,)
            Locations of `localize_peaks` in um, with a field for the direction and, if there is one, for the position
            across the probe. Peaks whose location along the direction is NaN or infinite are left out.
        direction : "x" | "y" | "z"
            Direction of the motion.
        rigid, win_shape, win_step_um, win_scale_um, win_margin_um
            Windows, as in `estimate_motion`.
        verbose : bool
            Print the size of the problem.
        progress_bar : bool
            Show progress.
        extra : dict or None
            Filled, where given, with "temporal_hist_bin_edges", "window_centers", "merged_bins" (how many time bins
            were put together for the pairs), "pairs_displacement_um" (before refinement), "trust" and
            "displacement_sd_um", these three of shape (num_times, num_windows). Trust and standard deviation are those
            of `steady_decentralized`.
        bin_s, hist_margin_um, depth_kernel_um, feature_kernel, use_position, max_peaks_per_bin, peaks_per_window
            See `params_doc`.
        residual_rounds, max_displacement_um, time_horizon_s, corr_threshold, refine_iterations
            See `params_doc`.
        reference_displacement, max_segment_displacement_um, periods, negligible_um
            See `params_doc`.

        Returns
        -------
        motion : Motion

        Raises
        ------
        ValueError
            For an argument outside its range.
        """
        time_horizon_s = np.inf if time_horizon_s is None else time_horizon_s
        check_common(
            cls.name,
            bin_s,
            hist_margin_um,
            max_displacement_um,
            max_segment_displacement_um,
            reference_displacement,
            negligible_um,
        )
        check_arguments(
            cls.name,
            depth_kernel_um=(depth_kernel_um, depth_kernel_um >= kernel_correlation.FINE_UM, "at least 1 um"),
            feature_kernel=(feature_kernel, feature_kernel > 0, "larger than 0"),
            max_peaks_per_bin=(max_peaks_per_bin, max_peaks_per_bin >= 1, "at least 1"),
            peaks_per_window=(peaks_per_window, peaks_per_window >= 0, "at least 0"),
            residual_rounds=(residual_rounds, residual_rounds >= 0, "at least 0"),
            time_horizon_s=(time_horizon_s, time_horizon_s > 0, "larger than 0 s, or None"),
            corr_threshold=(corr_threshold, 0 <= corr_threshold < 1, "at least 0 and below 1"),
            refine_iterations=(refine_iterations, refine_iterations >= 0, "at least 0"),
        )
        problem = build_problem(
            cls.name,
            recording,
            peaks,
            peak_locations,
            direction,
            bin_s=bin_s,
            hist_margin_um=hist_margin_um,
            periods=periods,
            rigid=rigid,
            win_shape=win_shape,
            win_step_um=win_step_um,
            win_scale_um=win_scale_um,
            win_margin_um=win_margin_um,
            verbose=verbose,
            progress_bar=progress_bar,
        )
        amplitudes = np.abs(problem.spikes.amplitudes)
        columns = [np.log(amplitudes, out=np.full(amplitudes.shape, np.nan), where=amplitudes > 0)]
        across = "y" if direction == "x" else "x"
        if use_position and across in peak_locations.dtype.names:
            columns.append(peak_locations[across][problem.order])
        pairs = point_cloud.register_clouds(
            problem.spikes,
            point_cloud.scaled_features(columns, feature_kernel, problem.spikes.groups),
            problem.centers_um,
            problem.windows_of(problem.centers_um),
            problem.depth_range_um,
            problem.times.segment_edges,
            point_cloud.CloudSettings(
                depth_kernel_um=depth_kernel_um,
                max_displacement_um=max_displacement_um,
                horizon_bins=int(min(time_horizon_s / bin_s, problem.times.num_times)),
                min_correlation=corr_threshold,
                max_spikes_per_bin=max_peaks_per_bin,
                spikes_per_window=peaks_per_window,
                residual_rounds=residual_rounds,
            ),
            problem.progress,
        )
        if extra is not None:
            extra["merged_bins"] = pairs.merged_bins
            extra["pairs_displacement_um"] = pairs.displacement
        settings = registration.RegistrationSettings(
            max_displacement_um=max_displacement_um,
            refine_iterations=refine_iterations,
            reference=reference_displacement,
            max_segment_displacement_um=max_segment_displacement_um,
            negligible_um=negligible_um,
        )
        return finish(problem, [pairs.displacement, np.zeros_like(pairs.displacement)], settings, extra)
