"""Decentralized motion estimation from localized peaks, as a motion estimator of SpikeInterface."""

from typing import Self

import numpy as np
from pydantic import model_validator

from steadyspike.core.settings import parameter
from steadyspike.kernels.motion import iterative_template, registration
from steadyspike.motion.online_recording import check_warmup, register_online
from steadyspike.motion.problem import PeakEstimator, finish
from steadyspike.motion.settings import PairSettings

# s. Units come and go over hours: spikes count in full this far away in the density that a time bin is registered to.
TEMPLATE_SPAN_S = 3600.0


class DecentralizedSettings(PairSettings):
    """Parameters of `steady_decentralized`."""

    part = "steady_decentralized"

    bin_um: float = parameter(
        4.0, "Depth bins of the raster that pairs of time bins are correlated on", unit="um", gt=0
    )
    histogram_depth_smooth_um: float = parameter(
        4.0, "Standard deviation of the raster's smoothing over depth; 0 for none", unit="um", ge=0
    )
    histogram_time_smooth_s: float = parameter(
        0.5, "Standard deviation of the raster's smoothing over time; 0 for none", unit="s", ge=0
    )
    num_amplitude_bins: int = parameter(4, "Amplitude bins of the density of all peaks", ge=1)
    template_smooth_um: float = parameter(
        1.0, "Standard deviation of that density's smoothing over depth", unit="um", ge=0.5
    )
    online: bool = parameter(
        False,
        """Estimate each time bin from the peaks up to it only, as `OnlineMotionEstimator` does it in a running
        recording; `reference_displacement`, `max_segment_displacement_um` and `negligible_um` then bear on the
        warm-up only""",
    )
    online_warmup_s: float = parameter(
        60.0,
        "With `online`: so much at the start is estimated together, at least two time bins",
        unit="s",
        gt=0,
    )

    @model_validator(mode="after")
    def _warms_up(self) -> Self:
        if self.online:
            check_warmup(self, "online_warmup_s")
        return self


class SteadyDecentralizedRegistration(PeakEstimator):
    """Decentralized registration whose memory and time grow linearly with duration.

    Pairs of time bins are correlated at a schedule of lags instead of all with all, in each window and on the whole
    probe, robust least squares joins their shifts, and maximum likelihood then registers every time bin to the density
    of all corrected peaks (see `steadyspike.kernels.motion.registration`). The displacement is linear between the
    window centers.

    Used as ``estimate_motion(recording, peaks, peak_locations, method="steady_decentralized", ...)``.

    With ``extra_outputs=True`` it tells "motion_histogram" (num_times, num_depths), "temporal_hist_bin_edges",
    "spatial_hist_bin_edges", "non_rigid_windows" (num_windows, num_depths), "window_centers", "pairwise" (a dict of
    "lags_s", and of "displacement_um" and "correlation" of shape (num_lags, num_times, num_windows)), "explained"
    and "displacement_sd_um" (num_times, num_windows). "explained" is the generalized coefficient of determination
    (pseudo-R2) of the bin's peaks, 1 - exp(-2 gain), with the gain in log-likelihood per peak over peaks of unknown
    depth: 0 where there are none, towards 1 where they fit the density of all peaks; "trust" is the same array under
    the name that it had in 0.1.0, for one release. The standard deviation follows from the curvature of the
    likelihood; it is infinite where nothing was measured.

    References
    ----------
    Varol et al. 2021, Decentralized motion inference and registration of Neuropixel data, ICASSP.
    Windolf et al. 2025, DREDge: robust motion correction for high-density extracellular recordings across species,
    Nature Methods.
    """

    settings_class = DecentralizedSettings

    @classmethod
    def solve(cls, problem, settings, extra):
        """Estimate the motion; see `run`."""
        if problem.verbose:
            from steadyspike.motion.costs import estimation_in_words

            num_peaks = problem.spikes.depths_um.size
            print(
                f"{cls.name}: {estimation_in_words(problem.recording, num_peaks, problem.windows, settings)}"
            )
        bin_s, bin_um = settings.bin_s, settings.bin_um
        steered = steer(settings, problem.times.num_times)
        if settings.online:
            return register_online(problem, steered, bin_s, settings.online_warmup_s, extra)
        depths_um = problem.depth_bins(bin_um)
        weights = problem.windows_of(depths_um)
        num_windows = weights.shape[0]
        pairs = registration.register_pairs(
            problem.spikes,
            depths_um,
            # the whole probe is one window more: where a window sees few units it is the better start
            np.vstack([weights, np.ones((1, weights.shape[1]))]),
            problem.times.segment_edges,
            steered,
            problem.progress,
            keep_raster=extra is not None,
        )
        if extra is not None:
            extra["motion_histogram"] = pairs.raster
            extra["spatial_hist_bin_edges"] = np.append(depths_um, depths_um[-1] + bin_um) - 0.5 * bin_um
            extra["non_rigid_windows"] = weights
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
            iterative_template.TemplateSettings(max_displacement_um=settings.max_displacement_um),
            problem.progress,
        )
        starts.append(np.repeat(walk, num_windows, axis=1))
        return finish(problem, starts, steered, extra)


def steer(settings, num_times):
    """Give the numbers that steer the registration, for so many time bins."""
    bin_s = settings.bin_s
    return settings.registration(
        bin_um=settings.bin_um,
        depth_smooth_um=settings.histogram_depth_smooth_um,
        time_smooth_bins=settings.histogram_time_smooth_s / bin_s,
        horizon_bins=settings.horizon_bins(bin_s, num_times),
        min_correlation=settings.corr_threshold,
        num_marks=settings.num_amplitude_bins,
        template_smooth_um=settings.template_smooth_um,
        template_span_bins=TEMPLATE_SPAN_S / bin_s,
    )
