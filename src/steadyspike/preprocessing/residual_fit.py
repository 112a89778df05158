"""Covariances of noise and spikes in the residual of a prediction: fitted to some seconds, kept by a saved chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import model_validator

from steadyspike.core.settings import Settings, parameter
from steadyspike.kernels.spikes.scale_mixture import Basis, Mixture, basis_of, mixture_of

# Windows: samples on each side, and contacts around. Wider ones know spikes better and take longer.
HALF_SAMPLES, RADIUS_UM = 5, 40.0
NUM_COORDINATES = 16
# Distances at which covariances are told apart.
BIN_UM = 8.0
# Sizes of spikes, as variances in units of the noise; they are 0 most of the time.
SIZES = (0.0, *(4.0**power for power in range(-1, 7)))
# Read to fit: pieces of this length, until there are so many seconds times channels, at least and at most so many s.
PIECE_S, CHANNEL_SECONDS, LEAST_S, MOST_S = 0.25, 768.0, 2.0, 16.0
# Noise: where prediction and residual stay within so many noise levels, on all contacts around, for 1 ms.
QUIET_LEVELS, QUIET_MS = 4.0, 1.0
# With less of quiet, or a smaller share of spikes in the variance, there is nothing to tell apart.
LEAST_QUIET, LEAST_SPIKES = 0.05, 0.01
NUM_WINDOWS, WINDOWS_AT_ONCE, EXPECTATION_STEPS = 20_000, 50, 30
PAIR_CHANNELS = 64
# Digits that a saved chain keeps.
DECIMALS = 5


class ResidualFit(Settings):
    """What `SteadyDeepInterpolateRecording` fuses prediction and sample by, in plain numbers."""

    part = "fusion"

    radius_um: float = parameter(..., "Contacts of a window", unit="um", ge=0)
    bin_um: float = parameter(..., "Distances at which covariances are told apart", unit="um", gt=0)
    noise: list[list[float]] = parameter(
        ..., "Correlation of the residual's noise by distance and by lag in samples", type_doc="list of list"
    )
    spikes: list[list[float]] = parameter(
        ..., "That of the spikes which the prediction missed, likewise", type_doc="list of list"
    )
    sizes: list[float] = parameter(..., "Variances that these spikes may have, in units of the noise", ge=0)
    prior: list[float] = parameter(..., "How probable each size is", ge=0, le=1)
    levels: list[float] = parameter(
        ..., "Noise level of each channel's residual, as a share of that of its samples", ge=0
    )
    num_coordinates: int = parameter(..., "Coordinates of a window that are kept", ge=1)

    @model_validator(mode="after")
    def _of_one_shape(self) -> Self:
        shapes = {(len(table), *{len(row) for row in table}) for table in (self.noise, self.spikes)}
        if len(shapes) != 1 or len(next(iter(shapes))) != 2 or next(iter(shapes))[1] % 2 == 0:
            self.refuse("noise", "as many rows as spikes, of one odd length")
        if len(self.sizes) != len(self.prior) or abs(sum(self.prior) - 1) > 1e-3:
            self.refuse("prior", "a number for each of the sizes, which sum to 1")
        return self

    @property
    def half(self) -> int:
        """Samples of a window on each side of its middle."""
        return len(self.noise[0]) // 2

    def windows(self, positions: np.ndarray, shank: np.ndarray) -> Windows:
        """Make the windows of live channels at `positions` (num_channels, 2), none across shanks."""
        kinds: dict[bytes, int] = {}
        bases: list[Basis] = []
        own, members, ends = [], [], [0]
        for channel in range(len(positions)):
            near = neighbours(positions, shank, channel, self.radius_um)
            bins = self.bins_of(positions[near])
            key = bins.tobytes()
            if key not in kinds:
                kinds[key] = len(bases)
                spikes, noise = (self._within(table, bins) for table in (self.spikes, self.noise))
                bases.append(basis_of(spikes, noise, self.half, self.num_coordinates))
            own.append(kinds[key])
            members.extend(near)
            ends.append(len(members))
        mixture = mixture_of(bases, np.array(self.sizes), np.array(self.prior))
        return Windows(np.array(own), np.array(ends), np.array(members), self.half, mixture)

    def bins_of(self, positions: np.ndarray) -> np.ndarray:
        """Rows of the tables for each pair of contacts."""
        apart = np.linalg.norm(positions[:, np.newaxis] - positions, axis=2)
        return np.minimum(np.round(apart / self.bin_um).astype(int), len(self.noise) - 1)

    def _within(self, table: list[list[float]], bins: np.ndarray) -> np.ndarray:
        taps = 2 * self.half + 1
        lags = np.abs(np.subtract.outer(np.arange(taps), np.arange(taps)))
        whole = np.array(table)[bins[:, np.newaxis, :, np.newaxis], lags[np.newaxis, :, np.newaxis, :]]
        return whole.reshape(bins.shape[0] * taps, -1)


class Windows(NamedTuple):
    """Windows of all channels, as `kernels.spikes.scale_mixture.expected_spikes` takes them."""

    kinds: np.ndarray
    offsets: np.ndarray
    members: np.ndarray
    half: int
    mixture: Mixture


def neighbours(positions: np.ndarray, shank: np.ndarray, channel: int, radius_um: float) -> np.ndarray:
    """Channels of a window: the channel itself, then others on its shank by distance."""
    apart = np.linalg.norm(positions - positions[channel], axis=1)
    order = np.lexsort((positions[:, 0], positions[:, 1], np.round(apart, 3)))
    order = order[(apart[order] <= radius_um) & (shank[order] == shank[channel]) & (order != channel)]
    return np.array([channel, *order])


def fit_residual(
    samples: Any, prediction: Any, positions: np.ndarray, shank: np.ndarray, scale: np.ndarray
) -> ResidualFit:
    """Fit the covariances to pieces of two recordings of the same channels: as recorded, and predicted.

    `positions` (num_channels, 2), `shank` and `scale`, the noise level of each, are those of all channels; those with
    a scale of 0 do not count.
    """
    live = np.flatnonzero(scale)
    pieces = [
        (
            (recorded - predicted)[:, live] / scale[live],
            (predicted[:, live] - np.median(predicted[:, live], axis=0)) / scale[live],
        )
        for recorded, predicted in read_pieces(samples, prediction, len(live))
        if live.size
    ]
    levels = np.ones(len(scale))
    if not pieces or sum(len(residual) for residual, _ in pieces) < 2 * len(SIZES):
        return _nothing_missed(levels)
    residuals = [np.nan_to_num(residual, nan=0.0, posinf=0.0, neginf=0.0) for residual, _ in pieces]
    predictions = [np.nan_to_num(predicted, nan=0.0) for _, predicted in pieces]
    levels[live] = _robust_levels(np.concatenate(residuals))
    if not (levels[live] > 0).all():
        return _nothing_missed(np.where(levels > 0, levels, 1.0))
    residuals = [residual / levels[live] for residual in residuals]
    predictions_levels = np.maximum(_robust_levels(np.concatenate(predictions)), 1e-6)
    rate = float(samples.sampling_frequency)
    own, places = positions[live], shank[live]
    quiet = [
        _quiet(residual, predicted / predictions_levels, own, places, round(QUIET_MS * rate / 1000))
        for residual, predicted in zip(residuals, predictions, strict=True)
    ]
    if np.mean([mask.mean() for mask in quiet]) < LEAST_QUIET:
        return _nothing_missed(levels)
    noise = lagged_covariance(residuals, quiet, own, places)
    spikes = lagged_covariance(residuals, None, own, places) - noise
    variance = spikes[0, 0]
    if variance < LEAST_SPIKES * noise[0, 0]:
        return _nothing_missed(levels, noise)
    fit = _fit_of(levels, noise, spikes / variance, np.full(len(SIZES), 1 / len(SIZES)))
    return _with_prior(fit, residuals, own, places)


def _fit_of(levels: np.ndarray, noise: np.ndarray, spikes: np.ndarray, prior: np.ndarray) -> ResidualFit:
    return ResidualFit.of(
        radius_um=RADIUS_UM,
        bin_um=BIN_UM,
        noise=np.round(noise, DECIMALS).tolist(),
        spikes=np.round(spikes, DECIMALS).tolist(),
        sizes=list(SIZES),
        prior=np.round(prior, 9).tolist(),
        levels=np.round(levels, DECIMALS).tolist(),
        num_coordinates=NUM_COORDINATES,
    )


def _nothing_missed(levels: np.ndarray, noise: np.ndarray | None = None) -> ResidualFit:
    """Where nothing can be told of spikes, none are expected: what is fused is the prediction."""
    table = np.zeros((_num_bins(), 2 * HALF_SAMPLES + 1)) if noise is None else noise
    if noise is None:
        table[0, 0] = 1
    return _fit_of(levels, table, table, np.eye(1, len(SIZES))[0])


def _num_bins() -> int:
    return int(np.round(2 * RADIUS_UM / BIN_UM)) + 1


def read_pieces(samples: Any, prediction: Any, num_channels: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read pieces of both, spread evenly over all segments."""
    rate = samples.sampling_frequency
    lengths = [samples.get_num_samples(segment) for segment in range(samples.get_num_segments())]
    size = max(1, round(PIECE_S * rate))
    wanted_s = min(max(CHANNEL_SECONDS / max(num_channels, 1), LEAST_S), MOST_S)
    starts = [(segment, start) for segment, length in enumerate(lengths) for start in range(0, length, size)]
    most = max(1, round(wanted_s / PIECE_S))
    if len(starts) > most:
        starts = [starts[index] for index in np.linspace(0, len(starts) - 1, most).astype(int)]
    return [
        tuple(
            recording.get_traces(segment, start, min(start + size, lengths[segment])).astype("float32")
            for recording in (samples, prediction)
        )
        for segment, start in starts
    ]


