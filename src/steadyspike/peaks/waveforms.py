"""Denoised waveforms in SpikeInterface's node pipelines."""

from typing import Any

import numpy as np
from spikeinterface.core.node_pipeline import WaveformsNode

from steadyspike.core.arguments import finite_locations
from steadyspike.core.noise_levels import noise_levels
from steadyspike.core.normalization import measure_normalization
from steadyspike.core.settings import Settings, document, parameter, takes
from steadyspike.kernels.spikes.contact_features import neighbour_columns
from steadyspike.kernels.spikes.denoise_waveforms import select_waveforms
from steadyspike.library.models.find import pin_model
from steadyspike.library.models.spike_denoisers import SpikeDenoiser
from steadyspike.library.models.spike_finders import noise_scales
from steadyspike.peaks.node import waveforms_parent

# Noise levels. A smaller median is that of filtered traces, and changes nothing that is found.
LEAST_OFFSET = 0.25


class DenoiserSettings(Settings):
    """Parameters of `DenoiseWaveforms`."""

    part = "DenoiseWaveforms"

    model: Any = parameter(
        "steady-denoiser",
        """The name of a bundled model, a model folder, a reference to the Hugging Face Hub ("hf:owner/name@revision",
        of which the commit is kept), or a loaded model""",
        type_doc="str, Path or WaveformDenoiserModel",
    )
    noise_levels: Any = parameter(
        None,
        "Of each channel, in the unit of the traces; None: estimated, from the same samples each time",
        type_doc="np.ndarray or None",
    )


def find_denoiser(model):
    """Return the denoiser that is given or referred to."""
    # only who uses a model waits for what its files need
    from steadyspike.library.models.spikes import WaveformDenoiserModel, spike_model

    return spike_model(model, WaveformDenoiserModel)


def noise_levels_for(recording, settings):
    """Give the noise level of each channel, estimated if none are given."""
    levels = settings.noise_levels
    levels = noise_levels(recording, n_jobs=1) if levels is None else np.asarray(levels)
    if levels.shape != (recording.get_num_channels(),):
        settings.refuse("noise_levels", f"one for each of {recording.get_num_channels()} channels")
    return levels


def offsets_for(recording, noise_levels):
    """Give what to take from each channel before a network sees it, None where all lie around 0.

    Networks know filtered traces. The offset of others, as of unsigned samples, is the median of 2 s of the recording.
    """
    center, _ = measure_normalization(recording)
    large = np.abs(center) > LEAST_OFFSET * np.nan_to_num(noise_levels, nan=np.inf)
    return np.where(large, center, 0.0).astype("float32") if large.any() else None


@document
class DenoiseWaveforms(WaveformsNode):
    """Take the noise out of waveforms with a network; localizers and features can sit behind it.

    The parent's waveforms, dense or sparse, are cut to the window of the model, so that the spike lies where the
    model was trained to see it, and denoised on the contacts that the model covers; others come out as 0. Scales and
    units stay. The network works in noise levels.

    Parameters
    ----------
    recording : BaseRecording
        Filtered, with contact positions.
    parents : list of PipelineNode
        The peak source, then a `WaveformsNode` whose window covers the model's.
    {settings}
    return_output : bool, default: False
        Whether the pipeline returns the waveforms.

    Attributes
    ----------
    nbefore, nafter : int
        Samples of the denoised waveforms before the peak, and from it on.

    Raises
    ------
    ValueError
        If the parent's window does not cover the model's, or contact positions are not finite.
    TypeError
        Without a `WaveformsNode` among the parents.
    ModelError
        If `model` is no waveform denoiser.
    """

    @takes(DenoiserSettings)
    def __init__(self, recording, parents, settings, return_output=False):
        parent = waveforms_parent(parents, type(self).__name__)
        model = pin_model(settings.model)
        locations = finite_locations(recording, settings.part)
        levels = noise_levels_for(recording, settings)
        self.denoiser = SpikeDenoiser(
            find_denoiser(model),
            locations,
            noise_scales(recording, levels),
            recording.get_sampling_frequency(),
            offsets=offsets_for(recording, levels),
        )
        nbefore, nafter = self.denoiser.samples_before, self.denoiser.samples_after
        check_window(settings.part, parent, nbefore, nafter)
        WaveformsNode.__init__(
            self, recording, nbefore=nbefore, nafter=nafter, parents=parents, return_output=return_output
        )
        self.first = parent.nbefore - nbefore
        self.neighbours_mask = parent.neighbours_mask
        self.columns = neighbour_columns(self.denoiser.neighbours, self.neighbours_mask)
        self._kwargs.update(settings.saved(model=model, noise_levels=levels))
        no_peaks = np.zeros(0, dtype=[("channel_index", "int64")])
        self.compute(None, no_peaks, np.zeros((0, parent.nbefore + parent.nafter, 1), recording.get_dtype()))

    def compute(self, traces, peaks, waveforms):
        """Denoise the waveforms of one chunk; float32, (num_peaks, nbefore + nafter, columns of the parent)."""
        channels = peaks["channel_index"]
        near = select_waveforms(
            waveforms, channels, self.columns, self.denoiser.counts, self.first, self.denoiser.num_samples
        )
        near = self.denoiser.denoise(near, channels)
        denoised = np.zeros((len(near), near.shape[1], waveforms.shape[2]), dtype="float32")
        columns = self.columns[channels]
        peak, neighbour = np.nonzero(columns >= 0)
        denoised[peak, :, columns[peak, neighbour]] = near[peak, :, neighbour]
        return denoised


def check_window(part, parent, nbefore, nafter):
    """Refuse a parent whose waveforms are shorter than a model needs."""
    if parent.nbefore < nbefore or parent.nafter < nafter:
        to_ms = 1000 / parent.recording.get_sampling_frequency()
        raise ValueError(
            f"{part}: the waveforms have {parent.nbefore} samples before the peak and {parent.nafter} from it on; "
            f"allowed: {nbefore} and {nafter}, as the model needs: extract them with "
            f"ms_before={nbefore * to_ms:.2f} and ms_after={nafter * to_ms:.2f} or more"
        )
