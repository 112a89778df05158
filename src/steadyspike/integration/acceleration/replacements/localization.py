"""Localization of peaks: "center_of_mass", "monopolar_triangulation" and "grid_convolution"."""

from __future__ import annotations

import inspect
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from spikeinterface.postprocessing import localization_tools

from steadyspike.integration.acceleration import patching, threads
from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.replacements.snippets import (
    Snippets,
    checked_channels,
    in_waveforms,
    neighbours_of,
)
from steadyspike.kernels.spikes.grid_convolution import locate_snippets_on_grid
from steadyspike.kernels.spikes.local_grids import LocalGrids, grids_of_weights
from steadyspike.kernels.spikes.monopolar import START_Z_UM
from steadyspike.kernels.spikes.monopolar_lbfgsb import solve_monopolar_lbfgsb, solve_monopolar_least_squares
from steadyspike.kernels.spikes.spike_snippets import center_sums, snippet_features
from steadyspike.kernels.spikes.template_weights import sparse_weights

FEWEST_SPIKES = 50
# z starts at 20 and ends below ten times this
MINIMAL_DISTANCE_UM = 2.0
SOLVERS = {
    "minimize_with_log_penality": solve_monopolar_lbfgsb,
    "least_square": solve_monopolar_least_squares,
}


@replaces(
    "spikeinterface.sortingcomponents.peak_localization.center_of_mass",
    "LocalizeCenterOfMass.compute",
    name="center_of_mass",
    sources=("cf7f3313c73731aa",),
    helpers=("LocalizeCenterOfMass.__init__",),
)
def center_of_mass(self: Any, traces: np.ndarray, peaks: np.ndarray, waveforms: np.ndarray) -> np.ndarray:
    """Do what `LocalizeCenterOfMass.compute` does.

    Covered: dense waveforms of int16, uint16, int32, float32 or float64.
    """
    return center_of_mass_of(self, peaks, in_waveforms(waveforms))


@replaces(
    "spikeinterface.sortingcomponents.peak_localization.monopolar",
    "LocalizeMonopolarTriangulation.compute",
    name="monopolar_triangulation",
    sources=("415baed309250ff5",),
    helpers=(
        "LocalizeMonopolarTriangulation.__init__",
        "spikeinterface.postprocessing.localization_tools:solve_monopolar_triangulation",
        "spikeinterface.postprocessing.localization_tools:make_initial_guess_and_bounds",
        "spikeinterface.postprocessing.localization_tools:estimate_distance_error",
        "spikeinterface.postprocessing.localization_tools:estimate_distance_error_with_log",
        "spikeinterface.postprocessing.localization_tools:data_at",
    ),
)
def monopolar_triangulation(
    self: Any, traces: np.ndarray, peaks: np.ndarray, waveforms: np.ndarray
) -> np.ndarray:
    """Do what `LocalizeMonopolarTriangulation.compute` does.

    Covered: dense waveforms of int16, uint16, int32, float32 or float64.
    """
    return monopolar_triangulation_of(self, peaks, in_waveforms(waveforms))


@replaces(
    "spikeinterface.sortingcomponents.peak_localization.grid",
    "LocalizeGridConvolution.compute",
    name="grid_convolution",
    sources=("dbe4991e6d501dac",),
    helpers=("LocalizeGridConvolution.__init__",),
)
def grid_convolution(self: Any, traces: np.ndarray, peaks: np.ndarray, waveforms: np.ndarray) -> np.ndarray:
    """Do what `LocalizeGridConvolution.compute` does.

    Covered: dense waveforms of int16, uint16, int32, float32 or float64.
    """
    return grid_convolution_of(self, peaks, in_waveforms(waveforms))


def center_of_mass_of(node: Any, peaks: np.ndarray, spikes: Snippets) -> np.ndarray:
    """Localize spikes by the center of mass, wherever their samples are."""
    channels = checked_channels(peaks["channel_index"], spikes.num_channels)
    neighbours, counts = neighbours_of(node, spikes.num_channels)
    contacts = _contacts(node)
    peak_index = _peak_index(node, spikes)
    sums = np.empty((channels.size, 3))

    def add(first: int, last: int) -> None:
        part = slice(first, last)
        layout = (channels[part], neighbours, counts)
        features = snippet_features(
            spikes.flat,
            spikes.stride,
            spikes.starts[part],
            *layout,
            spikes.num_samples,
            node.feature,
            peak_index,
        )
        sums[part] = center_sums(features, *layout, contacts)

    threads.over_ranges(add, channels.size, FEWEST_SPIKES)
    centers = sums[:, :2] / sums[:, 2:]
    located = np.zeros(channels.size, dtype=node._dtype)
    located["x"], located["y"] = centers.T
    return located


