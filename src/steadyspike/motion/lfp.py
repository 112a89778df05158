"""Motion estimation from the local field potential, as a motion estimator of SpikeInterface."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from steadyspike.core.arguments import check_arguments
from steadyspike.kernels.motion import lfp_covariance, lfp_registration, registration
from steadyspike.motion.periods import check_periods, inside_periods
from steadyspike.motion.problem import COMMON_PARAMS_DOC, TimeBins, build_problem, check_common

# Samples x channels that are read at once.
CHUNK_VALUES = 4_000_000
# Time bins from which each depth's scale is taken, evenly spread.
SCALE_BINS = 20_000
# A depth whose scale is more than this many times that of those around is toned down.
MOST_EXCESS = 5.0


class SteadyDecentralizedLfpRegistration:
    """Decentralized registration of the local field potential, at its own sampling rate.

    The potential's profile over depth is correlated between pairs of time bins at a schedule of lags, and robust least
    squares joins the shifts (see `steadyspike.kernels.motion.lfp_registration`); this sees the heartbeat and
    breathing, which spikes are too few for. Peaks are not needed. Resample the recording first, to 250 Hz or less,
    as in ``lfp = si.resample(si.bandpass_filter(recording, 0.5, 100.0), 250)``: its sampling rate is the resolution
    of the motion, and of its time and memory. Channels that do not record should be removed.

    Used as ``estimate_motion(lfp_recording, method="steady_decentralized_lfp", rigid=True, ...)``.

    References
    ----------
    Windolf et al. 2025, DREDge: robust motion correction for high-density extracellular recordings across species,
    Nature Methods.
    """

    name = "steady_decentralized_lfp"
    need_peak_location = False
    params_doc = (
        COMMON_PARAMS_DOC.replace(
            """
    bin_s : float, default: 1.0
        Duration of the time bins in s, larger than 0.
    hist_margin_um : float, default: 40.0
        How far beyond the outermost contacts peaks are used, in um, at least 0.
""",
            """
    bin_s : float or None, default: None
        Duration of the time bins in s, over which samples are averaged; None, or less than a sample: one sample.
    hist_margin_um : float, default: 0.0
        Not used, as there is no potential beyond the contacts: here because all estimators take it.