def _robust_levels(values: np.ndarray) -> np.ndarray:
    return 1.4826 * np.median(np.abs(values - np.median(values, axis=0)), axis=0)


def _quiet(
    residual: np.ndarray, predicted: np.ndarray, positions: np.ndarray, shank: np.ndarray, around: int
) -> np.ndarray:
    """Tell where no contact of a window has a spike, (num_samples, num_channels)."""
    from scipy.ndimage import maximum_filter1d

    loud = (np.abs(residual) > QUIET_LEVELS) | (np.abs(predicted) > QUIET_LEVELS)
    loud = maximum_filter1d(loud.astype("uint8"), 2 * around + 1, axis=0).astype(bool)
    quiet = np.empty_like(loud)
    for channel in range(len(positions)):
        near = neighbours(positions, shank, channel, RADIUS_UM)
        quiet[:, channel] = ~loud[:, near].any(axis=1)
    return quiet


def lagged_covariance(
    residuals: Sequence[np.ndarray],
    quiet: Sequence[np.ndarray] | None,
    positions: np.ndarray,
    shank: np.ndarray,
) -> np.ndarray:
    r"""Mean of :math:`r_a(t) \, r_b(t + l)` over pairs of contacts of a shank, by their distance and by the lag.

    Of pieces (num_samples, num_channels), only where both samples are `quiet` if that is given. Returns (num_bins,
    2 * HALF_SAMPLES + 1), 0 where there is no pair.
    """
    sums = np.zeros((2, _num_bins(), 2 * HALF_SAMPLES + 1))
    num_channels = len(positions)
    chosen = np.unique(np.linspace(0, num_channels - 1, min(num_channels, PAIR_CHANNELS)).astype(int))
    for number, residual in enumerate(residuals):
        mask = np.ones_like(residual) if quiet is None else quiet[number].astype(residual.dtype)
        shown = residual * mask
        for channel in chosen:
            near = neighbours(positions, shank, channel, 2 * RADIUS_UM)
            bins = np.linalg.norm(positions[near] - positions[channel], axis=1)
            bins = np.minimum(np.round(bins / BIN_UM).astype(int), _num_bins() - 1)
            for lag in range(min(sums.shape[2], len(shown))):
                stop = len(shown) - lag
                for part, values in enumerate((shown, mask)):
                    products = values[:stop, channel] @ values[lag:][:, near]
                    np.add.at(sums[part, :, lag], bins, products.astype("float64"))
    return sums[0] / np.maximum(sums[1], 1)


