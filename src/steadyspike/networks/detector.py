"""Networks that tell spikes from noise around a contact: ours for candidates, and the published one of YASS."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SPATIAL_SCALE_UM = 50.0
SPATIAL_HIDDEN = 16
SOFT_LIMIT = 20.0
"""Samples, in noise levels, are bent towards this limit: ``x / (1 + |x| / 20)``."""
POOL_SCALE = 8.0


def kernel_arrays(tensors: Iterable[Tensor]) -> list[np.ndarray]:
    """Weights as the compiled kernels take them: float32, C order."""
    return [np.ascontiguousarray(one.detach().cpu().numpy().astype("float32")) for one in tensors]


def spatial_layers(spatial: int) -> nn.Sequential:
    """Layers that weigh contacts by their distance along x and along y."""
    return nn.Sequential(nn.Linear(2, SPATIAL_HIDDEN), nn.Tanh(), nn.Linear(SPATIAL_HIDDEN, spatial))


class SpatialNetwork(nn.Module):
    """A network whose `spatial` layers weigh the contacts around a spike."""

    spatial: nn.Sequential

    def spatial_weights(self, offsets: Tensor) -> Tensor:
        """Weights of contacts at offsets (..., 2) in um from the spike's: (..., spatial)."""
        weights: Tensor = self.spatial(offsets.abs() / SPATIAL_SCALE_UM) / POOL_SCALE
        return weights


class LocalSpikeDetector(SpatialNetwork):
    """Whether there is a spike at a candidate, from the waveforms on the contacts around it.

    Each contact's waveform is bent, ``x / (1 + |x| / 20)``, and projected on a few learned filters. A layer combines
    each contact's features with those of the candidate's own contact, and the results are summed with weights that
    depend on how far the contact is away along x and along y, so that one network serves any probe. Two more layers
    give the logit.

    A waveform has `samples_before` samples before the candidate's and `samples_after` from it on. There are `filters`
    temporal filters, `hidden` features of a pair of contacts, and `spatial` weights; the last layer is `dense` wide.
    """

    name = "local_spike_detector"

    def __init__(
        self,
        samples_before: int,
        samples_after: int,
        filters: int = 16,
        hidden: int = 16,
        spatial: int = 6,
        dense: int = 32,
    ):
        super().__init__()
        for name, size in (("samples_after", samples_after), ("filters", filters), ("hidden", hidden)):
            if size < 1:
                raise ValueError(f"{name} is {size}; allowed is at least 1")
        self.sizes: dict[str, Any] = dict(
            samples_before=samples_before,
            samples_after=samples_after,
            filters=filters,
            hidden=hidden,
            spatial=spatial,
            dense=dense,
        )
        self.temporal = nn.Linear(samples_before + samples_after, filters)
        self.pair = nn.Linear(2 * filters, hidden)
        self.spatial = spatial_layers(spatial)
        self.dense = nn.Linear(hidden * spatial + filters, dense)
        self.out = nn.Linear(dense, 1)

    def forward(self, waveforms: Tensor, weights: Tensor) -> Tensor:
        """Logits (batch,) of waveforms (batch, contacts, samples) in noise levels.

        The candidate's own contact comes first. `weights` are the `spatial_weights` of the contacts, (batch, contacts,
        spatial), zero for those that do not exist.
        """
        bent = waveforms / (1.0 + waveforms.abs() / SOFT_LIMIT)
        features = self.temporal(bent).relu()
        own = features[:, :1].expand_as(features)
        pairs = self.pair(torch.cat([features, own], dim=2)).relu()
        pooled = torch.einsum("bks,bkh->bsh", weights, pairs).flatten(1)
        merged = self.dense(torch.cat([pooled, features[:, 0]], dim=1)).relu()
        logits: Tensor = self.out(merged).squeeze(1)
        return logits

    def arrays(self, rate_ratio: float = 1.0) -> tuple[np.ndarray, ...]:
        """Weights for `steadyspike.kernels.spikes.spike_network.spike_logits`.

        `rate_ratio` is the sampling frequency of the recording over that of the model: the filters are resampled to
        it. Returns temporal filters (samples, filters) and their bias; pair layer of the contact and of the own
        contact (filters, hidden each) and bias; dense layer (spatial * hidden + filters, dense) and bias; output
        (dense,) and bias (1,). Float32, C order.
        """
        count, pair = self.sizes["filters"], self.pair.weight.T
        tensors = (
            *(self.temporal.weight.T, self.temporal.bias, pair[:count], pair[count:], self.pair.bias),
            *(self.dense.weight.T, self.dense.bias, self.out.weight[0], self.out.bias),
        )
        temporal, *others = kernel_arrays(tensors)
        return (resample_filters(temporal, self.sizes["samples_before"], rate_ratio), *others)

    def window(self, rate_ratio: float = 1.0) -> tuple[int, int]:
        """Samples before and after the candidate's at another sampling frequency."""
        return resampled_window(self.sizes["samples_before"], self.sizes["samples_after"], rate_ratio)