def monopolar_triangulation_of(node: Any, peaks: np.ndarray, spikes: Snippets) -> np.ndarray:
    """Localize spikes as monopoles, wherever their samples are."""
    check_solver(node.max_distance_um, node.optimizer)
    channels = checked_channels(peaks["channel_index"], spikes.num_channels)
    neighbours, counts = neighbours_of(node, spikes.num_channels)
    contacts = _contacts(node)
    peak_index = _peak_index(node, spikes)
    solved = np.empty((channels.size, 4))

    def solve(first: int, last: int) -> None:
        part = slice(first, last)
        layout = (channels[part], neighbours, counts)
        features = snippet_features(
            spikes.flat,
            spikes.stride,
            spikes.starts[part],
            *layout,
            spikes.num_samples,
            node.feature,
            peak_index,
        )
        if node.feature == "peak_voltage":
            np.abs(features, out=features)
        solved[part] = solved_monopoles(features, layout, contacts, node.max_distance_um, node.optimizer)
        for i in np.flatnonzero(np.isnan(solved[part, 0])):
            main = channels[first + i]
            count = counts[main]
            solved[first + i] = _theirs()(
                features[i, :count], contacts[neighbours[main, :count]], node.max_distance_um, node.optimizer
            )

    threads.over_ranges(solve, channels.size, FEWEST_SPIKES)
    located = np.zeros(channels.size, dtype=node._dtype)
    for field, values in zip(("x", "y", "z", "alpha"), solved.T, strict=True):
        located[field] = values
    return located


def check_solver(max_distance_um: Any, optimizer: Any) -> None:
    """Refuse what the solver of monopoles does not cover."""
    if optimizer not in SOLVERS:
        raise NotCoveredError(f"optimizer={optimizer!r}")
    if not MINIMAL_DISTANCE_UM < max_distance_um < np.inf:
        raise NotCoveredError(f"max_distance_um={max_distance_um}")


def solved_monopoles(
    features: np.ndarray,
    layout: tuple[np.ndarray, np.ndarray, np.ndarray],
    contacts: np.ndarray,
    max_distance_um: float,
    optimizer: str,
) -> np.ndarray:
    """Return x, y, z and alpha of each spike; NaN for those that only SpikeInterface's own solver can tell about."""
    solved = SOLVERS[optimizer](features, *layout, contacts, max_distance_um)
    if optimizer == "least_square":
        # its amplitude has a bound too, and it refuses to start beyond
        bounds = features.max(axis=1, initial=0.0) * max_distance_um
        refused = _first_distances(features, layout, contacts) >= max_distance_um * (1 - 1e-5)
        solved[refused | (solved[:, 3] > bounds)] = np.nan
    return solved


def _first_distances(
    features: np.ndarray, layout: tuple[np.ndarray, np.ndarray, np.ndarray], contacts: np.ndarray
) -> np.ndarray:
    """Distance from the start, the center of mass at z = 20, to the contact with the largest feature."""
    channels, neighbours, _ = layout
    positions = contacts[neighbours[channels]]
    weights = features.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        centers = (weights[:, :, np.newaxis] * positions).sum(axis=1) / weights.sum(axis=1)[:, np.newaxis]
    largest = positions[np.arange(len(positions)), weights.argmax(axis=1)]
    return np.sqrt(((centers - largest) ** 2).sum(axis=1) + START_Z_UM**2)


def _theirs() -> Any:
    return patching.original_of(
        "spikeinterface.postprocessing.localization_tools", "solve_monopolar_triangulation"
    )


def grid_convolution_of(node: Any, peaks: np.ndarray, spikes: Snippets) -> np.ndarray:
    """Localize spikes on a grid of templates, wherever their samples are."""
    channels = checked_channels(peaks["channel_index"], spikes.num_channels)
    contacts = _contacts(node)
    prototype = np.ascontiguousarray(node.prototype, dtype=np.float64).ravel()
    if prototype.size != spikes.num_samples:
        raise NotCoveredError("prototype of another length than the waveforms")
    if node.weights.shape[1] != spikes.num_channels:
        raise NotCoveredError("another number of channels than the node's")
    grids = _grids_of(node, contacts)
    located = np.empty((channels.size, 3))

    def locate(first: int, last: int) -> None:
        part = slice(first, last)
        locate_snippets_on_grid(
            spikes.flat,
            spikes.stride,
            spikes.starts[part],
            channels[part],
            contacts,
            prototype,
            grids,
            node.percentile / 100,
            located[part],
        )

    threads.over_ranges(locate, channels.size, FEWEST_SPIKES)
    positions = np.zeros(channels.size, dtype=node._dtype)
    for field, values in zip("xyz", located.T, strict=True):
        positions[field] = values
    return positions