def _with_prior(
    fit: ResidualFit, residuals: Sequence[np.ndarray], positions: np.ndarray, shank: np.ndarray
) -> ResidualFit:
    """Find how probable the sizes are, by expectation maximization on windows at random."""
    windows, rng = fit.windows(positions, shank), np.random.default_rng(0)
    long = [residual for residual in residuals if len(residual) > 2 * fit.half]
    if not long:
        return fit
    chances = []
    for _ in range(NUM_WINDOWS // WINDOWS_AT_ONCE):
        residual, channel = long[rng.integers(len(long))], rng.integers(len(positions))
        starts = rng.integers(len(residual) - 2 * fit.half, size=WINDOWS_AT_ONCE)
        members = windows.members[windows.offsets[channel] : windows.offsets[channel + 1]]
        own = residual[starts[:, np.newaxis] + np.arange(2 * fit.half + 1)][:, :, members]
        chances.append(_log_likelihood(windows.mixture, windows.kinds[channel], own.transpose(0, 2, 1)))
    likelihood = np.exp(np.concatenate(chances) - np.concatenate(chances).max(axis=1, keepdims=True))
    prior = np.array(fit.prior)
    for _ in range(EXPECTATION_STEPS):
        shares = likelihood * prior
        prior = np.mean(shares / shares.sum(axis=1, keepdims=True), axis=0)
    return fit.model_copy(update={"prior": (prior / prior.sum()).tolist()})


def _log_likelihood(mixture: Mixture, kind: int, windows: np.ndarray) -> np.ndarray:
    """Logarithm of the likelihood of each size, of windows (number, num_contacts, num_taps) of one kind."""
    flat = windows.reshape(len(windows), -1)
    coordinates = flat @ mixture.forward[kind, :, : flat.shape[1]].T
    precision = mixture.precision[kind].astype("float64")
    return 0.5 * np.log(precision).sum(axis=1) - 0.5 * np.square(coordinates) @ precision.T
