"""Motion estimation from the local field potential, as a motion estimator of SpikeInterface."""

import warnings
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from steadyspike.core.settings import parameter, parameter_of
from steadyspike.core.voltage import relative_gains
from steadyspike.kernels.motion import lfp_covariance, lfp_registration, registration
from steadyspike.motion.periods import check_periods, inside_periods
from steadyspike.motion.problem import TimeBins, as_motion, build_problem
from steadyspike.motion.settings import MotionEstimator, PairSettings
from steadyspike.preprocessing.motion_arguments import SHORT_BIN_S

# Samples x channels that are read at once.
CHUNK_VALUES = 4_000_000
# Time bins from which each depth's scale is taken, evenly spread.
SCALE_BINS = 20_000
# 1. A depth whose scale is more than this many times that of those around is toned down.
MOST_EXCESS = 5.0


class LfpSettings(PairSettings):
    """Parameters of `steady_decentralized_lfp`."""

    part = "steady_decentralized_lfp"

    bin_s: float | None = parameter(  # type: ignore[assignment]
        None,
        "Duration of the time bins, over which samples are averaged; None, or less than a sample: one sample",
        unit="s",
        gt=0,
    )
    hist_margin_um: float = parameter(
        0.0,
        "Not used, as there is no potential beyond the contacts: here because all estimators take it",
        unit="um",
        ge=0,
    )
    bin_um: float | None = parameter(
        None,
        "Step at which profiles are correlated; None: half the distance of the rows of contacts",
        unit="um",
        gt=0,
    )
    time_horizon_s: float | None = parameter_of(PairSettings, "time_horizon_s", 10.0)
    corr_threshold: float = parameter_of(PairSettings, "corr_threshold", 0.6)
    residual_rounds: int = parameter(
        2,
        """How often pairs are registered again from profiles that are moved back by the estimate. This finds motion
        between contacts""",
        ge=0,
    )
    refine_iterations: int = parameter(
        8,
        """Rounds of registration to the covariance between depths that all profiles share; 0 keeps the estimate from
        pairs. Each tries hundreds of displacements, which takes most of the time""",
        ge=0,
    )


class SteadyDecentralizedLfpRegistration(MotionEstimator):
    """Decentralized registration of the local field potential, at its own sampling rate.

    The potential's profile over depth is correlated between pairs of time bins at a schedule of lags, and robust least
    squares joins the shifts (see `steadyspike.kernels.motion.lfp_registration`); this sees the heartbeat and
    breathing, which spikes are too few for. Peaks are not needed. Resample the recording first, to 250 Hz or less,
    as in ``lfp = si.resample(si.bandpass_filter(recording, 0.5, 100.0), 250)``: its sampling rate is the resolution
    of the motion, and of its time and memory. Channels that do not record should be removed.

    Used as ``estimate_motion(lfp_recording, method="steady_decentralized_lfp", rigid=True, ...)``, rigid or with
    wide windows: 800 um and more. Traces are read in chunks; what is NaN or infinite counts as zero, and contacts at
    one depth are averaged.

    With ``extra_outputs=True`` it tells "temporal_hist_bin_edges", "window_centers", "explained" and
    "displacement_sd_um" of shape (num_times, num_windows). "explained" is the mean squared correlation of the bin's
    pairs, counted less where they disagree with the estimate: 0 where nothing is seen, towards 1 where motion explains
    all changes. The standard deviation follows from the scatter of the pairs; it is infinite where nothing was
    measured.

    References
    ----------
    Windolf et al. 2025, DREDge: robust motion correction for high-density extracellular recordings across species,
    Nature Methods.
    """

    settings_class = LfpSettings
    need_peak_location = False

    @classmethod
    def estimate(cls, recording, peaks, peak_locations, windows, settings, verbose, progress_bar, extra):
        """Estimate the motion; see `run`. Peaks are not used."""
        sampling_s = 1.0 / recording.get_sampling_frequency()
        samples_per_bin = max(round((settings.bin_s or sampling_s) / sampling_s), 1)
        bin_s = samples_per_bin * sampling_s
        if bin_s < SHORT_BIN_S:
            warnings.warn(
                f"{cls.name}: time bins of {1000 * bin_s:.2g} ms take long here and when they are corrected; resample "
                "the recording to 250 Hz, or give bin_s=0.004, and interpolation_time_bin_size_s to interpolate_motion",
                stacklevel=4,
            )
        times = _sample_bins(recording, samples_per_bin)
        problem = build_problem(
            recording, None, None, windows, settings, times=times, progress_bar=progress_bar
        )
        values, depths_um = read_profiles(
            recording, windows.direction, samples_per_bin, times, settings.periods
        )
        if verbose:
            print(
                f"{cls.name}: {depths_um.size} depths, {times.num_times} time bins, "
                f"{problem.centers_um.size} windows"
            )
        pitch_um = float(np.median(np.diff(depths_um)))
        steered = lfp_registration.LfpSettings(
            step_um=0.5 * pitch_um if settings.bin_um is None else settings.bin_um,
            max_displacement_um=settings.max_displacement_um,
            horizon_bins=settings.horizon_bins(bin_s, times.num_times),
            min_correlation=settings.corr_threshold,
            residual_rounds=settings.residual_rounds,
        )
        # the matrices are small: threads of BLAS would mostly wait for one another
        with threadpool_limits(1):
            displacement, deviation_um, explained = _estimate(
                problem,
                lfp_registration.make_profiles(values, depths_um),
                steered,
                settings.refine_iterations,
                bin_s,
                settings.max_segment_displacement_um,
            )
        displacement = displacement - registration.reference_of(displacement, settings.reference_displacement)
        if registration.range_of_um(displacement).max() < settings.negligible_um:
            displacement = np.zeros_like(displacement)
        result = registration.Registration(displacement - np.median(displacement), deviation_um, explained)
        return as_motion(problem, result, extra)


