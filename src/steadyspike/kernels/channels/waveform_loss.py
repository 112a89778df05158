"""How much of a waveform's energy drift blurs, and how much a correction by interpolation leaves, from geometry alone.

A spike's footprint is that of a monopolar source, whose amplitude falls with distance. Sources at several distances
from the contacts stand for the units of a recording, so that no waveform is needed.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from steadyspike.kernels.channels.trace_covariance import Mixture, fit_mixture, separations
from steadyspike.kernels.channels.wiener_weights import WienerWeights

# um. Distances of typical units from the contacts. With these, and this share of the loss to interpolation left where
# weights know the tissue and not only such sources, predictions are those measured in `benchmarks sorting`.
SOURCE_DISTANCES_UM = (5.0, 10.0, 20.0, 35.0)
KNOWN_TISSUE = 0.35
NUM_SOURCE_DEPTHS = 16
# Contacts around the middle of the probe that are looked at: enough to know what interpolation costs.
MAX_CONTACTS = 96
# um. At the ends of a long probe interpolation is worse, but few units are there: this far from the ends of the slice.
MARGIN_UM = 60.0
# um. Sorters look at the contacts this near to a spike.
RADIUS_UM = 100.0


def footprints(contacts_um, sources_um, distances_um):
    r"""Amplitudes of monopolar sources at the contacts, :math:`1 / \sqrt{|c - s|^2 + h^2}`.

    Contacts and sources (on the plane of the contacts) are of shape (number, 2), distances h above 0, all in um.
    """
    squared = np.square(sources_um[:, None, :] - contacts_um[None, :, :]).sum(axis=2)
    return 1.0 / np.sqrt(squared + np.square(distances_um)[:, None])


def middle_contacts(contacts_um, dim):
    """Cut the contacts nearest to the probe's middle along `dim`: enough to know what interpolation costs."""
    depths = contacts_um[:, dim]
    nearest = np.argsort(np.abs(depths - 0.5 * (depths.min() + depths.max())), kind="stable")
    return contacts_um[np.sort(nearest[:MAX_CONTACTS])]


def typical_sources(contacts_um, dim):
    """Sources over the probe: a grid of depths, the columns of contacts, and several distances.

    Returns places on the plane of the contacts, (num_sources, 2), and distances from it, (num_sources,), in um.
    """
    depths = contacts_um[:, dim]
    margin = min(MARGIN_UM, 0.25 * np.ptp(depths))
    # an irrational share of the range, so that the depths fall on all places between two contacts
    places = (0.5 + np.arange(NUM_SOURCE_DEPTHS) * 0.6180339887) % 1.0
    depth = depths.min() + margin + places * (np.ptp(depths) - 2 * margin)
    # columns that there are: between two shanks there is no unit to be seen
    across = np.quantile(contacts_um[:, 1 - dim], [0.25, 0.5, 0.75], method="nearest")
    grid = np.meshgrid(depth, across, SOURCE_DISTANCES_UM, indexing="ij")
    sources = np.empty((grid[0].size, 2))
    sources[:, dim], sources[:, 1 - dim] = grid[0].ravel(), grid[1].ravel()
    return sources, grid[2].ravel()


@threadpool_limits.wrap(limits=1, user_api="blas")
def waveform_losses(contacts_um, dim, displacement_um, moved_um, error_um):
    r"""Share of the waveform's energy that drift blurs without a correction, and that is lost with one.

    With the footprint :math:`F(z)` of a source at depth z, the displacement d by which the correction moves it, its
    true distance m from where it usually is, and the weights :math:`W(d)` (`wiener_weights`, by the covariance of
    these sources) which read the traces at contacts moved by d:

    .. math:: L_{without} = \left\langle \frac{|F(z + m) - F(z)|^2}{|F(z)|^2} \right\rangle, \qquad
              L_{with} = a \left\langle \frac{|W(d) F(z + d) - F(z)|^2}{|F(z)|^2} \right\rangle
              + \left\langle \frac{|F(z \pm e) - F(z)|^2}{|F(z)|^2} \right\rangle

    over all sources and displacements, where e is the standard error of the estimate, and a = 0.35 what weights leave
    of it that know the tissue (`tissue_covariance`).

    Contacts (num_contacts, 2) are in um; the middle of a large probe is used. The motion is along `dim`, 0 or 1.
    `displacement_um` and `moved_um` are samples of the displacements, and of how far the tissue is from where it
    usually is. Returns both shares of the energy, at least 0; they may exceed 1.
    """
    contacts_um = middle_contacts(np.asarray(contacts_um, dtype="float64"), dim)
    sources, distances = typical_sources(contacts_um, dim)
    along = np.zeros(2)
    along[dim] = 1.0
    still = footprints(contacts_um, sources, distances)
    away = np.square(sources[:, None, :] - contacts_um[None, :, :]).sum(axis=2)
    near = away <= max(RADIUS_UM**2, away.min(axis=1).max())
    energy = np.where(near, np.square(still), 0.0).sum(axis=1)

    def lost(seen):
        return float((np.where(near, np.square(seen - still), 0.0).sum(axis=1) / energy).mean())

    def smear(shift_um):
        return lost(footprints(contacts_um, sources + shift_um * along, distances))

    weights = _weights(contacts_um, dim, still)
    without = np.mean([smear(shift) for shift in moved_um])
    interpolated = []
    # traces that move nowhere are left as they are
    for shift in displacement_um if np.any(displacement_um) else ():
        moved = footprints(contacts_um, sources + shift * along, distances)
        interpolated.append(lost(moved @ weights.dense(np.full(len(contacts_um), shift)).T))
    uncertain = 0.5 * (smear(error_um) + smear(-error_um))
    return float(without), KNOWN_TISSUE * float(np.mean(interpolated or 0.0)) + uncertain


def _weights(contacts_um, dim, seen):
    """Weights as `interpolate_motion` would have them where these footprints are all that is seen."""
    number = len(contacts_um)
    across, along = separations(contacts_um, dim)
    signal = fit_mixture(seen.T @ seen, np.ones((number, number)), across, along)
    noise = Mixture(np.empty((0, 2)), np.empty(0), 1.0)
    return WienerWeights(contacts_um, dim, signal, noise, np.ones(number), np.arange(number), "float64")
