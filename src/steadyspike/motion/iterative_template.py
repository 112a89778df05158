"""Motion estimation by an iteratively averaged template, as a motion estimator of SpikeInterface."""

import numpy as np

from steadyspike.core.arguments import check_arguments
from steadyspike.kernels.motion import iterative_template, registration
from steadyspike.motion.problem import PEAKS_PARAMS_DOC, build_problem, check_common, finish


class SteadyIterativeTemplateRegistration:
    """Registration of every time bin to the average of all aligned ones, over any range of drift.

    Kilosort 2.5's idea: time bins are aligned to a template over depth and amplitude as wholes, the template is
    averaged again, and so on; then the same window by window (see `steadyspike.kernels.motion.iterative_template`).
    Maximum likelihood refines the result, as in `steady_decentralized`. Memory and time grow linearly with duration.

    Used as ``estimate_motion(recording, peaks, peak_locations, method="steady_iterative_template", ...)``.

    References
    ----------
    Steinmetz et al. 2021, Neuropixels 2.0: a miniaturized high-density probe for stable, long-term brain recordings,
    Science.
    Pachitariu et al. 2024, Spike sorting with Kilosort4, Nature Methods.
    """

    name = "steady_iterative_template"
    need_peak_location = True
    params_doc = (
        PEAKS_PARAMS_DOC
        + """
    bin_um : float, default: 5.0
        Depth step of the template in um, larger than 0.
    num_amp_bins : int, default: 20
        Bins of the template over the logarithm of the amplitude, at least 1.
    num_iterations : int, default: 10
        Most rounds of alignment, at least 1; fewer where nothing moves any more.
    num_shifts_block : int, default: 5
        Farthest that a window is moved in one round, in steps of `bin_um`, at least 1.
    smoothing_sigma : float, default: 0.5
        Standard deviation of the smoothing of each window's fit, in time bins, windows and depth steps; 0 for none.
    refine_iterations : int, default: 8
        Rounds of registration to the density of all peaks by maximum likelihood; 0 keeps the alignment to the template.
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
        bin_um=5.0,
        hist_margin_um=40.0,
        num_amp_bins=20,
        num_iterations=10,
        num_shifts_block=5,
        smoothing_sigma=0.5,
        max_displacement_um=100.0,
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
            Locations of `localize_peaks` in um, with a field for the direction. Peaks whose location is NaN or infinite
            are left out.
        direction : "x" | "y" | "z"
            Direction of the motion.
        rigid, win_shape, win_step_um, win_scale_um, win_margin_um
            Windows, as in `estimate_motion`.
        verbose : bool
            Print the size of the problem.
        progress_bar : bool
            Show progress.
        extra : dict or None
            Filled, where given, with "temporal_hist_bin_edges", "window_centers", "template_displacement_um" (before
            refinement), "trust" and "displacement_sd_um", these three of shape (num_times, num_windows). Trust and
            standard deviation are those of `steady_decentralized`.
        bin_s, bin_um, hist_margin_um, num_amp_bins, num_iterations, num_shifts_block, smoothing_sigma
            See `params_doc`.
        max_displacement_um, refine_iterations, reference_displacement, max_segment_displacement_um, periods
            See `params_doc`.
        negligible_um
            See `params_doc`. `max_displacement_um` limits a time bin against its neighbour and against the template so
            far, not the whole drift.

        Returns
        -------
        motion : Motion

        Raises
        ------
        ValueError
            For an argument outside its range.
        """
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
            num_amp_bins=(num_amp_bins, num_amp_bins >= 1, "at least 1"),
            num_iterations=(num_iterations, num_iterations >= 1, "at least 1"),
            num_shifts_block=(num_shifts_block, num_shifts_block >= 1, "at least 1"),
            smoothing_sigma=(smoothing_sigma, smoothing_sigma >= 0, "at least 0"),
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
        displacement = iterative_template.register_to_template(
            problem.spikes,
            problem.centers_um,
            problem.windows_of(problem.centers_um),
            problem.depth_range_um,
            problem.times.segment_edges,
            iterative_template.TemplateSettings(
                bin_um=bin_um,
                num_marks=num_amp_bins,
                max_displacement_um=max_displacement_um,
                num_shifts_block=num_shifts_block,
                num_iterations=num_iterations,
                smoothing_sigma=smoothing_sigma,
            ),
            problem.progress,
        )
        if extra is not None:
            extra["template_displacement_um"] = displacement
        settings = registration.RegistrationSettings(
            max_displacement_um=max_displacement_um,
            refine_iterations=refine_iterations,
            reference=reference_displacement,
            max_segment_displacement_um=max_segment_displacement_um,
            negligible_um=negligible_um,
        )
        return finish(problem, [displacement, np.zeros_like(displacement)], settings, extra)
