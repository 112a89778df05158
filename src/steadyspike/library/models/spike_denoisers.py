"""Waveforms around spikes, denoised by a model, in arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from steadyspike.kernels.spikes.contact_features import neighbour_lists
from steadyspike.kernels.spikes.denoise_waveforms import denoise_local, denoise_yass
from steadyspike.library.models.spike_finders import check_rate, neighbour_weights, rate_ratio


class SpikeDenoiser:
    """A waveform denoiser made ready for one probe and sampling frequency.

    The network of `model` sees the contacts of its radius together, or each by itself; `radius_um` says then which are
    denoised, None all. `locations` (num_channels, 2) are in um, `scales` as of `noise_scales`: denoised waveforms of
    a dead channel are 0. `offsets`, where there are any, are taken from each channel's waveforms.

    Its `neighbours` and `counts` are the contacts around each that are denoised, nearest first
    (`contact_features.neighbour_lists`); `samples_before` and `num_samples` are those of the waveforms.
    """

    def __init__(
        self,
        model: Any,
        locations: np.ndarray,
        scales: np.ndarray,
        sampling_frequency: float,
        radius_um: float | None = None,
        offsets: np.ndarray | None = None,
    ):
        config = model.config
        self.offsets = offsets
        self.scales = scales
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
