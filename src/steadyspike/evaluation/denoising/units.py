"""Waveforms of units before and after denoising: what is gathered chunk by chunk, and what is measured of it.

Times are positions: samples counted over all segments one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SELF, TRUE = 0, 1
SPIKES, NOISE = 0, 1
# from this part of the samples after a spike on, another one is too early: 0.5 ms of 2 ms
LATE = 4


@dataclass(frozen=True, eq=False)
class UnitEvents:
    """When a unit fires, and when it does not.

    All are sorted positions: `spikes` are all of the unit, `train` and `test` the first and second half of those that
    are measured, of which the first make the template that the second are scored with. `noise` are random times after
    the last of `train`, away from the unit's own spikes. The waveform is measured on `channels`; `main` is the index
    of its extremum channel, of all channels.
    """

    spikes: np.ndarray
    train: np.ndarray
    test: np.ndarray
    noise: np.ndarray
    channels: np.ndarray
    main: int

    @property
    def num_spikes(self) -> int:
        """Number of spikes that are measured."""
        return self.train.size + self.test.size


def draw_noise_times(
    rng: np.random.Generator, spikes: np.ndarray, first: int, spans: np.ndarray, away: int, number: int
) -> np.ndarray:
    """Draw times from spans, sorted, at least `away` samples from the sorted spikes of a unit and not before `first`.

    At most `number`; fewer where the unit fires so often that 4 times as many draws do not hold them.
    """
    spans = np.maximum(spans, first)
    lengths = spans[:, 1] - spans[:, 0]
    before = np.cumsum(lengths) - lengths
    if lengths.sum() <= 0:
        return np.zeros(0, "int64")
    drawn = rng.integers(lengths.sum(), size=4 * number)
    which = np.searchsorted(before, drawn, side="right") - 1
    times = np.unique(spans[which, 0] + drawn - before[which])
    times = rng.permutation(times[distance_to_events(times, spikes) >= away])
    return np.sort(times[:number])


def distance_to_events(times: np.ndarray, events: np.ndarray) -> np.ndarray:
    """Distance of each time to the nearest of sorted events; the largest integer where there is none."""
    if not events.size:
        return np.full(times.size, np.iinfo("int64").max)
    after = np.searchsorted(events, times)
    return np.minimum(
        np.abs(times - events[np.maximum(after - 1, 0)]),
        np.abs(events[np.minimum(after, events.size - 1)] - times),
    )


def extremum_channels(templates: np.ndarray) -> np.ndarray:
    """Channel of the largest absolute value of templates of shape (num_units, num_samples, num_channels)."""
    return np.abs(templates).max(axis=1).argmax(axis=1)


class UnitSums:
    """What is gathered of all units in one method's traces.

    Waveforms have `before` samples before their spike, and `after` from it on; `true_templates` are noise-free, one
    for each unit on its channels. `moments` (2, 2, num_units, 3) are number, sum and sum of squares of the scores with
    a unit's own (0) or true (1) template, at its spikes (0) or at noise times (1). `late` holds for each unit the least
    and the largest value on its extremum channel soon after each of its spikes.
    """

    def __init__(
        self,
        units: Sequence[UnitEvents],
        before: int,
        after: int,
        true_templates: Sequence[np.ndarray] | None = None,
    ) -> None:
        self.units, self.true_templates = units, true_templates
        self.before, self.after = before, after
        self.train = [np.zeros((before + after, unit.channels.size)) for unit in units]
        self.test = [np.zeros_like(sums) for sums in self.train]
        self.moments = np.zeros((2, 2, len(units), 3))
        self.late: list[list[np.ndarray]] = [[] for _ in units]

    def add(self, traces: np.ndarray, first: int, start: int, stop: int) -> None:
        """Take in a chunk; chunks must come in order.

        `traces` (num_samples, num_channels) are finite, less their center, with margins around what counts; the first
        sample has the position `first`. Events from `start` to before `stop` are taken in.
        """
        for index, unit in enumerate(self.units):
            train, test, noise = (
                self._waveforms(traces, first, _between(events, start, stop), unit.channels)
                for events in (unit.train, unit.test, unit.noise)
            )
            self.train[index] += train.sum(axis=0)
            self.test[index] += test.sum(axis=0)
            for waveforms in (train, test):
                late = waveforms[:, self.before + self.after // LATE :, unit.channels == unit.main]
                if late.size:
                    self.late[index].append(np.stack([late.min(axis=(1, 2)), late.max(axis=(1, 2))], axis=1))
            own = self.train[index] / max(unit.train.size, 1)
            for place, waveforms in ((SPIKES, test), (NOISE, noise)):
                self._score(SELF, place, index, waveforms, own)
                if self.true_templates is not None:
                    self._score(TRUE, place, index, waveforms, self.true_templates[index])

    def _waveforms(
        self, traces: np.ndarray, first: int, events: np.ndarray, channels: np.ndarray
    ) -> np.ndarray:
        if not events.size:
            return np.zeros((0, self.before + self.after, channels.size))
        # a view of all windows, as a waveform taken from it is copied in one piece
        windows = sliding_window_view(traces, self.before + self.after, axis=0)
        waveforms = windows[(events - first - self.before)[:, None], channels]
        return waveforms.transpose(0, 2, 1).astype("float64")

    def _score(self, kind: int, place: int, index: int, waveforms: np.ndarray, template: np.ndarray) -> None:
        scores = np.einsum("nsc,sc->n", waveforms, template)
        self.moments[kind, place, index] += scores.size, scores.sum(), np.square(scores).sum()

    def templates(self) -> list[np.ndarray]:
        """Average waveform of all spikes of each unit; NaN without any."""
        sums = [train + test for train, test in zip(self.train, self.test, strict=True)]
        return [
            total / unit.num_spikes if unit.num_spikes else np.full_like(total, np.nan)
            for total, unit in zip(sums, self.units, strict=True)
        ]

    def repeated(self, index: int, amplitude: float, least: float) -> float:
        """Share of a unit's spikes soon after which there is another half as large, and beyond `least`.

        `amplitude` is that of the unit, with its sign. NaN without any spike.
        """
        if not self.late[index]:
            return np.nan
        low, high = np.concatenate(self.late[index]).T
        height = high if amplitude > 0 else -low
        return float(np.mean(height > max(abs(amplitude) / 2, least)))

    def d_primes(self, kind: int) -> np.ndarray:
        r"""Separation of scores at spikes from those at noise times, :math:`d'`, of each unit."""
        return d_prime(self.moments[kind, SPIKES], self.moments[kind, NOISE])


def _between(events: np.ndarray, start: int, stop: int) -> np.ndarray:
    low, high = np.searchsorted(events, (start, stop))
    return events[low:high]


def d_prime(spikes: np.ndarray, noise: np.ndarray) -> np.ndarray:
    r"""Difference of two means over the pooled standard deviation, :math:`d' = (m_1 - m_0) / \sqrt{(v_1 + v_0) / 2}`.

    Of number, sum and sum of squares of the scores, shape (..., 3). NaN where there are fewer than 2 scores, or no
    score varies.
    """
    means, variances = [], []
    with np.errstate(divide="ignore", invalid="ignore"):
        for number, total, squares in (np.moveaxis(values, -1, 0) for values in (spikes, noise)):
            mean = total / number
            means.append(mean)
            # rounding may leave a variance just below 0
            variances.append(
                np.maximum(squares - number * mean**2, 0) / np.where(number > 1, number - 1, np.nan)
            )
        spread = np.sqrt(sum(variances) / 2)
        return np.where(spread > 0, (means[0] - means[1]) / spread, np.nan)


def compare_templates(template: np.ndarray, reference: np.ndarray, main: int) -> tuple[float, float, float]:
    r"""Measure what became of a template.

    `template` T and what it should be, `reference` R, have the shape (num_samples, num_channels); `main` is the
    extremum channel of R. Returns the amplitude bias, the gain and the shape bias that `evaluate_deepinterpolation`
    defines; all are NaN where R is 0.
    """
    if not reference.any():
        return np.nan, np.nan, np.nan
    peak = int(np.abs(reference[:, main]).argmax())
    with np.errstate(divide="ignore", invalid="ignore"):
        product = np.sum(template * reference)
        gain = product / np.sum(reference**2)
        cosine = product / np.sqrt(np.sum(reference**2) * np.sum(template**2))
        return float(template[peak, main] / reference[peak, main] - 1), float(gain), float(1 - cosine)


class NoiseSamples:
    """Values at some random times, to tell the noise between spikes."""

    def __init__(self, times: np.ndarray, num_channels: int) -> None:
        self.times = times
        self.values = np.full((times.size, num_channels), np.nan, "float32")

    def add(self, traces: np.ndarray, first: int, start: int, stop: int) -> None:
        """Take in a chunk, as `UnitSums.add`; what is not finite is left out."""
        low, high = np.searchsorted(self.times, (start, stop))
        self.values[low:high] = traces[self.times[low:high] - first]

    def noise(self, quiet: np.ndarray, least: int) -> np.ndarray:
        """Robust standard deviation of each channel, 1.4826 times the median absolute deviation.

        Of the values that are `quiet` (num_times, num_channels); NaN where fewer than `least` count.
        """
        from scipy.stats import median_abs_deviation

        noise = np.full(self.values.shape[1], np.nan)
        for channel in range(noise.size):
            values = self.values[quiet[:, channel], channel]
            values = values[np.isfinite(values)]
            if values.size >= least:
                noise[channel] = median_abs_deviation(values.astype("float64"), scale="normal")
        return noise


def quiet_times(times: np.ndarray, units: Sequence[UnitEvents], away: int, num_channels: int) -> np.ndarray:
    """Tell where no unit nearby fires, (num_times, num_channels): `away` samples or more from all that see it."""
    quiet = np.ones((times.size, num_channels), bool)
    for unit in units:
        near = distance_to_events(times, unit.spikes) < away
        quiet[np.ix_(near, unit.channels)] = False
    return quiet
