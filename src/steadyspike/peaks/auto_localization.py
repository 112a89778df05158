"""Localization that suits the probe, as a localization method of SpikeInterface."""

import numpy as np
from spikeinterface.sortingcomponents.peak_localization.base import LocalizeBase

from steadyspike.kernels.channels.spatial_interpolation import distance_to_nearest
from steadyspike.peaks.grid_localization import LocalizeSteadyGridConvolution
from steadyspike.peaks.localization import LocalizeSteadyMonopolar

# um. Sparser contacts than this see a unit on two or three of them: templates on a grid snap to the contacts, and the
# decay with distance tells the depth better (`python -m steadyspike_benchmarks motion`, probes np1, np2 and linear16).
DENSE_PITCH_UM = 35.0


def choose_localization(positions_um):
    """Choose how to localize on a probe.

    Returns `localize_peaks_kwargs` with "method", as in a motion preset.
    """
    if np.median(distance_to_nearest(positions_um)) <= DENSE_PITCH_UM:
        return dict(method="steady_grid_convolution")
    return dict(method="steady_monopolar", enforce_decrease=True)


METHODS = {
    "steady_grid_convolution": LocalizeSteadyGridConvolution,
    "steady_monopolar": LocalizeSteadyMonopolar,
}


class LocalizeSteadyAuto(LocalizeBase):
    """Localize peaks by grid convolution on dense probes, and as point sources on sparse ones.

    A probe is dense if the median distance of its contacts to their nearest neighbour is at most 35 um. Creating this
    node gives a `LocalizeSteadyGridConvolution`, or a `LocalizeSteadyMonopolar` with ``enforce_decrease=True``; these
    two take parameters.

    Parameters
    ----------
    recording : BaseRecording
        The recording, with contact positions.
    parents : list of PipelineNode
        The peak source and a `WaveformsNode`, dense or sparse.
    return_output : bool, default: True
        Whether the pipeline returns the locations.

    Raises
    ------
    ValueError
        For contact positions that are not finite.
    TypeError
        Without a `WaveformsNode` among the parents.
    """

    name = "steady_auto"
    params_doc = """
    """

    def __new__(cls, recording, parents, return_output=True):
        """Make the node that suits the probe."""
        kwargs = choose_localization(recording.get_channel_locations())
        return METHODS[kwargs.pop("method")](recording, parents, return_output=return_output, **kwargs)

    def __init__(self, recording, parents, return_output=True):
        # never called: __new__ gives a node of another class; it is here for those who read signatures
        raise NotImplementedError
