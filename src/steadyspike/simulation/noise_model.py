r"""The noise of a recording as a few parts with their own spectra and reaches, fitted to it or drawn around a fit.

Each part is Gaussian, the same in all channels but for their levels, and has a spectrum of its own:

- own: independent between channels;
- tissue: correlation ``exp(-distance / length)`` within a shank, one part for each of some lengths;
- shank: one time course for each shank, which is what a common reference leaves of hum and movement;
- phase: one for all channels that are sampled at the same instant, which converters share.

At each frequency, the measured cross-spectral density of two channels is

.. math:: S_{ab}(f) = \delta_{ab}\, s_{own}(f) + \sum_k e^{-d_{ab} / l_k} s_k(f) + \sigma_{ab}\, s_{shank}(f)
          + \pi_{ab}\, s_{phase}(f)

whose shares, none negative, are found by least squares over pairs of channels grouped by distance.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

# lengths of tissue that a fit chooses from, by factors of two
LENGTHS_UM = (12.0, 25.0, 50.0, 100.0)
# samples of a stretch whose Fourier transform is averaged: 117 Hz at 30 kHz
STRETCH = 256
# pairs are grouped by distance, up to the last; those beyond tell of phase and shank only
BIN_UM, MOST_UM = 5.0, 250.0
# a stretch with a sample beyond so many noise levels on a channel does not count there: spikes
QUIET_LEVELS = 6.0
LEAST_STRETCHES = 8
MEASURED = Path(__file__).with_name("measured_noise.json")


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Spectra of the parts of noise, of a variance of 1 in all.

    `lengths_um` are those of the tissue's parts. `spectra` (3 + number of lengths, number of frequencies) are shares of
    the variance, none negative, of the parts own, shank, phase, then tissue by length, at frequencies from 0 to half of
    `sampling_frequency`, evenly; `level_spread` is the standard deviation of the channels' levels on a log scale.
    """

    sampling_frequency: float
    lengths_um: tuple[float, ...]
    spectra: np.ndarray
    level_spread: float = 0.1

    def __post_init__(self) -> None:
        spectra = np.asarray(self.spectra, float)
        if spectra.ndim != 2 or spectra.shape[0] != 3 + len(self.lengths_um) or spectra.shape[1] < 3:
            raise ValueError(
                f"spectra of shape {spectra.shape} must have a row for each part, 3 frequencies or more"
            )
        if not (np.isfinite(spectra).all() and (spectra >= 0).all() and spectra.sum() > 0):
            raise ValueError("spectra must be finite, none below 0, and not all 0")
        if min(self.lengths_um, default=1.0) <= 0 or not self.sampling_frequency > 0:
            raise ValueError(
                f"lengths_um={self.lengths_um} and sampling_frequency={self.sampling_frequency} must be above 0"
            )
        object.__setattr__(self, "spectra", spectra / spectra.sum())

    @property
    def frequencies(self) -> np.ndarray:
        """Frequencies of the spectra in Hz."""
        return np.linspace(0, self.sampling_frequency / 2, self.spectra.shape[1])

    def correlation(
        self, distance_um: float = 0.0, lags: int = 1, same_phase: bool | None = None
    ) -> np.ndarray:
        """Correlation of two channels of a shank at so many lags from 0; `same_phase` None: where they are one."""
        reach = np.exp(-distance_um / np.array(self.lengths_um))
        shares = [float(distance_um == 0), 1.0, float(distance_um == 0 if same_phase is None else same_phase)]
        spectrum = np.array([*shares, *reach]) @ self.spectra
        return _covariance_of(spectrum)[:lags]

    def varied(self, rng: np.random.Generator, spread: float = 0.5) -> Self:
        """Draw other colours around it: each part's share, tilt and bumps, the lengths, and the levels' spread.

        `spread` is the standard deviation of what is drawn, on a log scale.
        """
        share = rng.normal(0, spread, (len(self.spectra), 1))
        tilt, bumps = (rng.normal(0, spread, (1 + len(self.spectra), number)) for number in (1, 6))
        place = np.linspace(-1, 1, self.spectra.shape[1])
        knots = np.linspace(-1, 1, bumps.shape[1])
        shapes = np.array(
            [
                slope * place + np.interp(place, knots, bump) / 2
                for slope, bump in zip(tilt, bumps, strict=True)
            ]
        )
        # the first is common to all parts, the others are half as large
        change = share + shapes[0] + shapes[1:] / 2
        lengths = tuple(float(one) for one in np.array(self.lengths_um) * np.exp(rng.normal(0, spread / 2)))
        levels = self.level_spread * float(np.exp(rng.normal(0, spread)))
        return type(self)(self.sampling_frequency, lengths, self.spectra * np.exp(change), levels)

    def flat_below(self, frequency: float) -> Self:
        """As the noise may have been before a highpass: below a frequency each part goes on as it is there."""
        first = int(np.argmax(self.frequencies >= frequency))
        spectra = self.spectra.copy()
        spectra[:, :first] = spectra[:, [first]] / 2 * _signs(len(self.frequencies))[:first]
        return type(self)(self.sampling_frequency, self.lengths_um, spectra, self.level_spread)

    def impulse_responses(self) -> np.ndarray:
        """Symmetric filters (num_parts, samples) that make each part of white noise of variance 1."""
        half = self.spectra.shape[1] - 1
        responses = np.fft.irfft(np.sqrt(self.spectra * 2 * half / _signs(half + 1)), axis=1)
        wanted = self.spectra.sum(axis=1, keepdims=True)
        responses = np.roll(responses, half, axis=1) * np.hanning(2 * half + 2)[1:-1][: 2 * half]
        power = np.square(responses).sum(axis=1, keepdims=True)
        return responses * np.sqrt(wanted / np.where(power > 0, power, 1.0))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, from which `from_dict` makes it again."""
        return dict(
            sampling_frequency=self.sampling_frequency,
            lengths_um=list(self.lengths_um),
            spectra=self.spectra.tolist(),
            level_spread=self.level_spread,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Make a model of what `to_dict` returned."""
        return cls(
            **{**values, "lengths_um": tuple(values["lengths_um"]), "spectra": np.array(values["spectra"])}
        )


