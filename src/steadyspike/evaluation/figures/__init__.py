"""Figures of a motion correction or of denoising: each function returns a matplotlib figure."""

from steadyspike.evaluation.figures.denoising import (
    plot_denoised_templates,
    plot_denoised_traces,
    plot_denoising_evaluation,
)
from steadyspike.evaluation.figures.drift_metrics import plot_drift_metrics
from steadyspike.evaluation.figures.motion_comparison import plot_motion_comparison
from steadyspike.evaluation.figures.motion_maps import plot_motion_map, plot_trust_map
from steadyspike.evaluation.figures.overview import plot_overview
from steadyspike.evaluation.figures.probe import plot_peaks_on_probe
from steadyspike.evaluation.figures.raster import plot_raster
from steadyspike.evaluation.figures.run_times import plot_run_times
from steadyspike.evaluation.figures.save import save_figures
from steadyspike.evaluation.figures.trust import plot_motion_trust

__all__ = [
    "plot_denoised_templates",
    "plot_denoised_traces",
    "plot_denoising_evaluation",
    "plot_drift_metrics",
    "plot_motion_comparison",
    "plot_motion_map",
    "plot_motion_trust",
    "plot_overview",
    "plot_peaks_on_probe",
    "plot_raster",
    "plot_run_times",
    "plot_trust_map",
    "save_figures",
]
