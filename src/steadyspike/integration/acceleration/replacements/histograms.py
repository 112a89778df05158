"""`make_2d_motion_histogram` and `make_3d_motion_histograms`, on which every estimator of motion begins."""

from __future__ import annotations

from typing import Any

import numpy as np
from spikeinterface.sortingcomponents.motion import motion_utils

from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.kernels.motion.binned_counts import histogram_2d, histogram_3d


@replaces(
    "spikeinterface.sortingcomponents.motion.motion_utils",
    "make_2d_motion_histogram",
    name="motion_histogram",
    sources=("8d5f8541cb54aa9b",),
    also_in=(
        "spikeinterface.sortingcomponents.motion.decentralized",
        "spikeinterface.sortingcomponents.motion.dredge",
    ),
)
def motion_histogram(
    recording: Any,
    peaks: np.ndarray,
    peak_locations: np.ndarray,
    weight_with_amplitude: bool = False,
    avg_in_bin: bool = True,
    direction: str = "y",
    bin_s: float = 1.0,
    bin_um: float = 2.0,
    hist_margin_um: float = 50,
    spatial_bin_edges: np.ndarray | None = None,
    depth_smooth_um: float | None = None,
    time_smooth_s: float | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Do what `make_2d_motion_histogram` does."""
    from scipy.ndimage import gaussian_filter1d

    if spatial_bin_edges is not None:
        bin_um = spatial_bin_edges[1] - spatial_bin_edges[0]
    edges_s, edges_um = _edges(recording, direction, bin_s, bin_um, hist_margin_um, spatial_bin_edges)
    histogram, counts = histogram_2d(
        *_times_and_depths(recording, peaks, peak_locations, direction),
        edges_s,
        edges_um,
        np.abs(peaks["amplitude"]) if weight_with_amplitude else None,
        with_counts=bool(weight_with_amplitude and avg_in_bin),
    )
    if counts is not None:
        histogram /= np.maximum(counts, 1.0, out=counts)
    if depth_smooth_um is not None:
        histogram = gaussian_filter1d(histogram, depth_smooth_um / bin_um, axis=1, mode="constant")
    if time_smooth_s is not None:
        histogram = gaussian_filter1d(histogram, time_smooth_s / bin_s, axis=0, mode="constant")
    return histogram, edges_s, edges_um


@replaces(
    "spikeinterface.sortingcomponents.motion.motion_utils",
    "make_3d_motion_histograms",
    name="motion_histogram",
    sources=("7c6cface63a071b3",),
    also_in=("spikeinterface.sortingcomponents.motion.iterative_template",),
)
def motion_histograms(
    recording: Any,
    peaks: np.ndarray,
    peak_locations: np.ndarray,
    direction: str = "y",
    bin_s: float = 1.0,
    bin_um: float = 2.0,
    hist_margin_um: float = 50,
    num_amp_bins: int = 20,
    log_transform: bool = True,
    spatial_bin_edges: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Do what `make_3d_motion_histograms` does."""
    if peaks.size == 0:
        raise NotCoveredError("no peaks")
    edges_s, edges_um = _edges(recording, direction, bin_s, bin_um, hist_margin_um, spatial_bin_edges)
    absolute = np.abs(peaks["amplitude"])
    low, high = np.min(absolute), np.max(absolute)
    marks = (np.log10(absolute) - np.log10(low)) / (np.log10(high) - np.log10(low))
    histograms = histogram_3d(
        *_times_and_depths(recording, peaks, peak_locations, direction),
        marks.astype("float64", copy=False),
        edges_s,
        edges_um,
        np.linspace(0, 1, num_amp_bins + 1),
    )
    if log_transform:
        histograms += 1
        np.log2(histograms, out=histograms)
    return histograms, edges_s, edges_um


def spatial_windows(
    recording: Any, direction: str, edges_um: np.ndarray, **how: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of depth bins in each window, and the windows' centers in um; `how` are SpikeInterface's arguments."""
    depths_um = recording.get_channel_locations()[:, ["x", "y", "z"].index(direction)]
    return motion_utils.get_spatial_windows(depths_um, 0.5 * (edges_um[1:] + edges_um[:-1]), **how)


def _edges(
    recording: Any,
    direction: str,
    bin_s: float,
    bin_um: float,
    hist_margin_um: float,
    spatial_bin_edges: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    first_s = recording.sample_index_to_time(0)
    last_s = recording.sample_index_to_time(recording.get_num_samples() - 1)
    edges_s = np.arange(first_s, last_s + bin_s, bin_s)
    if spatial_bin_edges is None:
        spatial_bin_edges = motion_utils.get_spatial_bin_edges(recording, direction, hist_margin_um, bin_um)
    edges_um = np.asarray(spatial_bin_edges)
    if edges_s.size < 2 or edges_um.size < 2:
        raise NotCoveredError("fewer than one bin")
    if not (np.diff(edges_um) > 0).all():
        raise NotCoveredError("spatial_bin_edges that do not increase")
    return edges_s, edges_um


def _times_and_depths(
    recording: Any, peaks: np.ndarray, peak_locations: np.ndarray, direction: str
) -> tuple[np.ndarray, np.ndarray]:
    times = np.asarray(recording.sample_index_to_time(peaks["sample_index"]), dtype="float64")
    depths = np.ascontiguousarray(peak_locations[direction], dtype="float64")
    return times, depths