""",
        )
        + """
    bin_um : float or None, default: None
        Step in um at which profiles are correlated, larger than 0; None: half the distance of the rows of contacts.
    time_horizon_s : float or None, default: 10.0
        Time bins farther apart than this (in s, larger than 0) are not compared; None: no limit.
    corr_threshold : float, default: 0.6
        Pairs of time bins that correlate less (0 to 1) are left out.
    residual_rounds : int, default: 2
        How often pairs are registered again from profiles that are moved back by the estimate; at least 0. This finds
        motion between contacts.
    refine_iterations : int, default: 8
        Rounds of registration to the covariance between depths that all profiles share; 0 keeps the estimate from
        pairs. Each tries hundreds of displacements, which takes most of the time.
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
        bin_s=None,
        bin_um=None,
        hist_margin_um=0.0,
        max_displacement_um=100.0,
        time_horizon_s=10.0,
        corr_threshold=0.6,
        residual_rounds=2,
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
            The local field potential. Traces are read in chunks; what is NaN or infinite counts as zero. Contacts at
            one depth are averaged.
        peaks, peak_locations
            Not used.
        direction : "x" | "y" | "z"
            Direction of the motion.
        rigid, win_shape, win_step_um, win_scale_um, win_margin_um
            Windows, as in `estimate_motion`. Wide ones are better: 800 um and more, or rigid.
        verbose : bool
            Print the size of the problem.
        progress_bar : bool
            Show progress.
        extra : dict or None
            Filled, where given, with "temporal_hist_bin_edges", "window_centers", "trust" and "displacement_sd_um" of
            shape (num_times, num_windows). Trust is the mean squared correlation of the bin's pairs, counted less where
            they disagree with the estimate: 0 where nothing is seen, towards 1 where motion explains all changes. The
            standard deviation follows from the scatter of the pairs; it is infinite where nothing was measured.
        bin_s, bin_um, hist_margin_um, max_displacement_um, time_horizon_s, corr_threshold, residual_rounds
            See `params_doc`.
        refine_iterations, reference_displacement, max_segment_displacement_um, periods, negligible_um
            See `params_doc`.

        Returns
        -------
        motion : Motion

        Raises
        ------
        ValueError
            For an argument outside its range, or contacts at one depth only.
        """
        sampling_s = 1.0 / recording.get_sampling_frequency()
        bin_s = sampling_s if bin_s is None else bin_s
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
            bin_um=(bin_um, bin_um is None or bin_um > 0, "larger than 0 um, or None"),
            time_horizon_s=(time_horizon_s, time_horizon_s > 0, "larger than 0 s, or None"),
            corr_threshold=(corr_threshold, 0 <= corr_threshold < 1, "at least 0 and below 1"),
            residual_rounds=(residual_rounds, residual_rounds >= 0, "at least 0"),
            refine_iterations=(refine_iterations, refine_iterations >= 0, "at least 0"),
        )
        problem = build_problem(
            cls.name,
            recording,
            None,
            None,
            direction,
            bin_s=1.0,
            hist_margin_um=0.0,
            periods=periods,
            rigid=rigid,
            win_shape=win_shape,
            win_step_um=win_step_um,
            win_scale_um=win_scale_um,
            win_margin_um=win_margin_um,
        )
        samples_per_bin = max(round(bin_s / sampling_s), 1)
        problem = replace(
            problem,
            times=_sample_bins(recording, samples_per_bin),
            progress=_progress(progress_bar),
        )
        values, depths_um = read_profiles(recording, direction, samples_per_bin, problem.times, periods)
        if verbose:
            print(
                f"{cls.name}: {depths_um.size} depths, {problem.times.num_times} time bins, "
                f"{problem.centers_um.size} windows"
            )
        pitch_um = float(np.median(np.diff(depths_um)))
        settings = lfp_registration.LfpSettings(
            step_um=0.5 * pitch_um if bin_um is None else bin_um,
            max_displacement_um=max_displacement_um,
            horizon_bins=int(min(time_horizon_s / (samples_per_bin * sampling_s), problem.times.num_times)),
            min_correlation=corr_threshold,
            residual_rounds=residual_rounds,
        )
        # the matrices are small: threads of BLAS would mostly wait for one another
        with threadpool_limits(1):
            displacement, deviation_um, trust = _estimate(
                problem,
                lfp_registration.make_profiles(values, depths_um),
                settings,
                refine_iterations,
                samples_per_bin * sampling_s,
                max_segment_displacement_um,
            )
        displacement = displacement - registration.reference_of(displacement, reference_displacement)
        if registration.range_of_um(displacement).max() < negligible_um:
            displacement = np.zeros_like(displacement)
        if extra is not None:
            edges_s = problem.times.edges_s
            extra["temporal_hist_bin_edges"] = edges_s[0] if len(edges_s) == 1 else edges_s
            extra["window_centers"] = problem.centers_um
            extra["trust"] = trust
            extra["displacement_sd_um"] = deviation_um
        return problem.motion(displacement - np.median(displacement))


def _estimate(problem, profiles, settings, refine_iterations, bin_s, max_segment_displacement_um):
    """Displacement, its standard deviation, and trust, each of shape (num_times, num_windows)."""
    edges, centers_um = problem.times.segment_edges, problem.centers_um
    pairs = lfp_registration.register_profiles(
        profiles, centers_um, problem.windows_of, edges, settings, problem.progress
    )
    displacement, precision = lfp_covariance.refine_displacement(
        profiles,
        centers_um,
        problem.windows_of,
        [pairs.displacement, np.zeros_like(pairs.displacement)],
        edges,
        bin_s,
        refine_iterations,
        problem.progress,
    )
    trust, precision_of_pairs = lfp_registration.trust_and_precision(pairs, displacement, edges, settings)
    precision = precision_of_pairs if refine_iterations == 0 else precision
    displacement = lfp_covariance.smoothed(displacement, precision, edges)
    if edges.size > 2:
        offsets = lfp_covariance.segment_offsets(
            profiles, displacement, centers_um, edges, max_segment_displacement_um
        )
        for segment, (start, stop) in enumerate(pairwise(edges)):
            part = displacement[start:stop]
            displacement[start:stop] = part - np.median(part, axis=0) + offsets[segment]
    deviation_um = np.where(precision > 0, 1.0 / np.sqrt(np.maximum(precision, 1e-12)), np.inf)
    return displacement, deviation_um, trust


def _sample_bins(recording, samples_per_bin):
    """Time bins of whole samples, centered on them; at least one in each segment."""
    sampling_s = 1.0 / recording.get_sampling_frequency()
    edges_s = []
    for segment_index in range(recording.get_num_segments()):
        num_samples = recording.get_num_samples(segment_index)
        start_s = recording.sample_index_to_time(0, segment_index=segment_index) if num_samples else 0.0
        num_times = max(num_samples // samples_per_bin, 1)
        edges_s.append(start_s + sampling_s * (samples_per_bin * np.arange(num_times + 1) - 0.5))
    counts = [edges.size - 1 for edges in edges_s]
    return TimeBins(edges_s, np.concatenate([[0], np.cumsum(counts)]).astype("int64"))


def _progress(progress_bar):
    from tqdm.auto import tqdm

    return lambda iterable, label: tqdm(iterable, desc=label, disable=not progress_bar)


def read_profiles(recording, direction, samples_per_bin, times, periods=None):
    """Read the potential as a profile over depth for each time bin, in chunks.

    Parameters
    ----------
    recording : BaseRecording
        The local field potential.
    direction : "x" | "y" | "z"
        Direction of depth.
    samples_per_bin : int
        Samples that are averaged.
    times : TimeBins
        Time bins of that many samples.
    periods : None, sequence or ndarray
        Periods that are set to zero (see `steadyspike.motion.periods.check_periods`).

    Returns
    -------
    values : ndarray of float32, shape (num_times, num_depths)
        Contacts at one depth averaged; each depth minus its median over time, where that is larger than the
        typical robust standard deviation, divided by `contact_gains`.
    depths_um : ndarray of float64, shape (num_depths,)
        Depths at which the potential varies, increasing.
    """
    positions_um = recording.get_channel_locations()[:, "xyz".index(direction)]
    depths_um, row_of_channel = np.unique(positions_um.round(3), return_inverse=True)
    averaging = np.zeros((positions_um.size, depths_um.size), dtype="float32")
    averaging[np.arange(positions_um.size), row_of_channel] = 1.0
    averaging /= averaging.sum(axis=0)
    values = np.zeros((times.num_times, depths_um.size), dtype="float32")
    chunk_bins = max(CHUNK_VALUES // (positions_um.size * samples_per_bin), 1)
    for segment_index, part in enumerate(times.split(values)):
        num_bins = recording.get_num_samples(segment_index) // samples_per_bin
        for start in range(0, num_bins, chunk_bins):
            stop = min(start + chunk_bins, num_bins)
            traces = recording.get_traces(
                segment_index=segment_index,
                start_frame=start * samples_per_bin,
                end_frame=stop * samples_per_bin,
            )
            traces = np.nan_to_num(traces.astype("float32"), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            rows = traces @ averaging
            part[start:stop] = rows.reshape(stop - start, samples_per_bin, -1).mean(axis=1)
    some = values[:: max(values.shape[0] // SCALE_BINS, 1)]
    median = np.median(some, axis=0)
    scale = 1.4826 * np.median(np.abs(some - median), axis=0)
    alive = scale > 0 if np.count_nonzero(scale > 0) > 1 else np.ones(scale.size, dtype=bool)
    if not alive.all():
        values, depths_um, median, scale = values[:, alive], depths_um[alive], median[alive], scale[alive]
    # an offset belongs to the contact, but the mean of passing waves, which is never quite zero, moves with the tissue
    values -= np.where(np.abs(median) > np.median(scale), median, np.float32(0))
    values /= contact_gains(scale)
    periods = check_periods(SteadyDecentralizedLfpRegistration.name, periods, recording)
    for segment_index, part in enumerate(times.split(values)):
        part[inside_periods(times.centers_s[segment_index], segment_index, periods)] = 0.0
    return values, depths_um


def contact_gains(scale):
    """What to divide each depth by: the typical scale of all, and more for depths that are far louder than others.

    The power of the tissue's sources moves with the tissue and is kept; a contact that is more than five times as loud
    as those around is noisy, or has another gain.

    Parameters
    ----------
    scale : ndarray of float, shape (num_depths,)
        Robust standard deviation of each depth.

    Returns
    -------
    gains : ndarray of float32, shape (num_depths,)
        Larger than 0.
    """
    from scipy.ndimage import median_filter

    typical = float(np.median(scale[scale > 0])) if np.any(scale > 0) else 1.0
    around = np.maximum(median_filter(scale, size=5, mode="nearest"), 0.1 * typical)
    excess = scale / around
    return (typical * np.where(excess > MOST_EXCESS, excess, 1.0)).astype("float32")
