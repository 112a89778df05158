"""A network that squeezes waveforms through a few numbers, by which they can be clustered."""

from __future__ import annotations

from torch import Tensor, nn

from steadyspike.networks.classifier import whole_sizes


class WaveformAutoencoder(nn.Module):
    """One hidden layer on each side of the latent numbers; that of the older zebra finch work has 42-21-3-21-42."""

    name = "waveform_autoencoder"

    def __init__(
        self, num_samples: int = 42, num_channels: int = 1, hidden: int = 21, latent: int = 3
    ) -> None:
        super().__init__()
        self.sizes = whole_sizes(
            num_samples=num_samples, num_channels=num_channels, hidden=hidden, latent=latent
        )
        inputs = num_samples * num_channels
        self.encoder = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, inputs))

    def encode(self, waveforms: Tensor) -> Tensor:
        """Return the latent numbers (batch, latent) of standardized waveforms (batch, samples, channels)."""
        return self.encoder(waveforms.flatten(1))

    def decode(self, latent: Tensor) -> Tensor:
        """Return waveforms (batch, samples, channels)."""
        return self.decoder(latent).unflatten(1, (self.sizes["num_samples"], self.sizes["num_channels"]))

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return what is left of the waveforms after the middle."""
        return self.decode(self.encode(waveforms))
