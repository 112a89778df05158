"""Localization of units: the solver that `compute("unit_locations")` calls for each unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from steadyspike.acceleration.calls import NotCoveredError
from steadyspike.acceleration.localization import check_solver
from steadyspike.kernels.monopolar_lbfgsb import solve_monopolar_lbfgsb


def solved_monopole(
    wf_data: np.ndarray, local_contact_locations: np.ndarray, max_distance_um: float, optimizer: str
) -> tuple[Any, ...]:
    """Do what `solve_monopolar_triangulation` does.

    Covered: the optimizer "minimize_with_log_penality".
    """
    check_solver(max_distance_um, optimizer)
    features = np.asarray(wf_data)
    if features.dtype not in (np.float32, np.float64) or features.ndim != 1 or not features.size:
        raise NotCoveredError(f"features of {features.dtype}")
    contacts = np.arange(features.size)[np.newaxis]
    solved = solve_monopolar_lbfgsb(
        features[np.newaxis],
        np.zeros(1, dtype=np.int64),
        contacts,
        np.array([features.size]),
        np.asarray(local_contact_locations, dtype=np.float64),
        max_distance_um,
    )[0]
    if np.isnan(solved[0]):
        raise NotCoveredError("a unit without a positive, finite template")
    return tuple(solved)
