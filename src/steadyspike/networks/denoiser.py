"""Networks that take the noise out of spikes' waveforms: ours for the contacts around a spike, and YASS's for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from steadyspike.networks.detector import (
    SpatialNetwork,
    kernel_arrays,
    resample_filters,
    resampled_window,
    spatial_layers,
)

LEAST_SCALE = 1.0
"""A spike's waveforms are divided by the largest deflection on its own contact, or by this many noise levels."""


class LocalWaveformDenoiser(SpatialNetwork):
    """Waveforms of a spike on the contacts around it, without noise.

    Waveforms in noise levels are divided by the spike's largest deflection on its own contact, ``s``, so that the
    network sees shapes, and ``1 / s``, the noise in them. Each contact's waveform is projected on learned filters;
    a layer combines a contact's features with those of the spike's own contact, and sums over contacts with weights
    that depend on their distance along x and along y. From this summary, its own features and its distance each
    contact's waveform is put together again, times ``s``.

    A waveform has `samples_before` samples before the spike's trough and `num_samples` in all. There are `filters`
    temporal filters, layers as wide as `hidden`, and `spatial` weights.
    """

    name = "local_waveform_denoiser"

    def __init__(
        self, samples_before: int, num_samples: int, filters: int = 12, hidden: int = 24, spatial: int = 6
    ):
        super().__init__()
        if not 0 <= samples_before < num_samples:
            raise ValueError(
                f"samples_before is {samples_before}; allowed is 0 to num_samples - 1 = {num_samples - 1}"
            )
        self.sizes: dict[str, Any] = dict(
            samples_before=samples_before,
            num_samples=num_samples,
            filters=filters,
            hidden=hidden,
            spatial=spatial,
        )
        self.num_samples = num_samples
        self.temporal = nn.Linear(num_samples, filters)
        self.pair = nn.Linear(2 * filters + 1, hidden)
        self.spatial = spatial_layers(spatial)
        self.summary = nn.Linear(hidden * spatial, hidden)
        self.merge = nn.Linear(2 * filters + hidden + spatial + 1, hidden)
        self.shape = nn.Linear(hidden, num_samples)

    def forward(self, waveforms: Tensor, weights: Tensor) -> Tensor:
        """Denoised waveforms (batch, contacts, samples), in noise levels as those given.

        The spike's own contact comes first. `weights` are the `spatial_weights` of the contacts, (batch, contacts,
        spatial), zero for those that do not exist; what comes back for these means nothing.
        """
        scale = waveforms[:, :1].abs().amax(dim=2, keepdim=True).clamp(min=LEAST_SCALE)
        features = self.temporal(waveforms / scale)
        own = features[:, :1].expand_as(features)
        noise = (1.0 / scale).expand(-1, features.shape[1], -1)
        pairs = self.pair(torch.cat([features, own, noise], dim=2)).relu()
        pooled = torch.einsum("bks,bkh->bsh", weights, pairs).flatten(1)
        summary = self.summary(pooled).relu()[:, None].expand(-1, features.shape[1], -1)
        merged = self.merge(torch.cat([features, own, noise, summary, weights], dim=2)).relu()
        denoised: Tensor = self.shape(merged) * scale
        return denoised

    def arrays(self, rate_ratio: float = 1.0) -> tuple[np.ndarray, ...]:
        """Weights for `steadyspike.kernels.spikes.denoise_waveforms.denoise_local`: float32, C order.

        `rate_ratio` is the sampling frequency of the recording over that of the model: filters and shapes are
        resampled to it. Returns temporal filters (samples, filters), bias; pair layer of contact, of own contact
        (filters, hidden), of noise (hidden,), bias; summary (spatial * hidden, hidden), bias; merging layer of
        contact, of own contact (filters, hidden), of noise (hidden,), of the summary (hidden, hidden), of the spatial
        weights (spatial, hidden), bias; shape (hidden, samples), bias.
        """
        f, h = self.sizes["filters"], self.sizes["hidden"]
        pair, merge = self.pair.weight.T, self.merge.weight.T
        tensors = (
            *(self.temporal.weight.T, self.temporal.bias),
            *(pair[:f], pair[f : 2 * f], pair[2 * f], self.pair.bias),
            *(self.summary.weight.T, self.summary.bias),
            *(merge[:f], merge[f : 2 * f], merge[2 * f]),
            *(merge[2 * f + 1 : 2 * f + 1 + h], merge[2 * f + 1 + h :], self.merge.bias),
            *(self.shape.weight.T, self.shape.bias),
        )
        arrays = kernel_arrays(tensors)
        before = self.sizes["samples_before"]
        arrays[0] = resample_filters(arrays[0], before, rate_ratio)
        # the shapes keep their height, where filters keep their sum
        shapes = np.concatenate([arrays[-2], arrays[-1][np.newaxis]]).T
        shapes = resample_filters(shapes, before, rate_ratio).T * np.float32(rate_ratio)
        arrays[-2:] = np.ascontiguousarray(shapes[:-1]), np.ascontiguousarray(shapes[-1])
        return tuple(arrays)

    def window(self, rate_ratio: float = 1.0) -> tuple[int, int]:
        """Samples before the trough, and from it on, at another sampling frequency."""
        before = self.sizes["samples_before"]
        return resampled_window(before, self.num_samples - before, rate_ratio)


class YassDenoiser(nn.Module):
    """The published denoiser of single-channel waveforms (YASS).

    Convolution 1->16 with 5 taps, ReLU, 16->8 with 11 taps, ReLU, without padding; linear to the waveform. Waveforms
    have at least 15 samples; `filters` and `taps` are those of the two convolutions.
    """

    name = "yass_denoiser"

    def __init__(
        self, num_samples: int = 121, filters: tuple[int, int] = (16, 8), taps: tuple[int, int] = (5, 11)
    ):
        super().__init__()
        inner = num_samples - sum(taps) + 2
        if inner < 1:
            raise ValueError(f"num_samples is {num_samples}; allowed is at least {sum(taps) - 1}")
        self.sizes: dict[str, Any] = dict(num_samples=num_samples, filters=list(filters), taps=list(taps))
        self.num_samples = num_samples
        self.conv1 = nn.Sequential(nn.Conv1d(1, filters[0], taps[0]), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv1d(filters[0], filters[1], taps[1]), nn.ReLU())
        self.out = nn.Linear(filters[1] * inner, num_samples)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Denoised waveforms (batch, samples), in the unit of those given."""
        denoised: Tensor = self.out(self.conv2(self.conv1(waveforms[:, None])).flatten(1))
        return denoised

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Weights for `steadyspike.kernels.spikes.denoise_waveforms.denoise_yass`: float32, C order.

        First convolution (filters, taps) and bias, second (filters, filters, taps) and bias, output (filters, samples,
        waveform) and bias.
        """
        first: Any = self.conv1[0]
        second: Any = self.conv2[0]
        last = self.out.weight.T.reshape(second.weight.shape[0], -1, self.num_samples)
        tensors = (first.weight[:, 0], first.bias, second.weight, second.bias, last, self.out.bias)
        return tuple(kernel_arrays(tensors))
