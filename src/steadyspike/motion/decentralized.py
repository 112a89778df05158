"""Decentralized motion estimation from localized peaks, as a motion estimator of SpikeInterface."""

import numpy as np
from spikeinterface.core.motion import Motion
from spikeinterface.sortingcomponents.motion.motion_utils import get_spatial_windows
from tqdm.auto import tqdm

from ..kernels import registration

REFERENCES = ("midrange", "mean", "median")


class SteadyDecentralizedRegistration:
    """Decentralized registration whose memory and time grow linearly with duration.

    Pairs of time bins are correlated at a schedule of lags instead of all with all, robust least squares joins their
    shifts, and maximum likelihood then registers every time bin to the density of all corrected peaks (see
    `steadyspike.kernels.registration`). The displacement is linear between the window centers.

    Used as ``estimate_motion(recording, peaks, peak_locations, method="steady_decentralized", ...)``.

    References
    ----------
    Varol et al. 2021, Decentralized motion inference and registration of Neuropixel data, ICASSP.
    Windolf et al. 2025, DREDge: robust motion correction for high-density extracellular recordings across species,
    Nature Methods.
    """

    name = "steady_decentralized"
    need_peak_location = True
    params_doc = """
    bin_s : float, default: 1.0
        Duration of the time bins in s, larger than 0.
    bin_um : float, default: 4.0
        Depth bins of the raster that pairs of time bins are correlated on, in um, larger than 0.
    hist_margin_um : float, default: 40.0
        How far beyond the outermost contacts peaks are used, in um, at least 0.
    histogram_depth_smooth_um : float, default: 4.0
        Standard deviation of the raster's smoothing over depth in um; 0 for none.
    histogram_time_smooth_s : float, default: 0.5
        Standard deviation of the raster's smoothing over time in s; 0 for none.
    max_displacement_um : float, default: 100.0
        Largest displacement between two time bins in um, larger than 0.
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
    reference_displacement : "midrange" | "mean" | "median", default: "midrange"
        Which displacement is called zero at each depth: spikes can't tell a stretch of the tissue that was always
        there. "midrange" is the middle between the 2nd and the 98th percentile over time, which keeps the correction
        as small as possible.
    """

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
    ):
        """Estimate the motion; called by SpikeInterface's `estimate_motion`.

        Parameters
        ----------
        recording : BaseRecording
            One segment; its times and contact positions are used, not its traces.
        peaks : ndarray, shape (num_peaks,)
            Peaks of `detect_peaks`, with "sample_index" and "amplitude".
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
        reference_displacement
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
        _check(
            bin_s=(bin_s, bin_s > 0, "larger than 0 s"),
            bin_um=(bin_um, bin_um > 0, "larger than 0 um"),
            hist_margin_um=(hist_margin_um, hist_margin_um >= 0, "at least 0 um"),
            histogram_depth_smooth_um=(
                histogram_depth_smooth_um,
                histogram_depth_smooth_um >= 0,
                "at least 0 um",
            ),
            histogram_time_smooth_s=(histogram_time_smooth_s, histogram_time_smooth_s >= 0, "at least 0 s"),
            max_displacement_um=(max_displacement_um, max_displacement_um > 0, "larger than 0 um"),
            time_horizon_s=(time_horizon_s, time_horizon_s > 0, "larger than 0 s, or None"),
            corr_threshold=(corr_threshold, 0 <= corr_threshold < 1, "at least 0 and below 1"),
            refine_iterations=(refine_iterations, refine_iterations >= 0, "at least 0"),
            num_amplitude_bins=(num_amplitude_bins, num_amplitude_bins >= 1, "at least 1"),
            template_smooth_um=(template_smooth_um, template_smooth_um >= 0.5, "at least 0.5 um"),
            reference_displacement=(
                reference_displacement,
                reference_displacement in REFERENCES,
                f"one of {', '.join(REFERENCES)}",
            ),
        )
        time_edges_s = _time_bin_edges(recording, bin_s)
        spikes = _select_spikes(recording, peaks, peak_locations, direction, time_edges_s)
        contact_depths = recording.get_channel_locations()[:, "xyz".index(direction)]
        low, high = contact_depths.min() - hist_margin_um, contact_depths.max() + hist_margin_um
        depths_um = np.arange(low, high + bin_um, bin_um)
        windows, centers_um = get_spatial_windows(
            contact_depths,
            depths_um,
            rigid=rigid,
            win_shape=win_shape,
            win_step_um=win_step_um,
            win_scale_um=win_scale_um,
            win_margin_um=win_margin_um,
        )
        num_times = time_edges_s.size - 1
        if verbose:
            print(
                f"{cls.name}: {spikes.depths_um.size} peaks, {num_times} time bins, {centers_um.size} windows"
            )
        settings = registration.RegistrationSettings(
            bin_um=bin_um,
            depth_smooth_um=histogram_depth_smooth_um,
            time_smooth_bins=histogram_time_smooth_s / bin_s,
            max_displacement_um=max_displacement_um,
            horizon_bins=int(min(time_horizon_s / bin_s, num_times)),
            min_correlation=corr_threshold,
            num_marks=num_amplitude_bins,
            refine_iterations=refine_iterations,
            template_smooth_um=template_smooth_um,
            reference=reference_displacement,
        )

        def progress(iterable, label):
            return tqdm(iterable, desc=label, disable=not progress_bar)

        pairwise = registration.register_pairs(spikes, depths_um, windows, num_times, settings, progress)
        result = registration.refine(
            spikes, centers_um, (low, high), pairwise.displacement, settings, progress
        )
        if extra is not None:
            _fill_extra(extra, pairwise, result, time_edges_s, depths_um, windows, centers_um, bin_s, bin_um)
        times_s = 0.5 * (time_edges_s[1:] + time_edges_s[:-1])
        return Motion([result.displacement], [times_s], centers_um, direction=direction)


def _check(**arguments):
    """Refuse arguments outside their range: name=(value, fine, what is allowed)."""
    for name, (value, fine, allowed) in arguments.items():
        if not fine:
            raise ValueError(f"steady_decentralized: {name}={value!r} must be {allowed}")


def _time_bin_edges(recording, bin_s):
    """Edges of the time bins in s, as SpikeInterface's estimators have them; at least one bin."""
    num_samples = recording.get_num_samples()
    if num_samples == 0:
        return np.array([0.0, bin_s])
    start_s, stop_s = recording.sample_index_to_time(0), recording.sample_index_to_time(num_samples - 1)
    num_times = max(int(np.ceil((stop_s - start_s) / bin_s)), 1)
    return start_s + bin_s * np.arange(num_times + 1)


