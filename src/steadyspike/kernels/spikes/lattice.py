"""The rows of contacts draw localized spikes towards them, or push them away: how to undo it.

Such a bias stays with the probe while the tissue moves, so that spikes look sharp without a correction for a reason
that has nothing to do with units.
"""

import numpy as np

# Parts of the distance between two rows down to which biases are undone.
FINEST = 3
# Periods that a pattern has to repeat to be one.
MIN_PERIODS = 4


def lattice_of(contacts_um, dim):
    """Period of the pattern of contacts along one dimension.

    Of contacts (num_contacts, num_dimensions) in um, along the dimension `dim`. Returns a whole number of rows in um
    after which the pattern repeats, and the rows in it; None and 0 where it never does within a quarter of the probe,
    or where the rows are not evenly spaced.
    """
    contacts = np.round(contacts_um, 1)
    rows, row_of = np.unique(contacts[:, dim], return_inverse=True)
    pitches = np.diff(rows)
    if rows.size < MIN_PERIODS or np.any(np.abs(pitches - np.median(pitches)) > 0.1 * np.median(pitches)):
        return None, 0
    across = np.delete(contacts, dim, axis=1)
    patterns = [sorted(map(tuple, across[row_of == row].tolist())) for row in range(rows.size)]
    for num_rows in range(1, rows.size // MIN_PERIODS + 1):
        if patterns[num_rows:] == patterns[:-num_rows]:
            return num_rows * float(pitches.mean()), num_rows
    return None, 0


def undo_lattice(depths_um, first_um, period_um, num_rows=1):
    r"""Depths whose places within the period p of the contacts are spread evenly.

    The phases :math:`\phi = (z - z_0) / p` have the Fourier coefficients
    :math:`a_k = \langle e^{-2 \pi i k \phi} \rangle`. Mapping every phase to its cumulated density makes it even:

    .. math:: z' = z + \frac{p}{\pi} \sum_k s_k \frac{\mathrm{Im}(a_k e^{2 \pi i k \phi})}{k}

    The bias is the same in every period, units are not: the factor :math:`s_k = \max(0, 1 - e_k^2 / |a_k|^2)`, with
    the standard error :math:`e_k` over periods, leaves alone what a few units do.

    Depths as localized are finite; `first_um` is a row of contacts, `num_rows` are in a period, and biases down to a
    third of a row are undone. Returns float64, in the same order as before.
    """
    depths_um = np.asarray(depths_um, dtype="float64")
    places = (depths_um - first_um) / period_um
    periods = np.floor(places).astype("int64")
    periods -= periods.min(initial=0)
    counts = np.bincount(periods)
    num_periods = int((counts > 0).sum())
    if num_periods < MIN_PERIODS:
        return depths_um.copy()
    moved = np.zeros(places.size)
    for k in range(1, FINEST * num_rows + 1):
        wave = np.exp(2j * np.pi * k * places)
        sums = np.bincount(periods, weights=wave.real) - 1j * np.bincount(periods, weights=wave.imag)
        coefficient = sums.sum() / places.size
        excess = np.abs(sums - coefficient * counts) ** 2
        variance = excess.sum() / places.size**2 * num_periods / (num_periods - 1)
        reliable = max(0.0, 1.0 - variance / max(abs(coefficient) ** 2, 1e-12))
        moved += reliable * (coefficient * wave).imag / k
    return depths_um + moved * period_um / np.pi