_grids: WeakKeyDictionary[Any, LocalGrids] = WeakKeyDictionary()


def _grids_of(node: Any, contacts: np.ndarray) -> LocalGrids:
    """Collect the templates around each channel; once for each node."""
    if node not in _grids:
        _grids[node] = grids_of_weights(
            contacts, node.template_positions, node.weights, node.nearest_template_mask, node.z_factors
        )
    return _grids[node]


def _contacts(node: Any) -> np.ndarray:
    contacts = np.ascontiguousarray(node.contact_locations, dtype=np.float64)
    if contacts.shape[1] != 2 or not np.isfinite(contacts).all():
        raise NotCoveredError("contact positions in 3D, or not finite")
    return contacts


def _peak_index(node: Any, spikes: Snippets) -> int:
    if node.feature == "peak_voltage" and not 0 <= node.nbefore < spikes.num_samples:
        raise NotCoveredError("waveforms without a sample at the peak")
    return int(node.nbefore)


DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(localization_tools.get_convolution_weights).parameters.items()
}


@replaces(
    "spikeinterface.postprocessing.localization_tools",
    "get_convolution_weights",
    name="grid_convolution",
    sources=("2c4526f129b0dc78",),
)
def convolution_weights(
    distances: np.ndarray,
    z_list_um: Any = DEFAULTS["z_list_um"],
    sigma_list_um: Any = DEFAULTS["sigma_list_um"],
    sparsity_threshold: float | None = None,
    sigma_3d: float = 2.5,
    mode: str = "exponential_3d",
) -> tuple[np.ndarray, Any]:
    """Do what `get_convolution_weights` does.

    Covered: thresholds of sparsity from 1e-6 to 1, positive scales.
    """
    distances = np.asarray(distances)
    if mode not in ("exponential_3d", "gaussian_2d"):
        raise NotCoveredError(f"mode={mode!r}")
    if distances.dtype != np.float64 or distances.ndim != 2 or not distances.size:
        raise NotCoveredError(f"distances of {distances.dtype}")
    threshold = 0.5 / np.sqrt(distances.shape[0]) if sparsity_threshold is None else sparsity_threshold
    if not 1e-6 <= threshold <= 1:
        raise NotCoveredError(f"sparsity_threshold={sparsity_threshold}")
    spread = mode == "gaussian_2d"
    factors = sigma_list_um if spread else z_list_um
    planes = np.asarray(factors, dtype=np.float64)
    scales = planes if spread else np.array([sigma_3d])
    if planes.ndim != 1 or not np.isfinite(planes).all() or not (scales > 0).all():
        raise NotCoveredError("scales that are not above 0")
    return sparse_weights(distances, planes, float(sigma_3d), spread, threshold), factors


@replaces(
    "spikeinterface.postprocessing.localization_tools",
    "solve_monopolar_triangulation",
    name="monopolar_triangulation",
    sources=("1a361dc68492d2eb",),
    helpers=(
        "make_initial_guess_and_bounds",
        "estimate_distance_error",
        "estimate_distance_error_with_log",
        "data_at",
    ),
)
def solved_monopole(
    wf_data: np.ndarray, local_contact_locations: np.ndarray, max_distance_um: float, optimizer: str
) -> tuple[Any, ...]:
    """Do what `solve_monopolar_triangulation` does.

    Covered: templates of float32 or float64 that are finite and not all zero.
    """
    check_solver(max_distance_um, optimizer)
    features = np.asarray(wf_data)
    if features.dtype not in (np.float32, np.float64) or features.ndim != 1 or not features.size:
        raise NotCoveredError(f"features of {features.dtype}")
    layout = (
        np.zeros(1, dtype=np.int64),
        np.arange(features.size)[np.newaxis],
        np.array([features.size]),
    )
    contacts = np.asarray(local_contact_locations, dtype=np.float64)
    solved = solved_monopoles(features[np.newaxis], layout, contacts, max_distance_um, optimizer)[0]
    if np.isnan(solved[0]):
        raise NotCoveredError("features that are not finite, all zero, or without a bounded solution")
    return tuple(solved)
