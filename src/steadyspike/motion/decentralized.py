"""Decentralized motion estimation from localized peaks, as a motion estimator of SpikeInterface."""

import numpy as np

from steadyspike.core.arguments import check_arguments
from steadyspike.kernels.motion import iterative_template, registration
from steadyspike.motion.online_recording import check_warmup, register_online
from steadyspike.motion.problem import PEAKS_PARAMS_DOC, build_problem, check_common, finish

# Units come and go over hours: spikes count in full this far away in the density that a time bin is registered to.
TEMPLATE_SPAN_S = 3600.0


class SteadyDecentralizedRegistration:
    """Decentralized registration whose memory and time grow linearly with duration.

    Pairs of time bins are correlated at a schedule of lags instead of all with all, in each window and on the whole
    probe, robust least squares joins their shifts, and maximum likelihood then registers every time bin to the density
    of all corrected peaks (see `steadyspike.kernels.motion.registration`). The displacement is linear between the
    window centers.

    Used as ``estimate_motion(recording, peaks, peak_locations, method="steady_decentralized", ...)``.

    References
    ----------
    Varol et al. 2021, Decentralized motion inference and registration of Neuropixel data, ICASSP.
    Windolf et al. 2025, DREDge: robust motion correction for high-density extracellular recordings across species,
    Nature Methods.
    """

    name = "steady_decentralized"
    need_peak_location = True
    params_doc = (
        PEAKS_PARAMS_DOC
        + """
    bin_um : float, default: 4.0
        Depth bins of the raster that pairs of time bins are correlated on, in um, larger than 0.
    histogram_depth_smooth_um : float, default: 4.0
        Standard deviation of the raster's smoothing over depth in um; 0 for none.
    histogram_time_smooth_s : float, default: 0.5
        Standard deviation of the raster's smoothing over time in s; 0 for none.
    time_horizon_s : float or None, default: 1000.0
        Time bins farther apart than this (in s, larger than 0) are not compared; None: no limit.
    corr_threshold : float, default: 0.1
        Pairs of time bins that correlate less (0 to 1) are left out.
    refine_iterations : int, default: 8
        Rounds of registration to the density of all peaks; 0 keeps the estimate from pairs.
    num_amplitude_bins : int, default: 4
        Amplitude bins of that density, at least 1.
    template_smooth_um : float, default: 1.0
        Standard deviation of that density's smoothing over depth in um, at least 0.5.
    online : bool, default: False
        Estimate each time bin from the peaks up to it only, as `OnlineMotionEstimator` does it in a running recording.
    online_warmup_s : float, default: 60.0
        With `online`: so much at the start is estimated together, in s, at least two time bins.
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
        bin_um=4.0,
        hist_margin_um=40.0,
        histogram_depth_smooth_um=4.0,
        histogram_time_smooth_s=0.5,
        max_displacement_um=100.0,
        time_horizon_s=1000.0,
        corr_threshold=0.1,
        refine_iterations=8,
        num_amplitude_bins=4,
        template_smooth_um=1.0,
        reference_displacement="midrange",
        max_segment_displacement_um=400.0,
        periods=None,
        negligible_um=0.5,
        online=False,
        online_warmup_s=60.0,
    ):
        """Estimate the motion; called by SpikeInterface's `estimate_motion`.

        Parameters
        ----------
        recording : BaseRecording
            Its times and contact positions are used, not its traces.
        peaks : ndarray, shape (num_peaks,)
            Peaks of `detect_peaks`, with "sample_index", "amplitude" and, for several segments, "segment_index".
        peak_locations : ndarray, shape (num_peaks,)
            Locations of `localize_peaks` in um, with a field for the direction. Peaks whose location is NaN or infinite
            are left out.
        direction : "x" | "y" | "z"
            Direction of the motion.
        rigid, win_shape, win_step_um, win_scale_um, win_margin_um
            Windows, as in `estimate_motion`.
        verbose : bool
            Print the size of the problem, and about how much time and memory it will take.
        progress_bar : bool
            Show progress.
        extra : dict or None
            Filled, where given, with "motion_histogram" (num_times, num_depths), "temporal_hist_bin_edges",
            "spatial_hist_bin_edges", "non_rigid_windows" (num_windows, num_depths), "window_centers", "pairwise"
            (a dict of "lags_s", and of "displacement_um" and "correlation" of shape (num_lags, num_times,
            num_windows)), "trust" and "displacement_sd_um" (num_times, num_windows). Trust is the generalized
            coefficient of determination of the bin's peaks, 1 - exp(-2 gain), with the gain in log-likelihood per peak
            over peaks of unknown depth: 0 where there are none, towards 1 where they fit the density of all peaks. The
            standard deviation follows from the curvature of the likelihood; it is infinite where nothing was measured.
        bin_s, bin_um, hist_margin_um, histogram_depth_smooth_um, histogram_time_smooth_s, max_displacement_um
            See `params_doc`.
        time_horizon_s, corr_threshold, refine_iterations, num_amplitude_bins, template_smooth_um
            See `params_doc`.
        reference_displacement, max_segment_displacement_um, periods, negligible_um, online, online_warmup_s
            See `params_doc`. Online, the first two bear on the warm-up only, and so does `negligible_um`.

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
            bin_um=(bin_um, bin_um > 0, "larger than 0 um"),
            histogram_depth_smooth_um=(
                histogram_depth_smooth_um,
                histogram_depth_smooth_um >= 0,
                "at least 0 um",
            ),
            histogram_time_smooth_s=(histogram_time_smooth_s, histogram_time_smooth_s >= 0, "at least 0 s"),
            time_horizon_s=(time_horizon_s, time_horizon_s > 0, "larger than 0 s, or None"),
            corr_threshold=(corr_threshold, 0 <= corr_threshold < 1, "at least 0 and below 1"),
            refine_iterations=(refine_iterations, refine_iterations >= 0, "at least 0"),
            num_amplitude_bins=(num_amplitude_bins, num_amplitude_bins >= 1, "at least 1"),
            template_smooth_um=(template_smooth_um, template_smooth_um >= 0.5, "at least 0.5 um"),
        )
        if online:
            check_warmup(cls.name, "online_warmup_s", online_warmup_s, bin_s)
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
        if verbose:
            from steadyspike.motion.costs import estimation_in_words

            told = estimation_in_words(
                cls.name,
                recording,
                problem.spikes.depths_um.size,
                direction=direction,
                rigid=rigid,
                win_shape=win_shape,
                win_step_um=win_step_um,
                win_scale_um=win_scale_um,
                win_margin_um=win_margin_um,
                bin_s=bin_s,
                bin_um=bin_um,
                hist_margin_um=hist_margin_um,
                max_displacement_um=max_displacement_um,
                time_horizon_s=time_horizon_s,
                refine_iterations=refine_iterations,
            )
            print(f"{cls.name}: {told}")
        settings = registration.RegistrationSettings(
            bin_um=bin_um,
            depth_smooth_um=histogram_depth_smooth_um,
            time_smooth_bins=histogram_time_smooth_s / bin_s,
            max_displacement_um=max_displacement_um,
            horizon_bins=int(min(time_horizon_s / bin_s, problem.times.num_times)),
            min_correlation=corr_threshold,
            num_marks=num_amplitude_bins,
            refine_iterations=refine_iterations,
            template_smooth_um=template_smooth_um,
            reference=reference_displacement,
            max_segment_displacement_um=max_segment_displacement_um,
            negligible_um=negligible_um,
            template_span_bins=TEMPLATE_SPAN_S / bin_s,
        )
        if online:
            return register_online(problem, settings, bin_s, online_warmup_s, extra)
        depths_um = problem.depth_bins(bin_um)
        windows = problem.windows_of(depths_um)
        num_windows = windows.shape[0]
        pairs = registration.register_pairs(
            problem.spikes,
            depths_um,
            # the whole probe is one window more: where a window sees few units it is the better start
            np.vstack([windows, np.ones((1, windows.shape[1]))]),
            problem.times.segment_edges,
            settings,
            problem.progress,
            keep_raster=extra is not None,
        )
        if extra is not None:
            extra["motion_histogram"] = pairs.raster
            extra["spatial_hist_bin_edges"] = np.append(depths_um, depths_um[-1] + bin_um) - 0.5 * bin_um
            extra["non_rigid_windows"] = windows
            extra["pairwise"] = dict(
                lags_s=pairs.lags * bin_s,
                displacement_um=pairs.shifts[:, :, :num_windows],
                correlation=pairs.correlations[:, :, :num_windows],
            )
        starts = registration.first_estimates(pairs.displacement)
        # hours of pairs are not needed any more
        del pairs
        # pairs see no farther than `max_displacement_um`; a walk of the whole probe from time bin to time bin does
        walk = iterative_template.register_to_template(
            problem.spikes,
            problem.centers_um.mean(keepdims=True),
            np.ones((1, 1)),
            problem.depth_range_um,
            problem.times.segment_edges,
            iterative_template.TemplateSettings(max_displacement_um=max_displacement_um),
            problem.progress,
        )
        starts.append(np.repeat(walk, num_windows, axis=1))
        return finish(problem, starts, settings, extra)