def _select_spikes(recording, peaks, peak_locations, direction, time_edges_s):
    """Peaks with a finite location, in the order and types that the registration takes."""
    depths_um = np.asarray(peak_locations[direction], dtype="float32")
    usable = np.isfinite(depths_um)
    time_bins = np.zeros(0, dtype="int32")
    if usable.any():
        # hours of peaks: the times, a new array, are turned into bins in place
        place = recording.sample_index_to_time(peaks["sample_index"][usable])
        place -= time_edges_s[0]
        place /= time_edges_s[1] - time_edges_s[0]
        time_bins = np.clip(place, 0, time_edges_s.size - 2, out=place).astype("int32")
    return registration.Spikes(time_bins, depths_um[usable], peaks["amplitude"].astype("float32")[usable])


def _fill_extra(extra, pairwise, result, time_edges_s, depths_um, windows, centers_um, bin_s, bin_um):
    extra["motion_histogram"] = pairwise.raster
    extra["temporal_hist_bin_edges"] = time_edges_s
    extra["spatial_hist_bin_edges"] = np.append(depths_um, depths_um[-1] + bin_um) - 0.5 * bin_um
    extra["non_rigid_windows"] = windows
    extra["window_centers"] = centers_um
    extra["pairwise"] = dict(
        lags_s=pairwise.lags * bin_s, displacement_um=pairwise.shifts, correlation=pairwise.correlations
    )
    extra["trust"] = result.trust
    extra["displacement_sd_um"] = result.deviation_um
