"""Motion estimation by an iteratively averaged template, as a motion estimator of SpikeInterface."""

import numpy as np

from steadyspike.core.settings import parameter
from steadyspike.kernels.motion import iterative_template
from steadyspike.motion.problem import PeakEstimator, finish
from steadyspike.motion.settings import RefinedSettings


class IterativeTemplateSettings(RefinedSettings):
    """Parameters of `steady_iterative_template`."""

    part = "steady_iterative_template"

    bin_um: float = parameter(5.0, "Depth step of the template", unit="um", gt=0)
    num_amp_bins: int = parameter(20, "Bins of the template over the logarithm of the amplitude", ge=1)
    num_iterations: int = parameter(10, "Most rounds of alignment; fewer where nothing moves any more", ge=1)
    num_shifts_block: int = parameter(
        5, "Farthest that a window is moved in one round, in steps of `bin_um`", ge=1
    )
    smoothing_sigma: float = parameter(
        0.5,
        "Standard deviation of the smoothing of each window's fit, in time bins, windows and depth steps; 0 for none",
        ge=0,
    )


class SteadyIterativeTemplateRegistration(PeakEstimator):
    """Registration of every time bin to the average of all aligned ones, over any range of drift.

    Kilosort 2.5's idea: time bins are aligned to a template over depth and amplitude as wholes, the template is
    averaged again, and so on; then the same window by window (see `steadyspike.kernels.motion.iterative_template`).
    Maximum likelihood refines the result, as in `steady_decentralized`. Memory and time grow linearly with duration.

    Used as ``estimate_motion(recording, peaks, peak_locations, method="steady_iterative_template", ...)``.
    `max_displacement_um` limits a time bin against its neighbour and against the template so far, not the whole drift.

    With ``extra_outputs=True`` it tells "temporal_hist_bin_edges", "window_centers", "template_displacement_um" (before
    refinement), "explained" and "displacement_sd_um", these three of shape (num_times, num_windows). The last two
    are those of `steady_decentralized`.

    References
    ----------
    Steinmetz et al. 2021, Neuropixels 2.0: a miniaturized high-density probe for stable, long-term brain recordings,
    Science.
    Pachitariu et al. 2024, Spike sorting with Kilosort4, Nature Methods.
    """

    settings_class = IterativeTemplateSettings

    @classmethod
    def solve(cls, problem, settings, extra):
        """Estimate the motion; see `run`."""
        displacement = iterative_template.register_to_template(
            problem.spikes,
            problem.centers_um,
            problem.windows_of(problem.centers_um),
            problem.depth_range_um,
            problem.times.segment_edges,
            iterative_template.TemplateSettings(
                bin_um=settings.bin_um,
                num_marks=settings.num_amp_bins,
                max_displacement_um=settings.max_displacement_um,
                num_shifts_block=settings.num_shifts_block,
                num_iterations=settings.num_iterations,
                smoothing_sigma=settings.smoothing_sigma,
            ),
            problem.progress,
        )
        if extra is not None:
            extra["template_displacement_um"] = displacement
        starts = [displacement, np.zeros_like(displacement)]
        return finish(problem, starts, settings.registration(), extra)
