"""Run the presets on a recording with imposed motion, and keep each result as one small file.

A study's folder holds `study.json` (of what), `peaks/`, `motions/`, `results/`, and the page and figure of `page`.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from steadyspike.core.identity import describe_recording, digest
from steadyspike.core.loading_errors import LoadingError
from steadyspike_benchmarks import estimation
from steadyspike_benchmarks.imposed import measures
from steadyspike_benchmarks.imposed.course import Course
from steadyspike_benchmarks.peak_folder import RealPeaks
from steadyspike_benchmarks.sorting.study import find_units, sentence
from steadyspike_benchmarks.sorting.treatments import Treatment, choose_treatments
from steadyspike_benchmarks.study_peaks import (
    LoadedCase,
    find_peaks,
    peaks_code,
    peaks_name,
    settled_at,
    write_aside,
)
from steadyspike_benchmarks.study_presets import StudyPreset, choose_presets, study_presets

if TYPE_CHECKING:
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

MANIPULATOR = "manipulator"
"""The result of taking out the course itself."""


class ImposedStudy:
    """A recording with imposed motion, and the folder of what is known of it.

    Parameters
    ----------
    folder : Path
        Of results; one of another recording or course is refused.
    recording : BaseRecording
        As recorded; one segment with contacts at several depths. Times count from its first sample from here on.
    course : Course
        Of the manipulator.
    prepare : callable or None, default: None
        Filters the recording; called where something is computed.
    filters : str, default: "none"
        What `prepare` does, in a word.
    jobs : dict or None, default: None
        SpikeInterface's job arguments.
    """

    def __init__(
        self,
        folder: Path,
        recording: BaseRecording,
        course: Course,
        prepare: Callable[[BaseRecording], BaseRecording] | None = None,
        filters: str = "none",
        jobs: dict[str, Any] | None = None,
    ):
        if recording.get_num_segments() != 1:
            raise LoadingError(
                f"recording has {recording.get_num_segments()} segments; allowed: 1. Choose --segment"
            )
        if np.ptp(recording.get_channel_locations()[:, 1]) == 0:
            raise LoadingError("recording has all contacts at one depth; allowed: contacts at several depths")
        self.folder, self.recording, self.prepare, self.filters = folder, recording, prepare, filters
        self.jobs = jobs or dict(n_jobs=1, progress_bar=False)
        self.course = course.from_first_sample(recording)
        recording.reset_times()
        self._begin()

    @cached_property
    def prepared(self) -> BaseRecording:
        """The recording, filtered."""
        return self.prepare(self.recording) if self.prepare else self.recording

    @property
    def results(self) -> list[dict[str, Any]]:
        """All results in the folder, in the order of the presets."""
        files = sorted((self.folder / "results").glob("*.json"))
        found = [json.loads(file.read_text(encoding="utf8")) for file in files]
        order = {name: place for place, name in enumerate(study_presets())}
        return sorted(found, key=lambda result: order.get(result["name"], -1))

    def result(self, name: str) -> dict[str, Any] | None:
        """Give a result, or None where it is not there yet."""
        file = self.folder / "results" / f"{name}.json"
        return json.loads(file.read_text(encoding="utf8")) if file.is_file() else None

    def keep(self, name: str, result: dict[str, Any]) -> None:
        """Write a result; `name` is that of its file."""
        text = json.dumps(result, indent=1).encode("utf8")
        write_aside(self.folder / "results" / f"{name}.json", lambda file: file.write(text))

    def truth(self, sign: int | None = None) -> Any:
        """Give the course as a truth; without a sign, turned the way that was found to sharpen the raster."""
        if sign is None:
            known = self.result(MANIPULATOR)
            sign = known["sign"] if known else 1
        return measures.as_truth(self.course, self.recording, sign)

    def load(self, preset: StudyPreset, others: Iterable[StudyPreset] = ()) -> LoadedCase:
        """Load the peaks of a preset; find them if they are not there, and those of others that detect alike."""
        positions = self.recording.get_channel_locations()
        alike = [one for one in (preset, *others) if one.detect_kwargs == preset.detect_kwargs]
        files = {self._peaks_file(settled_at(positions, one)): settled_at(positions, one) for one in alike}
        preset = settled_at(positions, preset)
        if not self._peaks_file(preset).is_file():
            find_peaks(self.prepared, {f: one for f, one in files.items() if not f.is_file()}, self.jobs)
        with np.load(self._peaks_file(preset)) as stored:
            peaks, locations = stored["peaks"], stored["peak_locations"]
        if peaks.size == 0:
            raise ValueError("no peaks were found")
        return LoadedCase(self.prepared, peaks, locations, self.truth(), preset, peaks_code(preset))

    def peaks(self, preset: StudyPreset) -> RealPeaks:
        """Give the peaks that a preset found as plain arrays, in s from the first sample and in um."""
        with np.load(self._peaks_file(settled_at(self.recording.get_channel_locations(), preset))) as stored:
            found, depths = stored["peaks"], stored["peak_locations"]["y"].astype("float64")
        times = found["sample_index"] / self.recording.sampling_frequency
        return RealPeaks(times, depths, found["amplitude"].astype("float64"))

    def motion(self, name: str) -> Motion:
        """Load the motion that a preset estimated."""
        from spikeinterface.core.motion import Motion

        with np.load(self.folder / "motions" / f"{name}.npz") as stored:
            return Motion([stored["displacement"]], [stored["temporal_bins_s"]], stored["spatial_bins_um"])

    def _peaks_file(self, preset: StudyPreset) -> Path:
        return self.folder / "peaks" / peaks_name(preset)

    def _begin(self) -> None:
        about = dict(
            describe_recording(self.recording),
            course=[*self.course.times_s, *self.course.positions_um],
            filters=self.filters,
        )
        study, file = dict(of=digest(json.dumps(about, default=str))), self.folder / "study.json"
        if not file.is_file():
            if self.folder.is_dir() and any(self.folder.iterdir()):
                raise ValueError(f"{self.folder} holds something else; choose another --output")
            write_aside(file, lambda stream: stream.write(json.dumps(study).encode("utf8")))
        elif json.loads(file.read_text(encoding="utf8")) != study:
            raise ValueError(
                f"{self.folder} holds a study of another recording, course or filter; choose another --output"
            )


def run_imposed_benchmark(
    study: ImposedStudy,
    *,
    presets: Iterable[str] | None = None,
    treatments: Iterable[str] = (),
    sorters: Iterable[str] = (),
    progress_bar: bool = True,
) -> list[dict[str, Any]]:
    """Hold presets against the manipulator's course, and sort after some treatments.

    Parameters
    ----------
    study : ImposedStudy
        What is there is not computed again. Failures are results, but for presets whose package is not installed.
    presets : iterable of str or None, default: None
        Of `study_presets`; None: all.
    treatments : iterable of str, default: ()
        Of `sorting.treatments`, each without a model; their presets are estimated too. Not used without sorters.
    sorters : iterable of str, default: ()
        Names as of `spikeinterface.sorters.run_sorter`.
    progress_bar : bool, default: True
        Show progress.

    Returns
    -------
    results : list of dict
        Of the course ("manipulator"), of each preset, and of each sorter after each treatment.
    """
    known, sorters = study_presets(), list(sorters)
    chosen = choose_presets(None if presets is None else list(presets), known)
    sorted_after = check_treatments(treatments) if sorters else []
    needed = {one.preset: known[one.preset] for one in sorted_after if one.preset}
    waiting = [preset for preset in (chosen | needed).values() if study.result(preset.name) is None]
    for number, preset in enumerate(tqdm(waiting, desc="imposed motion", disable=not progress_bar)):
        _measure(study, preset, waiting[number + 1 :])
    for treatment in sorted_after:
        missing = [name for name in sorters if study.result(_unit_name(treatment, name)) is None]
        if missing:
            _sort(study, treatment, missing)
    return study.results


def check_treatments(names: Iterable[str]) -> list[Treatment]:
    """Give the treatments of these names; `ValueError` for those that such a recording cannot have."""
    chosen = choose_treatments(list(names))
    wrong = [one.name for one in chosen if one.static or one.model]
    if wrong:
        raise ValueError(
            f"treatments={', '.join(wrong)} cannot work; allowed: uncorrected and motion presets"
        )
    return chosen


def _measure(study: ImposedStudy, preset: StudyPreset, others: list[StudyPreset]) -> None:
    about: dict[str, Any] = dict(name=preset.name, ours=preset.ours)
    try:
        if preset.method == "medicine":
            estimation.find_medicine()
        case = study.load(preset, others)
        peaks = study.peaks(preset)
        if study.result(MANIPULATOR) is None:
            study.keep(MANIPULATOR, _of_manipulator(study, peaks))
            case = replace(case, truth=study.truth())
        with contextlib.suppress(Exception):
            estimation.warm_up(case, case.preset)
        estimate = estimation.estimate(case, case.preset)
        arrays = dict(
            displacement=estimate.motion.displacement[0],
            temporal_bins_s=estimate.motion.temporal_bins_s[0],
            spatial_bins_um=estimate.motion.spatial_bins_um,
        )
        write_aside(study.folder / "motions" / f"{preset.name}.npz", lambda file: np.savez(file, **arrays))
        result = dict(
            about,
            **estimation.measure(case, estimate),
            **measures.compare_with_course(case.truth, estimate.motion),
            sharpness_before=measures.sharpness(peaks),
            sharpness_after=measures.sharpness(peaks, estimate.motion),
            trust=estimation.judge(case, estimate.motion),
        )
    except estimation.MissingPackageError:
        return
    except Exception as error:  # a preset that fails is a result
        result = dict(about, failed=sentence(error))
    study.keep(preset.name, result)


def _of_manipulator(study: ImposedStudy, peaks: RealPeaks) -> dict[str, Any]:
    """Find which way the manipulator counts: the course that is taken out the wrong way smears the raster."""
    sharp = {sign: measures.sharpness(peaks, measures.course_motion(study.truth(sign))) for sign in (1, -1)}
    sign = max(sharp, key=sharp.__getitem__)
    before = measures.sharpness(peaks)
    return dict(name=MANIPULATOR, sign=sign, sharpness_before=before, sharpness_after=sharp[sign])


def _sort(study: ImposedStudy, treatment: Treatment, sorters: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="steadyspike-imposed-") as place:
        for sorter in sorters:
            try:
                written = _written(study, treatment, Path(place) / "traces")
                start = time.perf_counter()
                found = find_units(written, sorter, Path(place), study.jobs["n_jobs"])
                seconds = round(time.perf_counter() - start, 1)
                result = dict(measures.unit_measures(found, study.truth()), seconds=seconds)
            except Exception as error:  # a sorter that fails is a result
                result = dict(failed=sentence(error))
            study.keep(_unit_name(treatment, sorter), dict(name=treatment.name, sorter=sorter, **result))


def _written(study: ImposedStudy, treatment: Treatment, folder: Path) -> BaseRecording:
    """Correct the recording and write it, or load what was written for another sorter."""
    import spikeinterface as si

    if folder.is_dir():
        return si.load(folder)
    motion = study.motion(treatment.preset) if treatment.preset else None
    return treatment.interpolated(study.prepared, motion).save(folder=folder, **study.jobs)


def _unit_name(treatment: Treatment, sorter: str) -> str:
    plain = "".join(letter if letter.isalnum() or letter in "._=-" else "_" for letter in treatment.name)
    return f"{plain}--{sorter}"
