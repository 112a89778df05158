"""Figures of a motion correction or of denoising: each function returns a matplotlib figure."""

import warnings
from typing import Any

from steadyspike.core.moved import LAST_RELEASE
from steadyspike.evaluation.figures.denoising import plot_denoised_templates as plot_denoised_templates
from steadyspike.evaluation.figures.denoising import plot_denoised_traces as plot_denoised_traces
from steadyspike.evaluation.figures.denoising import plot_denoising_evaluation as plot_denoising_evaluation
from steadyspike.evaluation.figures.drift_metrics import plot_drift_metrics as plot_drift_metrics
from steadyspike.evaluation.figures.embedding import plot_embedding as plot_embedding
from steadyspike.evaluation.figures.kilosort import plot_correlograms as plot_correlograms
from steadyspike.evaluation.figures.kilosort import plot_kilosort_comparison as plot_kilosort_comparison
from steadyspike.evaluation.figures.kilosort import plot_kilosort_drift as plot_kilosort_drift
from steadyspike.evaluation.figures.kilosort import plot_kilosort_positions as plot_kilosort_positions
from steadyspike.evaluation.figures.kilosort import plot_kilosort_raster as plot_kilosort_raster
from steadyspike.evaluation.figures.motion_comparison import plot_motion_comparison as plot_motion_comparison
from steadyspike.evaluation.figures.motion_maps import plot_explained_map as plot_explained_map
from steadyspike.evaluation.figures.motion_maps import plot_motion_map as plot_motion_map
from steadyspike.evaluation.figures.overview import plot_overview as plot_overview
from steadyspike.evaluation.figures.probe import plot_peaks_on_probe as plot_peaks_on_probe
from steadyspike.evaluation.figures.raster import plot_raster as plot_raster
from steadyspike.evaluation.figures.run_times import plot_run_times as plot_run_times
from steadyspike.evaluation.figures.save import save_figures as save_figures
from steadyspike.evaluation.figures.spike_classifier import plot_classifier_scores as plot_classifier_scores
from steadyspike.evaluation.figures.trust import plot_motion_trust as plot_motion_trust


def __getattr__(name: str) -> Any:
    """Find the function by the name that it had in 0.1.0."""
    if name != "plot_trust_map":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    text = f"plot_trust_map is now plot_explained_map; the old name works up to steadyspike {LAST_RELEASE}"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    return plot_explained_map
