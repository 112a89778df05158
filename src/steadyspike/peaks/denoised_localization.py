"""Localization on denoised waveforms, as a localization method of SpikeInterface."""

from typing import Any, Literal

import numpy as np
from spikeinterface.core.node_pipeline import ExtractDenseWaveforms, ExtractSparseWaveforms

from steadyspike.core.settings import Settings, document, parameter_of, takes
from steadyspike.kernels.spikes.contact_features import neighbour_columns, spike_features
from steadyspike.kernels.spikes.denoise_waveforms import gather_waveforms, select_waveforms
from steadyspike.kernels.spikes.monopolar import solve_monopolar
from steadyspike.kernels.spikes.spike_samples import in_waveforms
from steadyspike.library.models.find import pin_model
from steadyspike.library.models.spike_denoisers import SpikeDenoiser
from steadyspike.library.models.spike_finders import noise_scales
from steadyspike.peaks.localization import MonopolarSettings
from steadyspike.peaks.node import LocalizeSteady
from steadyspike.peaks.waveforms import (
    DenoiserSettings,
    check_window,
    find_denoiser,
    noise_levels_for,
    offsets_for,
)


class DenoisedMonopolarSettings(Settings):
    """Parameters of `LocalizeSteadyDenoisedMonopolar`."""

    part = "steady_denoised_monopolar"

    model: Any = parameter_of(DenoiserSettings, "model")
    # contacts further away tell more about the network than about the spike
    radius_um: float = parameter_of(MonopolarSettings, "radius_um", 50.0)
    max_distance_um: float = parameter_of(MonopolarSettings, "max_distance_um")
    feature: Literal["ptp", "energy", "peak_voltage"] = parameter_of(MonopolarSettings, "feature", "energy")
    noise_levels: Any = parameter_of(DenoiserSettings, "noise_levels")


@document
class LocalizeSteadyDenoisedMonopolar(LocalizeSteady):
    """Localize peaks as point sources after a network has taken the noise out of their waveforms.

    Noise makes every contact's waveform larger, those that saw nothing of the spike most of all, and pulls a fit to
    amplitudes away from the spike. Here the waveforms on the contacts around the peak are denoised together
    (`DenoiseWaveforms`), and the sizes of what is left are fitted as "steady_monopolar" fits them.

    Waveforms are cut out of the traces in the window that the model was trained on, whatever window the parent has.
    Only where the parent is a node that changes waveforms, not one that extracts them, are its waveforms taken.

    Parameters
    ----------
    recording : BaseRecording
        Filtered, with contact positions.
    parents : list of PipelineNode
        The peak source and, as for every localizer, a `WaveformsNode`.
    return_output : bool, default: True
        Whether the pipeline returns the locations.
    {settings}

    Raises
    ------
    ValueError
        For a parameter outside its range, contact positions that are not finite, or a parent that changes waveforms
        and whose window does not cover the model's.
    TypeError
        Without a `WaveformsNode` among the parents.
    ModelError
        If `model` is no waveform denoiser.

    References
    ----------
    Boussard, Varol, Lee, Dethe, Paninski, "Three-dimensional spike localization and improved motion correction for
    Neuropixels recordings", NeurIPS 2021.
    """

    name = "steady_denoised_monopolar"
    params_doc = DenoisedMonopolarSettings.params_doc()

    @takes(DenoisedMonopolarSettings)
    def __init__(self, recording, parents, return_output=True, settings=None):
        parent = self._begin(recording, parents, return_output, "monopolar_triangulation")
        model, noise_levels = pin_model(settings.model), noise_levels_for(recording, settings)
        self.max_distance_um = settings.max_distance_um
        self.feature = settings.feature
        self._kwargs.update(settings.saved(model=model, noise_levels=noise_levels))
        self.denoiser = SpikeDenoiser(
            find_denoiser(model),
            self.contact_locations,
            noise_scales(recording, noise_levels),
            recording.get_sampling_frequency(),
            settings.radius_um,
            offsets_for(recording, noise_levels),
        )
        self._read_parent(parent)
        self._choose_fitted(settings.radius_um)
        window = 1 if self.reads_traces else self.first + self.denoiser.num_samples
        self._compile(window, len(self.contact_locations))

    def _read_parent(self, parent):
        """Note whether the traces are read, or else where the window and the contacts are in the waveforms."""
        self.reads_traces = isinstance(parent, ExtractDenseWaveforms | ExtractSparseWaveforms)
        if self.reads_traces:
            return
        check_window(self.name, parent, self.denoiser.samples_before, self.denoiser.samples_after)
        self.first = parent.nbefore - self.denoiser.samples_before
        self.columns = neighbour_columns(self.denoiser.neighbours, parent.neighbours_mask)

    def _choose_fitted(self, radius_um):
        """Of the denoised contacts, nearest first, as many are fitted as lie within the radius."""
        neighbours, counts = self.denoiser.neighbours, self.denoiser.counts
        offsets = self.contact_locations[np.maximum(neighbours, 0)] - self.contact_locations[:, np.newaxis]
        inside = (neighbours >= 0) & (np.linalg.norm(offsets, axis=2) <= radius_um)
        self.fitted = np.minimum(inside.sum(axis=1), counts).astype(np.int64)
        self.in_order = np.where(neighbours >= 0, np.arange(neighbours.shape[1]), -1)

    def get_margin(self):
        """Samples that are read beyond each end of a chunk."""
        return max(self.denoiser.samples_before, self.denoiser.samples_after) if self.reads_traces else 0

    def compute(self, traces, peaks, waveforms=None):
        """Localize the peaks of one chunk.

        `waveforms` are read if the parent changes waveforms. Fields of the output: x, y, z (um) and alpha.
        """
        denoiser, channels = self.denoiser, peaks["channel_index"]
        if self.reads_traces:
            near = gather_waveforms(
                traces,
                peaks["sample_index"],
                channels,
                denoiser.neighbours,
                denoiser.counts,
                denoiser.samples_before,
                denoiser.num_samples,
            )
        else:
            near = select_waveforms(
                waveforms, channels, self.columns, denoiser.counts, self.first, denoiser.num_samples
            )
        near = denoiser.denoise(near, channels)
        sizes = spike_features(
            in_waveforms(near), channels, self.in_order, self.fitted, self.feature, denoiser.samples_before
        )
        solved = solve_monopolar(
            sizes, channels, denoiser.neighbours, self.fitted, self.contact_locations, self.max_distance_um
        )
        return self._located(solved)
