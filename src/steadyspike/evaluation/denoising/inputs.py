"""What an evaluation is made of: settings, and recordings and a sorting that fit each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from steadyspike.core.arguments import contact_positions, refuse
from steadyspike.core.stretches import Stretch, TimeRange, split_time

DEFAULT_S, GAP_S = 60.0, 0.1


@dataclass(frozen=True)
class Settings:
    """Arguments of `evaluate_deepinterpolation`, checked."""

    ms_before: float
    ms_after: float
    radius_um: float
    quiet_ms: float
    spike_threshold: float
    min_spikes: int
    snr_classes: tuple[float, float]
    num_noise_times: int
    chunk_s: float
    seed: int


@dataclass(frozen=True, eq=False)
class Inputs:
    """Recordings and sorting that fit each other, and which part is evaluated.

    Parameters
    ----------
    recording : BaseRecording
    sorting : BaseSorting or None
    clean : BaseRecording or None
    evaluated, rest : list of Stretch
        What is evaluated, and what the linear interpolator is fitted on.
    range_s : tuple of float
        Start and end of what is evaluated.
    """

    recording: Any
    sorting: Any
    clean: Any
    evaluated: list[Stretch]
    rest: list[Stretch]
    range_s: tuple[float, float]

    @classmethod
    def checked(
        cls, recording: Any, sorting: Any, clean: Any, limits: tuple[float | None, float | None, float | None]
    ) -> Self:
        """Refuse what does not fit; reads nothing."""
        from spikeinterface import BaseRecording, BaseSorting, SortingAnalyzer

        if isinstance(sorting, SortingAnalyzer):
            sorting = sorting.sorting
        if not isinstance(recording, BaseRecording):
            refuse("recording", recording, "a recording")
        if sorting is not None and not isinstance(sorting, BaseSorting):
            refuse("sorting", sorting, "a sorting, a SortingAnalyzer or None")
        if clean is not None and not isinstance(clean, BaseRecording):
            refuse("clean", clean, "a recording or None")
        contact_positions(recording)
        _check_alike(recording, sorting, clean)
        start_s, end_s = _range_of(recording, limits)
        rest, evaluated = split_time([recording], TimeRange(), TimeRange(start_s, end_s), GAP_S, False)
        if not evaluated:
            raise ValueError(f"start_s={start_s:g}, end_s={end_s:g}: there is no sample in between")
        return cls(recording, sorting, clean, evaluated, rest, (start_s, end_s))


def _check_alike(recording: Any, sorting: Any, clean: Any) -> None:
    segments, rate = recording.get_num_segments(), recording.get_sampling_frequency()
    for name, other in (("sorting", sorting), ("clean", clean)):
        if other is None:
            continue
        if other.get_num_segments() != segments:
            raise ValueError(
                f"{name} has {other.get_num_segments()} segments; allowed: as many as recording, {segments}"
            )
        if abs(other.get_sampling_frequency() - rate) > 1e-3 * rate:
            raise ValueError(
                f"{name} has a sampling frequency of {other.get_sampling_frequency():g} Hz; "
                f"allowed: that of recording, {rate:g} Hz"
            )
    if clean is None:
        return
    shapes = [
        [(one.get_num_samples(segment), one.get_num_channels()) for segment in range(segments)]
        for one in (recording, clean)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"clean has samples and channels {shapes[1]}; allowed: those of recording, {shapes[0]}"
        )


def _range_of(recording: Any, limits: tuple[float | None, float | None, float | None]) -> tuple[float, float]:
    total_s = recording.get_total_samples() / recording.get_sampling_frequency()
    if total_s == 0:
        refuse("recording", recording, "a recording with samples")
    for name, value in zip(("start_s", "end_s", "duration_s"), limits, strict=True):
        if value is not None and not 0 <= value <= total_s + 1e-9:
            refuse(name, value, f"0 to {total_s:g}, the duration of recording in s, or None")
    start_s, end_s, duration_s = limits
    if limits == (None, None, None):
        return max(total_s - DEFAULT_S, total_s / 2), total_s
    if start_s is None and duration_s is not None:
        end_s = total_s if end_s is None else end_s
        start_s = max(0.0, end_s - duration_s)
    start, end = TimeRange(start_s, end_s, duration_s).limits(total_s)
    if not start < end:
        raise ValueError(
            f"start_s={start_s}, end_s={end_s}, duration_s={duration_s}: the end must be after the start"
        )
    return start, end
