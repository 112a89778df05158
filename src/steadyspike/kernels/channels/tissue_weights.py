"""Weights for moved contacts from the covariance of the tissue around each; see `tissue_covariance`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from steadyspike.kernels.channels.banded_weights import band_weights, drop_small
from steadyspike.kernels.channels.spatial_interpolation import STILL_UM, is_inside
from steadyspike.kernels.channels.tissue_covariance import EVERYWHERE, Lattice, Tissue
from steadyspike.kernels.channels.trace_covariance import Mixture, noise_between
from steadyspike.kernels.channels.wiener_weights import WienerWeights, shares

# Displacement from one set of weights to the next, in um: the half of it changes spikes by about a hundredth.
WEIGHTS_STEP_UM = 1.0
# Patches and displacements whose weights are kept, at half a kB each.
REMEMBERED = 40_000


class TissueWeights(WienerWeights):
    """Weights as of `WienerWeights`, with a covariance of the signal for each patch of tissue.

    Parameters
    ----------
    positions, dimension, signal, noise, levels, targets, dtype, extrapolate
        As of `WienerWeights`.
    factors : list of array (rank, num_points)
        Of each patch; see `fit_patch`. Of rank 0: the covariance of `signal`.
    """

    def __init__(
        self,
        positions,
        dimension,
        signal: Mixture,
        noise: Mixture,
        levels,
        targets,
        dtype,
        extrapolate=True,
        factors=(),
    ):
        super().__init__(positions, dimension, signal, noise, levels, targets, dtype, extrapolate)
        self.tissue = Tissue(positions, dimension)
        self.lattice = Lattice(self.tissue, signal)
        self.factors = factors
        self.noise = noise_between(noise, positions, dimension, levels)
        patches = self.tissue.patch_of[targets]
        self.rows_of = {int(patch): np.flatnonzero(patches == patch) for patch in np.unique(patches)}
        # the same patch comes back at the same displacement, as tissue moves to and fro
        self._of_patch = lru_cache(REMEMBERED)(self._compute_patch)

    def dense(self, displacement_um) -> np.ndarray:
        """All weights, shape (num_targets, num_channels), float64."""
        moved_um = WEIGHTS_STEP_UM * np.round(np.asarray(displacement_um)[self.targets] / WEIGHTS_STEP_UM)
        everywhere = np.zeros((len(self.targets), len(self.positions)))
        for patch, rows in self.rows_of.items():
            of_rows = moved_um[rows]
            for moved in set(of_rows.tolist()):
                contacts, weights = self._of_patch(patch, moved)
                here = of_rows == moved
                everywhere[rows[here, None], contacts] = weights[here]
        if not self.extrapolate:
            places = self._moved(self.targets, np.asarray(displacement_um)[self.targets])
            everywhere[~is_inside(self.positions, places, STILL_UM)] = 0.0
        return everywhere

    def _compute_patch(self, patch, displacement_um):
        """Contacts that see a patch, and the weights of these for each of the targets that belong to it."""
        members = self.targets[self.rows_of[patch]]
        contacts, place = self.tissue.view(patch, displacement_um)
        if not len(contacts):
            return contacts, np.zeros((len(members), 0))
        seen = self.lattice.interpolation(contacts, place)
        rest = self.tissue.along[members] - self.tissue.depths[patch]
        wanted = self.lattice.interpolation(members, rest)
        factors = self.factors[patch]
        general = self.lattice.general * (EVERYWHERE if len(factors) else 1.0)
        with_factors, wanted_factors = seen @ factors.T, wanted @ factors.T
        covariance = seen @ general @ seen.T + with_factors @ with_factors.T
        crossing = wanted @ general @ seen.T + wanted_factors @ with_factors.T
        root = np.linalg.inv(np.linalg.cholesky(self.noise[np.ix_(contacts, contacts)]))
        spectrum, vectors = np.linalg.eigh(root @ covariance @ root.T)
        spectrum = np.maximum(spectrum, 0.0)
        coordinates = crossing @ root.T @ vectors
        share = shares(coordinates, np.tile(spectrum, (len(members), 1)), self.wanted[members])
        weights = (coordinates / (spectrum + share[:, None])) @ vectors.T @ root
        return contacts, drop_small(weights, self.dropped_fraction)

    def _compute(self, displacement_bytes):
        return band_weights(
            self.dense(np.frombuffer(displacement_bytes)), self.targets, self.order, self.dtype
        )
