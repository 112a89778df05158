"""Localization of units: the solver that `compute("unit_locations")` calls for each unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from steadyspike.acceleration.calls import NotCoveredError
from steadyspike.acceleration.localization import check_solver, solved_monopoles


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
