"""Localization of peaks: SpikeInterface's pipeline nodes around the compiled kernels."""

from typing import Literal

from steadyspike.core.arguments import refuse
from steadyspike.core.settings import Settings, document, parameter, takes
from steadyspike.kernels.spikes.contact_features import (
    enforce_radial_decrease,
    neighbour_lists,
    shell_radii,
    spike_features,
)
from steadyspike.kernels.spikes.monopolar import solve_monopolar
from steadyspike.peaks.node import LEAST_SAMPLES, LocalizeSteady, check_samples


class MonopolarSettings(Settings):
    """Parameters of `LocalizeSteadyMonopolar`."""

    part = "steady_monopolar"

    radius_um: float = parameter(
        75.0, "Contacts this near to the main channel take part in the fit", unit="um", gt=0
    )
    max_distance_um: float = parameter(
        150.0,
        "Bound of ``x`` and ``y`` around the center of mass. ``z`` is bound by 10 times as much",
        unit="um",
        ge=1,
    )
    enforce_decrease: bool = parameter(
        False,
        """Whether to cut features that grow with the distance from the main channel before the fit. SpikeInterface's
        ``True`` has no effect in its series 0.105 (a copy is cut and dropped), so False gives the same results as
        either of its settings""",
    )
    feature: Literal["ptp", "energy", "peak_voltage"] = parameter(
        "ptp",
        "What is fitted: peak-to-peak amplitude, root of the sum of squares, or absolute voltage at the peak",
    )
    return_goodness_of_fit: bool = parameter(
        False,
        """Append the field "goodness_of_fit" to the output, cut to [0, 1] and 0 where nothing could be solved:
        ``1 - sum((w - alpha / d)^2) / sum((w - mean(w))^2)``""",
    )


@document
class LocalizeSteadyMonopolar(LocalizeSteady):
    """Localize peaks as point sources, all peaks of a chunk in one compiled call.

    The model is that of SpikeInterface's "monopolar_triangulation". The feature on the contact at ``(x_i, y_i)`` is
    ``alpha / d_i`` with ``d_i^2 = (x - x_i)^2 + (y - y_i)^2 + z^2``. With ``w`` the features divided by their maximum,
    ``mean((w - alpha / d)^2) + 1e-4 (r^2 / 30^2 + log(z / 25)^2)`` is minimized over ``x, y, z`` in a box around the
    center of mass; the best ``alpha`` has a closed form. ``r`` is the distance along the probe from the contact with
    the largest feature: what few contacts in reach leave open (two, a tetrode, the end of a sparse probe) is decided by
    where sources are likely. Where nothing can be solved (no signal, a single contact in reach) the center of mass, or
    the main channel, at ``z = 20`` is returned, never a NaN.

    Parameters
    ----------
    recording : BaseRecording
        The recording, with contact positions.
    parents : list of PipelineNode
        The peak source and a `WaveformsNode`, dense or sparse.
    return_output : bool, default: True
        Whether the pipeline returns the locations.
    {settings}

    Raises
    ------
    ValueError
        For a parameter outside its range, or contact positions that are not finite.
    TypeError
        Without a `WaveformsNode` among the parents.

    References
    ----------
    Boussard, Varol, Lee, Dethe, Paninski, "Three-dimensional spike localization and improved motion
    correction for Neuropixels recordings", NeurIPS 2021.
    """

    name = "steady_monopolar"
    params_doc = MonopolarSettings.params_doc()

    @takes(MonopolarSettings)
    def __init__(self, recording, parents, return_output=True, settings=None):
        goodness = [("goodness_of_fit", "float32")] * settings.return_goodness_of_fit
        parent = self._begin(recording, parents, return_output, "monopolar_triangulation", goodness)
        self.radius_um = settings.radius_um
        self.max_distance_um = settings.max_distance_um
        self.enforce_decrease = settings.enforce_decrease
        self.feature = settings.feature
        self.return_goodness_of_fit = settings.return_goodness_of_fit
        self._kwargs.update(settings.saved())
        check_samples(parent, self.name, least=1 if self.feature == "peak_voltage" else LEAST_SAMPLES)
        if self.feature == "peak_voltage" and parent.nafter < 1:
            allowed = "'ptp' or 'energy', as ms_after is too short for a sample at the peak"
            refuse("feature", self.feature, allowed, self.name)
        self.nbefore = parent.nbefore
        sparse = parent.neighbours_mask
        self.neighbours, self.counts = neighbour_lists(self.contact_locations, self.radius_um, sparse)
        self._place(self.neighbours, sparse)
        self.shells = shell_radii(self.contact_locations) if settings.enforce_decrease else None
        self._compile(self.nbefore + 1, max(int(self.columns.max(initial=-1)) + 1, 1))

    def compute(self, traces, peaks, waveforms=None):
        """Localize the peaks of one chunk.

        Fields of the output: x, y, z (um), alpha and, if asked for, goodness_of_fit.
        """
        channels = peaks["channel_index"]
        spikes, columns = self._spikes(traces, peaks, waveforms)
        features = spike_features(
            spikes, channels, columns, self.counts, self.feature, peak_index=self.nbefore
        )
        layout = (channels, self.neighbours, self.counts, self.contact_locations)
        if self.enforce_decrease:
            enforce_radial_decrease(features, *layout, self.shells)
        return self._located(solve_monopolar(features, *layout, self.max_distance_um))
