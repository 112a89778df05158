"""Networks that tell waveforms of two kinds apart, such as spikes and noise.

Each takes standardized waveforms (batch, samples, channels) and returns two logits (batch, 2). `WaveformCNN` and
`WaveformGRU` are those of the older zebra finch work (github.com/henryxcham/spike_detection_classification), for any
number of samples and channels. `WaveformDiscriminant` is ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

DROPOUT = 0.5


def whole_sizes(**sizes: Any) -> dict[str, Any]:
    """Return the sizes; refuse what is no whole number, 1 or more."""
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r} cannot be; allowed: whole numbers, 1 or more")
    return sizes


class WaveformCNN(nn.Module):
    """Two convolutions over time with pooling, a normalized flat layer, and a hidden layer.

    `num_samples` is at least 16; the first convolution has `features`, the second twice as many.
    """

    name = "waveform_cnn"

    def __init__(
        self, num_samples: int = 42, num_channels: int = 1, features: int = 8, hidden: int = 32
    ) -> None:
        super().__init__()
        self.sizes = whole_sizes(
            num_samples=num_samples, num_channels=num_channels, features=features, hidden=hidden
        )
        pooled = ((num_samples - 4) // 2 - 4) // 2
        if pooled < 1:
            raise ValueError(f"num_samples={num_samples} is too short for {self.name!r}; allowed: 16 or more")
        self.conv1 = nn.Conv1d(num_channels, features, 5)
        self.conv2 = nn.Conv1d(features, 2 * features, 5)
        self.layer_norm1 = nn.LayerNorm(2 * features * pooled)
        self.fc1 = nn.Linear(2 * features * pooled, hidden)
        self.fc2 = nn.Linear(hidden, 2)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return logits (batch, 2)."""
        found = waveforms.transpose(1, 2)
        for convolution in (self.conv1, self.conv2):
            found = self.dropout(functional.max_pool1d(functional.relu(convolution(found)), 2))
        found = self.layer_norm1(found.flatten(1))
        return self.fc2(self.dropout(functional.relu(self.fc1(found))))


class WaveformGRU(nn.Module):
    """Two gated recurrent layers over time, the last state, and a hidden layer.

    It works with any number of samples: `num_samples` is for the record. The first layer has `features`, the second
    twice as many.
    """

    name = "waveform_gru"

    def __init__(
        self, num_samples: int = 42, num_channels: int = 1, features: int = 16, hidden: int = 32
    ) -> None:
        super().__init__()
        self.sizes = whole_sizes(
            num_samples=num_samples, num_channels=num_channels, features=features, hidden=hidden
        )
        self.gru1 = nn.GRU(num_channels, features, batch_first=True)
        self.gru2 = nn.GRU(features, 2 * features, batch_first=True)
        self.fc1 = nn.Linear(2 * features, hidden)
        self.fc2 = nn.Linear(hidden, 2)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return logits (batch, 2)."""
        states, _ = self.gru1(waveforms)
        states, _ = self.gru2(states)
        return self.fc2(functional.relu(self.fc1(states[:, -1])))


class WaveformDiscriminant(nn.Module):
    r"""Gaussian densities of both kinds in a few principal components: a layer of squares.

    .. math:: f_c(x) = b_c - \tfrac12 \left| L_c\, P (x - m) - u_c \right|^2

    With :math:`L_c` the whitening matrix of kind :math:`c`, :math:`u_c` its whitened mean and :math:`b_c` its
    normalization, the logits are log densities: a regularized discriminant analysis (Friedman 1989,
    doi:10.1080/01621459.1989.10478752). `fit` sets them in closed form. `components` is 1 up to the number of samples
    times channels.
    """

    name = "waveform_discriminant"

    def __init__(self, num_samples: int = 42, num_channels: int = 1, components: int = 12) -> None:
        super().__init__()
        self.sizes = whole_sizes(num_samples=num_samples, num_channels=num_channels, components=components)
        inputs = num_samples * num_channels
        if components > inputs:
            raise ValueError(f"components={components} cannot be; allowed: 1 to {inputs}, the inputs")
        self.components = components
        # both kinds in one product: whitening and projection are one matrix for each
        self.whiten = nn.Linear(inputs, 2 * components)
        self.offset = nn.Parameter(torch.zeros(2))

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return logits (batch, 2)."""
        squares = self.whiten(waveforms.flatten(1)).square()
        return torch.addmm(self.offset, squares, self._signs(squares))

    def _signs(self, like: Tensor) -> Tensor:
        signs = like.new_zeros(2, self.components, 2)
        signs[0, :, 0] = signs[1, :, 1] = -0.5
        return signs.flatten(0, 1)

    @torch.no_grad()
    def fit(
        self, waveforms: Tensor, kinds: Tensor, weights: Tensor | None = None, shrinkage: float = 1.0
    ) -> None:
        """Set all parameters from waveforms whose kind is known.

        `waveforms` (num_waveforms, num_samples, num_channels) are standardized; `kinds` are 0 or 1, two or more of
        each; without `weights` all weigh alike. `shrinkage`, above 0, is a variance added to each component, in units
        of the standardized waveforms: it keeps components that hardly vary among the few units trained on from
        deciding about a unit that nobody has seen.
        """
        values = waveforms.flatten(1).double()
        share = torch.ones(len(values), dtype=torch.float64) if weights is None else weights.double()
        centre, spread = _moments(values, share)
        projection = torch.linalg.eigh(spread).eigenvectors[:, -self.components :].T
        values = (values - centre) @ projection.T
        for kind in (0, 1):
            chosen = kinds == kind
            mean, covariance = _moments(values[chosen], share[chosen])
            covariance.diagonal().add_(shrinkage)
            factor = torch.linalg.cholesky(covariance)
            whitening = torch.linalg.solve_triangular(
                factor, torch.eye(self.components, dtype=torch.float64), upper=False
            )
            rows = slice(kind * self.components, (kind + 1) * self.components)
            self.whiten.weight[rows] = (whitening @ projection).float()
            self.whiten.bias[rows] = -(whitening @ (projection @ centre + mean)).float()
            prior = torch.log(share[chosen].sum() / share.sum())
            self.offset[kind] = (prior - torch.log(factor.diagonal()).sum()).float()


def _moments(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    share = weights / weights.sum()
    mean = share @ values
    centred = values - mean
    return mean, (centred * share[:, None]).T @ centred