def measured_noise() -> NoiseModel:
    """Noise as fitted to a real Neuropixels 2.0 recording: see `python -m steadyspike_benchmarks denoising-noise`."""
    return NoiseModel.from_dict(json.loads(MEASURED.read_text()))


def fit_noise(
    recording: Any,
    start_s: float = 0.0,
    end_s: float | None = None,
    lengths_um: Sequence[float] = LENGTHS_UM,
    inter_sample_shift: Any = None,
) -> NoiseModel:
    """Fit the model to some time of a recording that is filtered and referenced.

    Parameters
    ----------
    recording : BaseRecording
        With a probe, of one segment.
    start_s, end_s : float, default: 0.0, None
        What is read, all in memory, in s; None: to the end.
    lengths_um : sequence of float
        Of the tissue's parts, in um.
    inter_sample_shift : array of shape (num_channels,) or None
        How much later than the first each channel was sampled, in samples, as far as that is not corrected. The parts
        that channels share are fitted as of one instant. None: all at once, and no part "phase".

    Returns
    -------
    model : NoiseModel

    Raises
    ------
    ValueError
        If fewer than eight stretches of 256 samples are quiet.
    """
    traces, positions, shank, spread = read_noise(recording, start_s, end_s)
    shift = np.zeros(len(positions)) if inter_sample_shift is None else np.asarray(inter_sample_shift, float)
    table = measure_spectra(traces, positions, shank, shift, recording.sampling_frequency)
    spectra = [_shares(table, np.array(lengths_um), at) for at in range(STRETCH // 2 + 1)]
    shares = np.array(spectra).T * _signs(len(spectra))
    return NoiseModel(float(recording.sampling_frequency), tuple(lengths_um), shares, spread)


def read_noise(
    recording: Any, start_s: float = 0.0, end_s: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Read live channels in units of their noise: traces, positions, shanks, and the levels' spread on a log scale."""
    from steadyspike.core.normalization import measure_normalization
    from steadyspike.core.probe_layout import shank_of_channels

    rate = recording.sampling_frequency
    center, scale = measure_normalization(recording)
    live = np.flatnonzero(scale > 0)
    stop = recording.get_num_samples() if end_s is None else round(end_s * rate)
    traces = recording.get_traces(start_frame=round(start_s * rate), end_frame=stop)[:, live]
    ready = ((traces - center[live]) / scale[live]).astype("float32")
    spread = float(np.std(np.log(scale[live] / np.median(scale[live]))))
    return ready, recording.get_channel_locations()[live, :2], shank_of_channels(recording)[live], spread


@dataclass(frozen=True, eq=False)
class SpectraTable:
    """Cross-spectral densities by distance: rows (num_groups, num_frequencies), and what each group is.

    `distance_um` is that of a group of pairs of one shank, 0 for a channel with itself. `near_phase` and `far_phase`
    are means of pairs that are far apart, sampled at one instant and not.
    """

    distance_um: np.ndarray
    pairs: np.ndarray
    rows: np.ndarray
    near_phase: np.ndarray
    far_phase: np.ndarray


def measure_spectra(
    traces: np.ndarray, positions: np.ndarray, shank: np.ndarray, shift: np.ndarray, sampling_frequency: float
) -> SpectraTable:
    """Average the real part of the cross-spectral density over pairs of channels, by distance.

    `traces` (num_samples, num_channels) in noise levels; spikes are cut out of a channel by leaving out its stretches.
    Channels sampled later by `shift` samples are taken to one instant.
    """
    starts = np.arange(0, len(traces) - STRETCH + 1, STRETCH // 2)
    window = np.hanning(STRETCH + 1)[:-1]
    pieces = (
        np.stack([traces[start : start + STRETCH] for start in starts])
        if len(starts)
        else np.empty((0, 1, 1))
    )
    if len(starts) < LEAST_STRETCHES:
        raise ValueError(
            f"fit_noise: {len(traces)} samples are too few; allowed: {STRETCH * LEAST_STRETCHES // 2} or more"
        )
    quiet = np.asarray((np.abs(pieces) <= QUIET_LEVELS).all(axis=1))
    if quiet.sum(axis=0).min() < LEAST_STRETCHES:
        raise ValueError(
            f"fit_noise: fewer than {LEAST_STRETCHES} stretches of a channel are quiet; read more"
        )
    frequencies = np.fft.rfftfreq(STRETCH)
    spectra = np.fft.rfft(pieces * window[:, np.newaxis], axis=1) * quiet[:, np.newaxis]
    spectra *= np.exp(-2j * np.pi * frequencies[:, np.newaxis] * shift)
    counts = quiet.T.astype(float) @ quiet
    scale = 1 / (np.square(window).sum() * np.maximum(counts, 1))
    groups, apart, same, alike = _groups(positions, shank, shift)
    far = (apart > MOST_UM) | ~same
    kept = np.flatnonzero(np.bincount(groups[groups >= 0]))
    pairs = np.bincount(groups[groups >= 0])[kept].astype(float)
    rows = np.empty((len(kept), len(frequencies)))
    phase = np.zeros((2, len(frequencies)))
    for at in range(len(frequencies)):
        part = spectra[:, at]
        density = (part.conj().T @ part).real * scale
        sums = np.bincount(groups[groups >= 0], density[groups >= 0])[kept]
        rows[:, at] = sums / pairs
        if (far & alike).any():
            phase[:, at] = density[far & alike].mean(), density[far & ~alike].mean()
    distances = np.array([apart[groups == group].mean() for group in kept])
    return SpectraTable(distances, pairs, rows, *phase)


def _groups(positions: np.ndarray, shank: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, ...]:
    """Group of each pair, -1 of those too far apart; distances; whether of one shank, and of one instant."""
    apart = np.linalg.norm(positions[:, np.newaxis] - positions, axis=2)
    same = shank[:, np.newaxis] == shank
    groups = np.where(same & (apart <= MOST_UM), np.round(apart / BIN_UM).astype(int), -1)
    alike = (np.abs(shift[:, np.newaxis] - shift) < 1e-6) & (np.ptp(shift) > 0)
    return groups, apart, same, alike


def _shares(table: SpectraTable, lengths_um: np.ndarray, at: int) -> np.ndarray:
    """Non-negative densities of own, shank, phase and each length at one frequency."""
    from scipy.optimize import nnls

    # what those of one instant have in common beyond others, however far they are
    phase = max(0.0, float(table.near_phase[at] - table.far_phase[at]))
    own = np.asarray(table.distance_um == 0)
    wanted = table.rows[:, at] - phase * own
    parts = np.column_stack(
        [own, np.ones(len(own)), *np.exp(-table.distance_um / lengths_um[:, np.newaxis])]
    ).astype(float)
    weights = np.sqrt(table.pairs)
    found, _ = nnls(parts * weights[:, np.newaxis], wanted * weights)
    return np.array([found[0], found[1], phase, *found[2:]])


def _covariance_of(spectrum: np.ndarray) -> np.ndarray:
    """Autocovariance at lags from 0 of shares of the variance at even frequencies."""
    half = len(spectrum) - 1
    return np.fft.irfft(spectrum * 2 * half / _signs(half + 1))[: half + 1]


def _signs(number: int) -> np.ndarray:
    """Over how many signs of a frequency its share of the variance is spread: 0 and the highest have one."""
    return np.r_[1.0, np.full(number - 2, 2.0), 1.0]
