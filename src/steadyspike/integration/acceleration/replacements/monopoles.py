"""Point sources behind features, where SpikeInterface's "monopolar_triangulation" puts them.

SpikeInterface hands each spike to an optimizer of SciPy, which stops before the minimum. Here spikes go to the minimum
itself where the contacts in reach determine the source. What they leave open, the optimizer decides by where it stops,
nearer to the center of mass than the minimum is, and nearer to the source: those spikes are left to the optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyspike.integration.acceleration import patching
from steadyspike.integration.acceleration.calls import NotCoveredError, measured
from steadyspike.integration.acceleration.replacements.lbfgsb import stopping_point
from steadyspike.kernels.spikes.monopolar import PENALTY_WEIGHT, START_Z_UM
from steadyspike.kernels.spikes.monopolar_descent import descend_monopolar, objective_with_differences

TOOLS = "spikeinterface.postprocessing.localization_tools"
LOG_PENALTY, LEAST_SQUARES = "minimize_with_log_penality", "least_square"
PENALTIES = {LOG_PENALTY: PENALTY_WEIGHT, LEAST_SQUARES: 0.0}
# z starts at 20 and ends below ten times this
MINIMAL_DISTANCE_UM = 2.0
# Curvature of the objective, per um^2, below which the minimum is not taken. L-BFGS-B stops at a slope of 1e-5 per um:
# 10 um from a minimum of curvature 1e-6. At 5e-7 errors in weak spikes (5 standard deviations of noise) grow by 15 %,
# at 2e-6 three times as many spikes take the slow way. Least squares are minimized to the end; only valleys are left.
LEAST_CURVATURE = {LOG_PENALTY: 1e-6, LEAST_SQUARES: 2e-7}
TOO_FEW_CONTACTS = "too few contacts in reach to determine a source"
NO_FEATURES = "features that are not finite, or all zero"
OPEN_POSITION = "features that leave the position open"


def check_solver(max_distance_um: Any, optimizer: Any) -> None:
    """Refuse what the solver of monopoles does not cover."""
    if optimizer not in PENALTIES:
        raise NotCoveredError(f"optimizer={optimizer!r}")
    if not MINIMAL_DISTANCE_UM < max_distance_um < np.inf:
        raise NotCoveredError(f"max_distance_um={max_distance_um}")


@dataclass(frozen=True)
class Monopoles:
    """Solves for the point sources behind the features of spikes.

    `contacts` (num_channels, 2) are float64 in um, finite; `neighbours` and `counts` are the contacts in reach of each
    channel; `max_distance_um` is half the width of the box around the center of mass; `optimizer` is SpikeInterface's
    name of what is minimized, "minimize_with_log_penality" or "least_square".
    """

    contacts: np.ndarray
    neighbours: np.ndarray
    counts: np.ndarray
    max_distance_um: float
    optimizer: str

    def minima(self, features: np.ndarray, channels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x, y, z and alpha of each spike, NaN where its features have none, and whether they leave it open."""
        layout = (channels, self.neighbours, self.counts, self.contacts)
        solved = descend_monopolar(features, *layout, self.max_distance_um, PENALTIES[self.optimizer])
        is_open = solved[:, 4] < LEAST_CURVATURE[self.optimizer]
        if self.optimizer == LEAST_SQUARES:
            # its amplitude has a bound too, and it refuses to start beyond
            bounds = features.max(axis=1, initial=0.0) * self.max_distance_um
            refused = self._first_distances(features, channels) >= self.max_distance_um * (1 - 1e-5)
            is_open |= refused | (solved[:, 3] > bounds)
        return solved[:, :4], is_open

    def leave(
        self,
        solved: np.ndarray,
        is_open: np.ndarray,
        determined: np.ndarray,
        features: np.ndarray,
        channels: np.ndarray,
        name: str,
    ) -> None:
        """Replace what `minima` cannot tell by what SpikeInterface's optimizer finds, and count why, under `name`."""
        none = np.isnan(solved[:, 0]) & determined
        is_open = is_open & determined & ~none
        left = {TOO_FEW_CONTACTS: ~determined, NO_FEATURES: none}
        if self.optimizer == LEAST_SQUARES:
            left[OPEN_POSITION] = is_open
        else:
            guess = patching.original_of(TOOLS, "make_initial_guess_and_bounds")
            for spike in np.flatnonzero(is_open):
                solved[spike] = self._stopped(*self._local(features[spike], channels[spike]), guess)
        solve = patching.original_of(TOOLS, "solve_monopolar_triangulation")
        for reason, which in left.items():
            if which.any():
                with measured(name) as outcome:
                    outcome.reason = reason
                    for spike in np.flatnonzero(which):
                        local = self._local(features[spike], channels[spike])
                        solved[spike] = solve(*local, self.max_distance_um, self.optimizer)

    def _local(self, features: np.ndarray, channel: Any) -> tuple[np.ndarray, np.ndarray]:
        near = self.neighbours[channel, : self.counts[channel]]
        return features[: near.size], self.contacts[near]

    def _stopped(self, features: np.ndarray, contacts: np.ndarray, guess: Any) -> tuple[float, ...]:
        """Return x, y, z and alpha where SciPy's L-BFGS-B stops, with SpikeInterface's objective compiled."""
        start, bounds = guess(features, contacts, self.max_distance_um)
        lower, upper = np.array(bounds, dtype=np.float64)[:, :3]
        xs, ys = np.ascontiguousarray(contacts.T)
        found = stopping_point(
            objective_with_differences, start[:3].astype(np.float64), (features, xs, ys, upper), lower, upper
        )
        inverse = 1 / np.sqrt((found[0] - xs) ** 2 + (found[1] - ys) ** 2 + found[2] ** 2)
        return (*found, (features * inverse).sum() / np.square(inverse).sum())

    def _first_distances(self, features: np.ndarray, channels: np.ndarray) -> np.ndarray:
        """Distance from the start, the center of mass at z = 20, to the contact with the largest feature."""
        positions = self.contacts[self.neighbours[channels]]
        weights = features.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            centers = (weights[:, :, np.newaxis] * positions).sum(axis=1) / weights.sum(axis=1)[:, np.newaxis]
        largest = positions[np.arange(len(positions)), weights.argmax(axis=1)]
        return np.sqrt(((centers - largest) ** 2).sum(axis=1) + START_Z_UM**2)