def resampled_window(before: int, after: int, rate_ratio: float) -> tuple[int, int]:
    """Samples before, and from the central one on, that hold the same time at another sampling frequency."""
    if rate_ratio == 1.0:
        return before, after
    # the sample beyond each end takes part in the interpolation
    return math.ceil(before * rate_ratio) + 1, math.ceil((after - 1) * rate_ratio) + 2


def resample_filters(filters: np.ndarray, before: int, rate_ratio: float) -> np.ndarray:
    """Filters (samples, num) for traces of another sampling frequency: as if the traces were resampled to theirs.

    By cubic convolution (Keys 1981), which is as wide as the longer of the two sampling intervals. Samples of the
    filters themselves would alias: filters of 30 kHz would find noise at 15 kHz.
    """
    if rate_ratio == 1.0:
        return filters
    new_before, new_after = resampled_window(before, len(filters) - before, rate_ratio)
    width = max(rate_ratio, 1.0)
    known = (np.arange(len(filters)) - before) * rate_ratio
    apart = np.abs(np.arange(-new_before, new_after)[:, np.newaxis] - known) / width
    near, far = (1.5 * apart - 2.5) * apart**2 + 1, ((-0.5 * apart + 2.5) * apart - 4) * apart + 2
    weights = np.where(apart < 1, near, np.where(apart < 2, far, 0.0)) / width
    return np.ascontiguousarray((weights @ filters).astype("float32"))


class YassDetector(nn.Module):
    """The published spike detector: convolutions over time, then a linear layer over neighbouring contacts.

    On traces in noise levels: convolution over time 1->16 with 121 taps ("same"), ReLU, 1x1 16->8, ReLU; for each
    contact the 8 features of its neighbours within 70 um, ordered by distance, zero where there are none; linear to one
    logit. `neighbours` counts the contact itself too: 14 for Neuropixels 1.0, 18 for 2.0.
    """

    name = "yass_detector"

    def __init__(self, neighbours: int, filters: int = 16, features: int = 8, taps: int = 121):
        super().__init__()
        if taps % 2 == 0:
            raise ValueError(f"taps is {taps}; allowed is an odd number")
        self.sizes: dict[str, Any] = dict(
            neighbours=neighbours, filters=filters, features=features, taps=taps
        )
        self.temporal_filter1 = nn.Sequential(
            nn.Conv2d(1, filters, (taps, 1), padding=(taps // 2, 0)), nn.ReLU()
        )
        self.temporal_filter2 = nn.Sequential(nn.Conv2d(filters, features, 1), nn.ReLU())
        self.out = nn.Linear(features * neighbours, 1)

    def forward(self, traces: Tensor, neighbours: Tensor) -> Tensor:
        """Logits (time, contacts) of traces (time, contacts); `neighbours` (contacts, neighbours), -1 for none."""
        features = self.temporal_filter2(self.temporal_filter1(traces[None, None]))[0]
        # one more contact, of zeros, stands for those that do not exist
        padded = nn.functional.pad(features, (0, 1)).permute(1, 2, 0)
        gathered = padded[:, torch.where(neighbours < 0, padded.shape[1] - 1, neighbours)]
        # features change slowest, neighbours fastest, as the published weights are ordered
        logits: Tensor = self.out(gathered.transpose(2, 3).flatten(2)).squeeze(2)
        return logits

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Weights for `steadyspike.kernels.spikes.spike_network.yass_logits`: float32, C order.

        Filters (taps, filters) and bias, 1x1 layer (filters, features) and bias, output (features, neighbours) and
        bias (1,).
        """
        first: Any = self.temporal_filter1[0]
        second: Any = self.temporal_filter2[0]
        out = self.out.weight.reshape(self.sizes["features"], self.sizes["neighbours"])
        tensors = (
            *(first.weight[:, 0, :, 0].T, first.bias),
            *(second.weight[:, :, 0, 0].T, second.bias),
            *(out, self.out.bias),
        )
        return tuple(kernel_arrays(tensors))