def _estimate(problem, profiles, settings, refine_iterations, bin_s, max_segment_displacement_um):
    """Displacement, its standard deviation, and what motion explains, each of shape (num_times, num_windows)."""
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
    explained, precision_of_pairs = lfp_registration.explained_and_precision(
        pairs, displacement, edges, settings
    )
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
    return displacement, deviation_um, explained


def _sample_bins(recording, samples_per_bin):
    """Time bins of whole samples, centered on them; at least one in each segment."""
    sampling_s = 1.0 / recording.get_sampling_frequency()
    edges_s = []
    for segment_index in range(recording.get_num_segments()):
        num_samples = recording.get_num_samples(segment_index)
        num_times = max(num_samples // samples_per_bin, 1)
        starts_s = sampling_s * samples_per_bin * np.arange(num_times)
        if num_samples > 0:
            first = samples_per_bin * np.arange(num_times)
            starts_s = recording.sample_index_to_time(first, segment_index=segment_index)
        edges_s.append(np.append(starts_s, starts_s[-1] + samples_per_bin * sampling_s) - 0.5 * sampling_s)
    return TimeBins.of(edges_s, samples_per_bin * sampling_s)


def read_profiles(recording, direction, samples_per_bin, times, periods=None):
    """Read the potential as a profile over depth for each time bin of `samples_per_bin` samples, in chunks.

    Contacts at one depth are averaged, as voltages of the typical gain; each depth loses its median over time, where
    that is larger than the typical robust standard deviation, and is divided by `contact_gains`; periods (see
    `check_periods`) are set to zero. Returns values of float32, (num_times, num_depths), and the increasing depths at
    which the potential varies.
    """
    positions_um = recording.get_channel_locations()[:, "xyz".index(direction)]
    depths_um, row_of_channel = np.unique(positions_um.round(3), return_inverse=True)
    averaging = np.zeros((positions_um.size, depths_um.size), dtype="float32")
    averaging[np.arange(positions_um.size), row_of_channel] = 1.0
    averaging /= averaging.sum(axis=0)
    averaging *= relative_gains(recording)[:, None]
    periods = check_periods(LfpSettings.part, periods, recording)
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
    for segment_index, part in enumerate(times.split(values)):
        part[inside_periods(times.centers_s[segment_index], segment_index, periods)] = 0.0
    return values, depths_um


def contact_gains(scale):
    """What to divide each depth by: the typical scale of all, and more for depths that are far louder than others.

    `scale` is the robust standard deviation of each depth. The power of the tissue's sources moves with the tissue and
    is kept; a contact that is more than five times as loud as those around is noisy, or has another gain.
    """
    from scipy.ndimage import median_filter

    typical = float(np.median(scale[scale > 0])) if np.any(scale > 0) else 1.0
    around = np.maximum(median_filter(scale, size=5, mode="nearest"), 0.1 * typical)
    excess = scale / around
    return (typical * np.where(excess > MOST_EXCESS, excess, 1.0)).astype("float32")
