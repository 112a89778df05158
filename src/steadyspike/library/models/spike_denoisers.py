"""Waveforms around spikes, denoised by a model, in arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from steadyspike.kernels.spikes.contact_features import neighbour_lists
from steadyspike.kernels.spikes.denoise_waveforms import denoise_local, denoise_yass
from steadyspike.library.models.spike_finders import check_rate, neighbour_weights, noise_scales, rate_ratio


class SpikeDenoiser:
    """A waveform denoiser made ready for one probe and sampling frequency.

    Parameters
    ----------
    model : WaveformDenoiserModel
        Its network sees the contacts of its radius together, or each by itself.
    locations : np.ndarray
        Contact positions, shape (num_channels, 2), in um.
    noise_levels : np.ndarray
        Of each channel; one that is 0 or not finite is dead: its denoised waveforms are 0.
    sampling_frequency : float
        In Hz.
    radius_um : float or None, default: None
        Contacts to denoise, for a network that sees each by itself; None: all.
    offsets : np.ndarray or None, default: None
        What is taken from each channel's waveforms; None: nothing.

    Attributes
    ----------
    neighbours, counts : np.ndarray
        Contacts around each that are denoised, nearest first, as `contact_features.neighbour_lists` returns them.
    samples_before, num_samples : int
        Of the waveforms.
    """

    def __init__(
        self,
        model: Any,
        locations: np.ndarray,
        noise_levels: np.ndarray,
        sampling_frequency: float,
        radius_um: float | None = None,
        offsets: np.ndarray | None = None,
    ):
        config = model.config
        self.offsets = offsets
        self.scales = noise_scales(noise_levels)
        self.is_local = config.radius_um is not None
        reach = config.radius_um if self.is_local else np.inf if radius_um is None else radius_um
        self.neighbours, self.counts = neighbour_lists(locations, reach)
        if self.is_local:
            ratio = rate_ratio(sampling_frequency, config.sampling_frequency)
            self.samples_before, after = model.network.window(ratio)
            self.num_samples = self.samples_before + after
            self.weights = neighbour_weights(model.network, locations, self.neighbours)
            # a dead contact tells nothing
            self.weights[(self.scales == 0)[self.neighbours] & (self.neighbours >= 0)] = 0
            self.arrays = model.network.arrays(ratio)
            return
        check_rate(sampling_frequency, config.sampling_frequency)
        self.samples_before, self.num_samples = config.samples_before, config.num_samples
        self.arrays = model.network.arrays()

    @property
    def samples_after(self) -> int:
        """Samples of a waveform from the trough on."""
        return self.num_samples - self.samples_before

    def denoise(self, waveforms: np.ndarray, channels: np.ndarray) -> np.ndarray:
        """Denoise waveforms (num_spikes, num_samples, max_neighbours), ordered as `neighbours` lists the contacts."""
        if self.offsets is not None:
            waveforms = waveforms - self.offsets[self.neighbours[channels]][:, np.newaxis]
        layout = (waveforms, channels, self.neighbours, self.counts, self.scales)
        if self.is_local:
            return denoise_local(*layout, self.weights, self.arrays)
        return denoise_yass(*layout, self.arrays)


def seeded_noise_levels(recording: Any) -> np.ndarray:
    """Noise level of each channel in the unit of the traces, from the same samples each time."""
    from spikeinterface.core import get_noise_levels

    levels: np.ndarray = get_noise_levels(
        recording, return_in_uV=False, random_slices_kwargs=dict(seed=0), n_jobs=1, progress_bar=False
    )
    return levels
