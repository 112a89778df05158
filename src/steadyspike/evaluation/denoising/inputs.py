"""What an evaluation is made of: settings, and recordings and a sorting that fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from pydantic import model_validator

from steadyspike.core.arguments import contact_positions, refuse
from steadyspike.core.settings import Settings, parameter, parameter_of
from steadyspike.core.stretches import Stretch, TimeRange, apart_from, limited, segments_of
from steadyspike.library.models.provenance import parts_in_both
from steadyspike.preprocessing.deepinterpolation_arguments import DeepInterpolateSettings

DEFAULT_S, GAP_S = 60.0, 0.1


class EvaluationSettings(Settings):
    """Parameters of `evaluate_deepinterpolation`."""

    part = "evaluate_deepinterpolation"

    ms_before: float = parameter(1.0, "Extent of a waveform before its spike", unit="ms", gt=0)
    ms_after: float = parameter(2.0, "Its extent from the spike on", unit="ms", gt=0)
    radius_um: float = parameter(
        100.0, "A waveform is measured on the channels within this distance of :math:`c^*`", unit="um", ge=0
    )
    quiet_ms: float = parameter(3.0, "Distance from spikes at which there is only noise", unit="ms", ge=0)
    spike_threshold: float = parameter(2.0, "Where `clean` is within spikes, in units of noise", gt=0)
    min_spikes: int = parameter(20, "Units with fewer spikes have NaN for all measures", ge=4)
    snr_classes: tuple[float, float] = parameter(
        (5.0, 10.0),
        """Units are small below the first and large from the second, by ``|R(t*, c*)|`` over the noise of the
        recording""",
        gt=0,
        type_doc="(float, float)",
        allowed="two numbers above 0, the second not below the first",
    )
    num_noise_times: int = parameter(500, "Random times for each unit", ge=2)
    device: str = parameter_of(DeepInterpolateSettings, "device")
    precision: Literal["float32", "half"] = parameter_of(DeepInterpolateSettings, "precision")
    memory_limit_mb: float | None = parameter_of(DeepInterpolateSettings, "memory_limit_mb")
    num_threads: int = parameter_of(DeepInterpolateSettings, "num_threads")
    output: Literal["posterior", "prediction"] = parameter_of(DeepInterpolateSettings, "output")
    recorded_share: float = parameter_of(DeepInterpolateSettings, "recorded_share")
    chunk_s: float = parameter(
        1.0,
        "Traces are read in chunks of this length. It changes nothing but memory and time",
        unit="s",
        gt=0,
    )
    seed: int = parameter(0, "Of all random times", ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.snr_classes[0] > self.snr_classes[1]:
            self.refuse("snr_classes", self.allowed("snr_classes"))
        return self

    @property
    def node(self) -> dict[str, Any]:
        """How `deepinterpolate` computes."""
        return {
            name: getattr(self, name) for name in ("device", "precision", "memory_limit_mb", "num_threads")
        }

    @property
    def result(self) -> dict[str, Any]:
        """What it returns of the models."""
        return {name: getattr(self, name) for name in ("output", "recorded_share")}


@dataclass(frozen=True, eq=False)
class Inputs:
    """Recordings and sorting that fit each other, and which part is evaluated.

    `evaluated` are the stretches that are evaluated, from `range_s` start to end, and `rest` those on which the linear
    interpolator is fitted.
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
            refuse("recording", recording, "a recording", EvaluationSettings.part)
        if sorting is not None and not isinstance(sorting, BaseSorting):
            refuse("sorting", sorting, "a sorting, a SortingAnalyzer or None", EvaluationSettings.part)
        if clean is not None and not isinstance(clean, BaseRecording):
            refuse("clean", clean, "a recording or None", EvaluationSettings.part)
        contact_positions(recording, EvaluationSettings.part)
        _check_alike(recording, sorting, clean)
        start_s, end_s = _range_of(recording, limits)
        evaluated = limited([recording], TimeRange(start_s, end_s), "evaluated")
        if not evaluated:
            raise ValueError(f"start_s={start_s:g}, end_s={end_s:g}: there is no sample in between")
        return cls.of(recording, sorting, clean, evaluated)

    @classmethod
    def of(cls, recording: Any, sorting: Any, clean: Any, evaluated: list[Stretch]) -> Self:
        """Put inputs together with what is not evaluated."""
        rate, whole = float(recording.sampling_frequency), segments_of([recording])
        begins = np.cumsum([0, *(one.stop for one in whole)])
        first, last = evaluated[0], evaluated[-1]
        range_s = (begins[first.segment] + first.start) / rate, (begins[last.segment] + last.stop) / rate
        return cls(recording, sorting, clean, evaluated, apart_from(whole, evaluated, GAP_S, [rate]), range_s)

    def held_out_from(self, noted: Sequence[Any]) -> Self:
        """Evaluate instead the last 60 s that no model was trained on; the same if that is known of none, or of all.

        `noted` is what each model says that it was trained on.
        """
        rate, whole = float(self.recording.sampling_frequency), segments_of([self.recording])
        seen = [part for one in noted for part in parts_in_both(one, self.recording, whole)]
        left, held_out = round(DEFAULT_S * rate), []
        for part in reversed(apart_from(whole, seen, GAP_S, [rate]) if seen else []):
            held_out.append(part._replace(start=max(part.start, part.stop - left)))
            left -= part.stop - held_out[-1].start
            if left <= 0:
                break
        return type(self).of(self.recording, self.sorting, self.clean, held_out[::-1]) if held_out else self


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
        refuse("recording", recording, "a recording with samples", EvaluationSettings.part)
    for name, value in zip(("start_s", "end_s", "duration_s"), limits, strict=True):
        if value is not None and not 0 <= value <= total_s + 1e-9:
            allowed = f"0 to {total_s:g}, the duration of recording in s, or None"
            refuse(name, value, allowed, EvaluationSettings.part)
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
