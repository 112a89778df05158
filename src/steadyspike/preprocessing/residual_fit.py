"""Covariances of noise and spikes in the residual of a prediction: fitted to some seconds, kept by a saved chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import model_validator

from steadyspike.core.settings import Settings, parameter
from steadyspike.kernels.spikes.scale_mixture import Basis, Mixture, basis_of, mixture_of

# Windows: samples on each side, and contacts around. Wider ones know spikes better and take longer.
HALF_SAMPLES, RADIUS_UM = 2, 35.0
NUM_COORDINATES = 8
# Where much was predicted, much was missed: classes of windows by the largest prediction, in noise levels.
ACTIVITY = (1.5, 2.5, 4.0, 6.5, 10.0)
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
WINDOWS_OF_A_CLASS, FEWEST_WINDOWS, EXPECTATION_STEPS = 4_000, 100, 30
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
    activity: list[float] = parameter(
        ..., "Limits of the largest prediction within a window's samples, between classes of windows", ge=0
    )
    prior: list[list[float]] = parameter(
        ..., "How probable each size is in each class", type_doc="list of list"
    )
    levels: list[float] = parameter(
        ..., "Noise level of each channel's residual, as a share of that of its samples", ge=0
    )
    num_coordinates: int = parameter(..., "Coordinates of a window that are kept", ge=1)

    @model_validator(mode="after")
    def _of_one_shape(self) -> Self:
        shapes = {(len(table), *{len(row) for row in table}) for table in (self.noise, self.spikes)}
        if len(shapes) != 1 or len(next(iter(shapes))) != 2 or next(iter(shapes))[1] % 2 == 0:
            self.refuse("noise", "as many rows as spikes, of one odd length")
        of_one_size = len(self.prior) == len(self.activity) + 1 and all(
            len(row) == len(self.sizes) and min(row) >= 0 and abs(sum(row) - 1) < 1e-3 for row in self.prior
        )
        if not of_one_size:
            self.refuse("prior", "a row for each class, of a number for each size, which sum to 1")
        return self

    @property
    def half(self) -> int:
        """Samples of a window on each side of its middle."""
        return len(self.noise[0]) // 2

    def windows(self, positions: np.ndarray, shank: np.ndarray) -> Windows:
        """Make the windows of live channels at `positions` (num_channels, 2), none across shanks."""
        kinds: dict[bytes, int] = {}
        bases: list[Basis] = []
        own: list[int] = []
        members: list[int] = []
        ends = [0]
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

    def classes(self, prediction: np.ndarray) -> np.ndarray:
        """Class of the window around each sample of a prediction (num_samples, num_channels) in noise levels, uint8.

        Beyond the ends nothing is predicted.
        """
        from scipy.ndimage import maximum_filter1d

        largest = maximum_filter1d(np.abs(prediction), 2 * self.half + 1, axis=0, mode="constant", cval=0.0)
        return np.digitize(largest, self.activity).astype("uint8")

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
    alike = np.full((len(ACTIVITY) + 1, len(SIZES)), 1 / len(SIZES))
    fit = _fit_of(levels, noise, spikes / variance, alike)
    return _with_prior(fit, residuals, predictions, own, places)


def _fit_of(levels: np.ndarray, noise: np.ndarray, spikes: np.ndarray, prior: np.ndarray) -> ResidualFit:
    return ResidualFit.of(
        radius_um=RADIUS_UM,
        bin_um=BIN_UM,
        noise=np.round(noise, DECIMALS).tolist(),
        spikes=np.round(spikes, DECIMALS).tolist(),
        sizes=list(SIZES),
        activity=list(ACTIVITY),
        prior=prior.tolist(),
        levels=np.round(levels, DECIMALS).tolist(),
        num_coordinates=NUM_COORDINATES,
    )


def _nothing_missed(levels: np.ndarray, noise: np.ndarray | None = None) -> ResidualFit:
    """Where nothing can be told of spikes, none are expected: what is fused is the prediction."""
    table = np.zeros((_num_bins(), 2 * HALF_SAMPLES + 1)) if noise is None else noise
    if noise is None:
        table[0, 0] = 1
    none = np.zeros((len(ACTIVITY) + 1, len(SIZES)))
    none[:, 0] = 1
    return _fit_of(levels, table, table, none)


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
    fit: ResidualFit,
    residuals: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    positions: np.ndarray,
    shank: np.ndarray,
) -> ResidualFit:
    """Find how probable the sizes are in each class, by expectation maximization on windows at random."""
    windows, rng = fit.windows(positions, shank), np.random.default_rng(0)
    prior: list[list[float]] = []
    of_class: list[list[tuple[int, np.ndarray]]] = [[] for _ in fit.prior]
    for number, prediction in enumerate(predictions):
        inner = slice(fit.half, max(len(prediction) - fit.half, fit.half))
        classes = fit.classes(prediction)[inner]
        for one, found in enumerate(of_class):
            places = np.flatnonzero(classes == one)
            most = -(-WINDOWS_OF_A_CLASS // len(predictions))
            found.append((number, rng.choice(places, most, replace=False) if len(places) > most else places))
    for one, found in enumerate(of_class):
        chances = [
            _log_likelihoods(windows, residuals[number], *np.divmod(places, len(positions)))
            for number, places in found
            if len(places)
        ]
        if sum(map(len, chances)) < FEWEST_WINDOWS:
            # as in the class below
            prior.append(prior[-1] if prior else fit.prior[one])
            continue
        prior.append(_most_likely_prior(np.concatenate(chances), fit.prior[one]))
    return fit.model_copy(update={"prior": prior})


def _most_likely_prior(logs: np.ndarray, start: Sequence[float]) -> list[float]:
    likelihood, prior = np.exp(logs - logs.max(axis=1, keepdims=True)), np.array(start)
    for _ in range(EXPECTATION_STEPS):
        shares = likelihood * prior
        prior = np.mean(shares / shares.sum(axis=1, keepdims=True), axis=0)
    prior = np.round(prior / prior.sum(), 9)
    return (prior / prior.sum()).tolist()


def _log_likelihoods(
    windows: Windows, residual: np.ndarray, starts: np.ndarray, channels: np.ndarray
) -> np.ndarray:
    """Logarithm of the likelihood of each size, (number, num_sizes), of windows by first sample and channel."""
    mixture, taps = windows.mixture, np.arange(2 * windows.half + 1)
    logs = np.empty((len(starts), mixture.precision.shape[1]))
    for kind in np.unique(windows.kinds[channels]):
        of_kind = windows.kinds[channels] == kind
        own = channels[of_kind]
        number = windows.offsets[own[0] + 1] - windows.offsets[own[0]]
        members = windows.members[windows.offsets[own][:, np.newaxis] + np.arange(number)]
        samples = starts[of_kind][:, np.newaxis] + taps
        flat = residual[samples[:, np.newaxis, :], members[:, :, np.newaxis]].reshape(len(own), -1)
        coordinates = flat @ mixture.forward[kind, :, : flat.shape[1]].T
        precision = mixture.precision[kind].astype("float64")
        logs[of_kind] = 0.5 * np.log(precision).sum(axis=1) - 0.5 * np.square(coordinates) @ precision.T
    return logs
