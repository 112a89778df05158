"""Where the contacts of a recording lie: shanks and distances."""

import numpy as np


def shank_of_channels(recording):
    """Number the shanks of all probes and give that of each channel.

    Parameters
    ----------
    recording : BaseRecording
        With a probe.

    Returns
    -------
    shanks : ndarray of int32, shape (num_channels,)
        Counted from 0 in the order in which the channels name them; zeros where the probe tells no shanks apart.
    """
    contacts = recording.get_probegroup().to_numpy(complete=True)
    fields = [field for field in ("probe_index", "shank_ids") if field in contacts.dtype.names]
    names = list(zip(*(contacts[field].tolist() for field in fields), strict=True))
    seen = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([seen[name] for name in names], dtype="int32")


def distance_to_nearest(positions):
    """Distance of each position to its nearest neighbour; infinite for one alone.

    Parameters
    ----------
    positions : ndarray of float64, shape (num_positions, num_dimensions)
        In um.

    Returns
    -------
    distances : ndarray of float64, shape (num_positions,)
    """
    from scipy.spatial import KDTree

    return KDTree(positions).query(positions, k=2)[0][:, 1]
