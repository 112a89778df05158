"""Localization of peaks: "center_of_mass", "monopolar_triangulation" and "grid_convolution"."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from spikeinterface.postprocessing import localization_tools

from steadyspike.integration.acceleration import threads
from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.replacements.monopoles import (
    NO_FEATURES,
    OPEN_POSITION,
    TOO_FEW_CONTACTS,
    Monopoles,
    check_solver,
)
from steadyspike.integration.acceleration.replacements.snippets import (
    Snippets,
    checked_channels,
    in_waveforms,
    neighbours_of,
)
from steadyspike.kernels.spikes.grid_convolution import locate_snippets_on_grid
from steadyspike.kernels.spikes.local_grids import LocalGrids, grids_of_weights
from steadyspike.kernels.spikes.monopolar_descent import sources_are_determined
from steadyspike.kernels.spikes.spike_snippets import center_sums, snippet_features
from steadyspike.kernels.spikes.template_weights import sparse_weights

FEWEST_SPIKES = 50


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
        features = snippet_features(*spikes.of(part), *layout, spikes.num_samples, node.feature, peak_index)
        sums[part] = center_sums(features, *layout, contacts)

    threads.over_ranges(add, channels.size, FEWEST_SPIKES)
    return _located(node, "xy", sums[:, :2] / sums[:, 2:])


def monopolar_triangulation_of(node: Any, peaks: np.ndarray, spikes: Snippets) -> np.ndarray:
    """Localize spikes as monopoles, wherever their samples are."""
    check_solver(node.max_distance_um, node.optimizer)
    channels = checked_channels(peaks["channel_index"], spikes.num_channels)
    neighbours, counts = neighbours_of(node, spikes.num_channels)
    peak_index = _peak_index(node, spikes)
    solver = Monopoles(_contacts(node), neighbours, counts, node.max_distance_um, node.optimizer)
    determined = determined_channels(node)
    dtype = np.float32 if spikes.flat.dtype == np.float32 else np.float64
    features = np.empty((channels.size, neighbours.shape[1]), dtype=dtype)
    solved, is_open = np.empty((channels.size, 4)), np.empty(channels.size, dtype=bool)

    def solve(first: int, last: int) -> None:
        part = slice(first, last)
        layout = (channels[part], neighbours, counts)
        features[part] = snippet_features(
            *spikes.of(part), *layout, spikes.num_samples, node.feature, peak_index
        )
        if node.feature == "peak_voltage":
            np.abs(features[part], out=features[part])
        solved[part], is_open[part] = solver.minima(features[part], channels[part])

    threads.over_ranges(solve, channels.size, FEWEST_SPIKES)
    solver.leave(solved, is_open, determined[channels], features, channels, node.name)
    return _located(node, ("x", "y", "z", "alpha"), solved)


_determined: WeakKeyDictionary[Any, tuple[np.ndarray, np.ndarray]] = WeakKeyDictionary()


def determined_channels(node: Any) -> np.ndarray:
    """Tell on which main channels the contacts in reach determine a source; once for each node."""
    mask = node.neighbours_mask
    known = _determined.get(node)
    if known is None or known[0] is not mask:
        found = sources_are_determined(*neighbours_of(node, len(mask)), _contacts(node))
        known = _determined[node] = (mask, found)
    if not known[1].any():
        raise NotCoveredError(TOO_FEW_CONTACTS)
    return known[1]


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
        layout = (channels[part], contacts)
        locate_snippets_on_grid(
            *spikes.of(part), *layout, prototype, grids, node.percentile / 100, located[part]
        )

    threads.over_ranges(locate, channels.size, FEWEST_SPIKES)
    return _located(node, "xyz", located)


_grids: WeakKeyDictionary[Any, LocalGrids] = WeakKeyDictionary()


def _grids_of(node: Any, contacts: np.ndarray) -> LocalGrids:
    """Collect the templates around each channel; once for each node."""
    if node not in _grids:
        _grids[node] = grids_of_weights(
            contacts, node.template_positions, node.weights, node.nearest_template_mask, node.z_factors
        )
    return _grids[node]


def _located(node: Any, fields: Iterable[str], columns: np.ndarray) -> np.ndarray:
    """Put the columns of an array into the fields of the node's type."""
    located = np.zeros(len(columns), dtype=node._dtype)
    for field, values in zip(fields, columns.T, strict=True):
        located[field] = values
    return located


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

    Covered: templates of float32 or float64 that are finite and not all zero, where they determine the source.
    """
    check_solver(max_distance_um, optimizer)
    features = np.asarray(wf_data)
    if features.dtype not in (np.float32, np.float64) or features.ndim != 1 or not features.size:
        raise NotCoveredError(f"features of {features.dtype}")
    contacts = np.asarray(local_contact_locations, dtype=np.float64)
    neighbours, counts = np.arange(features.size)[np.newaxis], np.array([features.size])
    if not sources_are_determined(neighbours, counts, contacts)[0]:
        raise NotCoveredError(TOO_FEW_CONTACTS)
    solver = Monopoles(contacts, neighbours, counts, max_distance_um, optimizer)
    solved, is_open = solver.minima(features[np.newaxis], np.zeros(1, dtype=np.int64))
    if np.isnan(solved[0, 0]):
        raise NotCoveredError(NO_FEATURES)
    if is_open[0]:
        raise NotCoveredError(OPEN_POSITION)
    return tuple(solved[0])
