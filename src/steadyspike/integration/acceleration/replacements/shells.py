"""Contacts that come before others on the way out from a main channel, for `enforce_decrease`."""

from __future__ import annotations

from typing import Any

import numpy as np

from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces

SAME_DISTANCE_UM = 1e-8


@replaces(
    "spikeinterface.postprocessing.localization_tools",
    "make_radial_order_parents",
    name="monopolar_triangulation",
    sources=("c8501d60b8dae57e",),
    helpers=("make_shells", "make_shell"),
    also_in=("spikeinterface.sortingcomponents.peak_localization.monopolar",),
)
def radial_order_parents(
    geom: np.ndarray, neighbours_mask: np.ndarray, n_jumps_per_growth: int = 1, n_jumps_parent: int = 3
) -> list[list[tuple[Any, np.ndarray]]]:
    """Do what `make_radial_order_parents` does.

    Covered: masks with a row and a column for each contact; at least two contacts at different places.
    """
    # takes long to import
    from scipy.spatial.distance import cdist

    num_channels = len(geom)
    if np.shape(neighbours_mask) != (num_channels, num_channels):
        raise NotCoveredError("a mask that is not one of contacts and contacts")
    distances = cdist(geom, geom)
    rings = [np.unique(row)[1:] for row in distances]
    if not all(ring.size and np.isfinite(ring).all() for ring in rings):
        raise NotCoveredError("contacts all in one place, or not finite")
    near = np.array(
        [row <= _radius(ring, n_jumps_parent) for row, ring in zip(distances, rings, strict=True)]
    )
    np.fill_diagonal(near, False)
    return [
        _parents(channel, np.flatnonzero(mask), distances[channel], rings[channel], near, n_jumps_per_growth)
        for channel, mask in enumerate(neighbours_mask)
    ]


def _radius(ring: np.ndarray, jumps: int) -> float:
    return float(ring[:jumps][-1]) + SAME_DISTANCE_UM


def _parents(
    channel: int,
    neighbours: np.ndarray,
    distances: np.ndarray,
    ring: np.ndarray,
    near: np.ndarray,
    growth: int,
) -> list[tuple[Any, np.ndarray]]:
    """List each contact beyond the first shell, with those before it that are near it."""
    first = _radius(ring, growth)
    # the main channel, and contacts that are no neighbours, count as seen
    count = int(np.count_nonzero(distances <= first))
    own, near_own = distances[neighbours], near[np.ix_(neighbours, neighbours)]
    seen = own <= first
    parents = []
    jumps = 2
    while count < neighbours.size:
        shell = ((own <= _radius(ring, jumps * growth)) & ~seen).nonzero()[0]
        for place in shell:
            before = (near_own[place] & seen).nonzero()[0]
            if before.size:
                parents.append((int(place), before))
        seen[shell] = True
        count += shell.size
        jumps += 1
    return parents
