"""Covariance of spikes in each stretch of tissue, from contacts that the tissue moves past.

At displacement `d` a contact at depth `c` sees the tissue that rests at `c - d`. What the contacts covary like at many
displacements tells the covariance `S` between places of the tissue, those between the contacts' own places too, as
weights for moved contacts need it. For each patch of tissue, on a grid of points `z`,

    z ~ N(0, S),   x = H_d z + noise,

where `H_d` interpolates from the grid to the contacts, `S` is found by expectation maximization, beginning with the
covariance that is the same everywhere. Units that rest nearby shape it: what is between the contacts is told by how
these units look from other displacements, and no unit need be known by name.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from steadyspike.kernels.channels.trace_covariance import Mixture, separations

# Half the height of a patch, in um and in rows of contacts, the larger of the two, and the distance of its points
# along it: footprints are wider.
HALF_UM, HALF_ROWS, STEP_UM = 60.0, 3, 10.0
# Patches lie at least this far apart, in um; each contact belongs to the nearest.
SPACING_UM = 14.0
# With more columns of points than this, contacts form no grid, and a fit would take long.
MOST_COLUMNS = 24
# Displacements this close, in um, are one.
BIN_UM = 3.0
# Samples that a displacement needs to tell of a patch.
FEWEST_SAMPLES = 30
# Share of the covariance that is the same everywhere, which holds where there are few spikes.
EVERYWHERE = 0.03
ITERATIONS = 100
# Added to the general covariance of variance 1, which close points make singular.
RIDGE = 1e-3
# Share of a patch's variance that its factors leave out.
LEFT_OUT = 0.01


class Observed(NamedTuple):
    """Contacts in view of a patch at one displacement, where along it they are, and their covariance in spikes."""

    contacts: np.ndarray
    place: np.ndarray
    covariance: np.ndarray
    num_samples: int


class Tissue:
    """Patches of tissue along the probe, and how contacts see them.

    Parameters
    ----------
    positions : array (num_channels, num_dimensions)
        Of the contacts, in um.
    dimension : int
        Along which the tissue moves.

    Attributes
    ----------
    depths : array (num_patches,)
        Of the patches' middles.
    points : array (num_points, num_dimensions)
        Of each patch, relative to its middle along `dimension`; none where contacts form no columns.
    patch_of : array (num_channels,)
        Nearest patch of each contact.
    """

    def __init__(self, positions, dimension):
        self.positions = positions
        self.along = positions[:, dimension]
        self.dimension = dimension
        columns = np.unique(np.round(np.delete(positions, dimension, axis=1)), axis=0)
        if columns.shape[1] == 1:
            columns = _spaced(columns[:, 0], STEP_UM)[:, None]
        rows = np.unique(self.along)
        pitch = np.median(np.diff(rows)) if len(rows) > 1 else 0.0
        self.half = max(HALF_UM, HALF_ROWS * pitch)
        grid = np.linspace(-self.half, self.half, 2 * round(self.half / STEP_UM) + 1)
        if len(columns) > MOST_COLUMNS:
            columns = columns[:0]
        self.depths = _spaced(rows, SPACING_UM)
        self.patch_of = np.abs(self.along[:, None] - self.depths).argmin(axis=1)
        each, along = np.repeat(columns, len(grid), axis=0), np.tile(grid, len(columns))
        self.points = np.insert(each, dimension, along, axis=1)

    def view(self, patch, displacement_um) -> tuple[np.ndarray, np.ndarray]:
        """Contacts that see a patch at a displacement, and the places along it that they see, from its middle."""
        place = self.along - displacement_um - self.depths[patch]
        contacts = np.flatnonzero(np.abs(place) <= self.half)
        return contacts, place[contacts]


class Lattice:
    """Covariance between a patch's points that is the same everywhere, and interpolation between these points.

    Attributes
    ----------
    general : array (num_points, num_points)
        Covariance.
    """

    def __init__(self, tissue: Tissue, signal: Mixture):
        self.tissue, self.signal = tissue, signal
        self.general = signal.at(*separations(tissue.points, tissue.dimension))
        self.inverse = np.linalg.inv(self.general + RIDGE * np.eye(len(self.general)))

    def interpolation(self, contacts, place) -> np.ndarray:
        """Rows (contacts, num_points) that interpolate to places along a patch, beside these contacts."""
        dimension = self.tissue.dimension
        at = self.tissue.positions[contacts].astype("float64")
        at[:, dimension] = place
        return self.signal.at(*separations(at, dimension, self.tissue.points)) @ self.inverse


class TissueMoments:
    """Covariances of contacts in spikes, for each patch and displacement, added up chunk by chunk."""

    def __init__(self, tissue: Tissue):
        self.tissue = tissue
        self.middle = np.abs(tissue.depths[:, None] - tissue.along).argmin(axis=1)
        self.observed: list[dict[int, Observed]] = [{} for _ in tissue.depths]

    def add(self, traces, in_spike, displacement_um) -> None:
        """Add traces (num_samples, num_channels) of which `in_spike` says what is in a spike of those around it.

        `displacement_um` is that of each contact (num_channels,), the same for all samples.
        """
        if not len(self.tissue.points):
            return
        bins = np.round(displacement_um[self.middle] / BIN_UM).astype(int)
        for patch, (number, seen) in enumerate(zip(bins, self.observed, strict=True)):
            if number not in seen:
                contacts, place = self.tissue.view(patch, number * BIN_UM)
                seen[number] = Observed(contacts, place, np.zeros((len(contacts), len(contacts))), 0)
            contacts, place, total, num_samples = seen[number]
            chosen = traces[np.ix_(in_spike[:, contacts].any(axis=1), contacts)].astype("float64")
            seen[number] = Observed(contacts, place, total + chosen.T @ chosen, num_samples + len(chosen))

    def means(self, patch) -> list[Observed]:
        """Mean covariances of a patch, those of enough samples and contacts."""
        return [
            one._replace(covariance=one.covariance / one.num_samples)
            for one in self.observed[patch].values()
            if one.num_samples >= FEWEST_SAMPLES and len(one.contacts) > 1
        ]


def fit_patch(observed: list[Observed], lattice: Lattice, noise) -> np.ndarray:
    """Find the covariance of a patch by expectation maximization.

    Parameters
    ----------
    observed : list of Observed
        Covariances of signal and noise at some displacements.
    lattice : Lattice
        The patch's points, and their covariance that is the same everywhere, of variance 1.
    noise : array (num_channels, num_channels)
        Covariance of the noise.

    Returns
    -------
    factors : array (rank, num_points)
        Of the patch's covariance ``factors.T @ factors + EVERYWHERE * general``, in units of the mean variance of its
        signal; none, for `general` itself, where there is no signal or one displacement only.
    """
    variance = _signal_variance(observed, noise)
    if len(observed) < 2 or not variance > 0:
        return np.empty((0, len(lattice.general)))
    share, seen, covariance, noises = _padded(observed, lattice, noise, variance)
    num_points = len(lattice.general)
    fitted = lattice.general
    for _ in range(ITERATIONS):
        with_contacts = seen @ fitted
        expected = with_contacts @ seen.transpose(0, 2, 1) + noises
        gain = np.linalg.solve(expected, with_contacts)
        change = (share[:, None, None] * (covariance - expected)) @ gain
        fitted = fitted + gain.reshape(-1, num_points).T @ change.reshape(-1, num_points)
        # rounding errors of one half of it would grow
        fitted = (1 - EVERYWHERE) * 0.5 * (fitted + fitted.T) + EVERYWHERE * lattice.general
    values, vectors = np.linalg.eigh(fitted - EVERYWHERE * lattice.general)
    kept = np.cumsum(values) > LEFT_OUT * values.sum()
    return (vectors[:, kept] * np.sqrt(np.maximum(values[kept], 0.0))).T


def _signal_variance(observed, noise) -> float:
    """Mean variance of the contacts in view beyond that of the noise; 0 of nothing."""
    total = sum(one.num_samples for one in observed)
    each = (
        one.num_samples * np.mean(np.diag(one.covariance) - np.diag(noise)[one.contacts]) for one in observed
    )
    return float(sum(each) / total) if total else 0.0


def _padded(observed, lattice, noise, variance):
    """Shares of the samples, and what the contacts see, covary and hear; contacts are filled up with deaf ones."""
    most = max(len(one.contacts) for one in observed)
    share = np.array([one.num_samples for one in observed], dtype="float64")
    seen = np.zeros((len(observed), most, len(lattice.general)))
    covariance, noises = (np.tile(np.eye(most), (len(observed), 1, 1)) for _ in range(2))
    for index, one in enumerate(observed):
        here = slice(len(one.contacts))
        seen[index, here] = lattice.interpolation(one.contacts, one.place)
        covariance[index, here, here] = one.covariance / variance
        noises[index, here, here] = noise[np.ix_(one.contacts, one.contacts)] / variance
    return share / share.sum(), seen, covariance, noises


def _spaced(numbers, least) -> np.ndarray:
    """Those of increasing numbers that are at least so far from the one before."""
    kept = [numbers[0]]
    for number in numbers[1:]:
        if number - kept[-1] >= least:
            kept.append(number)
    return np.array(kept)
