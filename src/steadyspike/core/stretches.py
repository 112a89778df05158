"""Which stretches of which segments are for training, and which are held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

HELD_OUT, LONGEST_HELD_OUT_S = 0.1, 30.0


class Stretch(NamedTuple):
    """Samples `start` to `stop` of one segment of one recording; windows are read from within, so never cross."""

    recording: int
    segment: int
    start: int
    stop: int


class TimeRange(NamedTuple):
    """Start, end and duration in s on the time line of all segments of all recordings after another; None: open."""

    start_s: float | None = None
    end_s: float | None = None
    duration_s: float | None = None

    @property
    def given(self) -> bool:
        """Whether anything is limited."""
        return any(value is not None for value in self)

    def check(self, name: str, total_s: float) -> None:
        """Refuse what is not within the recordings; `name` is "train" or "test"."""
        for field, value in zip(self._fields, self, strict=True):
            if value is not None and not 0 <= value <= total_s + 1e-9:
                raise ValueError(
                    f"{name}_{field}={value}; allowed: 0 to {total_s:g} s, the time of the recordings"
                )
        start, end = self.limits(total_s)
        if end <= start:
            raise ValueError(
                f"{name}_start_s={self.start_s}, {name}_end_s={self.end_s}, {name}_duration_s={self.duration_s}: "
                "allowed: an end after the start"
            )

    def limits(self, total_s: float) -> tuple[float, float]:
        """Start and end in s."""
        start = self.start_s or 0.0
        end = total_s if self.end_s is None else self.end_s
        return start, end if self.duration_s is None else min(end, start + self.duration_s)


def split_time(
    recordings: Sequence[Any], train: TimeRange, test: TimeRange, gap_s: float, separate_test: bool
) -> tuple[list[Stretch], list[Stretch]]:
    """Split recordings into stretches for training and held-out ones.

    Where `test` is open, the last tenth of each segment is held out, 30 s at most; `gap_s` around what is held out is
    used for nothing. With `separate_test` other recordings are held out, and nothing of these is. Raises `ValueError`
    if a range is not within the recordings.
    """
    whole = segments_of(recordings)
    rates = [float(recording.sampling_frequency) for recording in recordings]
    total_s = _total_s(recordings, whole)
    train.check("train", total_s)
    training = _within(whole, rates, *train.limits(total_s))
    if separate_test:
        return training, []
    if test.given:
        test.check("test", total_s)
        held_out = _within(whole, rates, *test.limits(total_s))
    else:
        held_out = [_last_part(stretch, rates[stretch.recording]) for stretch in training]
    training = apart_from(training, held_out, gap_s, rates)
    return training, [stretch for stretch in held_out if stretch.stop > stretch.start]


def apart_from(
    stretches: Sequence[Stretch], others: Sequence[Stretch], gap_s: float, rates: Sequence[float]
) -> list[Stretch]:
    """Return the parts of stretches that are no part of others, nor within `gap_s` of them."""
    parts = list(stretches)
    for other in others:
        gap = round(gap_s * rates[other.recording])
        parts = [part for one in parts for part in _without(one, other, gap)]
    return parts


def limited(recordings: Sequence[Any], limits: TimeRange, name: str) -> list[Stretch]:
    """Stretches of recordings within a range of time."""
    whole = segments_of(recordings)
    total_s = _total_s(recordings, whole)
    limits.check(name, total_s)
    rates = [float(recording.sampling_frequency) for recording in recordings]
    return _within(whole, rates, *limits.limits(total_s))


def segments_of(recordings: Sequence[Any]) -> list[Stretch]:
    """All segments, whole."""
    return [
        Stretch(index, segment, 0, recording.get_num_samples(segment))
        for index, recording in enumerate(recordings)
        for segment in range(recording.get_num_segments())
    ]


def _total_s(recordings: Sequence[Any], whole: Sequence[Stretch]) -> float:
    return sum(stretch.stop / recordings[stretch.recording].sampling_frequency for stretch in whole)


def _within(whole: Sequence[Stretch], rates: Sequence[float], start_s: float, end_s: float) -> list[Stretch]:
    found, origin_s = [], 0.0
    for stretch in whole:
        rate = rates[stretch.recording]
        start = max(0, round((start_s - origin_s) * rate))
        stop = min(stretch.stop, round((end_s - origin_s) * rate))
        if stop > start:
            found.append(stretch._replace(start=start, stop=stop))
        origin_s += stretch.stop / rate
    return found


def _last_part(stretch: Stretch, rate: float) -> Stretch:
    held_out = min(round(HELD_OUT * (stretch.stop - stretch.start)), round(LONGEST_HELD_OUT_S * rate))
    return stretch._replace(start=stretch.stop - held_out)


def _without(stretch: Stretch, held_out: Stretch, gap: int) -> list[Stretch]:
    if stretch[:2] != held_out[:2]:
        return [stretch]
    before = stretch._replace(stop=min(stretch.stop, held_out.start - gap))
    after = stretch._replace(start=max(stretch.start, held_out.stop + gap))
    return [part for part in (before, after) if part.stop > part.start]
