"""The run of an evaluation: traces read and denoised chunk by chunk, measured, and put into tables."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from steadyspike.core.arguments import contact_positions
from steadyspike.core.normalization import measure_normalization
from steadyspike.evaluation.denoising.artifacts import check_table
from steadyspike.evaluation.denoising.chunks import Chunk, read_chunk
from steadyspike.evaluation.denoising.errors import CleanErrors, TraceLosses
from steadyspike.evaluation.denoising.inputs import EvaluationSettings, Inputs
from steadyspike.evaluation.denoising.methods import CENTER, LINEAR, RAW, fit_linear, sides_of
from steadyspike.evaluation.denoising.result import DenoisingEvaluation, Excerpt
from steadyspike.evaluation.denoising.tables import size_table, summary_table, unit_table
from steadyspike.evaluation.denoising.units import (
    NoiseSamples,
    UnitEvents,
    UnitSums,
    draw_noise_times,
    extremum_channels,
    quiet_times,
)
from steadyspike.library.models.provenance import ModelUseWarning
from steadyspike.preprocessing.deepinterpolation import deepinterpolate

LEAST_LINEAR_S = 0.2
NOISE_SAMPLES, LEAST_QUIET = 10_000, 100
EXCERPT_MS = 25.0


@dataclass(eq=False)
class Gathered:
    """What is gathered of one method."""

    losses: TraceLosses
    errors: CleanErrors
    noise: NoiseSamples | None
    units: UnitSums | None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluation that is ready to read; see `evaluate_deepinterpolation`."""

    inputs: Inputs
    sources: Mapping[str, Any]
    settings: EvaluationSettings
    bad: np.ndarray
    folder: Path
    progress_bar: bool
    cautions: tuple[str, ...] = ()

    @cached_property
    def rate(self) -> float:
        """Sampling frequency in Hz."""
        return float(self.inputs.recording.get_sampling_frequency())

    @cached_property
    def window(self) -> tuple[int, int]:
        """Samples of a waveform before its spike, and from it on."""
        before, after = (
            round(ms * self.rate / 1000) for ms in (self.settings.ms_before, self.settings.ms_after)
        )
        return max(before, 1), max(after, 1)

    @cached_property
    def normalization(self) -> tuple[np.ndarray, np.ndarray]:
        """Center and noise of each channel; the noise is 0 where it is not evaluated."""
        center, scale = measure_normalization(self.inputs.recording)
        return center, np.where(self.bad, 0.0, scale)

    @cached_property
    def clean_center(self) -> np.ndarray:
        """Center of each noise-free channel."""
        return measure_normalization(self.inputs.clean)[0]

    @cached_property
    def lengths(self) -> list[int]:
        """Samples of each segment."""
        recording = self.inputs.recording
        return [recording.get_num_samples(segment) for segment in range(recording.get_num_segments())]

    @cached_property
    def origins(self) -> np.ndarray:
        """Position of each segment's first sample."""
        return np.cumsum([0, *self.lengths])[:-1]

    def run(self) -> DenoisingEvaluation:
        """Read everything, and put it into tables."""
        methods, notes = self._methods()
        rng = np.random.default_rng(self.settings.seed)
        units, references = self._units(rng) if self.inputs.sorting is not None else ([], None)
        noise_times = draw_noise_times(rng, np.zeros(0, "int64"), 0, self._spans(0, 0), 0, NOISE_SAMPLES)
        true = None if self.inputs.clean is None else references
        gathered = {name: self._empty(name, units, noise_times, true) for name in methods}
        chunks = list(self._chunks())
        for chunk in tqdm(chunks, desc="evaluate", unit="chunk", disable=not self.progress_bar):
            self._take_in(chunk, methods, gathered)
        return self._result(methods, gathered, units, references, noise_times, notes)

    def _methods(self) -> tuple[dict[str, Any], list[str]]:
        recording, (center, scale) = self.inputs.recording, self.normalization
        bad_ids = list(recording.channel_ids[self.bad])
        notes, rest = [], self.inputs.rest
        if sum(part.stop - part.start for part in rest) < LEAST_LINEAR_S * self.rate:
            rest = self.inputs.evaluated
            notes.append("linear was fitted on the very samples that are evaluated: nothing else is left")
        omission, taps = sides_of(next(iter(self.sources.values())))
        linear = fit_linear(
            recording, rest, omission, taps, self.normalization, self.folder, self.settings.seed
        )
        methods: dict[str, Any] = {RAW: recording, CENTER: None}
        if linear.folder is None:
            notes = [linear.note]
        else:
            methods[LINEAR] = deepinterpolate(
                recording,
                linear.folder,
                bad_channel_ids=bad_ids,
                **{"center": center, "scale": scale, "output": "prediction", **self.settings.node},
            )
        # the notes of the evaluation tell it
        with warnings.catch_warnings(action="ignore", category=ModelUseWarning):
            for name, source in self.sources.items():
                methods[name] = deepinterpolate(
                    recording,
                    source.saved,
                    bad_channel_ids=bad_ids,
                    **self.settings.node,
                    **self.settings.result,
                )
        return methods, notes

    def _units(self, rng: np.random.Generator) -> tuple[list[UnitEvents], list[np.ndarray]]:
        """Events of all units, and their reference templates on their channels."""
        sorting, (before, after) = self.inputs.sorting, self.window
        spikes = sorting.to_spike_vector()
        positions = self.origins[spikes["segment_index"]] + spikes["sample_index"]
        spans = self._spans(before, after)
        span = np.searchsorted(spans[:, 0], positions, side="right") - 1
        measured = (span >= 0) & (positions < spans[np.maximum(span, 0), 1])
        templates = self._reference(spikes[measured])
        mains = extremum_channels(templates)
        locations = contact_positions(self.inputs.recording, EvaluationSettings.part)
        live = self.normalization[1] > 0
        units = []
        for index, main in enumerate(mains):
            own = np.flatnonzero(spikes["unit_index"] == index)
            inside = positions[own][measured[own]]
            train, test = np.split(inside, [inside.size // 2])
            first = int(train[-1]) + 1 if train.size else 0
            noise = draw_noise_times(
                rng, positions[own], first, spans, before + after, self.settings.num_noise_times
            )
            near = np.linalg.norm(locations - locations[main], axis=1) <= self.settings.radius_um
            channels = np.flatnonzero(near & live)
            units.append(UnitEvents(positions[own], train, test, noise, channels, int(main)))
        return units, [template[:, unit.channels] for template, unit in zip(templates, units, strict=True)]

    def _spans(self, before: int, after: int) -> np.ndarray:
        """Positions that are evaluated, with whole waveforms around, shape (num_spans, 2)."""
        spans = [
            (
                self.origins[part.segment] + max(part.start, before),
                self.origins[part.segment] + min(part.stop, self.lengths[part.segment] - after + 1),
            )
            for part in self.inputs.evaluated
        ]
        return np.array([(start, max(start, stop)) for start, stop in spans])

    def _reference(self, spikes: np.ndarray) -> np.ndarray:
        """Average noise-free waveforms, or else those of the recording, on all channels."""
        from spikeinterface.core.waveform_tools import estimate_templates_with_accumulator

        clean = self.inputs.clean
        center, scale = self.normalization
        templates = estimate_templates_with_accumulator(
            self.inputs.recording if clean is None else clean,
            spikes,
            self.inputs.sorting.unit_ids,
            *self.window,
            return_in_uV=False,
            job_name="reference templates",
            **{"n_jobs": 1, "chunk_size": self._chunk_size(), "progress_bar": self.progress_bar},
        )
        templates = templates - (center if clean is None else self.clean_center)
        templates[~np.isfinite(templates)] = 0
        templates[:, :, scale <= 0] = 0
        return templates

    def _empty(
        self, name: str, units: list[UnitEvents], noise_times: np.ndarray, true: list[np.ndarray] | None
    ) -> Gathered:
        of_units = self.inputs.sorting is not None and name != CENTER
        num_channels = self.inputs.recording.get_num_channels()
        return Gathered(
            TraceLosses(),
            CleanErrors(),
            NoiseSamples(noise_times, num_channels) if of_units else None,
            UnitSums(units, *self.window, true) if of_units else None,
        )

    def _chunk_size(self) -> int:
        return max(1, round(self.settings.chunk_s * self.rate))

    def _chunks(self) -> Iterator[Chunk]:
        before, after = self.window
        for part in self.inputs.evaluated:
            for start in range(part.start, part.stop, self._chunk_size()):
                stop = min(start + self._chunk_size(), part.stop)
                low, high = max(0, start - before), min(self.lengths[part.segment], stop + after)
                origin = int(self.origins[part.segment])
                yield Chunk(part.segment, start, stop, low, high, origin)

    def _take_in(self, chunk: Chunk, methods: Mapping[str, Any], gathered: Mapping[str, Gathered]) -> None:
        center, scale = self.normalization
        live = scale > 0
        noise = scale[live].astype("float32")
        raw = read_chunk(methods[RAW], chunk, center)
        wanted = raw[chunk.core, live] / noise
        clean = within = None
        if self.inputs.clean is not None:
            clean = read_chunk(self.inputs.clean, chunk, self.clean_center)[chunk.core, live] / noise
            within = np.abs(clean) > self.settings.spike_threshold
            # what is no number in the recording is no method's error
            clean[~np.isfinite(wanted)] = np.nan
        for name, method in methods.items():
            part = gathered[name]
            traces = raw if name == RAW else read_chunk(method, chunk, center)
            got = traces[chunk.core, live] / noise
            if name != RAW:
                part.losses.add(got - wanted)
            if clean is not None and within is not None:
                part.errors.add(got - clean, within)
            if part.units is not None and part.noise is not None:
                part.noise.add(traces, *chunk.place)
                part.units.add(np.where(np.isfinite(traces) & live, traces, 0), *chunk.place)

    def _result(
        self,
        methods: Mapping[str, Any],
        gathered: Mapping[str, Gathered],
        units: list[UnitEvents],
        references: list[np.ndarray] | None,
        noise_times: np.ndarray,
        notes: list[str],
    ) -> DenoisingEvaluation:
        scale = self.normalization[1]
        noise, quiet, quiet_note = self._quiet_noise(gathered, units, noise_times)
        sums = {name: part.units for name, part in gathered.items()}
        table = unit_table(self.inputs, units, references or [], sums, noise, scale, self.settings)
        notes = [*notes, *quiet_note, *self._unit_notes(units)]
        return DenoisingEvaluation(
            summary=summary_table(gathered, table, noise, scale > 0),
            by_size=size_table(table),
            units=table,
            checks=check_table(
                *(gathered, table, noise, quiet),
                *(contact_positions(self.inputs.recording, EvaluationSettings.part), scale > 0, self.rate),
            ),
            templates=self._templates(gathered, units, references),
            excerpt=self._excerpt(methods, units, references),
            settings=self._described(methods),
            notes=(*self.cautions, *notes),
        )

    def _quiet_noise(
        self, gathered: Mapping[str, Gathered], units: list[UnitEvents], noise_times: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray | None, list[str]]:
        if self.inputs.sorting is None:
            return {}, None, []
        away = round(self.settings.quiet_ms * self.rate / 1000)
        quiet = quiet_times(noise_times, units, away, self.bad.size)
        least = min(LEAST_QUIET, noise_times.size)
        noise = {
            name: part.noise.noise(quiet, least) for name, part in gathered.items() if part.noise is not None
        }
        live = self.normalization[1] > 0
        lacking = int(np.count_nonzero(live & (quiet.sum(axis=0) < least)))
        note = (
            f"{lacking} of {live.sum()} channels are hardly ever {self.settings.quiet_ms:g} ms from a spike, "
            "and have no noise between spikes"
        )
        return noise, quiet, [note] if lacking else []

    def _unit_notes(self, units: list[UnitEvents]) -> list[str]:
        if self.inputs.sorting is None:
            return []
        notes = []
        few = sum(unit.num_spikes < self.settings.min_spikes for unit in units)
        if few:
            notes.append(
                f"{few} of {len(units)} units have fewer than {self.settings.min_spikes} spikes and are not measured"
            )
        if self.inputs.clean is None:
            notes.append(
                "without noise-free traces, units are compared with their average in the recording itself"
            )
        return notes

    def _templates(
        self, gathered: Mapping[str, Gathered], units: list[UnitEvents], references: list[np.ndarray] | None
    ) -> dict[str, np.ndarray]:
        """Templates on the extremum channel, shape (num_units, num_samples), of each method."""
        if references is None:
            return {}
        sets = {name: part.units.templates() for name, part in gathered.items() if part.units is not None}
        if self.inputs.clean is not None:
            sets = {"clean": references, **sets}
        shape = (len(units), sum(self.window))
        return {
            name: np.array(
                [
                    template[:, unit.channels == unit.main].sum(axis=1)
                    for unit, template in zip(units, templates, strict=True)
                ]
            ).reshape(shape)
            for name, templates in sets.items()
        }

    def _excerpt(
        self, methods: Mapping[str, Any], units: list[UnitEvents], references: list[np.ndarray] | None
    ) -> Excerpt:
        """A few ms of traces around a spike of a typical unit."""
        part = self.inputs.evaluated[len(self.inputs.evaluated) // 2]
        segment, middle = part.segment, (part.start + part.stop) // 2
        channel = None
        measured = [index for index, unit in enumerate(units) if unit.test.size]
        if references is not None and measured:
            measured.sort(key=lambda index: float(np.abs(references[index]).max(initial=0)))
            unit = units[measured[len(measured) // 2]]
            position = int(unit.test[unit.test.size // 2])
            segment = int(np.searchsorted(self.origins, position, side="right")) - 1
            middle, channel = position - int(self.origins[segment]), unit.main
        half = round(EXCERPT_MS * self.rate / 2000)
        low, high = max(0, middle - half), min(self.lengths[segment], middle + half)
        chunk = Chunk(segment, low, high, low, high, 0)
        center, scale = self.normalization
        traces = {
            name: read_chunk(method, chunk, center) for name, method in methods.items() if method is not None
        }
        if self.inputs.clean is not None:
            traces = {"clean": read_chunk(self.inputs.clean, chunk, self.clean_center), **traces}
        return Excerpt(traces, segment, low / self.rate, self.rate, scale, channel)

    def _described(self, methods: Mapping[str, Any]) -> dict[str, Any]:
        from steadyspike.core.environment import versions

        recording = self.inputs.recording
        return {
            "models": {
                # a model that was in memory has no place that outlasts this
                name: {
                    "model": None if self.folder in source.path.parents else source.name,
                    "sha256": source.sha256,
                }
                for name, source in self.sources.items()
            },
            "methods": list(methods),
            "start_s": self.inputs.range_s[0],
            "end_s": self.inputs.range_s[1],
            "sampling_frequency": self.rate,
            "num_channels": int(recording.get_num_channels()),
            "num_channels_evaluated": int(np.count_nonzero(self.normalization[1] > 0)),
            "num_segments": len(self.lengths),
            "sorting": self.inputs.sorting is not None,
            "clean": self.inputs.clean is not None,
            **self.settings.values(),
            "bad_channel_ids": [str(one) for one in recording.channel_ids[self.bad]],
            "versions": versions(),
        }
