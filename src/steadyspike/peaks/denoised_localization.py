"""Localization on denoised waveforms, as a localization method of SpikeInterface."""

import numpy as np
from spikeinterface.core.node_pipeline import (
    ExtractDenseWaveforms,
    ExtractSparseWaveforms,
    PipelineNode,
    WaveformsNode,
    find_parent_of_type,
)
from spikeinterface.postprocessing.unit_locations import dtype_localize_by_method
from spikeinterface.sortingcomponents.peak_localization.base import LocalizeBase

from steadyspike.kernels.spikes.contact_features import FEATURES, neighbour_columns, waveform_features
from steadyspike.kernels.spikes.denoise_waveforms import gather_waveforms, select_waveforms
from steadyspike.kernels.spikes.monopolar import solve_monopolar
from steadyspike.library.models.find import pin_model
from steadyspike.library.models.spike_denoisers import SpikeDenoiser
from steadyspike.peaks.localization import LARGEST_FLOAT32
from steadyspike.peaks.waveforms import (
    DEFAULT_DENOISER,
    check_denoising,
    check_window,
    find_denoiser,
)


class LocalizeSteadyDenoisedMonopolar(LocalizeBase):
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
    model : str, Path or WaveformDenoiserModel, default: "steady-denoiser"
        The name of a bundled model, a model folder, a reference to the Hugging Face Hub ("hf:owner/name@revision", of
        which the commit is kept), or a loaded model.
    radius_um : float, default: 50.0
        Contacts this near to the main channel, and within the model's radius, take part in the fit, in um; above 0.
        What is left of a spike on contacts further away tells more about the network than about the spike.
    max_distance_um : float, default: 150.0
        Bound of ``x`` and ``y`` around the center of mass, in um; ``z`` is bound by 10 times as much. At least 1.
    feature : "ptp" | "energy" | "peak_voltage", default: "energy"
        What is fitted: peak-to-peak amplitude, root of the sum of squares, or absolute voltage at the peak.
    noise_levels : np.ndarray | None, default: None
        Of each channel, in the unit of the traces; None: estimated, from the same samples each time.

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
    params_doc = """
    model : str, Path or WaveformDenoiserModel, default: "steady-denoiser"
        The name of a bundled model, a model folder, a reference to the Hub, or a loaded model.
    radius_um : float, default: 50.0
        Contacts this near to the main channel take part in the fit.
    max_distance_um : float, default: 150.0
        Bound of x and y around the center of mass; z is bound by 10 times as much.
    feature : "ptp" | "energy" | "peak_voltage", default: "energy"
        What is fitted: peak-to-peak amplitude, root of the sum of squares, or absolute voltage at the peak.
    noise_levels : np.ndarray | None, default: None
        Of each channel, in the unit of the traces; None: estimated.
    """

    def __init__(
        self,
        recording,
        parents,
        return_output=True,
        model=DEFAULT_DENOISER,
        radius_um=50.0,
        max_distance_um=150.0,
        feature="energy",
        noise_levels=None,
    ):
        if not radius_um > 0:
            raise ValueError(f"radius_um is {radius_um}; allowed is a number above 0")
        if not 1 <= max_distance_um < np.inf:
            raise ValueError(
                f"max_distance_um is {max_distance_um}; allowed is a finite number of at least 1"
            )
        if feature not in FEATURES:
            raise ValueError(f"feature is {feature!r}; allowed are {', '.join(map(repr, FEATURES))}")
        parent = find_parent_of_type(parents, WaveformsNode)
        if parent is None:
            raise TypeError(f"{self.name} needs a {WaveformsNode.__name__} among its parents")
        model = pin_model(model)
        noise_levels = check_denoising(recording, noise_levels)
        PipelineNode.__init__(self, recording, return_output=return_output, parents=parents)
        self.recording = recording
        self.contact_locations = recording.get_channel_locations()
        self.max_distance_um = max_distance_um
        self.feature = feature
        self._kwargs.update(
            model=model,
            radius_um=radius_um,
            max_distance_um=max_distance_um,
            feature=feature,
            noise_levels=noise_levels,
        )
        self._dtype = np.dtype(dtype_localize_by_method["monopolar_triangulation"])
        self.denoiser = SpikeDenoiser(
            find_denoiser(model),
            self.contact_locations,
            noise_levels,
            recording.get_sampling_frequency(),
            radius_um,
        )
        self._read_parent(parent)
        self._choose_fitted(radius_um)
        self._compile(recording.get_dtype())

    def _read_parent(self, parent):
        """Note whether the traces are read, or else where the window and the contacts are in the waveforms."""
        self.reads_traces = isinstance(parent, ExtractDenseWaveforms | ExtractSparseWaveforms)
        if self.reads_traces:
            return
        check_window(parent, self.denoiser.samples_before, self.denoiser.samples_after)
        self.first = parent.nbefore - self.denoiser.samples_before
        self.columns = neighbour_columns(self.denoiser.neighbours, parent.neighbours_mask)

    def _choose_fitted(self, radius_um):
        """Of the denoised contacts, nearest first, as many are fitted as lie within the radius."""
        neighbours, counts = self.denoiser.neighbours, self.denoiser.counts
        offsets = self.contact_locations[np.maximum(neighbours, 0)] - self.contact_locations[:, np.newaxis]
        inside = (neighbours >= 0) & (np.linalg.norm(offsets, axis=2) <= radius_um)
        self.fitted = np.minimum(inside.sum(axis=1), counts).astype(np.int64)
        self.in_order = np.where(neighbours >= 0, np.arange(neighbours.shape[1]), -1)

    def _compile(self, dtype):
        """Compile (or load) the kernels once, before SpikeInterface starts workers that would each do so."""
        no_peaks = np.zeros(0, dtype=[("sample_index", "int64"), ("channel_index", "int64")])
        num_channels = len(self.contact_locations)
        window = 1 if self.reads_traces else self.first + self.denoiser.num_samples
        self.compute(np.zeros((1, num_channels), dtype), no_peaks, np.zeros((0, window, num_channels), dtype))

    def get_margin(self):
        """Samples that are read beyond each end of a chunk."""
        return max(self.denoiser.samples_before, self.denoiser.samples_after) if self.reads_traces else 0

    def compute(self, traces, peaks, waveforms):
        """Localize the peaks of one chunk.

        Parameters
        ----------
        traces : np.ndarray
            Shape (num_samples, num_channels).
        peaks : np.ndarray
            The peaks; the fields "sample_index" and "channel_index" are read.
        waveforms : np.ndarray
            Shape (num_peaks, num_samples, num_channels), or the sparse layout of the parent; read if the parent
            changes waveforms.

        Returns
        -------
        np.ndarray
            One row per peak with the fields x, y, z (um) and alpha.
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
        sizes = waveform_features(
            near, channels, self.in_order, self.fitted, self.feature, peak_index=denoiser.samples_before
        )
        solved = solve_monopolar(
            sizes, channels, denoiser.neighbours, self.fitted, self.contact_locations, self.max_distance_um
        )
        np.minimum(solved, LARGEST_FLOAT32, out=solved)
        locations = np.empty(channels.size, dtype=self._dtype)
        for column, field in enumerate(self._dtype.names or ()):
            locations[field] = solved[:, column]
        return locations
